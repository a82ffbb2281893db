//! Streams: every sequence number is a record that was counted, or is known to be lost.

use std::collections::BTreeMap;

use weir_types::Hour;

use super::choice::Choice;
use super::line::{Hop, Line};
use super::{Balance, Fault, Finding, Live};
use crate::ledger::Ledger;

/// Returns the stream that a shard's log belongs to.
pub(crate) fn stream_of(log: &str) -> &str {
    log.split('/').nth(1).unwrap_or(log)
}

pub(super) fn add(ledger: &Ledger, live: &Live, choice: &Choice, balance: &mut Balance) {
    let mut lines: BTreeMap<(&str, Hour), Line> = BTreeMap::new();
    for (log, book) in &ledger.shards {
        let stream = stream_of(log.as_str());
        if !choice.takes(Hop::Stream, stream) {
            continue;
        }
        for (hour, of) in book.hours.iter().filter(|(hour, _)| choice.takes_hour(**hour)) {
            let line = lines.entry((stream, *hour)).or_insert_with(|| Line::new(Hop::Stream, stream, *hour));
            line.records_in += of.places();
            line.out += of.tally.count;
            line.lost += of.lost;
            if of.places() != of.tally.count + of.lost {
                let what = format!(
                    "`{log}` has {} sequence numbers in {hour}, and {} records were counted there",
                    of.places(),
                    of.tally.count + of.lost
                );
                let mut finding = Finding::new(Hop::Stream, stream, Fault::Counts, what)
                    .amounts(of.places(), of.tally.count + of.lost)
                    .next("run `weir log verify` on the data folder");
                (finding.source, finding.hour) = (Some(log.to_string()), Some(*hour));
                balance.findings.push(finding);
            }
        }
        if let Some(tail) = live.tails.get(log)
            && *tail < book.next
        {
            let what = format!("`{log}` ends at {tail}, and {} records of it were counted", book.next);
            let mut finding = Finding::new(Hop::Stream, stream, Fault::Counts, what)
                .amounts(book.next, *tail)
                .next("restart weir on the right data folder; if an older copy was put in its place, its newest records are gone");
            finding.source = Some(log.to_string());
            finding.name_places(super::Wrong::Missing, *tail, book.next);
            balance.findings.push(finding);
        }
    }
    balance.lines.extend(lines.into_values().map(Line::balanced));
}

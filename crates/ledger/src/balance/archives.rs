//! Archives: what a stream had in an hour is what its archive has of it, or is still to be archived.

use std::collections::BTreeMap;

use weir_types::Hour;

use super::choice::Choice;
use super::line::{Hop, Line};
use super::streams::stream_of;
use super::{Balance, Fault, Finding, Live};
use crate::ledger::Ledger;

pub(super) fn add(ledger: &Ledger, live: &Live, choice: &Choice, balance: &mut Balance) {
    for (stream, archived) in live.archives.iter().filter(|(stream, _)| choice.takes(Hop::Archive, stream)) {
        let mut lines: BTreeMap<Hour, Line> = BTreeMap::new();
        // An archive may have been begun later than the stream, and may have forgotten its oldest hours.
        let mut first: BTreeMap<u32, u64> = BTreeMap::new();
        let mut end: BTreeMap<u32, u64> = BTreeMap::new();
        for ((shard, _), of) in archived {
            let least = first.entry(*shard).or_insert(of.first);
            *least = (*least).min(of.first);
            let most = end.entry(*shard).or_insert(of.end);
            *most = (*most).max(of.end);
        }
        let logs = ledger.shards.iter().filter(|(log, _)| stream_of(log.as_str()) == stream);
        for (log, book) in logs {
            let Some(shard) = log.as_str().rsplit('/').next().and_then(|shard| shard.parse::<u32>().ok()) else {
                continue;
            };
            let since = first.get(&shard).copied().unwrap_or(u64::MAX);
            let to = end.get(&shard).copied().unwrap_or(0);
            for (hour, of) in book.hours.iter().filter(|(hour, _)| choice.takes_hour(**hour)) {
                let held = archived.get(&(shard, *hour)).copied().unwrap_or_default();
                let line = lines.entry(*hour).or_insert_with(|| Line::new(Hop::Archive, stream, *hour));
                line.records_in += of.places();
                line.out += held.tally.count;
                line.lost += of.lost;
                line.in_flight += of.within(to.max(since.min(to)), u64::MAX);
                line.unbooked += of.within(0, since.min(to));
                // Only hours that both have whole, and nothing of which was lost, can be compared.
                let due = of.within(since, to);
                let whole = due == of.places() && of.lost == 0;
                if held.tally.count != due.saturating_sub(of.lost) || (whole && held.tally.sum != of.tally.sum) {
                    let same = held.tally.count == due;
                    let what = match same {
                        true => format!(
                            "the archive of `{log}` has as many records of {hour} as the stream had, and not the same"
                        ),
                        false => format!(
                            "the archive of `{log}` has {} records of {hour}, and should have {due}",
                            held.tally.count
                        ),
                    };
                    let mut finding = Finding::new(Hop::Archive, stream, Fault::Archive, what)
                        .amounts(due, held.tally.count)
                        .next(format!("run `weir archive verify {stream}`, which names files"));
                    (finding.source, finding.hour) = (Some(log.to_string()), Some(*hour));
                    if !same && held.end > held.first {
                        finding.name_places(super::Wrong::Missing, of.first.max(since), held.first);
                    }
                    balance.findings.push(finding);
                }
            }
        }
        balance.lines.extend(lines.into_values().map(Line::balanced));
    }
}

//! Functions: every record of the source is done, or waits.

use std::collections::BTreeMap;

use weir_types::Hour;

use super::choice::Choice;
use super::line::{Hop, Line};
use super::{Balance, Fault, Finding};
use crate::book::ranges::overlap;
use crate::book::{FunctionBook, ShardBook};
use crate::ledger::Ledger;

pub(super) fn add(ledger: &Ledger, choice: &Choice, balance: &mut Balance) {
    let mut lines: BTreeMap<(String, String, Hour), Line> = BTreeMap::new();
    for (outbox, book) in ledger.functions.iter().filter(|(_, book)| choice.takes(Hop::Function, &book.function)) {
        let shard = book.source.parse().ok().and_then(|log| ledger.shards.get(&log));
        for hour in hours(book, shard).filter(|hour| choice.takes_hour(*hour)) {
            let line = one(book, shard, hour, outbox, balance);
            let key = (book.function.clone(), source_of(&book.source), hour);
            match lines.get_mut(&key) {
                Some(of) => of.add(&line),
                None => {
                    lines.insert(key, line);
                }
            }
        }
    }
    balance.lines.extend(lines.into_values());
}

/// Returns a source without its shard.
fn source_of(log: &str) -> String {
    let mut parts = log.splitn(3, '/');
    match (parts.next(), parts.next()) {
        (Some(kind), Some(name)) => format!("{kind}/{name}"),
        _ => log.to_owned(),
    }
}

fn hours<'a>(book: &'a FunctionBook, shard: Option<&'a ShardBook>) -> impl Iterator<Item = Hour> + 'a {
    let stored = shard.into_iter().flat_map(|shard| shard.hours.iter());
    let stored = stored.filter(|(_, of)| of.end > book.since).map(|(hour, _)| *hour);
    let mut all: Vec<Hour> = book.hours.keys().copied().chain(stored).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
}

fn one(book: &FunctionBook, shard: Option<&ShardBook>, hour: Hour, outbox: &str, balance: &mut Balance) -> Line {
    let counts = book.hours.get(&hour).cloned().unwrap_or_default();
    let stored = shard.and_then(|shard| shard.hours.get(&hour)).copied();
    let done = counts.done.count;
    let mut line = Line {
        from: Some(source_of(&book.source)),
        records_in: done,
        out: done.saturating_sub(counts.letters),
        dead_lettered: counts.letters,
        ..Line::new(Hop::Function, &book.function, hour)
    };
    // What was stored last may be done before it is counted.
    let is_ahead = shard.is_some_and(|shard| book.reached.end() > shard.next && shard.is_last(hour));
    if let Some(stored) = stored.filter(|_| !is_ahead) {
        let from = stored.first.max(book.since);
        line.records_in = stored.within(book.since, u64::MAX);
        line.lost = overlap(&book.lost, from, stored.end);
        line.in_flight = book.reached.waiting(from, stored.end);
        let whole = stored.first >= book.since && stored.lost + line.lost == 0 && line.in_flight == 0;
        let line_of = line.clone().balanced();
        if line_of.balance != 0 {
            let what = format!(
                "function `{}` has worked off {} records of {hour} from `{}`, {} wait, and {} were stored",
                book.function,
                done + line.lost,
                book.source,
                line.in_flight,
                line.records_in
            );
            let mut finding = Finding::new(Hop::Function, &book.function, Fault::Counts, what)
                .amounts(line.records_in, done + line.lost + line.in_flight)
                .next(format!(
                    "look at the records of `{outbox}` with `weir tail`; replay the hour if records are missing"
                ));
            (finding.source, finding.hour) = (Some(book.source.clone()), Some(hour));
            balance.findings.push(finding);
        } else if whole && stored.tally.sum != counts.done.sum {
            let what = format!(
                "function `{}` has worked off as many records of {hour} as `{}` had, and not the same",
                book.function, book.source
            );
            let mut finding = Finding::new(Hop::Function, &book.function, Fault::Sums, what)
                .next("run `weir ledger --verify`, which names the records");
            (finding.source, finding.hour) = (Some(book.source.clone()), Some(hour));
            balance.findings.push(finding);
        }
    }
    line.balanced()
}

//! Tables: every record that was stored was read or waits, every row that was made is answered for, and every partition
//! holds what its commits put there.

use std::collections::BTreeMap;

use weir_types::{Hour, Tally};

use super::choice::Choice;
use super::line::{Hop, Line, signed};
use super::streams::stream_of;
use super::{Balance, Fault, Finding, Live, LiveTable, Wrong};
use crate::book::ranges::overlap;
use crate::book::{Counts, PlaceKey, ShardBook, ShardHour, SourceBook, TableBook};
use crate::ledger::Ledger;

pub(super) fn add(ledger: &Ledger, live: &Live, choice: &Choice, balance: &mut Balance) {
    for (table, book) in ledger.tables.iter().filter(|(table, _)| choice.takes(Hop::Table, table)) {
        // A table that is not open is as the book has it.
        let unknown = LiveTable { commits: u64::MAX, commits_now: u64::MAX, makes_rows: true, ..LiveTable::default() };
        let found = live.tables.get(table).unwrap_or(&unknown);
        let mut lines: BTreeMap<(String, Hour), Line> = BTreeMap::new();
        for (source, book) in book.sources(found.commits) {
            let at = At { table, source: &source, makes_rows: found.makes_rows };
            let shard = source.parse().ok().and_then(|log| ledger.shards.get(&log));
            for hour in hours(&book, shard).filter(|hour| choice.takes_hour(*hour)) {
                let line = at.hour(&book, shard, hour, &mut balance.findings);
                let key = (line.from.clone().unwrap_or_default(), hour);
                match lines.get_mut(&key) {
                    Some(of) => of.add(&line),
                    None => {
                        lines.insert(key, line);
                    }
                }
            }
        }
        balance.lines.extend(lines.into_values());
        commits(table, book, found, &mut balance.findings);
        stock(table, book, found, &mut balance.findings);
    }
}

fn hours(book: &SourceBook, shard: Option<&ShardBook>) -> impl Iterator<Item = Hour> {
    let stored = shard.into_iter().flat_map(|shard| shard.hours.iter());
    let stored = stored.filter(|(_, of)| of.end > book.since).map(|(hour, _)| *hour);
    let mut all: Vec<Hour> = book.hours.keys().copied().chain(stored).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
}

/// Where a comparison is made.
struct At<'a> {
    table: &'a str,
    source: &'a str,
    makes_rows: bool,
}

impl At<'_> {
    fn finding(&self, fault: Fault, hour: Hour, what: String) -> Finding {
        let mut finding = Finding::new(Hop::Table, self.table, fault, what);
        (finding.source, finding.hour) = (Some(self.source.to_owned()), Some(hour));
        finding
    }

    fn hour(&self, book: &SourceBook, shard: Option<&ShardBook>, hour: Hour, findings: &mut Vec<Finding>) -> Line {
        let none = Counts::default();
        let counts = book.hours.get(&hour).unwrap_or(&none);
        let mut line = Line {
            from: Some(format!("stream/{}", stream_of(self.source))),
            records_in: counts.read.count,
            out: counts.added + counts.replaced,
            deduplicated: counts.repeats,
            dead_lettered: counts.letters_of_records().count + counts.refused,
            filtered: if self.makes_rows { signed(counts.given()) - signed(counts.rows) } else { 0 },
            others: counts.others,
            replaced: counts.replaced,
            late: counts.late,
            ..Line::new(Hop::Table, self.table, hour)
        };
        // What was stored last may be in the table before it is counted.
        let counted = shard.filter(|shard| !(book.next > shard.next && shard.is_last(hour)));
        if let Some(stored) = counted.and_then(|shard| shard.hours.get(&hour)) {
            let read_to = book.next.max(book.since);
            line.records_in = stored.within(book.since, u64::MAX);
            line.in_flight = stored.within(read_to, u64::MAX);
            let (from, to) = (stored.first.max(book.since), stored.end.min(read_to));
            line.lost = overlap(&book.lost, from, to);
            let unbooked = overlap(&book.unbooked, from, to);
            if unbooked > 0 {
                // Known by its number alone, and perhaps booked in part: what is open is it.
                let open = (to - from).saturating_sub(line.lost + counts.read.count);
                line.unbooked = open.min(unbooked);
            } else {
                self.compare(book, *stored, hour, counts, &line, findings);
            }
        }
        self.rows(hour, counts, findings);
        line.balanced()
    }

    /// Compares what was read with what was stored.
    fn compare(
        &self,
        book: &SourceBook,
        stored: ShardHour,
        hour: Hour,
        counts: &Counts,
        line: &Line,
        findings: &mut Vec<Finding>,
    ) {
        let (table, source) = (self.table, self.source);
        let found = counts.read.count + line.lost + line.in_flight;
        if found != line.records_in {
            let skipped = overlap(&book.holes, stored.first, stored.end);
            let what = match skipped {
                0 => format!(
                    "table `{table}` has read {} records of {hour} from `{source}`, and should have read {}",
                    counts.read.count,
                    line.records_in - line.in_flight - line.lost.min(line.records_in - line.in_flight)
                ),
                _ => format!("table `{table}` has passed over {skipped} records of {hour} in `{source}`"),
            };
            let fault = if skipped == 0 { Fault::Counts } else { Fault::Skipped };
            let mut finding = self
                .finding(fault, hour, what)
                .amounts(line.records_in, found)
                .next(format!("replay {hour} into table `{table}`: rows that are there are not doubled"));
            for (from, to) in &book.holes {
                finding.name_places(Wrong::Missing, stored.first.max(*from), stored.end.min(*to));
            }
            findings.push(finding);
            return;
        }
        let whole = stored.first >= book.since && line.in_flight == 0 && line.lost == 0 && stored.lost == 0;
        if whole && stored.tally.sum != counts.read.sum {
            let what = format!(
                "table `{table}` has read as many records of {hour} from `{source}` as were stored, and not the same"
            );
            let next = "run `weir ledger --verify`, which names the records";
            findings.push(self.finding(Fault::Sums, hour, what).next(next));
        }
    }

    /// Compares what was made with what the table answered for.
    fn rows(&self, hour: Hour, counts: &Counts, findings: &mut Vec<Finding>) {
        let table = self.table;
        let next = || format!("replay {hour} into table `{table}`: rows that are there are not doubled");
        if !self.makes_rows && counts.given() != counts.rows {
            let what = format!(
                "{} records of {hour} in `{}` are rows for table `{table}`, and {} rows were made",
                counts.given(),
                self.source,
                counts.rows
            );
            findings.push(self.finding(Fault::Rows, hour, what).amounts(counts.given(), counts.rows).next(next()));
        }
        if counts.rows != counts.settled_rows() {
            let what = format!(
                "{} rows were made for table `{table}` of records of {hour} in `{}`, and {} were added, repeats, or refused",
                counts.rows,
                self.source,
                counts.settled_rows()
            );
            findings
                .push(self.finding(Fault::Rows, hour, what).amounts(counts.rows, counts.settled_rows()).next(next()));
        }
    }
}

/// Compares the commits that are booked with those that the table has.
fn commits(table: &str, book: &TableBook, found: &LiveTable, findings: &mut Vec<Finding>) {
    if found.commits_now < book.commits {
        let what = format!(
            "table `{table}` has {} commits, and {} are in the books: its newest versions were deleted, or an older copy was \
             put in its place",
            found.commits_now, book.commits
        );
        let finding = Finding::new(Hop::Table, table, Fault::Version, what).amounts(book.commits, found.commits_now);
        findings.push(finding.next("restart weir, which reads the records again that the table lacks"));
    }
}

/// Compares what each partition holds with what its commits put there.
fn stock(table: &str, book: &TableBook, found: &LiveTable, findings: &mut Vec<Finding>) {
    if !book.stock_known {
        let what = format!("what table `{table}` should hold is not known: it has commits that are not in the books");
        let next =
            format!("look at the table, then run `weir ledger accept --table {table} NOTE`, which counts it anew");
        findings.push(Finding::new(Hop::Table, table, Fault::Stock, what).next(next));
        return;
    }
    if found.partitions.is_none() && found.places.is_none() {
        return;
    }
    // So much was committed since that what was there then can't be told any more: the next look will.
    let Some(stock) = book.stock(found.commits) else { return };
    if let Some(places) = &found.places {
        let none = (Tally::default(), Tally::default());
        let mut all: BTreeMap<PlaceKey, (Tally, Tally)> = BTreeMap::new();
        stock.iter().for_each(|(place, of)| all.entry(*place).or_insert(none).0 = of.tally);
        places.iter().for_each(|(place, tally)| all.entry(*place).or_insert(none).1 = *tally);
        for (place, (expected, held)) in all {
            if expected != held {
                let mut finding = differs(table, &place.to_string(), expected.count, held.count);
                finding.place = Some(place);
                findings.push(finding);
            }
        }
        return;
    }
    let Some(partitions) = &found.partitions else { return };
    let mut all: BTreeMap<(Option<i32>, Option<u8>), (u64, u64)> = BTreeMap::new();
    stock.iter().for_each(|(place, of)| all.entry(place.partition()).or_default().0 += of.tally.count);
    partitions.iter().for_each(|(partition, rows)| all.entry(*partition).or_default().1 += rows);
    for ((day, hour), (expected, held)) in all {
        if expected != held {
            findings.push(differs(table, &PlaceKey(day, hour, 0).to_string(), expected, held));
        }
    }
}

fn differs(table: &str, partition: &str, expected: u64, held: u64) -> Finding {
    let what = match expected == held {
        true => format!(
            "partition {partition} of table `{table}` has as many rows as its commits put there, and not the same"
        ),
        false => {
            format!("partition {partition} of table `{table}` has {held} rows, and its commits put {expected} there")
        }
    };
    let mut finding = Finding::new(Hop::Table, table, Fault::Stock, what).amounts(expected, held).next(format!(
        "run `weir ledger --verify --table {table}`, which names files and rows; replay what is missing, or accept it"
    ));
    finding.partition = Some(partition.to_owned());
    finding
}

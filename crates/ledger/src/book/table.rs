//! The book of a table: what each commit read and changed, in step with the table's own commits.
//!
//! ```text
//! prepared(N) --> pending --prepared(N + 1), or opened with N commits--> settled: hours, stock, recent
//!                    \--opened with N - 1 commits--> dropped
//! opened with fewer commits than are settled --> the recent entries are taken back, newest first
//! ```
//!
//! Invariant: what is settled is what the table's first `commits` commits did, and nothing else.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use weir_types::{Hour, Tally, Timestamp};

use super::counts::Counts;
use super::entry::{Entry, PlaceEntry, SourceEntry, Why};
use super::place::PlaceKey;
use super::ranges::push_range;

/// Settled entries that are kept whole, so that they can be taken back.
const RECENT_MAX: usize = 64;
/// What they may take together, in bytes.
const RECENT_BYTES_MAX: usize = 1024 * 1024;

/// What one source gave to the table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceBook {
    /// Where it was begun.
    pub since: u64,
    /// Where it ends.
    pub next: u64,
    /// What became of the records, by the hour of their arrival.
    pub hours: BTreeMap<Hour, Counts>,
    /// Hours that are too old to be told apart.
    pub older: Counts,
    /// Records that were gone before they could be read: first and end of each range.
    #[serde(default)]
    pub lost: Vec<(u64, u64)>,
    /// Records that were passed over: first and end of each range. Each is a fault.
    #[serde(default)]
    pub holes: Vec<(u64, u64)>,
    /// Records that the table has read while nobody kept books: first and end of each range.
    #[serde(default)]
    pub unbooked: Vec<(u64, u64)>,
}

impl SourceBook {
    fn begin(since: u64) -> Self {
        Self { since, next: since, ..Self::default() }
    }

    fn add(&mut self, entry: &SourceEntry) {
        if entry.from > self.next {
            push_range(&mut self.holes, (self.next, entry.from));
        }
        entry.lost.iter().for_each(|lost| push_range(&mut self.lost, *lost));
        entry.holes.iter().for_each(|hole| push_range(&mut self.holes, *hole));
        for (hour, counts) in &entry.hours {
            self.hours.entry(*hour).or_default().merge(counts);
        }
        self.next = self.next.max(entry.to);
    }

    /// Gives the hours up: some of their records are read again, and can't be told from the others.
    fn forget(&mut self, next: u64) {
        for counts in std::mem::take(&mut self.hours).into_values() {
            self.older.merge(&counts);
        }
        push_range(&mut self.unbooked, (self.since, self.next.max(next)));
    }

    fn take_back(&mut self, entry: &SourceEntry) {
        for (hour, counts) in &entry.hours {
            if let Some(of) = self.hours.get_mut(hour) {
                of.subtract(counts);
            }
        }
        self.hours.retain(|_, counts| !counts.is_empty());
        self.holes.retain(|(from, _)| *from < entry.from);
        self.lost.retain(|(from, _)| *from < entry.from);
        self.next = entry.from;
    }
}

/// How often a place's rows were changed, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// By records that arrived.
    pub appends: u64,
    /// Of all changes, those with rows that came late.
    pub late: u64,
    /// By dead letters that were redriven.
    pub redrives: u64,
    /// By a replay.
    pub replays: u64,
    /// Of all changes, those that put rows in the place of others.
    pub replaced: u64,
    /// By a rollup.
    pub rollups: u64,
    /// By a compaction that removed repeats.
    pub compactions: u64,
    /// By a crawl's run.
    pub runs: u64,
}

impl Changes {
    fn count(&mut self, why: Why, place: &PlaceEntry) {
        let of = match why {
            Why::Append => &mut self.appends,
            Why::Redrive => &mut self.redrives,
            Why::Replay => &mut self.replays,
            Why::Rollup => &mut self.rollups,
            Why::Run => &mut self.runs,
            Why::Compaction => &mut self.compactions,
        };
        *of += 1;
        self.late += u64::from(place.late > 0);
        self.replaced += u64::from(place.replaced > 0);
    }

    /// Returns how often the rows were changed.
    pub fn total(&self) -> u64 {
        self.appends + self.redrives + self.replays + self.rollups + self.compactions + self.runs
    }
}

/// What a place should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stock {
    /// Its rows, by their ids.
    pub tally: Tally,
    /// How often they changed.
    pub changes: Changes,
    /// When they last did.
    pub changed_at: Timestamp,
    /// The first hour of arrival of records that changed it; none of a place that was there before the book.
    pub first_hour: Option<Hour>,
    /// The last one.
    pub last_hour: Option<Hour>,
}

/// The book of one table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TableBook {
    /// Commits that are settled.
    pub commits: u64,
    /// By source.
    pub sources: BTreeMap<String, SourceBook>,
    /// By place. Use [`TableBook::stock`], which has the commit that is not settled yet.
    #[serde(with = "pairs")]
    pub(crate) stock: BTreeMap<PlaceKey, Stock>,
    /// What the last audit found the table to be: version, commits, and a mark of the version.
    #[serde(default)]
    pub audited: Option<(u64, u64, Option<u64>)>,
    /// Whether the stock is known: not after commits that nobody booked, until it is counted anew.
    pub stock_known: bool,
    /// The parts of the entry whose commit may or may not have been made.
    pending: Vec<(Timestamp, Entry)>,
    recent: VecDeque<(Timestamp, Entry)>,
}

/// What a table was found to be when it was opened, if that is not what the book says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// As the book has it.
    AsBooked,
    /// It has fewer commits. Those that could be taken back were.
    WentBack { booked: u64, taken_back: u64 },
    /// It has more.
    WentOn { booked: u64 },
}

impl TableBook {
    /// Begins the book of a table that has some commits and rows already.
    pub(crate) fn begin(commits: u64, positions: &[(String, u64)], stock: Option<Vec<(PlaceKey, Tally)>>) -> Self {
        let sources = positions.iter().map(|(source, next)| (source.clone(), SourceBook::begin(*next))).collect();
        let stock_known = commits == 0 || stock.is_some();
        let stock = stock.unwrap_or_default().into_iter();
        let stock = stock.map(|(place, tally)| (place, Stock { tally, ..Stock::default() })).collect();
        Self { commits, sources, stock, stock_known, ..Self::default() }
    }

    /// Notes a part of an entry; false if its commit is settled already, or parts before it are missing.
    pub(crate) fn prepare(&mut self, at: Timestamp, entry: Entry) -> bool {
        if entry.number <= self.commits {
            return false;
        }
        let pending = self.pending.first().map(|(_, entry)| entry.number);
        match pending {
            // The one before was made, since this one comes behind it.
            Some(number) if number < entry.number => self.settle(),
            // Once more, from its first part.
            Some(_) if entry.part == 1 => self.pending.clear(),
            _ => {}
        }
        if entry.number != self.commits + 1 || entry.part as usize != self.pending.len() + 1 {
            return false;
        }
        self.pending.push((at, entry));
        true
    }

    /// Returns the number of the entry whose commit may or may not have been made, once all its parts are there.
    fn awaited(&self) -> Option<u64> {
        let (_, last) = self.pending.last()?;
        (last.part == last.parts).then_some(last.number)
    }

    fn settle(&mut self) {
        let Some(number) = self.awaited() else {
            self.pending.clear();
            return;
        };
        let parts = std::mem::take(&mut self.pending);
        let hours = parts.iter().find_map(|(_, entry)| entry.hours());
        for (at, entry) in parts {
            self.book(at, &entry, hours);
            self.recent.push_back((at, entry));
        }
        self.commits = number;
        let bytes =
            |recent: &VecDeque<(Timestamp, Entry)>| recent.iter().map(|(_, entry)| entry.bytes()).sum::<usize>();
        while self.recent.len() > RECENT_MAX || bytes(&self.recent) > RECENT_BYTES_MAX {
            // All parts of an entry go together: a part alone can't be taken back.
            let number = self.recent.front().map(|(_, entry)| entry.number);
            while self.recent.front().is_some_and(|(_, entry)| Some(entry.number) == number) {
                self.recent.pop_front();
            }
        }
    }

    /// Books a part; the hours are those of all parts together.
    fn book(&mut self, at: Timestamp, entry: &Entry, hours: Option<(Hour, Hour)>) {
        for source in &entry.sources {
            let book = self.sources.entry(source.source.clone()).or_insert_with(|| SourceBook::begin(source.from));
            book.add(source);
        }
        for place in &entry.places {
            let stock = self.stock.entry(place.place).or_default();
            stock.tally.merge(place.added);
            stock.tally.subtract(place.removed);
            if place.changes() {
                stock.changes.count(entry.why, place);
                stock.changed_at = at;
            }
            if let Some((first, last)) = hours {
                stock.first_hour = Some(stock.first_hour.map_or(first, |known| known.min(first)));
                stock.last_hour = Some(stock.last_hour.map_or(last, |known| known.max(last)));
            }
        }
    }

    fn take_back(&mut self, entry: &Entry) {
        for source in &entry.sources {
            if let Some(book) = self.sources.get_mut(&source.source) {
                book.take_back(source);
            }
        }
        for place in &entry.places {
            if let Some(stock) = self.stock.get_mut(&place.place) {
                stock.tally.merge(place.removed);
                stock.tally.subtract(place.added);
            }
        }
    }

    /// Settles the book with a table that was opened with so many commits and these positions.
    pub(crate) fn open(&mut self, commits: u64, positions: &[(String, u64)]) -> Met {
        self.settle_up_to(commits);
        self.pending.clear();
        let booked = self.commits;
        let met = match commits.cmp(&booked) {
            std::cmp::Ordering::Equal => Met::AsBooked,
            std::cmp::Ordering::Greater => {
                self.stock_known = false;
                Met::WentOn { booked }
            }
            std::cmp::Ordering::Less => {
                while self.recent.back().is_some_and(|(_, entry)| entry.number > commits) {
                    let Some((_, entry)) = self.recent.pop_back() else { break };
                    // The last part has the sources, and comes off first; that of one entry is the same either way.
                    self.take_back(&entry);
                    self.commits = entry.number - 1;
                }
                let taken_back = booked - self.commits;
                self.stock_known &= self.commits == commits;
                Met::WentBack { booked, taken_back }
            }
        };
        if self.commits != commits {
            self.recent.clear();
        }
        self.commits = commits;
        self.meet(positions, met);
        met
    }

    /// Settles the pending entry, if a table of so many commits has made it.
    pub(crate) fn settle_up_to(&mut self, commits: u64) {
        if self.awaited().is_some_and(|number| number <= commits) {
            self.settle();
        }
    }

    /// Returns the first and the last hour of arrival that commits beyond this one were about, as far as they are known.
    pub(crate) fn hours_above(&self, commits: u64) -> Option<(Hour, Hour)> {
        let beyond = self.recent.iter().filter(|(_, entry)| entry.number > commits);
        let hours: Vec<(Hour, Hour)> = beyond.filter_map(|(_, entry)| entry.hours()).collect();
        let first = hours.iter().map(|(first, _)| *first).min();
        first.zip(hours.iter().map(|(_, last)| *last).max())
    }

    /// Brings the sources to where the table is.
    fn meet(&mut self, positions: &[(String, u64)], met: Met) {
        for (source, next) in positions {
            let book = self.sources.entry(source.clone()).or_insert_with(|| SourceBook::begin(*next));
            if *next > book.next {
                push_range(&mut book.unbooked, (book.next, *next));
            } else if *next < book.next {
                book.forget(*next);
            }
            book.next = *next;
        }
        if met == Met::AsBooked {
            return;
        }
        for (source, book) in &mut self.sources {
            if !positions.iter().any(|(known, _)| known == source) && book.next > book.since {
                book.forget(book.since);
                book.next = book.since;
            }
        }
    }

    /// Sets the stock to what is there.
    pub(crate) fn recount(&mut self, places: Vec<(PlaceKey, Tally)>) {
        for stock in self.stock.values_mut() {
            stock.tally = Tally::default();
        }
        for (place, tally) in places {
            self.stock.entry(place).or_default().tally = tally;
        }
        self.stock_known = true;
        // They were about another stock.
        self.recent.clear();
    }

    /// Forgets the faults of sources that somebody has looked at.
    pub(crate) fn accept_holes(&mut self) {
        for book in self.sources.values_mut() {
            for hole in std::mem::take(&mut book.holes) {
                push_range(&mut book.unbooked, hole);
            }
        }
    }

    pub(crate) fn fold_before(&mut self, before: Hour) {
        for book in self.sources.values_mut() {
            let kept = book.hours.split_off(&before);
            for counts in std::mem::replace(&mut book.hours, kept).into_values() {
                book.older.merge(&counts);
            }
        }
    }

    /// Returns the parts of the pending entry, if a table of so many commits has made it.
    fn made(&self, commits: u64) -> &[(Timestamp, Entry)] {
        if self.awaited().is_some_and(|number| number <= commits) { &self.pending } else { &[] }
    }

    /// Returns how many commits the book accounts for, given how many the table has: one more than are settled, where the
    /// one that was pending was made.
    pub fn booked(&self, commits: u64) -> u64 {
        self.made(commits).last().map_or(self.commits, |(_, entry)| entry.number)
    }

    /// Returns the sources as of the table's `commits` commits.
    pub fn sources(&self, commits: u64) -> BTreeMap<String, SourceBook> {
        let mut sources = self.sources.clone();
        for source in self.made(commits).iter().flat_map(|(_, entry)| &entry.sources) {
            sources.entry(source.source.clone()).or_insert_with(|| SourceBook::begin(source.from)).add(source);
        }
        sources
    }

    /// Returns what each place should hold, as of the table's `commits` commits; none if that is too long ago.
    pub fn stock(&self, commits: u64) -> Option<BTreeMap<PlaceKey, Stock>> {
        let mut then = Self { stock: self.stock.clone(), ..Self::default() };
        if commits < self.commits {
            let since: Vec<_> = self.recent.iter().filter(|(_, entry)| entry.number > commits).collect();
            if since.first().is_none_or(|(_, entry)| entry.number != commits + 1) {
                return None;
            }
            since.iter().for_each(|(_, entry)| then.take_back(entry));
            return Some(then.stock);
        }
        let made = self.made(commits);
        let hours = made.iter().find_map(|(_, entry)| entry.hours());
        for (at, entry) in made {
            then.book(*at, entry, hours);
        }
        Some(then.stock)
    }

    /// Returns the rows that the table should hold.
    pub fn rows(&self, commits: u64) -> u64 {
        let rows = self.stock.values().map(|stock| stock.tally.count).sum::<u64>();
        let places = self.made(commits).iter().flat_map(|(_, entry)| &entry.places);
        places.fold(rows, |rows, place| (rows + place.added.count).saturating_sub(place.removed.count))
    }
}

/// Maps whose keys are no text, as lists of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

//! All books: a machine.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use weir_machine::{At, Machine, RestoreError};
use weir_types::{Hour, LogName, Tally};

use crate::balance::Hop;
use crate::book::{DoorCounts, FunctionBook, Met, PlaceKey, ShardBook, TableBook};
use crate::command::{Audited, Booked, Command, Opened, Streamed};
use crate::incident::{INCIDENTS_MAX, Incident};

/// The form of the snapshots.
const VERSION: u32 = 1;

/// All books, and what was noticed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// By the shard's log.
    pub shards: BTreeMap<LogName, ShardBook>,
    /// By name.
    pub tables: BTreeMap<String, TableBook>,
    /// By the outbox's log.
    pub functions: BTreeMap<String, FunctionBook>,
    /// By the stream's name and the hour.
    pub doors: BTreeMap<String, BTreeMap<Hour, DoorCounts>>,
    /// In the order in which they were noticed.
    pub incidents: VecDeque<Incident>,
    noticed: u64,
}

#[derive(Serialize, Deserialize)]
struct Snapshot<L> {
    version: u32,
    ledger: L,
}

impl Ledger {
    fn stream(&mut self, streamed: Vec<Streamed>) -> Booked {
        let mut booked = Booked::Taken;
        for Streamed { log, from, to, hours } in streamed {
            let book = self.shards.entry(log).or_insert_with(|| ShardBook::begin(from));
            if book.next == from && to >= from {
                book.add(hours, to);
            } else {
                booked = Booked::Stale;
            }
        }
        booked
    }

    fn rewind(&mut self, at: At, log: LogName, tail: u64) -> Booked {
        let Some(book) = self.shards.get_mut(&log) else { return Booked::Stale };
        if book.next <= tail {
            return Booked::Stale;
        }
        let next = book.next;
        let gone = book.hours.iter().filter(|(_, hour)| hour.end > tail).map(|(hour, _)| *hour);
        let hours = gone.clone().min().zip(gone.max());
        book.rewind(tail);
        let what = format!(
            "`{log}` ends at {tail}, and had {next}: records {tail} to {} were stored and are gone, as after an older copy of the data \
             folder was put in its place",
            next - 1
        );
        let name = log.as_str().split('/').nth(1).unwrap_or_default().to_owned();
        self.notice(at, Hop::Stream, name, what, hours)
    }

    fn open(&mut self, at: At, opened: Opened) -> Booked {
        let Opened { table, commits, positions, stock } = opened;
        let Some(book) = self.tables.get_mut(&table) else {
            self.tables.insert(table, TableBook::begin(commits, &positions, stock));
            return Booked::Taken;
        };
        let before = book.hours_above(commits);
        let met = book.open(commits, &positions);
        if !book.stock_known
            && let Some(stock) = stock
        {
            book.recount(stock);
        }
        match met {
            Met::AsBooked => Booked::Taken,
            Met::WentBack { booked, taken_back } => {
                let mut what = format!(
                    "the table has {commits} commits, and had {booked}: its last {} are gone, as after its newest versions were \
                     deleted or an older copy was put in its place; their records are read again, as far as they are there",
                    booked - commits
                );
                if taken_back < booked - commits {
                    what.push_str("; what they did is not known any more, so that these hours are not balanced");
                }
                self.notice(at, Hop::Table, table, what, before)
            }
            Met::WentOn { booked } => {
                let what = format!(
                    "the table has {commits} commits, and {booked} are in the books: the rest was made while no books were kept, \
                     so that these hours are not balanced"
                );
                self.notice(at, Hop::Table, table, what, None)
            }
        }
    }

    fn notice(&mut self, at: At, hop: Hop, name: String, what: String, hours: Option<(Hour, Hour)>) -> Booked {
        let mut open = self.incidents.iter().filter(|known| known.accepted.is_none());
        if open.any(|known| known.hop == hop && known.name == name && known.what == what) {
            return Booked::Taken;
        }
        self.noticed += 1;
        let incident = Incident { number: self.noticed, at: at.time, hop, name, what, hours, accepted: None };
        self.incidents.push_back(incident);
        if self.incidents.len() > INCIDENTS_MAX {
            // Those that somebody has looked at first.
            let looked_at = self.incidents.iter().position(|incident| incident.accepted.is_some());
            self.incidents.remove(looked_at.unwrap_or(0));
        }
        Booked::Taken
    }

    fn accept(&mut self, number: u64, note: String) -> Booked {
        match self.incidents.iter_mut().find(|incident| incident.number == number) {
            Some(incident) => {
                incident.accepted = Some(note);
                Booked::Taken
            }
            None => Booked::Stale,
        }
    }

    fn recount(&mut self, at: At, table: String, commits: u64, places: Vec<(PlaceKey, Tally)>, note: String) -> Booked {
        let Some(book) = self.tables.get_mut(&table) else { return Booked::Stale };
        if book.booked(commits) != commits {
            return Booked::Stale;
        }
        book.settle_up_to(commits);
        let before: u64 = book.rows(commits);
        book.recount(places);
        book.accept_holes();
        let after = book.rows(commits);
        let what = format!("the table was counted anew: {after} rows, and {before} were in the books");
        self.notice(at, Hop::Table, table, what, None);
        if let Some(incident) = self.incidents.back_mut() {
            incident.accepted = Some(note);
        }
        Booked::Taken
    }

    fn fold(&mut self, before: Hour) {
        self.shards.values_mut().for_each(|book| book.fold_before(before));
        self.tables.values_mut().for_each(|book| book.fold_before(before));
        self.functions.values_mut().for_each(|book| book.fold_before(before));
        for hours in self.doors.values_mut() {
            // Kept under the hour before the first: nothing else can be there.
            let kept = hours.split_off(&before);
            let mut older = DoorCounts::default();
            std::mem::replace(hours, kept).into_values().for_each(|counts| older.merge(counts));
            if !older.is_empty() {
                hours.insert(Hour(before.0 - 1), older);
            }
        }
    }
}

impl Machine for Ledger {
    const NAME: &'static str = "ledger";
    type Command = Command;
    type Outcome = Booked;

    fn apply(&mut self, at: At, command: Command) -> Booked {
        match command {
            Command::Streamed(shards) => self.stream(shards),
            Command::Rewound { log, tail } => self.rewind(at, log, tail),
            Command::Opened(opened) => self.open(at, opened),
            Command::Prepared(entry) => {
                let book = self
                    .tables
                    .entry(entry.table.clone())
                    .or_insert_with(|| TableBook::begin(entry.number - 1, &[], None));
                if book.prepare(at.time, entry) { Booked::Taken } else { Booked::Stale }
            }
            Command::Made(tables) => {
                for (table, commits) in tables {
                    if let Some(book) = self.tables.get_mut(&table) {
                        book.settle_up_to(commits);
                    }
                }
                Booked::Taken
            }
            Command::Functions(said) => {
                for said in said {
                    self.functions.entry(said.outbox.clone()).or_default().take(said);
                }
                Booked::Taken
            }
            Command::Doors(doors) => {
                for (stream, hour, counts) in doors {
                    self.doors.entry(stream).or_default().entry(hour).or_default().merge(counts);
                }
                Booked::Taken
            }
            Command::Noticed { hop, name, what } => self.notice(at, hop, name, what, None),
            Command::Audited(Audited { table, version, commits, mark }) => match self.tables.get_mut(&table) {
                Some(book) => {
                    book.audited = Some((version, commits, mark));
                    Booked::Taken
                }
                None => Booked::Stale,
            },
            Command::Accepted { incident, note } => self.accept(incident, note),
            Command::Recounted { table, commits, places, note } => self.recount(at, table, commits, places, note),
            Command::Folded { before } => {
                self.fold(before);
                Booked::Taken
            }
            Command::Closed { tables } => {
                self.tables.retain(|name, _| !tables.contains(name));
                Booked::Taken
            }
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(&Snapshot { version: VERSION, ledger: self }).expect("texts and numbers serialise")
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let error = |reason: String| RestoreError { machine: Self::NAME, reason };
        let stored: Snapshot<Self> = serde_json::from_slice(bytes).map_err(|cause| error(cause.to_string()))?;
        if stored.version != VERSION {
            return Err(error(format!("version {} is unknown", stored.version)));
        }
        Ok(stored.ledger)
    }
}

//! One stream of one shard, and one table behind it, as a model: what is there, and what is booked.

use std::collections::BTreeMap;

use weir_env::Random;
use weir_machine::{At, Machine};
use weir_types::{Hour, LogName, SequenceNumber, Tally, Timestamp};

use crate::{
    Balance, Booked, Choice, Command, Counts, Entry, Ledger, Live, LiveTable, Opened, PlaceEntry, PlaceKey, ShardHour,
    SourceEntry, Streamed, Why, balance,
};

pub const LOG: &str = "stream/flights/0";
pub const TABLE: &str = "flights";

/// What one commit of the table did.
#[derive(Debug, Clone)]
pub struct Commit {
    pub from: u64,
    pub to: u64,
    pub places: BTreeMap<PlaceKey, Vec<u128>>,
}

pub struct World {
    pub ledger: Ledger,
    pub random: Random,
    /// The stream: the hour and the digest of each record. Every fifth is a repeat of another's row.
    pub records: Vec<(Hour, u128)>,
    pub streamed: u64,
    pub commits: Vec<Commit>,
    applied: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let random = Random::seeded(seed);
        let mut world = Self {
            ledger: Ledger::default(),
            random,
            records: Vec::new(),
            streamed: 0,
            commits: Vec::new(),
            applied: 0,
        };
        world.open();
        world
    }

    pub fn draw(&self, below: u64) -> u64 {
        self.random.next() % below
    }

    pub fn submit(&mut self, command: Command) -> Booked {
        // As the log has it: what does not read back as it was written would show at the next start alone.
        let stored = serde_json::to_vec(&command).unwrap();
        let command = serde_json::from_slice(&stored).unwrap();
        let at = At { sequence: SequenceNumber(self.applied), time: Timestamp(self.applied as i64) };
        self.applied += 1;
        self.ledger.apply(at, command)
    }

    pub fn append(&mut self, count: u64) {
        let mut hour = self.records.last().map_or(Hour(100), |(hour, _)| *hour);
        for _ in 0..count {
            hour = Hour(hour.0 + i64::from(self.draw(20) == 0));
            let digest = u128::from(self.random.next()) << 64 | u128::from(self.random.next());
            self.records.push((hour, digest));
        }
    }

    pub fn log() -> LogName {
        LOG.parse().unwrap()
    }

    /// Books what the shard has stored, up to somewhere.
    pub fn stream(&mut self, to: u64) -> Booked {
        let from = self.streamed.min(to);
        let hours = self.shard_hours(from, to);
        self.streamed = to;
        self.submit(Command::Streamed(vec![Streamed { log: Self::log(), from, to, hours }]))
    }

    fn shard_hours(&self, from: u64, to: u64) -> Vec<(Hour, ShardHour)> {
        let mut hours: BTreeMap<Hour, ShardHour> = BTreeMap::new();
        for place in from..to {
            let (hour, digest) = self.records[place as usize];
            let one = ShardHour::of(place, place + 1, Tally { count: 1, sum: digest });
            hours.entry(hour).or_insert(ShardHour::of(place, place, Tally::default())).extend(one);
        }
        hours.into_iter().collect()
    }

    pub fn position(&self) -> u64 {
        self.commits.last().map_or(0, |commit| commit.to)
    }

    /// What the next commit would do, up to somewhere, and what is booked of it.
    pub fn next_commit(&self, to: u64) -> (Commit, Entry) {
        let from = self.position();
        let mut hours: BTreeMap<Hour, Counts> = BTreeMap::new();
        let mut places: BTreeMap<PlaceKey, Vec<u128>> = BTreeMap::new();
        for place in from..to {
            let (hour, digest) = self.records[place as usize];
            let counts = hours.entry(hour).or_default();
            counts.read.add(digest);
            if place % 7 == 3 {
                counts.letters.entry("malformed".into()).or_default().add(digest);
                continue;
            }
            counts.rows += 1;
            if place % 5 == 4 {
                counts.repeats += 1;
                continue;
            }
            counts.added += 1;
            places.entry(PlaceKey(Some((digest % 9) as i32), None, (digest % 2) as u32)).or_default().push(digest);
        }
        let changes = places.iter().map(|(place, ids)| PlaceEntry {
            place: *place,
            added: ids.iter().copied().collect(),
            removed: Tally::default(),
            late: 0,
            replaced: 0,
        });
        let hours = hours.into_iter().collect();
        let source = SourceEntry { source: LOG.into(), from, to, hours, lost: Vec::new(), holes: Vec::new() };
        let entry = Entry {
            table: TABLE.into(),
            number: self.commits.len() as u64 + 1,
            why: Why::Append,
            part: 1,
            parts: 1,
            sources: vec![source],
            places: changes.collect(),
        };
        (Commit { from, to, places }, entry)
    }

    /// Books a commit and makes it.
    pub fn commit(&mut self, to: u64) {
        let (commit, entry) = self.next_commit(to);
        assert_eq!(self.submit(Command::Prepared(entry)), Booked::Taken);
        self.commits.push(commit);
    }

    /// Opens the table as it is.
    pub fn open(&mut self) -> Booked {
        let positions = match self.position() {
            0 => Vec::new(),
            at => vec![(LOG.to_owned(), at)],
        };
        let opened = Opened { table: TABLE.into(), commits: self.commits.len() as u64, positions, stock: None };
        self.submit(Command::Opened(opened))
    }

    pub fn places(&self) -> BTreeMap<PlaceKey, Tally> {
        let mut places: BTreeMap<PlaceKey, Tally> = BTreeMap::new();
        for (place, ids) in self.commits.iter().flat_map(|commit| &commit.places) {
            places.entry(*place).or_default().extend(ids.iter().copied());
        }
        places
    }

    pub fn live(&self) -> Live {
        let mut live = Live::default();
        live.tails.insert(Self::log(), self.records.len() as u64);
        let table = LiveTable {
            commits: self.commits.len() as u64,
            commits_now: self.commits.len() as u64,
            places: Some(self.places()),
            makes_rows: false,
            partitions: None,
        };
        live.tables.insert(TABLE.into(), table);
        live
    }

    pub fn balance(&self) -> Balance {
        balance(&self.ledger, &self.live(), &Choice::default())
    }

    pub fn assert_even(&self, seed: u64) {
        let balance = self.balance();
        assert_eq!(balance.findings, [], "seed {seed}");
        assert_eq!(balance.incidents, [], "seed {seed}");
        for line in &balance.lines {
            assert_eq!(line.balance, 0, "seed {seed}: {line:?}");
        }
    }
}

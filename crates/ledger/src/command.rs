//! What is booked, and what becomes of it.

use serde::{Deserialize, Serialize};
use weir_types::{Hour, LogName, Tally};

use crate::balance::Hop;
use crate::book::{DoorCounts, Entry, FunctionHours, PlaceKey, ShardHour};

/// What a shard has stored, from where its book ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streamed {
    /// The shard's log.
    pub log: LogName,
    /// Where the book ends.
    pub from: u64,
    /// Where it ends then.
    pub to: u64,
    /// What came, by the hour of its arrival.
    pub hours: Vec<(Hour, ShardHour)>,
}

/// A table that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The table.
    pub table: String,
    /// Commits that it has.
    pub commits: u64,
    /// The next record of each source.
    pub positions: Vec<(String, u64)>,
    /// What its places hold, for a table that has no book yet.
    pub stock: Option<Vec<(PlaceKey, Tally)>>,
}

/// What an audit found a table to be, to be given to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// The table.
    pub table: String,
    /// Its version.
    pub version: u64,
    /// Its commits.
    pub commits: u64,
    /// A mark of the version.
    pub mark: Option<u64>,
}

/// A change of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Shards have stored records. Each is taken if it begins where its book ends; a shard without a book begins one.
    Streamed(Vec<Streamed>),
    /// A shard's log ends before its book does.
    Rewound {
        /// The shard's log.
        log: LogName,
        /// Where the log ends.
        tail: u64,
    },
    /// A table is open.
    Opened(Opened),
    /// A table is about to commit.
    Prepared(Entry),
    /// Tables have so many commits: entries up to these are settled.
    Made(Vec<(String, u64)>),
    /// A function has worked something off. Each number is taken once.
    Functions(Vec<FunctionHours>),
    /// Something came to the doors.
    Doors(Vec<(String, Hour, DoorCounts)>),
    /// Something was noticed that no book shows. The same words of the same hop and name are taken once while they
    /// are not accepted.
    Noticed {
        /// At which hop.
        hop: Hop,
        /// The stream's or table's name.
        name: String,
        /// What, in words.
        what: String,
    },
    /// A table was audited.
    Audited(Audited),
    /// Somebody has looked at an incident.
    Accepted {
        /// Its number.
        incident: u64,
        /// What they say.
        note: String,
    },
    /// Somebody has looked at a table: what it holds is what it should hold from here on, holes are accepted.
    Recounted {
        /// The table.
        table: String,
        /// Commits that the table has.
        commits: u64,
        /// What its places hold.
        places: Vec<(PlaceKey, Tally)>,
        /// What they say.
        note: String,
    },
    /// Hours before this one are summed up into one.
    Folded {
        /// The first that is kept.
        before: Hour,
    },
    /// Books of what is not in the plan any more are closed.
    Closed {
        /// Tables.
        tables: Vec<String>,
    },
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booked {
    /// It is in the books; what of it was there before was left out.
    Taken,
    /// It is not: it does not follow what is in the books, or there is no such thing.
    Stale,
}

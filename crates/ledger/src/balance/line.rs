//! One line of a balance.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weir_types::Hour;

/// A hop of a record's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hop {
    /// From a sender to a stream.
    Door,
    /// A stream's shards.
    Stream,
    /// From a stream to what a function makes of it.
    Function,
    /// From a stream to a table's files.
    Table,
    /// From a stream to its archive.
    Archive,
    /// From whoever gives a record up to the table of dead letters.
    DeadLetters,
}

impl Hop {
    /// All of them, in their order.
    pub const ALL: [Self; 6] =
        [Self::Door, Self::Stream, Self::Function, Self::Table, Self::Archive, Self::DeadLetters];

    /// Returns the hop's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Stream => "stream",
            Self::Function => "function",
            Self::Table => "table",
            Self::Archive => "archive",
            Self::DeadLetters => "dead_letters",
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownHop(String);

impl fmt::Display for UnknownHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a hop: door, stream, function, table, archive and dead_letters are", self.0)
    }
}

impl std::error::Error for UnknownHop {}

impl FromStr for Hop {
    type Err = UnknownHop;
    fn from_str(text: &str) -> Result<Self, UnknownHop> {
        Self::ALL.into_iter().find(|hop| hop.as_str() == text).ok_or_else(|| UnknownHop(text.to_owned()))
    }
}

/// What went through one hop in one hour: `records_in = out + deduplicated + dead_lettered + refused + filtered + others + lost +
/// in_flight + unbooked + balance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The hop.
    pub hop: Hop,
    /// The stream's, function's or table's name.
    pub name: String,
    /// Where the records came from, if not from a stream of the name.
    pub from: Option<String>,
    /// The hour in which the records arrived.
    pub hour: Hour,
    /// Records that came.
    pub records_in: u64,
    /// Records, or rows, that went on.
    pub out: u64,
    /// Records, or rows, that were there already.
    pub deduplicated: u64,
    /// Records, or rows, that became dead letters.
    pub dead_lettered: u64,
    /// Records that were refused, whose sender was told so.
    pub refused: u64,
    /// Records of which SQL made no row, less rows that it made beyond one of each.
    pub filtered: i64,
    /// Records that are another output's.
    pub others: u64,
    /// Records that were gone before they could be read.
    pub lost: u64,
    /// Records that are still to be read.
    pub in_flight: u64,
    /// Records that were read while nobody kept books.
    pub unbooked: u64,
    /// Of the rows that went on, those that took the place of older ones.
    pub replaced: u64,
    /// Of the rows that went on, those that came late.
    pub late: u64,
    /// What is missing; negative: what is too much.
    pub balance: i64,
}

impl Line {
    pub(crate) fn new(hop: Hop, name: &str, hour: Hour) -> Self {
        Self {
            hop,
            name: name.to_owned(),
            from: None,
            hour,
            records_in: 0,
            out: 0,
            deduplicated: 0,
            dead_lettered: 0,
            refused: 0,
            filtered: 0,
            others: 0,
            lost: 0,
            in_flight: 0,
            unbooked: 0,
            replaced: 0,
            late: 0,
            balance: 0,
        }
    }

    /// Computes the balance from the rest.
    pub(crate) fn balanced(mut self) -> Self {
        let out =
            [self.out, self.deduplicated, self.dead_lettered, self.refused, self.others, self.lost, self.in_flight];
        let out: u64 = out.into_iter().chain([self.unbooked]).sum();
        self.balance = signed(self.records_in) - signed(out) - self.filtered;
        self
    }

    /// Adds another line's amounts.
    pub fn add(&mut self, other: &Self) {
        self.records_in += other.records_in;
        self.out += other.out;
        self.deduplicated += other.deduplicated;
        self.dead_lettered += other.dead_lettered;
        self.refused += other.refused;
        self.filtered += other.filtered;
        self.others += other.others;
        self.lost += other.lost;
        self.in_flight += other.in_flight;
        self.unbooked += other.unbooked;
        self.replaced += other.replaced;
        self.late += other.late;
        self.balance += other.balance;
    }
}

pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

//! The book of a function: what it has done of each source, hour by hour.
//!
//! The outbox writes, in the append that makes a batch done, what the batch was. Here it is taken over by number, each
//! number once, so that telling it again is harmless.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_types::{Hour, Tally};

use super::ranges::{overlap, push_range};

/// What became of records or messages of one hour.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionCounts {
    /// Records that were worked off, dead letters among them.
    pub done: Tally,
    /// Of these, records that became dead letters.
    pub letters: u64,
    /// What was made, by output.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub made: BTreeMap<String, u64>,
}

impl FunctionCounts {
    /// Adds what became of others.
    pub fn merge(&mut self, other: &Self) {
        self.done.merge(other.done);
        self.letters += other.letters;
        for (output, count) in &other.made {
            *self.made.entry(output.clone()).or_default() += count;
        }
    }
}

/// What an outbox says that was done since the number before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionHours {
    /// The function.
    pub function: String,
    /// The outbox: the log that says so.
    pub outbox: String,
    /// Its source: a shard's log, or a queue.
    pub source: String,
    /// The number: each is taken once, in order.
    pub number: u64,
    /// Where the source was begun.
    pub since: u64,
    /// What became of the records, by the hour of their arrival.
    pub hours: Vec<(Hour, FunctionCounts)>,
    /// Records that were gone before they could be read: first and end of each range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<(u64, u64)>,
    /// How far the outbox has come with it.
    pub reached: Reached,
}

/// How far an outbox has come on its source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reached {
    /// Every record below it is done.
    pub next: u64,
    /// Records beyond that are done: first and end of each range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<(u64, u64)>,
}

impl Reached {
    /// Returns how many records of a range are not done.
    pub(crate) fn waiting(&self, first: u64, end: u64) -> u64 {
        let from = first.max(self.next);
        end.saturating_sub(from).saturating_sub(overlap(&self.done, from, end))
    }

    /// Returns the place behind the last record that is done.
    pub(crate) fn end(&self) -> u64 {
        self.done.last().map_or(self.next, |(_, end)| self.next.max(*end))
    }
}

/// The book of one outbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FunctionBook {
    /// The function.
    pub function: String,
    /// The source that the hours are of.
    pub source: String,
    /// Where the source was begun.
    pub since: u64,
    /// The last number that was taken.
    pub number: u64,
    /// Hour by hour.
    pub hours: BTreeMap<Hour, FunctionCounts>,
    /// Records that were gone before they could be read: first and end of each range.
    #[serde(default)]
    pub lost: Vec<(u64, u64)>,
    /// How far the outbox has come with that.
    #[serde(default)]
    pub reached: Reached,
    /// Hours that are too old to be told apart, and those of sources before this one.
    pub older: FunctionCounts,
}

impl FunctionBook {
    /// Takes over what an outbox says; false if it was taken before.
    pub(crate) fn take(&mut self, said: FunctionHours) -> bool {
        if said.number <= self.number {
            return false;
        }
        if self.source != said.source {
            self.fold_before(Hour(i64::MAX));
            self.lost.clear();
            self.source = said.source;
        }
        self.function = said.function;
        self.since = said.since;
        self.number = said.number;
        self.reached = said.reached;
        for (hour, counts) in said.hours {
            self.hours.entry(hour).or_default().merge(&counts);
        }
        said.lost.iter().for_each(|range| push_range(&mut self.lost, *range));
        true
    }

    pub(crate) fn fold_before(&mut self, before: Hour) {
        let kept = self.hours.split_off(&before);
        for counts in std::mem::replace(&mut self.hours, kept).into_values() {
            self.older.merge(&counts);
        }
    }
}

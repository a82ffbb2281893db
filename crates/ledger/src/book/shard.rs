//! The book of a shard: what it has stored, hour by hour.
//!
//! Invariant: the hours are in order and next to each other, from `since` to `next`: the log's time never goes back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_types::{Hour, Tally};

/// What a shard took in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardHour {
    /// The first record's place.
    pub first: u64,
    /// The place behind the last record's.
    pub end: u64,
    /// The records that were there when they were counted.
    pub tally: Tally,
    /// Records that were gone by then.
    #[serde(default)]
    pub lost: u64,
}

impl ShardHour {
    /// Records from `first` to before `end`.
    pub fn of(first: u64, end: u64, tally: Tally) -> Self {
        Self { first, end, tally, lost: 0 }
    }

    /// Adds what follows.
    pub fn extend(&mut self, next: Self) {
        if self.first == self.end {
            self.first = next.first;
        }
        self.end = self.end.max(next.end);
        self.tally.merge(next.tally);
        self.lost += next.lost;
    }

    /// Returns how many places there are.
    pub fn places(&self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// Returns how many of them lie at `from` or behind, and before `to`.
    pub fn within(&self, from: u64, to: u64) -> u64 {
        self.end.min(to).saturating_sub(self.first.max(from))
    }
}

/// The book of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardBook {
    /// Where it was begun.
    pub since: u64,
    /// Where it ends.
    pub next: u64,
    /// Hour by hour.
    pub hours: BTreeMap<Hour, ShardHour>,
    /// Hours that are too old to be told apart.
    pub older: Tally,
}

impl ShardBook {
    /// Begins a book.
    pub(crate) fn begin(since: u64) -> Self {
        Self { since, next: since, ..Self::default() }
    }

    /// Tells whether an hour is the last that has records.
    pub(crate) fn is_last(&self, hour: Hour) -> bool {
        self.hours.keys().next_back().is_none_or(|last| hour >= *last)
    }

    pub(crate) fn add(&mut self, hours: Vec<(Hour, ShardHour)>, to: u64) {
        for (hour, more) in hours {
            self.hours.entry(hour).or_default().extend(more);
        }
        self.next = to;
    }

    /// Forgets what is at `to` and behind: the log has lost it. Sums of an hour that is cut are gone with it.
    pub(crate) fn rewind(&mut self, to: u64) {
        self.hours.retain(|_, hour| hour.first < to);
        for hour in self.hours.values_mut().filter(|hour| hour.end > to) {
            hour.end = to;
            hour.tally = Tally::default();
            hour.lost = hour.places();
        }
        self.next = to;
        self.since = self.since.min(to);
    }

    pub(crate) fn fold_before(&mut self, before: Hour) {
        let kept = self.hours.split_off(&before);
        for hour in std::mem::replace(&mut self.hours, kept).into_values() {
            self.older.merge(hour.tally);
        }
    }
}

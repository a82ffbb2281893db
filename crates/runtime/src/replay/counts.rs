//! What came of a run's records at one target.

use serde::{Deserialize, Serialize};

/// Records read, and what became of them. Of a table fed by a stream or by SQL, over crashes:
/// `rows = added + replaced + unchanged + refused`, as far as nothing is `untold`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records that were read.
    pub read: u64,
    /// Records whose event time is outside of what was asked for.
    pub passed_over: u64,
    /// Rows that were made of the others.
    pub rows: u64,
    /// Rows that are new in the table.
    pub added: u64,
    /// Rows that took the place of one with their id that differed.
    pub replaced: u64,
    /// Rows that were there already.
    pub unchanged: u64,
    /// Rows that a rule of the table handed to the dead letters.
    pub refused: u64,
    /// Records that became dead letters.
    pub dead_lettered: u64,
    /// Records that damage had taken from the log before.
    pub lost: u64,
    /// Records whose rows are durable, and of which a crash has taken what became of them.
    pub untold: u64,
}

impl Counts {
    /// Returns how many of the run's records are behind it.
    pub fn behind(&self) -> u64 {
        self.read + self.lost + self.untold
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.read += other.read;
        self.passed_over += other.passed_over;
        self.rows += other.rows;
        self.added += other.added;
        self.replaced += other.replaced;
        self.unchanged += other.unchanged;
        self.refused += other.refused;
        self.dead_lettered += other.dead_lettered;
        self.lost += other.lost;
        self.untold += other.untold;
    }
}

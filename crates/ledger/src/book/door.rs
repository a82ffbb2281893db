//! The book of a door: what came, and what became of it.

use serde::{Deserialize, Serialize};

/// What came to a stream's door. A crash may lose the last seconds of these counts; what is stored is the stream's book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DoorCounts {
    /// Records that came.
    pub received: u64,
    /// Records that were stored.
    pub stored: u64,
    /// Records that an earlier try had stored.
    pub repeated: u64,
    /// Records that were refused.
    pub refused: u64,
    /// Records that became dead letters.
    pub dead_lettered: u64,
    /// Records of bodies that were not taken, whose sender was told so.
    pub failed: u64,
}

impl DoorCounts {
    /// Adds what came later.
    pub fn merge(&mut self, other: Self) {
        self.received += other.received;
        self.stored += other.stored;
        self.repeated += other.repeated;
        self.refused += other.refused;
        self.dead_lettered += other.dead_lettered;
        self.failed += other.failed;
    }

    /// Returns what came after `earlier`, of counters that only grow.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            received: self.received.saturating_sub(earlier.received),
            stored: self.stored.saturating_sub(earlier.stored),
            repeated: self.repeated.saturating_sub(earlier.repeated),
            refused: self.refused.saturating_sub(earlier.refused),
            dead_lettered: self.dead_lettered.saturating_sub(earlier.dead_lettered),
            failed: self.failed.saturating_sub(earlier.failed),
        }
    }

    /// Tells whether nothing came.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

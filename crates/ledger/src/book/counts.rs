//! What became of the records of one hour that a table read from one source.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_types::Tally;

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What became of records on their way into a table.
///
/// In books that agree: `read = others + letters + given to the function`, and `rows = added + repeats + replaced +
/// refused`; without a function `rows` is what was given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Records that were read, by the digests of what was decoded.
    pub read: Tally,
    /// Records that are another output's.
    #[serde(skip_serializing_if = "is_zero")]
    pub others: u64,
    /// Records that became dead letters, by cause; the ids are the digests of the letters' ids.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub letters: BTreeMap<String, Tally>,
    /// Rows that were made of the rest.
    pub rows: u64,
    /// Rows that the table had not.
    pub added: u64,
    /// Rows whose id it had.
    #[serde(skip_serializing_if = "is_zero")]
    pub repeats: u64,
    /// Rows that took the place of an older one.
    #[serde(skip_serializing_if = "is_zero")]
    pub replaced: u64,
    /// Rows that a rule of the table handed to the dead letters.
    #[serde(skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Rows that came late, kept or not.
    #[serde(skip_serializing_if = "is_zero")]
    pub late: u64,
}

impl Counts {
    /// Adds what became of other records.
    pub fn merge(&mut self, other: &Self) {
        self.read.merge(other.read);
        self.others += other.others;
        for (cause, tally) in &other.letters {
            self.letters.entry(cause.clone()).or_default().merge(*tally);
        }
        self.rows += other.rows;
        self.added += other.added;
        self.repeats += other.repeats;
        self.replaced += other.replaced;
        self.refused += other.refused;
        self.late += other.late;
    }

    /// Takes away what was added.
    pub fn subtract(&mut self, other: &Self) {
        self.read.subtract(other.read);
        let take = |from: &mut u64, count: u64| *from = from.saturating_sub(count);
        take(&mut self.others, other.others);
        for (cause, tally) in &other.letters {
            if let Some(of) = self.letters.get_mut(cause) {
                of.subtract(*tally);
            }
        }
        self.letters.retain(|_, tally| !tally.is_empty());
        take(&mut self.rows, other.rows);
        take(&mut self.added, other.added);
        take(&mut self.repeats, other.repeats);
        take(&mut self.replaced, other.replaced);
        take(&mut self.refused, other.refused);
        take(&mut self.late, other.late);
    }

    /// Returns all dead letters of records.
    pub fn letters_of_records(&self) -> Tally {
        self.letters.values().copied().sum()
    }

    /// Returns the records that were given to the function, or went into the table as they are.
    pub fn given(&self) -> u64 {
        self.read.count.saturating_sub(self.others).saturating_sub(self.letters_of_records().count)
    }

    /// Returns the rows that the table answered for.
    pub fn settled_rows(&self) -> u64 {
        self.added + self.repeats + self.replaced + self.refused
    }

    /// Tells whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

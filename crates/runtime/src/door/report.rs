//! What the door answers.

use serde::Serialize;
use weir_types::{SequenceNumber, ShardId};

/// Refusals that an answer lists one by one; beyond, they are counted.
pub const REFUSALS_LISTED_MAX: usize = 1000;

/// A record that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Where it stood: the line of NDJSON and CSV, else the number of the record, from 1.
    pub line: u64,
    /// The field, with dots between nested names; empty for the record as a whole.
    pub field: String,
    /// Why, in words.
    pub reason: String,
}

/// Where records were stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The shard.
    pub shard: ShardId,
    /// The first record's place.
    pub first: SequenceNumber,
    /// How many follow each other from there.
    pub records: u64,
}

/// What became of a body's records: `received = stored + repeated + refused + dead_lettered`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Records in the body, as far as it was read.
    pub received: u64,
    /// Records that are durable now.
    pub stored: u64,
    /// Records that an earlier try of the same batch had stored.
    pub repeated: u64,
    /// Records that were refused.
    pub refused: u64,
    /// Records of an unknown schema, kept as dead letters.
    pub dead_lettered: u64,
    /// The refused records, the first [`REFUSALS_LISTED_MAX`] of them.
    pub refusals: Vec<Refusal>,
    /// Where the stored records are, per append.
    pub places: Vec<Place>,
}

impl Report {
    pub(crate) fn refuse(&mut self, line: u64, field: &str, reason: &str) {
        self.received += 1;
        self.refused += 1;
        if self.refusals.len() < REFUSALS_LISTED_MAX {
            self.refusals.push(Refusal { line, field: field.to_owned(), reason: reason.to_owned() });
        }
    }
}

//! An entry: what one commit of a table is about to do.
//!
//! ```text
//! entry N, part 1 of 2 --> entry N, part 2 of 2 --> Delta commit N      counts
//! entry N, part 1 of 2 --> crash                                        counts nothing: parts are missing
//! entry N (all parts)  --> crash --> entry N again --> Delta commit N   the later one counts
//! ```

use serde::{Deserialize, Serialize};
use weir_types::{Hour, Tally};

use super::counts::Counts;
use super::place::PlaceKey;

/// Places in one part of an entry: some 400 KB as it is stored. A commit that touches more has several parts.
pub const PLACES_PER_PART: usize = 2000;

/// Why a partition changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Rows of records that arrived.
    Append,
    /// Rows of dead letters that were redriven.
    Redrive,
    /// Rows of records that were replayed.
    Replay,
    /// Rows that were made of another table.
    Rollup,
    /// Rows of a crawl's run: taken over, dropped, or of none.
    Run,
    /// Rows that were removed or exchanged by no record: repeats that a compaction removed.
    Compaction,
}

/// What a commit reads from one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceEntry {
    /// The source's name, such as `stream/flights/0`.
    pub source: String,
    /// The first record.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
    /// What became of them, by the hour of their arrival. Empty for sources that are no records, such as a rollup's.
    pub hours: Vec<(Hour, Counts)>,
    /// Records between the two that were gone before they could be read: first and end of each range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<(u64, u64)>,
    /// Records between the two that nobody read: first and end of each range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<(u64, u64)>,
}

/// What a commit changes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceEntry {
    /// The place.
    pub place: PlaceKey,
    /// Rows that it had not.
    pub added: Tally,
    /// Rows that it has no more.
    #[serde(default, skip_serializing_if = "Tally::is_empty")]
    pub removed: Tally,
    /// Of the new rows, those that came late.
    #[serde(default)]
    pub late: u64,
    /// Rows that took the place of an older one.
    #[serde(default)]
    pub replaced: u64,
}

impl PlaceEntry {
    /// Tells whether the place's rows change.
    pub fn changes(&self) -> bool {
        self.added.count + self.removed.count + self.replaced > 0
    }
}

/// What one commit of a table is about to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The table.
    pub table: String,
    /// The commit's number: the table has so many commits once it is made.
    pub number: u64,
    /// Why.
    pub why: Why,
    /// This part, from 1.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// What is read. In the last part alone.
    pub sources: Vec<SourceEntry>,
    /// What changes.
    pub places: Vec<PlaceEntry>,
}

impl Entry {
    /// Cuts an entry into parts that one command holds each.
    pub fn into_parts(self) -> Vec<Self> {
        let parts = u32::try_from(self.places.len().div_ceil(PLACES_PER_PART).max(1)).unwrap_or(u32::MAX);
        if parts == 1 {
            return vec![Self { part: 1, parts, ..self }];
        }
        let Self { table, number, why, mut sources, places, .. } = self;
        let chunks = places.chunks(PLACES_PER_PART).zip(1..);
        chunks
            .map(|(places, part)| Self {
                table: table.clone(),
                number,
                why,
                part,
                parts,
                sources: if part == parts { std::mem::take(&mut sources) } else { Vec::new() },
                places: places.to_vec(),
            })
            .collect()
    }

    /// Returns about how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        let hours: usize = self.sources.iter().map(|source| source.hours.len()).sum();
        128 + self.places.len() * size_of::<PlaceEntry>() + self.sources.len() * 96 + hours * 200
    }

    /// Returns the first and the last hour of arrival that it has records of.
    pub(crate) fn hours(&self) -> Option<(Hour, Hour)> {
        let hours = || self.sources.iter().flat_map(|source| source.hours.iter().map(|(hour, _)| *hour));
        hours().min().zip(hours().max())
    }
}

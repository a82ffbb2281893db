//! What is there, as whoever runs the hops says.

use std::collections::BTreeMap;

use weir_types::{Hour, LogName, Tally};

/// A partition: its day, in days since 1970, and its hour.
pub type PartitionKey = (Option<i32>, Option<u8>);

/// What is there. What is left out is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// Where each shard's log ends.
    pub tails: BTreeMap<LogName, u64>,
    /// By name.
    pub tables: BTreeMap<String, LiveTable>,
    /// By the stream's name, then by shard and hour.
    pub archives: BTreeMap<String, BTreeMap<(u32, Hour), ArchivedHour>>,
}

/// A table that is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveTable {
    /// Commits that it had when what follows was read.
    pub commits: u64,
    /// Commits that it has: to be read after the ledger cannot change any more.
    pub commits_now: u64,
    /// Its rows by partition, going by the Delta log at `commits`; none where a file does not say.
    pub partitions: Option<BTreeMap<PartitionKey, u64>>,
    /// The ids in its files, by place, at `commits`, where they were read.
    pub places: Option<BTreeMap<crate::PlaceKey, Tally>>,
    /// Whether rows are made by SQL, which may make more or fewer of them.
    pub makes_rows: bool,
}

/// What an archive holds of one shard and hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchivedHour {
    /// The first record's place.
    pub first: u64,
    /// The place behind the last.
    pub end: u64,
    /// The records, as the manifests have them.
    pub tally: Tally,
}

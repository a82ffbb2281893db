//! What is there, as whoever runs the hops says.

use std::collections::BTreeMap;

use weir_types::{Hour, LogName, Tally};

/// What is there. What is left out is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// Where each shard's log ends.
    pub tails: BTreeMap<LogName, u64>,
    /// By name.
    pub tables: BTreeMap<String, LiveTable>,
    /// By the outbox's log.
    pub functions: BTreeMap<String, LiveFunction>,
    /// By the stream's name, then by shard and hour.
    pub archives: BTreeMap<String, BTreeMap<(u32, Hour), ArchivedHour>>,
}

/// A table that is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveTable {
    /// Commits that it has: to be read before the ledger is.
    pub commits: u64,
    /// Its rows by partition, going by the Delta log at these commits; none where a file does not say, or where the log was
    /// not read at these commits.
    pub partitions: Option<BTreeMap<(Option<i32>, Option<u8>), u64>>,
    /// The ids in its files, by place, where they were read.
    pub places: Option<BTreeMap<crate::PlaceKey, Tally>>,
    /// The logs that feed it.
    pub sources: Vec<String>,
    /// Whether rows are made by SQL, which may make more or fewer of them.
    pub makes_rows: bool,
}

/// An outbox as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveFunction {
    /// Every record below it is done.
    pub next: u64,
    /// Records beyond that are done: first and end of each range.
    pub done: Vec<(u64, u64)>,
}

impl LiveFunction {
    /// Returns how many records of a range are not done.
    pub(crate) fn waiting(&self, first: u64, end: u64) -> u64 {
        let open = end.saturating_sub(first.max(self.next));
        let done = self.done.iter().map(|(from, to)| end.min(*to).saturating_sub(first.max(*from).max(self.next)));
        open.saturating_sub(done.sum())
    }
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

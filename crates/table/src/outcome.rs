//! What a table's operations answer with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::file::DataFile;
use crate::place::Place;

/// What rows came from, such as `stream/flights/0`. Delta's application transaction id is `weir/` and this.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(String);

impl SourceId {
    /// Names a source.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of a batch: `added + repeats + replaced + refused.len()` is its number of rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appended {
    /// Rows that are in the buffer now.
    pub added: u64,
    /// Rows whose id was there already. They were dropped: as all are where the first stays, and where the last does,
    /// those whose values are all equal.
    pub repeats: u64,
    /// Rows that take the place of an older one with the same id and other values.
    pub replaced: u64,
    /// Rows that came late, kept or not; repeats are not counted.
    pub late: u64,
    /// Rows without a usable event time, kept or not; repeats are not counted.
    pub timeless: u64,
    /// Rows that a rule hands back, in order.
    pub refused: Vec<Refused>,
}

/// A row that a rule hands back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the batch, counted from 0.
    pub row: usize,
    /// Why.
    pub reason: Reason,
}

/// Why a row was handed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The event time is null.
    NoTime,
    /// The event time lies outside of the years 1900 to 2099.
    AbsurdTime,
    /// The event time is older than the lookback allows.
    Late,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTime => "the event time is null",
            Self::AbsurdTime => "the event time lies outside of the years 1900 to 2099",
            Self::Late => "the event time is older than the lookback",
        })
    }
}

/// What a commit made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The table's version after it. Unchanged if there was nothing to commit.
    pub version: u64,
    /// Rows.
    pub rows: u64,
    /// Files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// What is in memory alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// Rows.
    pub rows: u64,
    /// Those of them that are to take the place of committed rows: views show them once they are committed.
    pub hidden: u64,
    /// Bytes of their arrays and ids.
    pub bytes: u64,
    /// How long the oldest row waits.
    pub oldest: Option<Duration>,
    /// Whether sources were read further than the last commit says, rows or not.
    pub moved: bool,
}

/// What a compaction did. All nothing if there was nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Where.
    pub place: Option<Place>,
    /// Files that were replaced.
    pub files_in: u64,
    /// Files that replace them.
    pub files_out: u64,
    /// Rows that were rewritten.
    pub rows: u64,
    /// Rows that were left out, since another has their id.
    pub removed: u64,
    /// Bytes of the replaced files.
    pub bytes_in: u64,
    /// Bytes of the new files.
    pub bytes_out: u64,
    /// Bytes that did not fit in memory and were spilled meanwhile.
    pub spilled: u64,
    /// Whether there is more to compact.
    pub more: bool,
}

/// What a vacuum deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vacuumed {
    /// Data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of the Delta log that a checkpoint stands for.
    pub log_files: u64,
    /// Whether a checkpoint was written.
    pub checkpoint: Option<u64>,
}

/// Counters of a table. Rows, files and bytes are those of the last commit; the rest count since the table was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// The last version.
    pub version: u64,
    /// Rows in files. Files of other writers that don't say how many they have count 0.
    pub rows: u64,
    /// Files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Rows taken.
    pub added: u64,
    /// Repeats dropped.
    pub repeats: u64,
    /// Rows that took an older one's place.
    pub replaced: u64,
    /// Late rows.
    pub late: u64,
    /// Rows without a usable event time.
    pub timeless: u64,
    /// Rows handed back.
    pub refused: u64,
    /// Commits.
    pub commits: u64,
    /// Times that a filter could not exclude a file, so that its ids were needed.
    pub filter_hits: u64,
    /// Files whose id columns were read.
    pub id_reads: u64,
}

/// A consistent picture of a table: what is committed, and what is not yet.
///
/// No row is in both; no id is twice. The files stay readable until a vacuum removes what was replaced since.
#[derive(Debug, Clone)]
pub struct View {
    /// The version that the files belong to.
    pub version: u64,
    /// The table's columns, then its partition columns.
    pub schema: SchemaRef,
    /// The committed files. They hold the table's columns without the partition columns; columns that were added later
    /// are missing, and are null.
    pub files: Arc<[Arc<DataFile>]>,
    /// The rows behind the last commit, in batches of `schema`.
    pub buffered: Vec<RecordBatch>,
    /// Buffered rows that are to take the place of committed ones. They are not in `buffered`, and the committed rows
    /// are still in `files`: a commit, and then another view, shows them.
    pub hidden: u64,
    /// How far each source was read, the buffered rows included: the next sequence number.
    pub positions: BTreeMap<SourceId, u64>,
}

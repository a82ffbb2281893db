//! Tables that take whole runs: a run's rows are gathered aside until its end marker says what becomes of them.
//!
//! ```text
//!   started N | rows ------------------> aside (a table below the table's folder, with its own place in the stream)
//!   ended N, complete -> [commit aside] -> table takes over: one version -> aside is cleared, its place behind the marker
//!   ended N, otherwise -------------------------------------------------> aside is cleared, its place behind the marker
//!   rows between two runs -------------> the table itself
//! ```
//!
//! Invariants:
//! - The place aside passes the end marker in the same transaction that clears what was gathered. So who crashes in between
//!   meets the marker again, and does again what is known by a place of the table (`run/SHARD`) to have been done or not.
//! - The place `run/SHARD` of the table is behind all that it has of the shard. It moves with what it took, in one version.
//! - What belongs to no run that is under way (a redriven task's items, say) is the table's at once; records that are
//!   redriven to the table wait while a run is under way, since they would be taken for what the run replaces.
//! - A run that brought nothing does not replace anything, unless the plan says that it may.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_stream::Page;
use weir_table::{How, SourceId, Table};
use weir_types::SequenceNumber;

use super::SourceShard;
use crate::crawl::{Mark, Marker, RUN_KEY};
use crate::ledger::Covered;

/// How old gathered rows may become before they are committed: nobody waits for them, and a crash reads them again.
pub(crate) const GATHERED_FRESHNESS: Duration = Duration::from_secs(30);

/// What of a run becomes the table's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    /// Its rows, on top of those that were there.
    Added,
    /// Its rows, in place of those that were there; what a run does that brought none.
    Instead(IfEmpty),
}

/// What a run that brought no row does to a table that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfEmpty {
    /// Nothing: the rows of the run before stay.
    Keep,
    /// It empties it.
    Replace,
}

impl Whole {
    pub fn how(self) -> How {
        match self {
            Self::Added => How::Add,
            Self::Instead(_) => How::Instead,
        }
    }
}

/// Where the rows of a run are gathered.
pub(crate) struct Aside {
    pub table: Arc<Table>,
    pub whole: Whole,
    /// What was gathered and is not committed yet, for the books.
    pub covered: Arc<Covered>,
    /// Whether the reader is within a run.
    under_way: AtomicBool,
    /// What the last end of a run came to that somebody should know.
    note: Mutex<Option<String>>,
}

/// The number of the last run that began.
fn began() -> SourceId {
    SourceId::new("run/began")
}

/// The number of the last run that ended.
fn ended() -> SourceId {
    SourceId::new("run/ended")
}

/// The place up to which the table has all that it is to have of a shard.
pub(super) fn taken(source: &SourceShard) -> SourceId {
    SourceId::new(format!("run/{}", source.shard().log().name()))
}

impl Aside {
    pub fn new(table: Arc<Table>, whole: Whole, covered: Arc<Covered>) -> Self {
        let aside = Self { table, whole, covered, under_way: AtomicBool::new(false), note: Mutex::new(None) };
        let within = aside.run().is_some();
        aside.set_under_way(within);
        aside
    }

    /// Returns the number of the run that is under way, as far as is durable.
    pub fn run(&self) -> Option<u64> {
        let positions = self.table.positions();
        let number = *positions.get(&began())?;
        (positions.get(&ended()).is_none_or(|ended| *ended < number)).then_some(number)
    }

    /// Tells whether the reader is within a run.
    pub fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Acquire)
    }

    pub(super) fn set_under_way(&self, within: bool) {
        self.under_way.store(within, Ordering::Release);
    }

    /// Returns what the last end of a run came to that somebody should know.
    pub fn note(&self) -> Option<String> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_note(&self, note: Option<String>) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = note;
    }

    /// Returns the places that a marker moves, beside that in the shard.
    pub(super) fn moved_by(marker: Marker) -> (SourceId, u64) {
        match marker.mark {
            Mark::Started => (began(), marker.run),
            Mark::Ended(_) => (ended(), marker.run),
        }
    }
}

/// Where what was read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// The table, as it comes.
    Table,
    /// Aside: rows of the run that is under way.
    Aside,
    /// The table, now: rows of no run.
    Between,
    /// Nowhere: a marker.
    Marker(Marker),
}

/// A page in parts, each for one place.
pub(super) struct Cut {
    pub parts: Vec<(Into, Page)>,
    /// Whether a run is under way behind it.
    pub within: bool,
}

/// Takes a page apart at markers, and at `taken`, up to which the table has all. `within` says whether a run is under way
/// before it.
///
/// # Errors
/// For a block that breaks the format, in words.
pub(super) fn cut(page: &Page, mut within: bool, taken: SequenceNumber) -> Result<Cut, String> {
    let mut parts = Vec::new();
    let mut from = page.start();
    let mut push = |into: Into, from: SequenceNumber, to: SequenceNumber| {
        let between = |into, from: SequenceNumber, to| {
            (from < to).then(|| (into, page.clone().starting_at(from).cut(u64::MAX, to)))
        };
        if into == Into::Between && from < taken && taken < to {
            parts.extend(between(into, from, taken));
            parts.extend(between(into, taken, to));
        } else {
            parts.extend(between(into, from, to));
        }
    };
    for record in page.records() {
        let record = record.map_err(|error| error.to_string())?;
        if record.key != Some(RUN_KEY) {
            continue;
        }
        // One that can't be read is no marker, and nobody's item: whoever waits for it is told by the run that stays open.
        let Ok(marker) = Marker::decode(record.body).inspect_err(|error| {
            tracing::error!(at = %record.sequence, error, "a marker of a run can't be read, and is passed over");
        }) else {
            continue;
        };
        push(if within { Into::Aside } else { Into::Between }, from, record.sequence);
        push(Into::Marker(marker), record.sequence, record.sequence + 1);
        from = record.sequence + 1;
        within = marker.mark == Mark::Started;
    }
    push(if within { Into::Aside } else { Into::Between }, from, page.end());
    Ok(Cut { parts, within })
}

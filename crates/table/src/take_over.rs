//! Taking over: what was gathered aside becomes the table's, on top of what it has or instead of it, in one Delta version.
//!
//! ```text
//!   aside's files --footers: statistics, ids' sums--> [buffered rows: commit] --one transaction--> named where they lie
//!                                                          (Instead: all that the table has by then out)
//!   aside --one transaction--> empty, its sources moved on
//! ```
//!
//! Both steps are known by a position that they move: what has reached it is done, and done again does nothing. So whoever
//! was interrupted anywhere repeats both.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::datatypes::Schema;
use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use parquet::arrow::parquet_to_arrow_schema;
use weir_types::Tally;

use crate::error::{AppendError, CommitError, FileError, TakeOverError};
use crate::file::DataFile;
use crate::log::{Add, Change, Rows};
use crate::outcome::{Committed, SourceId};
use crate::place::Place;
use crate::reader::Reader;
use crate::replace::New;
use crate::statistics::Statistics;
use crate::table::{Table, Writing};

/// How often what happens meanwhile (commits, other writers) is caught up with.
const ATTEMPTS_MAX: u32 = 10;
/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;

/// What becomes of what the table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It stays.
    Add,
    /// It goes: the new rows take the place of all.
    Instead,
}

/// Which of a table's files go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    Nothing,
    Everything,
}

impl Table {
    /// Makes the committed rows of the [table aside](Self::open_aside) this table's, in one transaction, and moves a position
    /// of this table. No file is written: the table names those of the table aside, which it keeps naming until
    /// [`clear`](Self::clear).
    ///
    /// A position that was reached before says that this was done: then nothing happens. Buffered rows of this table are
    /// committed first. Compactions, appends and views go on meanwhile: a compaction whose files are gone by then gives up.
    /// Fenced like a commit, and counted as one. If the future is dropped, it may still have happened: repeat it.
    ///
    /// Memory: some kilobytes per file.
    ///
    /// # Errors
    /// See [`TakeOverError`]. The table is as it was, unless the error is `Commit`, after which it may have happened: repeat
    /// it.
    pub async fn take_over(&self, how: How, position: (SourceId, u64)) -> Result<Committed, TakeOverError> {
        let table = || self.spec.name.clone();
        let Some(aside) = self.aside.get() else { return Err(TakeOverError::NoAside { table: table() }) };
        for side in [self, aside.as_ref()] {
            if let Some(reshaping) = side.reshaping() {
                let table = side.spec.name.clone();
                return Err(AppendError::Reshaping { table, reshaping: Box::new(reshaping) }.into());
            }
        }
        // While this is held, no compaction exchanges what is gathered, and no vacuum looks for what is nobody's.
        let mut gathering = aside.writing.lock().await;
        aside.resolve(&mut gathering).await?;
        if aside.pending().rows > 0 {
            return Err(TakeOverError::Uncommitted { table: table() });
        }
        let gathered = aside.state().files.list().clone();
        let new = self.adopted(aside, &gathered).await?;
        if how == How::Add && !self.spec.unique_by.is_empty() {
            let state = self.state();
            if new.places.keys().any(|place| !state.files.at(*place).is_empty()) {
                return Err(TakeOverError::Unique { table: table() });
            }
        }
        let goes = match how {
            How::Add => Goes::Nothing,
            How::Instead => Goes::Everything,
        };
        let mut writing = self.writing.lock().await;
        let version = self.exchange(&mut writing, goes, &new, &[position]).await?;
        drop(gathering);
        self.checkpoint_if_due(&mut writing).await;
        Ok(Committed {
            version,
            rows: new.places.values().map(|tally| tally.count).sum(),
            files: new.adds.len() as u64,
            bytes: new.adds.iter().map(|add| add.file.size).sum(),
        })
    }

    /// Removes all rows, and moves positions, in one transaction. Buffered rows are committed first, and removed too. If all
    /// positions were reached before, nothing happens; those that were stay where they are.
    ///
    /// # Errors
    /// See [`TakeOverError`]; as for [`take_over`](Self::take_over).
    pub async fn clear(&self, positions: &[(SourceId, u64)]) -> Result<Committed, TakeOverError> {
        let mut writing = self.writing.lock().await;
        let version = self.exchange(&mut writing, Goes::Everything, &New::default(), positions).await?;
        self.checkpoint_if_due(&mut writing).await;
        Ok(Committed { version, rows: 0, files: 0, bytes: 0 })
    }

    /// Describes files of the table aside as this table's.
    async fn adopted(&self, aside: &Self, gathered: &[Arc<DataFile>]) -> Result<New, TakeOverError> {
        let columns = self.columns();
        for field in aside.columns().fields() {
            let own = columns.field_with_name(field.name()).ok();
            if own.is_none_or(|own| own.data_type() != field.data_type()) {
                return Err(TakeOverError::Column { table: self.spec.name.clone(), column: field.name().clone() });
            }
        }
        let described =
            gathered.iter().map(|file| self.describe_adopted(aside, file, &columns).boxed()).collect::<Vec<_>>();
        let described: Vec<(Add, Tally)> = stream::iter(described).buffered(FOOTERS_AT_ONCE).try_collect().await?;
        let mut places: BTreeMap<Place, Tally> = BTreeMap::new();
        let mut adds = Vec::with_capacity(described.len());
        for (add, tally) in described {
            places.entry(add.file.place).or_default().merge(tally);
            adds.push(add);
        }
        Ok(New { adds: Arc::new(adds), places, _under_way: Vec::new() })
    }

    async fn describe_adopted(
        &self,
        aside: &Self,
        file: &Arc<DataFile>,
        columns: &Schema,
    ) -> Result<(Add, Tally), FileError> {
        let tally = aside.tally_of(file).await?;
        let reader = Reader::open(self.store.clone(), file.clone()).await?;
        let metadata = reader.metadata();
        let failed = |source| FileError { verb: "read", path: file.location.clone(), source: Box::new(source) };
        let has = parquet_to_arrow_schema(metadata.file_metadata().schema_descr(), None).map_err(failed)?;
        let statistics = Statistics::by_name(columns, &has, metadata);
        let path = format!("{}/{}", crate::aside::ASIDE_FOLDER, file.path);
        let file = DataFile { path, rows: Some(reader.rows()), ..file.as_ref().clone() };
        Ok((Add { file, statistics }, tally))
    }

    async fn exchange(
        &self,
        writing: &mut Writing,
        goes: Goes,
        new: &New,
        positions: &[(SourceId, u64)],
    ) -> Result<u64, TakeOverError> {
        for _ in 0..ATTEMPTS_MAX {
            self.resolve(writing).await?;
            // While this is held no row comes, and none is looked for in what is about to go.
            let appending = self.appending.lock().await;
            if self.pending().rows > 0 {
                drop(appending);
                self.commit_one(writing).await?;
                continue;
            }
            let positions = self.beyond(positions);
            let old = match goes {
                Goes::Nothing => Vec::new(),
                Goes::Everything => self.state().files.list().to_vec(),
            };
            // An earlier try has happened.
            if positions.is_empty() {
                return Ok(self.state().version);
            }
            let places = Arc::new(self.changes(&old, new).await?);
            let removes: Arc<HashSet<String>> = Arc::new(old.iter().map(|file| file.path.clone()).collect());
            let changed: BTreeSet<_> = places.iter().map(|change| change.place.partition()).collect();
            let exchanged = self.transact(writing, |commits| {
                let state = self.state();
                let now = state.files.list();
                let is_current = now.len() == removes.len() && now.iter().all(|file| removes.contains(&file.path));
                // Another writer changed what goes meanwhile: look again.
                (goes == Goes::Nothing || is_current).then(|| {
                    Change::Rows(Rows {
                        adds: new.adds.clone(),
                        removes: removes.clone(),
                        positions: positions.clone(),
                        commits: commits + 1,
                        changed: changed.clone(),
                        places: places.clone(),
                        is_buffer: false,
                    })
                })
            });
            if exchanged.await? {
                return Ok(self.state().version);
            }
        }
        Err(CommitError::Contended { table: self.spec.name.clone(), attempts: ATTEMPTS_MAX }.into())
    }

    /// Returns those positions that were not reached.
    fn beyond(&self, positions: &[(SourceId, u64)]) -> BTreeMap<SourceId, u64> {
        let state = self.state();
        let reached = |source: &SourceId| state.committed.get(source).copied();
        let beyond = positions.iter().filter(|(source, to)| reached(source).is_none_or(|reached| reached < *to));
        beyond.cloned().collect()
    }
}

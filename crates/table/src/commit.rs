//! Committing: the buffer becomes files, and files and positions one Delta version.
//!
//! ```text
//!   open buffer --seal--> sealed --write--> data files (durable, unnamed) --one transaction--> a version
//!        ^                  |                                                    |
//!     appends go on         +--- stays until the version is known to exist <-----+
//! ```
//!
//! A crash before the transaction leaves unnamed files, which a vacuum deletes; the rows are read again from their
//! sources. A crash after it leaves a version with rows and positions. A reply that was lost is found out before
//! anything else is tried.
//!
//! Every commit of rows counts up one number in the log. A version by another writer that has counted, or moved a
//! source, fences this one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::PutMode;
use object_store::path::Path;
use tokio::sync::Semaphore;
use weir_types::Tally;

use crate::buffer::{self, Gathered};
use crate::compact;
use crate::error::{CommitError, FileError};
use crate::file::DataFile;
use crate::filter::Filter;
use crate::log::{Add, Change, Rows};
use crate::outcome::{Committed, SourceId};
use crate::output::UnderWay;
use crate::place::{Layout, Place};
use crate::rewrite::Rewritten;
use crate::spec::Keep;
use crate::table::{Sealed, Table, Writing, Written};
use crate::witness::PlaceChange;
use crate::writer::{Finished, SAMPLE_ROWS, Writer};

/// Attempts to write one data file.
const UPLOADS_MAX: u32 = 4;
/// The wait before the second attempt; it doubles.
const BACKOFF: Duration = Duration::from_millis(50);
/// Data files that are written at once: encoding takes the processors, and waiting for the store nothing.
const WRITES_AT_ONCE: usize = 8;
/// How often files that other writers exchanged are looked for and rewritten again.
const REWRITES_MAX: u32 = 5;
/// Commits between two checkpoints of the Delta log.
const CHECKPOINT_COMMITS: u64 = 50;

impl Table {
    /// Makes the buffer and the positions durable in one transaction (two, if an earlier commit failed: first what that
    /// was about). Without either to store, it does nothing.
    ///
    /// If the future is dropped, the commit may still have happened; the next one finds out.
    ///
    /// # Errors
    /// See [`CommitError`]. After `Fenced` the table must be dropped; after others, another commit may be tried.
    pub async fn commit(&self) -> Result<Committed, CommitError> {
        let mut writing = self.writing.lock().await;
        self.resolve(&mut writing).await?;
        let is_left_over = self.state().sealed.is_some();
        let mut committed = self.commit_one(&mut writing).await?;
        if is_left_over {
            let newer = self.commit_one(&mut writing).await?;
            committed.version = newer.version;
            committed.rows += newer.rows;
            committed.files += newer.files;
            committed.bytes += newer.bytes;
        }
        self.checkpoint_if_due(&mut writing).await;
        Ok(committed)
    }

    /// Commits the sealed buffer, or seals the open one and commits it.
    pub(crate) async fn commit_one(&self, writing: &mut Writing) -> Result<Committed, CommitError> {
        let Some(sealed) = self.seal() else { return Ok(self.nothing()) };
        if writing.written.is_none() {
            writing.written = Some(self.write_buffer(&sealed).await?);
        }
        for _ in 0..REWRITES_MAX {
            let Written { adds, places, rewritten } = self.rewritten(writing, &sealed).await?;
            let (adds, removes, places) = match &rewritten {
                None => (adds, Arc::default(), places),
                Some(Rewritten { adds: more, removes, places, .. }) => {
                    (Arc::new(adds.iter().chain(more.iter()).cloned().collect()), removes.clone(), places.clone())
                }
            };
            let committed = self.transact(writing, |commits| {
                let state = self.state();
                // Another writer exchanged or added files: what is replaced must be found again.
                if rewritten.as_ref().is_some_and(|rewritten| !rewritten.is_current(&state)) {
                    return None;
                }
                // A position that a replaced partition moved on meanwhile stays there.
                let moved = |(source, position): &(&SourceId, &u64)| {
                    state.committed.get(*source).is_none_or(|committed| committed < *position)
                };
                let positions = sealed.positions.iter().filter(moved);
                Some(Change::Rows(Rows {
                    adds: adds.clone(),
                    removes: removes.clone(),
                    positions: positions.map(|(source, position)| (source.clone(), *position)).collect(),
                    commits: commits + 1,
                    changed: places.iter().map(|change| change.place.partition()).collect(),
                    places: places.clone(),
                    is_buffer: true,
                }))
            });
            if committed.await? {
                return Ok(Committed {
                    version: self.state().version,
                    rows: sealed.buffer.rows,
                    files: adds.len() as u64,
                    bytes: adds.iter().map(|add| add.file.size).sum(),
                });
            }
        }
        Err(CommitError::Contended { table: self.spec.name.clone(), attempts: REWRITES_MAX })
    }

    /// Rewrites what the sealed buffer's rows replace, unless that was done and still holds.
    async fn rewritten(&self, writing: &mut Writing, sealed: &Arc<Sealed>) -> Result<Written, CommitError> {
        let Writing { written: Some(written), foreign, .. } = writing else { return Ok(Written::default()) };
        let keeps_last = self.spec.keep == Keep::Last && !self.spec.unique_by.is_empty();
        if sealed.buffer.hidden == 0 && !keeps_last {
            return Ok(written.clone());
        }
        let none = BTreeSet::new();
        let foreign = if keeps_last { &*foreign } else { &none };
        let is_current = written.rewritten.as_ref().is_some_and(|rewritten| rewritten.is_current(&self.state()));
        if !is_current {
            written.rewritten = None;
            written.rewritten = Some(self.rewrite_replaced(sealed, &written.places, foreign).await?);
        }
        Ok(written.clone())
    }

    fn nothing(&self) -> Committed {
        Committed { version: self.state().version, rows: 0, files: 0, bytes: 0 }
    }

    /// Closes the open buffer, unless one is sealed already; none if there is nothing to commit.
    fn seal(&self) -> Option<Arc<Sealed>> {
        let mut state = self.state();
        if let Some(sealed) = &state.sealed {
            return Some(sealed.clone());
        }
        if state.open.rows == 0 && state.positions == state.committed {
            return None;
        }
        let buffer = std::mem::take(&mut state.open);
        let sealed = Arc::new(Sealed { buffer, positions: state.positions.clone() });
        state.sealed = Some(sealed.clone());
        Some(sealed)
    }

    /// Writes a data file per place.
    async fn write_buffer(&self, sealed: &Arc<Sealed>) -> Result<Written, FileError> {
        let columns = self.columns();
        let failed = |source| FileError { verb: "write", path: self.folder.clone(), source: Box::new(source) };
        let batches: Arc<[RecordBatch]> = buffer::widened(&sealed.buffer.chunks, &columns).map_err(failed)?.into();
        let encoders = Semaphore::new(thread::available_parallelism().map_or(1, usize::from));
        let writes = sealed.buffer.gather().into_iter().map(|gathered| {
            let (batches, columns, encoders) = (batches.clone(), columns.clone(), &encoders);
            async move {
                let permit = encoders.acquire().await;
                let place = gathered.place;
                let finished = self.encode(sealed.clone(), batches, columns.clone(), gathered).await?;
                drop(permit);
                let change = PlaceChange {
                    place,
                    added: finished.tally,
                    removed: Tally::default(),
                    late: sealed.buffer.late_at(place),
                    replaced: 0,
                };
                Ok((self.store_file(place, &columns, finished).await?, change))
            }
        });
        let written: Result<Vec<_>, FileError> =
            stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await;
        let (adds, mut places): (Vec<_>, Vec<_>) = written?.into_iter().unzip();
        places.sort_unstable_by_key(|change| change.place);
        Ok(Written { adds: Arc::new(adds), places: Arc::new(places), rewritten: None })
    }

    async fn encode(
        &self,
        sealed: Arc<Sealed>,
        batches: Arc<[RecordBatch]>,
        columns: SchemaRef,
        mut gathered: Gathered,
    ) -> Result<Finished, FileError> {
        let scheme = (!self.spec.unique_by.is_empty()).then(|| self.scheme.clone());
        // Rows without a usable time are in the order of their arrival alone.
        let order = self.spec.order();
        let by_time = gathered.place.day.is_some() && order.iter().eq(self.spec.partition_by.column());
        let notes = compact::notes(if by_time { &order } else { &[] }, scheme.as_deref(), None);
        let folder = self.folder.clone();
        let failed = move |source: Box<dyn std::error::Error + Send + Sync>| FileError {
            verb: "write",
            path: folder.clone(),
            source,
        };
        let stopped = failed.clone();
        let work = move || -> Result<Finished, Box<dyn std::error::Error + Send + Sync>> {
            gathered.sort();
            let sample = gathered.sample(&batches, SAMPLE_ROWS)?;
            let mut writer = Writer::new(columns, &sample)?.with_notes(notes);
            if let Some(scheme) = scheme {
                writer = writer.with_filter(gathered.rows.len() as u64, &scheme);
                writer.write_ids(gathered.ids(&sealed.buffer.chunks));
            }
            for batch in gathered.batches(&batches) {
                writer.write(&batch?)?;
            }
            Ok(writer.finish()?)
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| stopped(Box::new(error)))?.map_err(failed)
    }

    async fn store_file(&self, place: Place, columns: &SchemaRef, finished: Finished) -> Result<Add, FileError> {
        let Finished { bytes, rows, statistics, filter, .. } = finished;
        let size = bytes.len() as u64;
        let (path, location, _) = self.upload(place, bytes.into()).await?;
        self.remember(&path, filter);
        let times = self.spec.partition_by.column().and_then(|column| statistics.times(columns, column));
        let file = DataFile { location, path, size, rows: Some(rows), place, times, modified: self.env.now() };
        Ok(Add { file, statistics })
    }

    pub(crate) fn remember(&self, path: &str, filter: Option<Filter>) {
        if let Some(filter) = filter {
            let bytes = filter.memory() as u64;
            self.filters.insert(path, Arc::new(filter), bytes);
        }
    }

    /// Returns a name that no file has had.
    pub(crate) fn name_file(&self, place: Place) -> (String, Path) {
        let name = (u128::from(self.env.random()) << 64) | u128::from(self.env.random());
        self.named_file(place, name)
    }

    /// Returns the path of a file that has a name already, and where in the store it is.
    pub(crate) fn named_file(&self, place: Place, name: u128) -> (String, Path) {
        name_in(&self.folder, self.layout, place, name, "")
    }

    /// Stores a whole file. Every attempt has its own name: one that failed may yet arrive.
    pub(crate) async fn upload(&self, place: Place, bytes: Bytes) -> Result<(String, Path, UnderWay), FileError> {
        let mut backoff = BACKOFF;
        let mut tried = 0;
        loop {
            tried += 1;
            let (path, location) = self.name_file(place);
            let under_way = UnderWay::new(&self.uploads, &location);
            match self.store.put_opts(&location, bytes.clone().into(), PutMode::Create.into()).await {
                Ok(_) => return Ok((path, location, under_way)),
                Err(error) if tried < UPLOADS_MAX => {
                    tracing::warn!(table = %self.spec.name, path = %location, %error, tried, "a data file was not taken; trying again");
                }
                Err(error) => return Err(FileError { verb: "write", path: location, source: Box::new(error) }),
            }
            self.env.sleep(self.env.jitter(backoff)).await;
            backoff *= 2;
        }
    }

    pub(crate) async fn checkpoint_if_due(&self, writing: &mut Writing) {
        if writing.since_checkpoint < CHECKPOINT_COMMITS {
            return;
        }
        match self.log.checkpoint(writing.snapshot.clone()).await {
            Ok(snapshot) => {
                writing.snapshot = snapshot;
                writing.since_checkpoint = 0;
            }
            // A checkpoint only saves readers time; the next commit tries again.
            Err(error) => tracing::warn!(table = %self.spec.name, %error, "no checkpoint was written"),
        }
    }
}

/// Returns a file's path, as the log has it, and where in the store it is.
pub(crate) fn name_in(folder: &Path, layout: Layout, place: Place, name: u128, suffix: &str) -> (String, Path) {
    let name = format!("{}part-{name:032x}{suffix}.parquet", layout.folder(place));
    let location = name.split('/').fold(folder.clone(), |folder, part| folder.join(part));
    (name, location)
}

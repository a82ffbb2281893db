//! Reshaping: files are written anew so that they follow a change of columns, all of them in one Delta version.
//!
//! ```text
//!   opened with columns that need it --> [takes no rows; readers see the old columns]
//!         |
//!         +--> each file: read, bring into form, write under a name of its own --> one transaction: metadata, files
//!                 ^                                                                      |
//!                 +------ other writers have changed files meanwhile: the rest <---------+
//! ```
//!
//! Invariant: a version has all files in one form, the one that its metadata says. A new file's name is a hash of the old
//! one's and of the new columns, so that whoever begins again after a crash finds what is written already.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};
use siphasher::sip128::SipHasher24;

use crate::columns;
use crate::error::{FileError, GrowError, ReshapeError};
use crate::evolution::{ColumnChange, Reshaping, Rewriting};
use crate::evolve::Plan;
use crate::file::DataFile;
use crate::id;
use crate::log::{Add, Change};
use crate::place::Place;
use crate::reader::Reader;
use crate::spec::Spec;
use crate::statistics::Statistics;
use crate::table::Table;
use crate::writer::{Finished, Writer};

/// Files that are rewritten at once: each holds a row group in memory.
const FILES_AT_ONCE: usize = 2;
/// How often other writers may change the files meanwhile.
const ROUNDS_MAX: u32 = 10;
/// Bytes of one part of an upload: what object stores take at least, but for the last.
const PART_BYTES: usize = 8 << 20;
/// Parts in flight at once.
const PARTS_AT_ONCE: usize = 4;

/// A change of columns that waits for its files, as a table remembers it.
pub(crate) struct Waiting {
    pub(crate) changes: Vec<ColumnChange>,
    /// The columns that there will be.
    pub(crate) columns: SchemaRef,
    pub(crate) done: AtomicU64,
}

impl Table {
    /// Says what has to be rewritten before the table takes rows; none if nothing has to.
    pub fn reshaping(&self) -> Option<Reshaping> {
        let state = self.state();
        let waiting = state.waiting.as_ref()?;
        let files = state.files.list();
        Some(Reshaping {
            changes: waiting.changes.clone(),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.size).sum(),
            done: waiting.done.load(Ordering::Relaxed).min(files.len() as u64),
        })
    }

    /// Returns the columns that the table will have when it takes rows: those that it has, unless files have to be rewritten
    /// first.
    pub fn columns_to_be(&self) -> SchemaRef {
        let state = self.state();
        state.waiting.as_ref().map_or_else(|| state.columns.clone(), |waiting| waiting.columns.clone())
    }

    /// Writes the files anew for the columns that the table was opened with, if they need it. Readers see the old columns
    /// until the end, and the new ones from then on. It may be called again after an error or a crash, and goes on where
    /// it was.
    ///
    /// # Errors
    /// See [`ReshapeError`].
    pub async fn reshape(&self) -> Result<(), ReshapeError> {
        // Files that are merged meanwhile would be rewritten twice, and new ones be swept away.
        let _alone = self.merging.write().await;
        for _ in 0..ROUNDS_MAX {
            let Some(waiting) = self.state().waiting.clone() else { return Ok(()) };
            let stored = self.columns();
            let wants = columns::stored_schema(&self.spec.name, &self.spec.columns)?;
            let plan = Arc::new(Plan::new(&self.spec.name, &stored, &wants, &self.spec.evolution)?);
            let files = self.state().files.list().clone();
            waiting.done.store(0, Ordering::Relaxed);
            let adds = self.rewrite_all(&plan, &stored, &files, &waiting.done).await?;
            let removes: HashSet<String> = files.iter().map(|file| file.path.clone()).collect();
            let mut writing = self.writing.lock().await;
            let swapped = self.transact(&mut writing, |_| {
                let state = self.state();
                let held = state.files.list();
                let same = held.len() == removes.len() && held.iter().all(|file| removes.contains(&file.path));
                (same && state.columns == stored).then(|| Change::Reshape {
                    adds: adds.clone(),
                    removes: removes.clone(),
                    columns: plan.columns.clone(),
                    properties: crate::open::fixed_properties(&self.spec),
                    fills: plan.changes.iter().any(|change| matches!(change, ColumnChange::Filled { .. })),
                })
            });
            let swapped = swapped.await?;
            self.note_foreign(&mut writing).await?;
            self.checkpoint_if_due(&mut writing).await;
            if swapped || self.state().waiting.is_none() {
                tracing::info!(table = %self.spec.name, files = removes.len(), "files were rewritten for new columns");
                return Ok(());
            }
        }
        Err(ReshapeError::Contended { table: self.spec.name.clone(), rounds: ROUNDS_MAX })
    }

    /// Works out what the columns that a table is opened with need, and notes what has to wait for its files.
    pub(crate) fn plan_reshape(&self) -> Result<bool, GrowError> {
        let plan = judge(&self.spec, &self.columns())?;
        if !plan.rewrites() || self.spec.evolution.rewriting == Rewriting::Refused {
            return Ok(false);
        }
        let columns = plan.columns.clone();
        let changes = plan.changes.into_iter().filter(ColumnChange::rewrites).collect();
        self.state().waiting = Some(Arc::new(Waiting { changes, columns, done: AtomicU64::new(0) }));
        Ok(true)
    }

    async fn rewrite_all(
        &self,
        plan: &Plan,
        stored: &SchemaRef,
        files: &[Arc<DataFile>],
        done: &AtomicU64,
    ) -> Result<Arc<Vec<Add>>, FileError> {
        let mut rewrites = Vec::with_capacity(files.len());
        for file in files {
            rewrites.push(self.rewrite_counted(plan, stored, file, done).boxed());
        }
        stream::iter(rewrites).buffer_unordered(FILES_AT_ONCE).try_collect().await.map(Arc::new)
    }

    async fn rewrite_counted(
        &self,
        plan: &Plan,
        stored: &SchemaRef,
        file: &Arc<DataFile>,
        done: &AtomicU64,
    ) -> Result<Add, FileError> {
        let add = self.reshape_file(plan, stored, file).await?;
        done.fetch_add(1, Ordering::Relaxed);
        Ok(add)
    }

    async fn reshape_file(&self, plan: &Plan, stored: &SchemaRef, file: &Arc<DataFile>) -> Result<Add, FileError> {
        let name = reshaped_name(&file.path, &plan.columns);
        let (path, location) = self.named_file(file.place, name);
        if let Some(add) = self.written_before(plan, file, &path, &location).await? {
            return Ok(add);
        }
        let failed = |source: object_store::Error| wrap(&location, source);
        let upload = self.store.put_multipart(&location).await.map_err(failed)?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let (finished, size) = match self.reshape_rows(plan, stored, file, &mut parts, &location).await {
            Ok(done) => done,
            Err(error) => {
                // What was uploaded has no name yet; if it can't be taken back either, a vacuum will.
                if let Err(error) = parts.abort().await {
                    tracing::warn!(table = %self.spec.name, path = %location, %error, "an upload was not taken back");
                }
                return Err(error);
            }
        };
        parts.finish().await.map_err(failed)?;
        let Finished { rows, statistics, .. } = finished;
        Ok(self.describe(plan, file.place, path, location, size, rows, statistics))
    }

    /// Finds what an earlier attempt has written whole.
    async fn written_before(
        &self,
        plan: &Plan,
        file: &DataFile,
        path: &str,
        location: &Path,
    ) -> Result<Option<Add>, FileError> {
        let size = match self.store.head(location).await {
            Ok(meta) => meta.size,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(FileError { verb: "read", path: location.clone(), source: Box::new(error) }),
        };
        let found = DataFile { location: location.clone(), path: path.to_owned(), size, ..file.clone() };
        // One that can't be read, or that lacks rows, is written again.
        let Ok(reader) = Reader::open(self.store.clone(), Arc::new(found)).await else { return Ok(None) };
        let rows = reader.rows();
        if file.rows.is_some_and(|had| had != rows) {
            return Ok(None);
        }
        let statistics = Statistics::of(&plan.columns, reader.metadata());
        Ok(Some(self.describe(plan, file.place, path.to_owned(), location.clone(), size, rows, statistics)))
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of a file, and go nowhere else")]
    fn describe(
        &self,
        plan: &Plan,
        place: Place,
        path: String,
        location: Path,
        size: u64,
        rows: u64,
        statistics: Statistics,
    ) -> Add {
        let times = self.spec.partition_by.column().and_then(|column| statistics.times(&plan.columns, column));
        let file = DataFile { location, path, size, rows: Some(rows), place, times, modified: self.env.now() };
        Add { file, statistics }
    }

    async fn reshape_rows(
        &self,
        plan: &Plan,
        stored: &SchemaRef,
        file: &Arc<DataFile>,
        parts: &mut WriteMultipart,
        location: &Path,
    ) -> Result<(Finished, u64), FileError> {
        let reader = Reader::open(self.store.clone(), file.clone()).await?;
        let total = reader.rows();
        let start = |sample: &RecordBatch| {
            let writer = Writer::new(plan.columns.clone(), sample).map_err(|source| wrap(location, source))?;
            Ok(if self.spec.unique_by.is_empty() { writer } else { writer.with_filter(total, &self.scheme) })
        };
        let mut writer: Option<Writer> = None;
        let mut size = 0;
        let mut rows = reader.rows_as(&self.spec.name, stored)?;
        while let Some(batch) = rows.try_next().await? {
            let batch = plan.apply(&batch).map_err(|source| wrap(location, source))?;
            let writer = match &mut writer {
                Some(writer) => writer,
                // The first batch stands for the rest.
                none => none.insert(start(&batch)?),
            };
            if !self.spec.unique_by.is_empty() {
                let ids = crate::route::ids(&self.spec, &self.hasher, &batch);
                writer.write_ids(ids.map_err(|source| wrap(location, source))?);
            }
            writer.write(&batch).map_err(|source| wrap(location, source))?;
            size += send(parts, writer.take(), location).await?;
        }
        let writer = match writer {
            Some(writer) => writer,
            None => start(&RecordBatch::new_empty(plan.columns.clone()))?,
        };
        let mut finished = writer.finish().map_err(|source| wrap(location, source))?;
        size += send(parts, std::mem::take(&mut finished.bytes), location).await?;
        Ok((finished, size))
    }
}

/// Works out how stored columns become those of the settings, and refuses what must not be.
pub(crate) fn judge(spec: &Spec, stored: &Schema) -> Result<Plan, GrowError> {
    let wants = columns::stored_schema(&spec.name, &spec.columns)?;
    let plan = Plan::new(&spec.name, stored, &wants, &spec.evolution)?;
    // A wider integer has the id that the narrow one had. Another type has another one, and repeats would not be found.
    for column in &spec.unique_by {
        let has = plan.stored_name(stored, column).and_then(|name| stored.field_with_name(name).ok());
        let (Some(has), Ok(becomes)) = (has, plan.columns.field_with_name(column)) else { continue };
        if !id::same_kind(has.data_type(), becomes.data_type()) {
            return Err(GrowError::OfId {
                table: spec.name.clone(),
                column: column.clone(),
                has: has.data_type().to_string(),
                wants: becomes.data_type().to_string(),
            });
        }
    }
    // A default is the one thing that is of use without rewriting.
    let needs = plan.changes.iter().find(|change| change.rewrites() && !matches!(change, ColumnChange::Filled { .. }));
    match needs {
        Some(change) if spec.evolution.rewriting == Rewriting::Refused => {
            Err(GrowError::NeedsRewriting { table: spec.name.clone(), change: change.to_string() })
        }
        _ => Ok(plan),
    }
}

async fn send(parts: &mut WriteMultipart, bytes: Vec<u8>, location: &Path) -> Result<u64, FileError> {
    let length = bytes.len() as u64;
    if length > 0 {
        parts.wait_for_capacity(PARTS_AT_ONCE).await.map_err(|source| wrap(location, source))?;
        parts.put(bytes.into());
    }
    Ok(length)
}

fn wrap(location: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FileError {
    FileError { verb: "write", path: location.clone(), source: source.into() }
}

/// Names the file that another one becomes. Both name what is in it: a file's content never changes.
fn reshaped_name(path: &str, columns: &SchemaRef) -> u128 {
    let text = format!("{path}\0{columns:?}");
    u128::from(SipHasher24::new().hash(text.as_bytes()))
}

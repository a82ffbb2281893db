//! Writing a data file batch by batch, in bounded memory: small files in one request, larger ones in parts.
//!
//! Nothing has a name before [`Output::finish`], but for what a vacuum will delete; until its [`UnderWay`] is dropped, a
//! vacuum leaves the file alone.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};
use weir_types::Tally;

use crate::error::FileError;
use crate::file::DataFile;
use crate::log::Add;
use crate::place::Place;
use crate::table::Table;
use crate::writer::{Finished, Writer};

/// Files smaller than this are stored in one request. Also the size of the parts of larger ones: what object stores
/// take at least, but for the last.
const PART_BYTES: usize = 8 << 20;
/// Parts in flight at once.
const PARTS_AT_ONCE: usize = 4;
/// Rows of one file at most whose number is not known before: their ids are in memory until the file's filter is made.
const ROWS_MAX: u64 = 4 << 20;

/// The files that are being written, or were and have no name in the log yet.
pub(crate) type Uploads = Arc<Mutex<HashSet<Path>>>;

/// Keeps a vacuum from deleting a file that no version names yet.
pub(crate) struct UnderWay {
    uploads: Uploads,
    location: Path,
}

impl UnderWay {
    pub(crate) fn new(uploads: &Uploads, location: &Path) -> Self {
        uploads.lock().unwrap_or_else(PoisonError::into_inner).insert(location.clone());
        Self { uploads: uploads.clone(), location: location.clone() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.location);
    }
}

/// A file that is stored, and not named yet.
pub(crate) struct Stored {
    pub(crate) add: Add,
    pub(crate) tally: Tally,
    pub(crate) under_way: UnderWay,
}

/// A data file of one place that is being written.
pub(crate) struct Output<'t> {
    table: &'t Table,
    place: Place,
    columns: SchemaRef,
    /// Footer entries beside those of ids.
    notes: Vec<(String, String)>,
    /// How many rows there will be, if that is known: then ids need not be kept until the end.
    rows_known: Option<u64>,
    writer: Option<Writer>,
    ids: Vec<u128>,
    rows: u64,
    pending: Vec<u8>,
    upload: Option<Upload>,
}

struct Upload {
    parts: WriteMultipart,
    path: String,
    location: Path,
    under_way: UnderWay,
    written: u64,
}

impl<'t> Output<'t> {
    pub(crate) fn new(table: &'t Table, place: Place, columns: SchemaRef) -> Self {
        Self {
            table,
            place,
            columns,
            notes: Vec::new(),
            rows_known: None,
            writer: None,
            ids: Vec::new(),
            rows: 0,
            pending: Vec::new(),
            upload: None,
        }
    }

    /// Adds entries to the footer.
    pub(crate) fn with_notes(mut self, notes: Vec<(String, String)>) -> Self {
        self.notes = notes;
        self
    }

    /// Says how many rows there will be.
    pub(crate) fn with_rows(mut self, rows: u64) -> Self {
        self.rows_known = Some(rows);
        self
    }

    /// Adds rows and their ids; none in tables without.
    pub(crate) async fn write(&mut self, batch: &RecordBatch, ids: &[u128]) -> Result<(), FileError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (folder, has_ids) = (&self.table.folder, !self.table.spec.unique_by.is_empty());
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                // The first batch stands for the rest.
                let writer = Writer::new(self.columns.clone(), batch).map_err(|source| wrap(folder, source))?;
                let writer = writer.with_notes(std::mem::take(&mut self.notes));
                none.insert(match self.rows_known {
                    Some(rows) if has_ids => writer.with_filter(rows, &self.table.scheme),
                    _ => writer,
                })
            }
        };
        writer.write(batch).map_err(|source| wrap(folder, source))?;
        match self.rows_known {
            Some(_) => writer.write_ids(ids.iter().copied()),
            None => self.ids.extend_from_slice(ids),
        }
        self.rows += batch.num_rows() as u64;
        let mut bytes = writer.take();
        self.pending.append(&mut bytes);
        if self.pending.len() >= PART_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    pub(crate) fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// Whether the file is as large as it should become.
    pub(crate) fn is_full(&self) -> bool {
        let sent = self.upload.as_ref().map_or(0, |upload| upload.written);
        let encoding = self.writer.as_ref().map_or(0, Writer::encoding);
        sent + (self.pending.len() + encoding) as u64 >= self.table.spec.target_file_bytes || self.rows >= ROWS_MAX
    }

    /// Bytes that it has in memory, about.
    pub(crate) fn memory(&self) -> usize {
        self.writer.as_ref().map_or(0, Writer::memory) + self.pending.len() + self.ids.len() * size_of::<u128>()
    }

    /// Uploads what is pending.
    async fn send(&mut self) -> Result<(), FileError> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let (path, location) = self.table.name_file(self.place);
                let under_way = UnderWay::new(&self.table.uploads, &location);
                let started = self.table.store.put_multipart(&location).await;
                let started = started.map_err(|source| wrap(&location, source))?;
                let parts = WriteMultipart::new_with_chunk_size(started, PART_BYTES);
                none.insert(Upload { parts, path, location, under_way, written: 0 })
            }
        };
        upload.parts.wait_for_capacity(PARTS_AT_ONCE).await.map_err(|source| wrap(&upload.location, source))?;
        upload.written += self.pending.len() as u64;
        upload.parts.put(std::mem::take(&mut self.pending).into());
        Ok(())
    }

    /// Ends the file; none if it has no rows. On an error, what was uploaded is taken back.
    pub(crate) async fn finish(mut self) -> Result<Option<Stored>, FileError> {
        let finished = self.end().await;
        if finished.is_err() {
            self.abort().await;
        }
        finished
    }

    async fn end(&mut self) -> Result<Option<Stored>, FileError> {
        let Some(mut writer) = self.writer.take() else { return Ok(None) };
        if self.rows_known.is_none() && !self.table.spec.unique_by.is_empty() {
            writer = writer.with_filter(self.rows, &self.table.scheme);
            writer.write_ids(std::mem::take(&mut self.ids));
        }
        let finished = writer.finish().map_err(|source| wrap(&self.table.folder, source))?;
        let Finished { mut bytes, rows, tally, statistics, filter } = finished;
        self.pending.append(&mut bytes);
        let (path, location, under_way, size) = if self.upload.is_some() {
            self.send().await?;
            let Some(upload) = self.upload.take() else { return Ok(None) };
            let Upload { parts, path, location, under_way, written } = upload;
            parts.finish().await.map_err(|source| wrap(&location, source))?;
            (path, location, under_way, written)
        } else {
            let bytes = std::mem::take(&mut self.pending);
            let size = bytes.len() as u64;
            let (path, location, under_way) = self.table.upload(self.place, bytes.into()).await?;
            (path, location, under_way, size)
        };
        self.table.remember(&path, filter);
        let times = self.table.spec.partition_by.column().and_then(|column| statistics.times(&self.columns, column));
        let (place, modified) = (self.place, self.table.env.now());
        let file = DataFile { location, path, size, rows: Some(rows), place, times, modified };
        Ok(Some(Stored { add: Add { file, statistics }, tally, under_way }))
    }

    /// Gives up, and takes back what was uploaded.
    pub(crate) async fn abort(mut self) {
        let Some(upload) = self.upload.take() else { return };
        // What was uploaded has no name yet; if it can't be taken back either, a vacuum will.
        if let Err(error) = upload.parts.abort().await {
            tracing::warn!(table = %self.table.spec.name, path = %upload.location, %error, "an upload was not taken back");
        }
    }
}

fn wrap(location: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FileError {
    FileError { verb: "write", path: location.clone(), source: source.into() }
}

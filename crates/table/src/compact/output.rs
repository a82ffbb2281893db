//! Writing what a compaction makes: files of the target size, uploaded while they are encoded.
//!
//! Encoding blocks and runs on threads of its own; an upload is a task beside it, a few parts behind. A file that is
//! being written is known to the vacuum, and has no name in the log before the transaction that replaces its inputs.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, WriteMultipart};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use weir_env::Env;
use weir_types::{TableName, Tally, Timestamp};

use super::CompactError;
use super::input::notes;
use super::run::Form;
use crate::commit::name_in;
use crate::error::FileError;
use crate::file::DataFile;
use crate::filter::Filter;
use crate::id::Hasher;
use crate::log::Add;
use crate::output::UnderWay;
use crate::place::{Layout, Place};
use crate::spec::Spec;
use crate::writer::{Finished, Options, Writer};

/// Bytes of one part of an upload: what object stores take at least, but for the last. A smaller file is put at once.
const PART_BYTES: usize = 8 << 20;
/// Parts in flight at once.
const PARTS_AT_ONCE: usize = 4;
/// Pieces of a file that wait for its upload.
const PIECES_AHEAD: usize = 2;
/// A file that grew beyond this share of what it should have (percent) ends, whatever was planned.
const OVERSIZE_PERCENT: u64 = 115;

/// What all outputs of a compaction have in common.
pub(crate) struct Target {
    pub(crate) spec: Spec,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) folder: Path,
    pub(crate) layout: Layout,
    pub(crate) place: Place,
    pub(crate) columns: SchemaRef,
    pub(crate) hasher: Hasher,
    pub(crate) scheme: String,
    pub(crate) env: Env,
    pub(crate) runtime: Handle,
    pub(crate) uploads: crate::output::Uploads,
    /// What names end in, before their extension.
    pub(crate) suffix: String,
    /// The columns that rows are in the order of, and when the newest arrived.
    pub(crate) order: Vec<String>,
    pub(crate) arrived: Timestamp,
    pub(crate) row_group_bytes: usize,
    /// Bytes that each file should have, and rows that it will have, about.
    pub(crate) file_bytes: u64,
    pub(crate) file_rows: u64,
}

/// A file that was written.
pub(crate) struct Made {
    pub(crate) add: Add,
    pub(crate) filter: Option<Filter>,
    pub(crate) tally: Tally,
    pub(crate) under_way: UnderWay,
}

/// Files whose uploads go on.
pub(crate) type Uploads = Vec<JoinHandle<Result<Made, FileError>>>;

/// One file after the other, of rows in order.
pub(crate) struct Outputs {
    target: Arc<Target>,
    form: Form,
    /// Files that may still be begun because the last is as large as it should be; more only if one is too large.
    planned: u64,
    current: Option<Current>,
    ended: Uploads,
}

struct Current {
    writer: Writer,
    pieces: mpsc::Sender<Piece>,
    upload: JoinHandle<Result<Made, FileError>>,
}

enum Piece {
    Bytes(Vec<u8>),
    End(Box<Finished>),
}

impl Outputs {
    pub(crate) fn new(target: Arc<Target>, form: Form, planned: u64) -> Self {
        Self { target, form, planned, current: None, ended: Vec::new() }
    }

    /// Adds rows, as a merge hands them on.
    pub(crate) fn write(&mut self, batch: RecordBatch) -> Result<(), CompactError> {
        let (rows, ids) = self.form.detach(batch)?;
        let current = match &mut self.current {
            Some(current) => current,
            none => {
                self.planned = self.planned.saturating_sub(1);
                none.insert(self.target.begin(&rows)?)
            }
        };
        if !self.target.spec.unique_by.is_empty() {
            let ids = match ids {
                Some(ids) => ids,
                None => crate::route::ids(&self.target.spec, &self.target.hasher, &rows)?,
            };
            current.writer.write_ids(ids);
        }
        current.writer.write(&rows).map_err(|source| self.target.failed(source))?;
        let bytes = current.writer.take();
        if !bytes.is_empty() {
            current.pieces.blocking_send(Piece::Bytes(bytes)).map_err(|_| CompactError::Stopped)?;
        }
        let size = current.writer.bytes();
        let most = self.target.spec.target_file_bytes.saturating_mul(OVERSIZE_PERCENT) / 100;
        if size >= self.target.file_bytes && self.planned > 0 || size >= most {
            self.end()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), CompactError> {
        let Some(Current { writer, pieces, upload }) = self.current.take() else { return Ok(()) };
        let finished = writer.finish().map_err(|source| self.target.failed(source))?;
        // If nobody takes it, the upload says why.
        let _ = pieces.blocking_send(Piece::End(Box::new(finished)));
        self.ended.push(upload);
        Ok(())
    }

    /// Ends the last file, if all went well before. The uploads go on.
    pub(crate) fn finish(mut self, so_far: Result<(), CompactError>) -> Result<Uploads, (CompactError, Uploads)> {
        let ended = so_far.and_then(|()| self.end());
        match ended {
            Ok(()) => Ok(self.ended),
            Err(error) => Err((error, self.ended)),
        }
    }
}

impl Target {
    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FileError {
        FileError { verb: "write", path: self.folder.clone(), source: source.into() }
    }

    fn begin(self: &Arc<Self>, sample: &RecordBatch) -> Result<Current, CompactError> {
        let options = Options { row_group_bytes: self.row_group_bytes, sorted_by: &self.order };
        let writer = Writer::compacted(self.columns.clone(), sample, &options).map_err(|source| self.failed(source))?;
        let scheme = (!self.spec.unique_by.is_empty()).then_some(self.scheme.as_str());
        let mut writer = writer.with_notes(notes(&self.order, scheme, Some(self.arrived)));
        if !self.spec.unique_by.is_empty() {
            writer = writer.with_filter(self.file_rows, &self.scheme);
        }
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let upload = self.runtime.spawn(self.clone().upload(pieces));
        Ok(Current { writer, pieces: sender, upload })
    }

    /// Stores the pieces of one file as they come. What is not ended is taken back.
    async fn upload(self: Arc<Self>, mut pieces: mpsc::Receiver<Piece>) -> Result<Made, FileError> {
        let name = (u128::from(self.env.random()) << 64) | u128::from(self.env.random());
        let (path, location) = name_in(&self.folder, self.layout, self.place, name, &self.suffix);
        let under_way = UnderWay::new(&self.uploads, &location);
        let failed =
            |source: object_store::Error| FileError { verb: "write", path: location.clone(), source: source.into() };
        let mut first = Vec::new();
        let mut parts: Option<WriteMultipart> = None;
        let mut size = 0;
        let finished = loop {
            let (bytes, finished) = match pieces.recv().await {
                Some(Piece::Bytes(bytes)) => (bytes, None),
                Some(Piece::End(mut finished)) => (std::mem::take(&mut finished.bytes), Some(finished)),
                None => {
                    take_back(&self.spec.name, &location, parts).await;
                    return Err(failed(object_store::Error::Generic {
                        store: "compaction",
                        source: "it was ended".into(),
                    }));
                }
            };
            size += bytes.len() as u64;
            if parts.is_none() && first.len() + bytes.len() > PART_BYTES {
                let upload = self.store.put_multipart(&location).await.map_err(failed)?;
                let mut begun = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
                begun.put(std::mem::take(&mut first).into());
                parts = Some(begun);
            }
            match &mut parts {
                None => first.extend_from_slice(&bytes),
                Some(begun) => match begun.wait_for_capacity(PARTS_AT_ONCE).await {
                    Ok(()) => begun.put(bytes.into()),
                    Err(source) => {
                        take_back(&self.spec.name, &location, parts).await;
                        return Err(failed(source));
                    }
                },
            }
            if let Some(finished) = finished {
                break finished;
            }
        };
        match parts {
            None => {
                self.store.put_opts(&location, first.into(), PutMode::Create.into()).await.map_err(failed)?;
            }
            Some(parts) => {
                parts.finish().await.map_err(failed)?;
            }
        }
        let Finished { rows, tally, statistics, filter, .. } = *finished;
        let times = self.spec.partition_by.column().and_then(|column| statistics.times(&self.columns, column));
        let (place, modified) = (self.place, self.env.now());
        let file = DataFile { location, path, size, rows: Some(rows), place, times, modified };
        Ok(Made { add: Add { file, statistics }, filter, tally, under_way })
    }
}

async fn take_back(table: &TableName, location: &Path, parts: Option<WriteMultipart>) {
    let Some(parts) = parts else { return };
    // What was uploaded has no name yet; if it can't be taken back either, a vacuum will.
    if let Err(error) = parts.abort().await {
        tracing::warn!(%table, path = %location, %error, "an upload was not taken back");
    }
}

//! Parquet files: row groups are fetched one by one, and decoded in small batches.
//!
//! The columns are found by name, and cast to what the schema says. A column that the schema does not know, one that can't
//! be cast and one that is missing fail the file before its first row; a row that does not fit is refused by itself.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use weir_env::Env;
use weir_schema::schema::Kind;
use weir_schema::{RecordError, Schema, encode_batch};

use super::object::Object;
use super::place::{Place, PlaceError, is_gone};
use super::records::ReadError;
use crate::dead::DeadLetters;
use crate::door::Sink;
use crate::streams::OpenStream;

/// A row group as it is stored: it is fetched as a whole.
const ROW_GROUP_BYTES_MAX: i64 = 256 * 1024 * 1024;
/// What rows are decoded at once, by the average that the file states.
const BATCH_BYTES: i64 = 8 * 1024 * 1024;
const BATCH_ROWS_MAX: i64 = 1024;
/// The footer and what may stand right before it: one request for most files.
const FOOTER_BYTES: usize = 64 * 1024;
/// How long one range may take to come.
const RANGE_PATIENCE: Duration = Duration::from_secs(300);

/// Reads a file's rows into a sink.
pub(super) async fn read(
    env: &Env,
    place: &Place,
    object: &Object,
    stream: &OpenStream,
    dead_letters: &DeadLetters,
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let (store, _) = place.open().await?;
    let path = place.key(&object.path);
    let failed = |error: ParquetError| judge(&path, error);
    let input = Input { env: env.clone(), store, path: path.clone(), etag: object.etag.clone(), bytes: object.bytes };
    let builder = ParquetRecordBatchStreamBuilder::new(input).await.map_err(failed)?;
    check_columns(&stream.schema, &RecordBatch::new_empty(builder.schema().clone()))?;
    let rows = batch_rows(builder.metadata())?;
    let mut batches = builder.with_batch_size(rows).build().map_err(failed)?;
    let mut row = 1;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(failed)?;
        encode(&stream.schema, &batch, row, sink);
        row += batch.num_rows() as u64;
        sink.flush(dead_letters).await?;
    }
    Ok(())
}

/// Tells an error of the store from one of the file.
fn judge(path: &Path, error: ParquetError) -> ReadError {
    let store = match error {
        ParquetError::External(inner) => match inner.downcast::<object_store::Error>() {
            Ok(error) => *error,
            Err(other) => return ReadError::Unreadable(other.to_string()),
        },
        other => return ReadError::Unreadable(other.to_string()),
    };
    match store {
        error if is_gone(&error) => ReadError::Gone,
        source => PlaceError::Read { path: path.clone(), source }.into(),
    }
}

/// Refuses a file whose columns fit no row, by a batch without rows.
fn check_columns(schema: &Schema, columns: &RecordBatch) -> Result<(), ReadError> {
    if let Err(error) = encode_batch(schema, columns) {
        return Err(ReadError::Unreadable(format!("column `{}`: {}", error.field, error.reason)));
    }
    let Kind::Record(record) = &schema.root().kind else { return Ok(()) };
    let missing = record.fields.iter().find(|field| {
        let kind = &schema.node(field.node).kind;
        let is_null = |kind: &Kind| matches!(kind, Kind::Null);
        let nullable = match kind {
            Kind::Union(branches) => branches.iter().any(|branch| is_null(&schema.node(*branch).kind)),
            other => is_null(other),
        };
        !nullable
            && field.default.is_none()
            && !std::iter::once(&field.name).chain(&field.aliases).any(|name| columns.column_by_name(name).is_some())
    });
    match missing {
        Some(field) => Err(ReadError::Unreadable(format!(
            "it has no column for the field `{}`, which has neither a default nor null in its type",
            field.name
        ))),
        None => Ok(()),
    }
}

/// Returns how many rows are decoded at once. The same for the same file: rows are cut alike when it is read again.
fn batch_rows(file: &ParquetMetaData) -> Result<usize, ReadError> {
    let mut rows = BATCH_ROWS_MAX;
    for (index, group) in file.row_groups().iter().enumerate() {
        let stored = group.compressed_size();
        if stored > ROW_GROUP_BYTES_MAX {
            return Err(ReadError::Unreadable(format!(
                "row group {index} has {stored} bytes, and {ROW_GROUP_BYTES_MAX} are read at once: write smaller ones"
            )));
        }
        let row_bytes = (group.total_byte_size() / group.num_rows().max(1)).max(1);
        rows = rows.min((BATCH_BYTES / row_bytes).max(1));
    }
    Ok(usize::try_from(rows).unwrap_or(1))
}

/// Takes a batch's good rows; `first` is the number of its first one. Rows that don't fit are found by halving.
fn encode(schema: &Schema, batch: &RecordBatch, first: u64, sink: &mut Sink<'_>) {
    let rows = batch.num_rows();
    match encode_batch(schema, batch) {
        Ok(records) => {
            for (row, record) in (first..).zip(records.iter()) {
                sink.take(row, schema, record);
            }
        }
        Err(error) if rows <= 1 => {
            let reason = error.reason.strip_prefix("row 1: ").unwrap_or(&error.reason);
            let payload = if sink.lists_refusals() { json(batch) } else { Vec::new() };
            sink.refuse(first, &RecordError { field: error.field, reason: reason.to_owned() }, &payload);
        }
        Err(_) => {
            let half = rows / 2;
            encode(schema, &batch.slice(0, half), first, sink);
            encode(schema, &batch.slice(half, rows - half), first + half as u64, sink);
        }
    }
}

/// Writes a row as JSON; nothing if it has a type that has no JSON.
fn json(row: &RecordBatch) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut out);
    let written = writer.write(row).and_then(|()| writer.finish());
    drop(writer);
    if written.is_err() {
        out.clear();
    }
    out.truncate(out.trim_ascii_end().len());
    out
}

/// A file as it was found: one that has changed since is refused by its store.
struct Input {
    env: Env,
    store: Arc<dyn ObjectStore>,
    path: Path,
    etag: Option<String>,
    bytes: u64,
}

impl AsyncFileReader for Input {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            let range = Some(GetRange::Bounded(range));
            let options = GetOptions { if_match: self.etag.clone(), range, ..GetOptions::default() };
            let fetch = async { self.store.get_opts(&self.path, options).await?.bytes().await };
            let silent = || object_store::Error::Generic {
                store: "files",
                source: format!("nothing came within {} s", RANGE_PATIENCE.as_secs()).into(),
            };
            let fetched = self.env.within(RANGE_PATIENCE, fetch).await.unwrap_or_else(|| Err(silent()));
            fetched.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let bytes = self.bytes;
            let reader =
                ParquetMetaDataReader::new().with_arrow_reader_options(options).with_prefetch_hint(Some(FOOTER_BYTES));
            Ok(Arc::new(reader.load_and_finish(self, bytes).await?))
        }
        .boxed()
    }
}

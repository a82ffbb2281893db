//! Reading data files: footers, filters, and id columns; streamed, never a whole file at once.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use futures::{FutureExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use weir_types::TableName;

use crate::columns;
use crate::error::FileError;
use crate::file::DataFile;
use crate::filter::{self, Filter};
use crate::id::Hasher;

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 8192;
/// The first read takes so much of a file's end, in the hope that footer and all are within.
const FOOTER_BYTES: usize = 64 << 10;
/// A footer's key-value metadata longer than this is not ours.
const SCHEME_BYTES_MAX: usize = 4096;

/// A data file, open for reading.
pub(crate) struct Reader {
    input: Input,
    metadata: ArrowReaderMetadata,
    file: Arc<DataFile>,
}

impl Reader {
    /// Reads a file's footer.
    pub(crate) async fn open(store: Arc<dyn ObjectStore>, file: Arc<DataFile>) -> Result<Self, FileError> {
        let mut input = Input { store, file: file.clone() };
        // Our Arrow types come from the table, not from what a writer's Arrow happened to be.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata =
            ArrowReaderMetadata::load_async(&mut input, options).await.map_err(|source| failed(&file, source))?;
        Ok(Self { input, metadata, file })
    }

    /// Returns the footer.
    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// Returns the footer as decoding wants it.
    pub(crate) fn into_metadata(self) -> ArrowReaderMetadata {
        self.metadata
    }

    /// Returns how many rows the footer says there are.
    pub(crate) fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Reads the filter; none if the file has none, or one of other ids.
    pub(crate) async fn filter(&mut self, scheme: &str) -> Result<Option<Filter>, FileError> {
        let Some(range) = self.filter_range(scheme) else { return Ok(None) };
        let bytes = self.input.get_bytes(range).await.map_err(|source| failed(&self.file, source))?;
        Filter::from_bytes(&bytes).map(Some).map_err(|source| failed(&self.file, source))
    }

    fn filter_range(&self, scheme: &str) -> Option<Range<u64>> {
        let entries = self.metadata.metadata().file_metadata().key_value_metadata()?;
        let value = |key: &str| entries.iter().find(|entry| entry.key == key)?.value.as_deref();
        let same = value(filter::SCHEME_KEY).is_some_and(|found| found.len() <= SCHEME_BYTES_MAX && found == scheme);
        let offset: u64 = value(filter::OFFSET_KEY)?.parse().ok()?;
        let length: u64 = value(filter::LENGTH_KEY)?.parse().ok()?;
        let end = offset.checked_add(length)?;
        (same && length <= filter::FILTER_BYTES_MAX && end <= self.file.size).then_some(offset..end)
    }

    /// Streams the rows in the form of `columns`: what the file has not is null, what it has beyond is left out.
    pub(crate) fn rows_as(
        self,
        table: &TableName,
        columns: &SchemaRef,
    ) -> Result<BoxStream<'static, Result<RecordBatch, FileError>>, FileError> {
        self.stream(None, table, columns)
    }

    /// Streams the rows of one row group, likewise.
    pub(crate) fn group_as(
        self,
        group: usize,
        table: &TableName,
        columns: &SchemaRef,
    ) -> Result<BoxStream<'static, Result<RecordBatch, FileError>>, FileError> {
        self.stream(Some(group), table, columns)
    }

    fn stream(
        self,
        group: Option<usize>,
        table: &TableName,
        columns: &SchemaRef,
    ) -> Result<BoxStream<'static, Result<RecordBatch, FileError>>, FileError> {
        let file = self.file;
        let roots = self.metadata.parquet_schema().root_schema().get_fields();
        let wanted = roots.iter().enumerate().filter(|(_, root)| columns.field_with_name(root.name()).is_ok());
        let mask =
            ProjectionMask::roots(self.metadata.parquet_schema(), wanted.map(|(index, _)| index).collect::<Vec<_>>());
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(self.input, self.metadata)
            .with_batch_size(BATCH_ROWS)
            .with_projection(mask);
        if let Some(group) = group {
            builder = builder.with_row_groups(vec![group]);
        }
        let stream = builder.build().map_err(|source| failed(&file, source))?;
        let (table, columns) = (table.clone(), columns.clone());
        Ok(stream
            .map(move |batch| {
                let batch = batch.map_err(|source| failed(&file, source))?;
                columns::conform(&table, &columns, &batch).map_err(|source| failed(&file, source))
            })
            .boxed())
    }

    /// Streams the ids of the rows.
    pub(crate) fn ids(
        self,
        table: &TableName,
        columns: &Schema,
        unique_by: &[String],
        hasher: Hasher,
    ) -> Result<BoxStream<'static, Result<Vec<u128>, FileError>>, FileError> {
        let file = self.file.clone();
        let fields = unique_by.iter().map(|name| columns.field_with_name(name).cloned()).collect::<Result<Vec<_>, _>>();
        let columns: SchemaRef = Arc::new(Schema::new(fields.map_err(|source| failed(&file, source))?));
        let rows = self.rows_as(table, &columns)?;
        Ok(rows
            .and_then(move |batch| {
                let ids = hasher.ids(batch.columns()).map_err(|source| failed(&file, source));
                std::future::ready(ids)
            })
            .boxed())
    }
}

pub(crate) fn failed(file: &DataFile, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FileError {
    FileError { verb: "read", path: file.location.clone(), source: source.into() }
}

struct Input {
    store: Arc<dyn ObjectStore>,
    file: Arc<DataFile>,
}

impl AsyncFileReader for Input {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { Ok(self.store.get_range(&self.file.location, range).await?) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { Ok(self.store.get_ranges(&self.file.location, &ranges).await?) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.file.size;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

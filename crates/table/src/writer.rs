//! Writing data files: one Parquet file of one place, its filter, and the statistics that the Delta log repeats.

use std::mem;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::filter::{self, Filter};
use crate::statistics::Statistics;

/// Rows of one row group at most.
const ROW_GROUP_ROWS_MAX: usize = 1 << 20;
/// Encoded bytes of one row group at most: what writing a file needs in memory.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// What the footer names as the writer.
const CREATED_BY: &str = concat!("weir version ", env!("CARGO_PKG_VERSION"));

/// Returns how data files are written. Public so that a benchmark can write the same bytes without a table.
pub fn writer_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        // Level 1: see docs/decisions/0004 for what higher ones cost and save.
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Statistics of row groups prune as well as those of pages here: rows of one file lie close in time.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
        .build()
}

/// A Parquet file that is being written. Bytes come out as row groups fill.
pub(crate) struct Writer {
    parquet: ArrowWriter<Vec<u8>>,
    filter: Option<(Filter, String)>,
    schema: SchemaRef,
    rows: u64,
}

/// A file's end, and what there is to know about it.
pub(crate) struct Finished {
    /// The bytes behind those that [`Writer::take`] returned.
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: u64,
    pub(crate) statistics: Statistics,
    pub(crate) filter: Option<Filter>,
}

impl Writer {
    /// A file without a filter.
    pub(crate) fn new(schema: SchemaRef) -> Result<Self, ParquetError> {
        let options = ArrowWriterOptions::new().with_properties(writer_properties()).with_skip_arrow_metadata(true);
        let parquet = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)?;
        Ok(Self { parquet, filter: None, schema, rows: 0 })
    }

    /// Gives the file a filter for about so many rows.
    pub(crate) fn with_filter(mut self, rows: u64, scheme: &str) -> Result<Self, ParquetError> {
        self.filter = Some((Filter::for_rows(rows)?, scheme.to_owned()));
        Ok(self)
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.rows += batch.num_rows() as u64;
        self.parquet.write(batch)
    }

    /// Adds ids to the filter, in any order.
    pub(crate) fn write_ids(&mut self, ids: impl IntoIterator<Item = u128>) {
        if let Some((filter, _)) = &mut self.filter {
            for id in ids {
                filter.insert(id);
            }
        }
    }

    /// Takes the bytes that are ready.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        mem::take(self.parquet.inner_mut())
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> Result<Finished, ParquetError> {
        self.parquet.flush()?;
        let filter = match self.filter {
            None => None,
            Some((filter, scheme)) => {
                let bytes = filter.to_bytes()?;
                let offset = self.parquet.bytes_written();
                self.parquet.write_all(&bytes)?;
                for (key, value) in [
                    (filter::OFFSET_KEY, offset.to_string()),
                    (filter::LENGTH_KEY, bytes.len().to_string()),
                    (filter::SCHEME_KEY, scheme),
                ] {
                    self.parquet.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
                }
                Some(filter)
            }
        };
        let metadata = self.parquet.finish()?;
        let statistics = Statistics::of(&self.schema, &metadata);
        Ok(Finished { bytes: mem::take(self.parquet.inner_mut()), rows: self.rows, statistics, filter })
    }
}

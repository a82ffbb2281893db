//! Writing data files: one Parquet file of one place, its filter, and the statistics that the Delta log repeats.

use std::collections::HashSet;
use std::mem;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use weir_types::Tally;

use crate::filter::{self, Filter};
use crate::id::Hasher;
use crate::statistics::{self, Statistics};

/// Rows of one row group at most.
const ROW_GROUP_ROWS_MAX: usize = 1 << 20;
/// Encoded bytes of one row group at most: what writing a file needs in memory.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// Rows that say whether a column's values repeat.
pub(crate) const SAMPLE_ROWS: usize = 4096;
/// With fewer rows, a dictionary costs nothing.
const SAMPLE_ROWS_MIN: usize = 512;
/// The share of distinct values in a sample beyond which there is no dictionary. For a sample of 4096 spread over a
/// file, that is about 40,000 distinct values: more than a dictionary page holds of most texts.
const DISTINCT_PERCENT: usize = 95;
/// What the footer names as the writer.
const CREATED_BY: &str = concat!("weir version ", env!("CARGO_PKG_VERSION"));
/// What the footers of all files that weir wrote begin their writer's name with.
pub(crate) const CREATED_BY_WEIR: &str = "weir version ";

/// Returns how data files are written, but for what depends on their rows. Public so that a benchmark can write the
/// same files without a table.
pub fn writer_properties() -> WriterProperties {
    properties().build()
}

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        // Level 1: see docs/decisions/0004 for what higher ones cost and save.
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Statistics of row groups prune as well as those of pages here: rows of one file lie close in time.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
}

/// Whether a column's values hardly repeat, going by a sample. A dictionary of such a column costs more than all its
/// other encoding, and is thrown away or makes the file larger.
pub(crate) fn hardly_repeats(sample: &ArrayRef) -> bool {
    if sample.len() < SAMPLE_ROWS_MIN || sample.data_type().is_nested() {
        return false;
    }
    let Ok(ids) = Hasher::new([0; 16]).ids(std::slice::from_ref(sample)) else { return false };
    let distinct: HashSet<u128> = ids.into_iter().collect();
    distinct.len() * 100 > sample.len() * DISTINCT_PERCENT
}

/// How a compaction writes.
pub(crate) struct Options<'a> {
    /// Encoded bytes of one row group at most.
    pub(crate) row_group_bytes: usize,
    /// The columns that the rows are in the order of.
    pub(crate) sorted_by: &'a [String],
}

/// A Parquet file that is being written. Bytes come out as row groups fill.
pub(crate) struct Writer {
    parquet: ArrowWriter<Vec<u8>>,
    filter: Option<(Filter, String)>,
    schema: SchemaRef,
    rows: u64,
    /// The wrapping sum of the ids.
    sum: u128,
}

/// A file's end, and what there is to know about it.
pub(crate) struct Finished {
    /// The bytes behind those that [`Writer::take`] returned.
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: u64,
    /// The rows, and the sum of their ids.
    pub(crate) tally: Tally,
    pub(crate) statistics: Statistics,
    pub(crate) filter: Option<Filter>,
}

impl Writer {
    /// A file without a filter, of rows like those of `sample`.
    pub(crate) fn new(schema: SchemaRef, sample: &RecordBatch) -> Result<Self, ParquetError> {
        Self::with(properties(), schema, sample)
    }

    /// A compaction's file, likewise.
    pub(crate) fn compacted(
        schema: SchemaRef,
        sample: &RecordBatch,
        options: &Options<'_>,
    ) -> Result<Self, ParquetError> {
        let sorting = options.sorted_by.iter().map(|name| {
            let leaf = statistics::leaf_of(&schema, name)?;
            Some(SortingColumn { column_idx: i32::try_from(leaf).ok()?, descending: false, nulls_first: true })
        });
        let sorting = sorting.collect::<Option<Vec<_>>>().filter(|sorting| !sorting.is_empty());
        let properties = properties().set_max_row_group_bytes(Some(options.row_group_bytes));
        Self::with(properties.set_sorting_columns(sorting), schema, sample)
    }

    fn with(
        mut properties: WriterPropertiesBuilder,
        schema: SchemaRef,
        sample: &RecordBatch,
    ) -> Result<Self, ParquetError> {
        for (field, column) in schema.fields().iter().zip(sample.columns()) {
            if !hardly_repeats(column) {
                continue;
            }
            let path = ColumnPath::from(field.name().as_str());
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
            if matches!(field.data_type(), DataType::Int32 | DataType::Int64 | DataType::Timestamp(..)) {
                // Times and sequences mostly rise, by little.
                properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
        }
        let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
        let parquet = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)?;
        Ok(Self { parquet, filter: None, schema, rows: 0, sum: 0 })
    }

    /// Adds entries to the footer.
    pub(crate) fn with_notes(mut self, notes: impl IntoIterator<Item = (String, String)>) -> Self {
        for (key, value) in notes {
            self.parquet.append_key_value_metadata(KeyValue::new(key, value));
        }
        self
    }

    /// Returns the encoded bytes of the row group under way, about.
    pub(crate) fn encoding(&self) -> usize {
        self.parquet.in_progress_size()
    }

    /// Returns the bytes that the row group under way takes in memory, about.
    pub(crate) fn memory(&self) -> usize {
        self.parquet.memory_size()
    }

    /// Returns about how many bytes the file will have if it ends here.
    pub(crate) fn bytes(&self) -> u64 {
        let filter = self.filter.as_ref().map_or(0, |(filter, _)| filter.memory());
        (self.parquet.bytes_written() + self.parquet.in_progress_size() + filter) as u64
    }

    /// Gives the file a filter for about so many rows.
    pub(crate) fn with_filter(mut self, rows: u64, scheme: &str) -> Self {
        self.filter = Some((Filter::for_rows(rows), scheme.to_owned()));
        self
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.rows += batch.num_rows() as u64;
        self.parquet.write(batch)
    }

    /// Adds ids to the filter and to the sum, in any order.
    pub(crate) fn write_ids(&mut self, ids: impl IntoIterator<Item = u128>) {
        if let Some((filter, _)) = &mut self.filter {
            for id in ids {
                filter.insert(id);
                self.sum = self.sum.wrapping_add(id);
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
                    (filter::SUM_KEY, format!("{:032x}", self.sum)),
                ] {
                    self.parquet.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
                }
                Some(filter)
            }
        };
        let metadata = self.parquet.finish()?;
        let statistics = Statistics::of(&self.schema, &metadata);
        let tally = Tally { count: self.rows, sum: self.sum };
        Ok(Finished { bytes: mem::take(self.parquet.inner_mut()), rows: self.rows, tally, statistics, filter })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn only_columns_whose_values_hardly_repeat_lose_their_dictionary() {
        let unique: ArrayRef = Arc::new(Int64Array::from_iter_values(0..4096));
        let few: ArrayRef = Arc::new(StringArray::from_iter_values((0..4096).map(|n| format!("kind {}", n % 50))));
        let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None; 4096]));
        assert!(hardly_repeats(&unique));
        assert!(!hardly_repeats(&few));
        assert!(!hardly_repeats(&nulls));
        assert!(!hardly_repeats(&unique.slice(0, 100)));
    }
}

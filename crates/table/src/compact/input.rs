//! The files that go into a compaction: what their footers say, and their row groups, which are read one by one.
//!
//! Files are in the order of their arrival: by when they were added to the table; what an earlier compaction made
//! counts as its newest input did. A row's ordinal is its place in that order, over all files.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::{Buf, Bytes};
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use weir_types::{TableName, Timestamp};

use super::order::{Order, head};
use crate::columns;
use crate::error::FileError;
use crate::file::DataFile;
use crate::filter;
use crate::reader::{Reader, failed};

/// Footer entry: the columns that the rows are sorted by, as JSON; nulls first, as [`Order`] has it.
pub(crate) const SORTED_KEY: &str = "weir.sorted_by";
/// Footer entry: the scheme of ids (see [`filter::SCHEME_KEY`]), if none of them is in another file that has this entry.
/// Not the filter's own entry: files of other writers that are rewritten get filters, and keep their repeats.
const UNIQUE_KEY: &str = "weir.unique_by";
/// Footer entry: when the newest of the files arrived that a compaction made this one of, in milliseconds since 1970.
pub(crate) const ARRIVED_KEY: &str = "weir.arrived_at";

/// Returns what footers say beside the ids: by which columns rows are in order, that no id of theirs is in another file
/// with this entry (for tables with ids), and when the newest row came, if the file's own age does not tell.
pub(crate) fn notes(order: &[String], scheme: Option<&str>, arrived: Option<Timestamp>) -> Vec<(String, String)> {
    let mut notes = Vec::new();
    if !order.is_empty() {
        notes.push((SORTED_KEY.to_owned(), serde_json::Value::from(order.to_vec()).to_string()));
    }
    notes.extend(scheme.map(|scheme| (UNIQUE_KEY.to_owned(), scheme.to_owned())));
    notes.extend(arrived.map(|at| (ARRIVED_KEY.to_owned(), at.0.to_string())));
    notes
}

/// Decompressed bytes that a reader holds per column: a data page and a dictionary of the sizes that writers use.
const PAGE_BYTES: u64 = 2 << 20;
/// Rows that are decoded at a time at most, and at least.
const BATCH_ROWS: Range<u64> = 16..8193;

/// A file whose footer was read.
pub(crate) struct Input {
    pub(crate) file: Arc<DataFile>,
    pub(crate) metadata: ArrowReaderMetadata,
    /// Whether the rows are in the wanted order.
    pub(crate) is_sorted: bool,
    /// Whether its ids are known to be in no other such file.
    pub(crate) is_unique: bool,
    /// When its newest row came.
    pub(crate) arrived: Timestamp,
    /// The wrapping sum of its ids, if it says so.
    pub(crate) sum: Option<u128>,
    /// The ordinal of its first row.
    pub(crate) first: u64,
}

impl Input {
    /// Reads a footer.
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        file: Arc<DataFile>,
        scheme: &str,
        order: &Order,
    ) -> Result<Self, FileError> {
        let reader = Reader::open(store, file.clone()).await?;
        let metadata = reader.into_metadata();
        let entries = metadata.metadata().file_metadata().key_value_metadata();
        let value = |key: &str| entries?.iter().find(|entry| entry.key == key)?.value.as_deref();
        let sorted = value(SORTED_KEY).and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
        let arrived = value(ARRIVED_KEY).and_then(|text| text.parse().ok()).map_or(file.modified, Timestamp);
        let is_sorted = order.columns().is_empty() || sorted.is_some_and(|columns| columns == order.columns());
        let is_unique = value(UNIQUE_KEY) == Some(scheme);
        let has_ids = value(filter::SCHEME_KEY) == Some(scheme);
        let sum = value(filter::SUM_KEY).filter(|_| has_ids).and_then(|sum| u128::from_str_radix(sum, 16).ok());
        Ok(Self { file, metadata, is_sorted, is_unique, arrived, sum, first: 0 })
    }

    /// Returns the bytes that its rows take when decoded, about.
    pub(crate) fn decoded(&self) -> u64 {
        self.metadata.metadata().row_groups().iter().map(decoded).sum()
    }

    pub(crate) fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }
}

/// Puts files in the order of their arrival and counts their rows. Returns how many there are.
pub(crate) fn arrange(inputs: &mut [Input]) -> u64 {
    inputs.sort_by(|a, b| (a.arrived, &a.file.path).cmp(&(b.arrived, &b.file.path)));
    let mut first = 0;
    for input in inputs {
        input.first = first;
        first += input.rows();
    }
    first
}

/// A row group of a file: what is fetched at once.
#[derive(Clone)]
pub(crate) struct Unit {
    pub(crate) input: usize,
    group: usize,
    pub(crate) range: Range<u64>,
    /// The ordinal of its first row.
    pub(crate) first: u64,
    pub(crate) rows: u64,
    /// Bytes that its rows take when decoded, about.
    decoded: u64,
    /// Bytes that a reader holds beside what it was given and the batch it decodes, about.
    held: u64,
    /// The least and greatest keys, as far as statistics tell.
    pub(crate) least: u128,
    pub(crate) greatest: u128,
}

impl Unit {
    /// Returns the bytes that it takes while it is read in batches of `block` bytes.
    pub(crate) fn memory(&self, block: u64) -> u64 {
        self.range.end - self.range.start + self.held + block.min(self.decoded)
    }

    /// Returns how many rows make a batch of about `block` bytes.
    fn batch_rows(&self, block: u64) -> usize {
        let rows = (block * self.rows.max(1) / self.decoded.max(1)).clamp(BATCH_ROWS.start, BATCH_ROWS.end - 1);
        usize::try_from(rows).unwrap_or(usize::MAX)
    }
}

/// Returns the row groups of the inputs, in the order of arrival.
pub(crate) fn units(inputs: &[Input], order: &Order) -> Result<Vec<Unit>, FileError> {
    let mut units = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let metadata = input.metadata.metadata();
        let mut first = input.first;
        for (group, row_group) in metadata.row_groups().iter().enumerate() {
            let rows = u64::try_from(row_group.num_rows()).unwrap_or(0);
            let range = byte_range(row_group, &input.file).map_err(|reason| failed(&input.file, reason))?;
            let (least, greatest) = ends(row_group, metadata, order, first, rows).unwrap_or((0, u128::MAX));
            if rows > 0 {
                units.push(Unit {
                    input: index,
                    group,
                    range,
                    first,
                    rows,
                    decoded: decoded(row_group),
                    held: held(row_group),
                    least,
                    greatest,
                });
            }
            first += rows;
        }
    }
    Ok(units)
}

/// Returns where in the file a row group lies.
fn byte_range(row_group: &RowGroupMetaData, file: &DataFile) -> Result<Range<u64>, String> {
    let (mut start, mut end) = (u64::MAX, 0);
    for column in row_group.columns() {
        let (first, length) = column.byte_range();
        start = start.min(first);
        end = end.max(first.saturating_add(length));
    }
    if start >= end || end > file.size {
        return Err(format!("a row group lies at bytes {start}..{end} of {}", file.size));
    }
    Ok(start..end)
}

fn decoded(row_group: &RowGroupMetaData) -> u64 {
    let rows = u64::try_from(row_group.num_rows()).unwrap_or(0);
    let columns = row_group.columns().iter().map(|column| {
        let plain = column.unencoded_byte_array_data_bytes().unwrap_or(column.uncompressed_size());
        u64::try_from(plain).unwrap_or(0) + rows * 9
    });
    columns.sum()
}

fn held(row_group: &RowGroupMetaData) -> u64 {
    let sizes = row_group.columns().iter().map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(0));
    sizes.map(|size| size.min(PAGE_BYTES)).sum()
}

/// Returns the ends of a row group's keys, where its statistics bound them.
fn ends(
    row_group: &RowGroupMetaData,
    metadata: &ParquetMetaData,
    order: &Order,
    first: u64,
    rows: u64,
) -> Option<(u128, u128)> {
    if order.columns().is_empty() {
        return Some((head(None, first), head(None, first + rows.saturating_sub(1))));
    }
    if !order.is_bounded_by_statistics() {
        return None;
    }
    let name = order.columns().first()?;
    let leaf =
        metadata.file_metadata().schema_descr().columns().iter().position(|column| column.path().string() == *name)?;
    let statistics = row_group.column(leaf).statistics()?;
    let (least, greatest): (i64, i64) = match statistics {
        Statistics::Int32(ends) => (i64::from(*ends.min_opt()?), i64::from(*ends.max_opt()?)),
        Statistics::Int64(ends) => (*ends.min_opt()?, *ends.max_opt()?),
        _ => return None,
    };
    let least = if statistics.null_count_opt()? > 0 { None } else { Some(least) };
    Some((head(least, first), head(Some(greatest), first + rows.saturating_sub(1))))
}

/// Decodes row groups into the table's form.
pub(crate) struct Decoder {
    table: TableName,
    columns: SchemaRef,
}

impl Decoder {
    pub(crate) fn new(table: TableName, columns: SchemaRef) -> Self {
        Self { table, columns }
    }

    /// Begins with a row group whose bytes were fetched, in batches of about `block` bytes.
    pub(crate) fn read(
        self: &Arc<Self>,
        input: &Input,
        unit: &Unit,
        bytes: Bytes,
        block: u64,
    ) -> Result<Rows, FileError> {
        let metadata = input.metadata.clone();
        let roots = metadata.parquet_schema().root_schema().get_fields();
        let wanted = roots.iter().enumerate().filter(|(_, root)| self.columns.field_with_name(root.name()).is_ok());
        let mask = ProjectionMask::roots(metadata.parquet_schema(), wanted.map(|(index, _)| index).collect::<Vec<_>>());
        let window = Window { start: unit.range.start, bytes, size: input.file.size };
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(window, metadata)
            .with_row_groups(vec![unit.group])
            .with_projection(mask)
            .with_batch_size(unit.batch_rows(block))
            .build()
            .map_err(|source| failed(&input.file, source))?;
        Ok(Rows { reader, decoder: self.clone(), file: input.file.clone() })
    }
}

/// The rows of a row group.
pub(crate) struct Rows {
    reader: ParquetRecordBatchReader,
    decoder: Arc<Decoder>,
    file: Arc<DataFile>,
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?.map_err(|source| failed(&self.file, source));
        Some(batch.and_then(|batch| {
            columns::conform(&self.decoder.table, &self.decoder.columns, &batch)
                .map_err(|source| failed(&self.file, source))
        }))
    }
}

/// A part of a file, which reads as if the file were there.
struct Window {
    start: u64,
    bytes: Bytes,
    size: u64,
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Window {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.slice(start, None)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.slice(start, Some(length))
    }
}

impl Window {
    fn slice(&self, start: u64, length: Option<usize>) -> parquet::errors::Result<Bytes> {
        let outside = || ParquetError::General(format!("bytes from {start} on are not part of the row group"));
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok()).ok_or_else(outside)?;
        let to = length.map_or(Some(self.bytes.len()), |length| from.checked_add(length)).ok_or_else(outside)?;
        if from > to || to > self.bytes.len() {
            return Err(outside());
        }
        Ok(self.bytes.slice(from..to))
    }
}

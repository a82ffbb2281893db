//! Rows in memory: those behind the last commit, and their ids.
//!
//! Rows stay in the batches they came in; a commit gathers them by place. Batches are shared with the views that were
//! taken, so that a view costs no copy.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter_record_batch, interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use hashbrown::HashTable;

use crate::outcome::Reason;
use crate::place::{Layout, Place};
use crate::route::Routed;

/// Bytes that a row takes beside its values: id, key, time and place.
const ROW_BYTES: u64 = 56;
/// Rows that are gathered at a time.
const GATHER_ROWS: usize = 8192;
/// A batch that holds on to more than so many bytes that it doesn't show is copied.
const HIDDEN_BYTES_MAX: usize = 64 << 10;

/// Returns what a batch takes in a buffer.
pub(crate) fn bytes_of(batch: &RecordBatch) -> u64 {
    batch.get_array_memory_size() as u64 + batch.num_rows() as u64 * ROW_BYTES
}

/// Rows of one batch.
pub(crate) struct Chunk {
    batch: RecordBatch,
    places: Vec<Place>,
    place_of: Vec<u32>,
    times: Vec<i64>,
    ids: Vec<u128>,
    /// How many rows came late, per place that has such.
    late: HashMap<Place, u64>,
    bytes: u64,
}

/// Rows for a buffer, and their keys: see [`Place::key`].
pub(crate) struct Arrived {
    chunk: Chunk,
    keys: Vec<u128>,
}

impl Arrived {
    /// Takes the rows that `keep` says.
    pub(crate) fn of(routed: Routed, keep: &[bool]) -> Result<Self, ArrowError> {
        let Routed { batch, places, place_of, times, ids, keys, reasons } = routed;
        let mut late = HashMap::new();
        for (row, _) in reasons.iter().enumerate().filter(|(row, reason)| keep[*row] && **reason == Some(Reason::Late))
        {
            *late.entry(places[place_of[row] as usize]).or_default() += 1;
        }
        let all = keep.iter().all(|keep| *keep);
        let batch =
            if all { compact(batch)? } else { filter_record_batch(&batch, &BooleanArray::from(keep.to_vec()))? };
        fn kept<T: Copy>(values: Vec<T>, keep: &[bool], all: bool) -> Vec<T> {
            if all {
                values
            } else {
                values.into_iter().zip(keep).filter_map(|(value, keep)| keep.then_some(value)).collect()
            }
        }
        let bytes = bytes_of(&batch);
        let chunk = Chunk {
            batch,
            places,
            place_of: kept(place_of, keep, all),
            times: kept(times, keep, all),
            ids: kept(ids, keep, all),
            late,
            bytes,
        };
        Ok(Self { chunk, keys: kept(keys, keep, all) })
    }
}

impl Chunk {
    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    fn place(&self, row: usize) -> Place {
        self.places[self.place_of[row] as usize]
    }

    /// Returns the rows with the columns that a table has by now, and its partition columns.
    pub(crate) fn to_view(
        &self,
        columns: &SchemaRef,
        schema: &SchemaRef,
        layout: Layout,
    ) -> Result<RecordBatch, ArrowError> {
        let batch = widen(&self.batch, columns)?;
        let mut arrays = batch.columns().to_vec();
        arrays.extend(layout.columns((0..self.rows()).map(|row| self.place(row))));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows()));
        RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
    }
}

/// Copies a batch that is a small part of larger arrays: else it would hold them all.
fn compact(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let shown: usize =
        batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX)).sum();
    if batch.get_array_memory_size() <= shown.saturating_mul(2).saturating_add(HIDDEN_BYTES_MAX) {
        return Ok(batch);
    }
    let rows = u32::try_from(batch.num_rows()).map_err(|_| ArrowError::InvalidArgumentError("too many rows".into()))?;
    take_record_batch(&batch, &UInt32Array::from_iter_values(0..rows))
}

/// Brings a batch of an earlier schema into a later one, which only has more columns.
fn widen(batch: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    crate::columns::widen(batch, columns)
}

/// Rows that wait for a commit.
#[derive(Default)]
pub(crate) struct Buffer {
    pub(crate) chunks: Vec<Arc<Chunk>>,
    keys: HashTable<u128>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// When the oldest row came, by the clock that never goes back.
    pub(crate) since: Option<Duration>,
}

impl Buffer {
    /// Whether a row with this key (see [`Place::key`]) is here.
    pub(crate) fn holds(&self, key: u128) -> bool {
        self.keys.find(low(key), |found| *found == key).is_some()
    }

    /// Adds rows none of whose keys is here.
    pub(crate) fn push(&mut self, arrived: Arrived, elapsed: Duration) {
        let Arrived { chunk, keys } = arrived;
        if chunk.rows() == 0 {
            return;
        }
        self.keys.reserve(keys.len(), |key| low(*key));
        for key in keys {
            self.keys.insert_unique(low(key), key, |key| low(*key));
        }
        self.rows += chunk.rows() as u64;
        self.bytes += chunk.bytes;
        self.since.get_or_insert(elapsed);
        self.chunks.push(Arc::new(chunk));
    }

    /// Returns how many rows of a place came late.
    pub(crate) fn late_at(&self, place: Place) -> u64 {
        self.chunks.iter().filter_map(|chunk| chunk.late.get(&place)).sum()
    }

    /// Returns the rows by place, in the order of places.
    pub(crate) fn gather(&self) -> Vec<Gathered> {
        let mut index: HashMap<Place, usize> = HashMap::new();
        let mut gathered: Vec<Gathered> = Vec::new();
        for (at, chunk) in self.chunks.iter().enumerate() {
            let mut local: Vec<Option<usize>> = vec![None; chunk.places.len()];
            for (row, place_of) in chunk.place_of.iter().enumerate() {
                let slot = &mut local[*place_of as usize];
                let to = *slot.get_or_insert_with(|| {
                    let place = chunk.places[*place_of as usize];
                    *index.entry(place).or_insert_with(|| {
                        gathered.push(Gathered { place, rows: Vec::new() });
                        gathered.len() - 1
                    })
                });
                gathered[to].rows.push((chunk.times[row], at as u32, row as u32));
            }
        }
        gathered.sort_unstable_by_key(|gathered| gathered.place);
        gathered
    }
}

fn low(key: u128) -> u64 {
    key as u64
}

/// A set of keys of one batch.
#[derive(Default)]
pub(crate) struct Keys {
    table: HashTable<u128>,
}

impl Keys {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { table: HashTable::with_capacity(rows) }
    }

    /// Whether the key is new. It is there afterwards.
    pub(crate) fn insert(&mut self, key: u128) -> bool {
        let is_new = self.table.find(low(key), |found| *found == key).is_none();
        if is_new {
            self.table.insert_unique(low(key), key, |key| low(*key));
        }
        is_new
    }

    pub(crate) fn holds(&self, key: u128) -> bool {
        self.table.find(low(key), |found| *found == key).is_some()
    }
}

/// Rows of one place, as times, chunks and rows within.
pub(crate) struct Gathered {
    pub(crate) place: Place,
    pub(crate) rows: Vec<(i64, u32, u32)>,
}

impl Gathered {
    /// Orders the rows by event time, so that a file's row groups and pages lie close in time.
    pub(crate) fn sort(&mut self) {
        if !self.rows.is_sorted() {
            self.rows.sort_unstable();
        }
    }

    /// Returns the ids.
    pub(crate) fn ids<'a>(&'a self, chunks: &'a [Arc<Chunk>]) -> impl Iterator<Item = u128> + 'a {
        self.rows.iter().filter_map(|(_, chunk, row)| chunks[*chunk as usize].ids.get(*row as usize).copied())
    }

    /// Returns about `rows` rows, spread over all.
    pub(crate) fn sample(&self, chunks: &[RecordBatch], rows: usize) -> Result<RecordBatch, ArrowError> {
        let step = self.rows.len().div_ceil(rows.max(1)).max(1);
        let sources: Vec<&RecordBatch> = chunks.iter().collect();
        let spread = self.rows.iter().step_by(step).map(|(_, at, row)| (*at as usize, *row as usize));
        interleave_record_batch(&sources, &spread.collect::<Vec<_>>())
    }

    /// Returns the rows as batches of `columns`, bounded in size.
    pub(crate) fn batches<'a>(
        &'a self,
        chunks: &'a [RecordBatch],
    ) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + 'a {
        let sources: Vec<&RecordBatch> = chunks.iter().collect();
        self.rows.chunks(GATHER_ROWS).map(move |rows| {
            let (_, chunk, first) = rows[0];
            let run = rows.iter().zip(first..).all(|((_, at, row), next)| *at == chunk && *row == next);
            if run {
                return Ok(chunks[chunk as usize].slice(first as usize, rows.len()));
            }
            let indices: Vec<(usize, usize)> = rows.iter().map(|(_, at, row)| (*at as usize, *row as usize)).collect();
            interleave_record_batch(&sources, &indices)
        })
    }
}

/// Returns the chunks' rows with the columns that a table has by now.
pub(crate) fn widened(chunks: &[Arc<Chunk>], columns: &SchemaRef) -> Result<Vec<RecordBatch>, ArrowError> {
    chunks.iter().map(|chunk| widen(&chunk.batch, columns)).collect()
}

//! Rows in memory: those behind the last commit, and their ids.
//!
//! Rows stay in the batches they came in; a commit gathers them by place. Batches are shared with the views that were
//! taken, so that a view costs no copy.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter_record_batch, interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use hashbrown::HashTable;

use crate::outcome::Reason;
use crate::partition;
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
    /// Which rows are to take the place of a row that is sealed or in a file; empty if none.
    replacing: Vec<bool>,
    bytes: u64,
}

/// Rows for a buffer, and their keys: see [`Place::key`].
pub(crate) struct Arrived {
    chunk: Chunk,
    keys: Vec<u128>,
    /// Which rows take the place of one that was there when they were looked for; empty if none.
    replaces: Vec<bool>,
}

impl Arrived {
    /// Takes the rows that `keep` says. `replaces` says which of all take another's place; empty if none.
    pub(crate) fn of(routed: Routed, keep: &[bool], replaces: Vec<bool>) -> Result<Self, ArrowError> {
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
            replacing: Vec::new(),
            bytes,
        };
        Ok(Self { chunk, keys: kept(keys, keep, all), replaces: kept(replaces, keep, all) })
    }
}

impl Chunk {
    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    fn is_replacing(&self, row: usize) -> bool {
        self.replacing.get(row).copied().unwrap_or(false)
    }

    /// Returns the key of a row of a table with ids.
    fn key(&self, row: usize) -> Option<u128> {
        self.ids.get(row).map(|id| self.place(row).key(*id))
    }

    fn place(&self, row: usize) -> Place {
        self.places[self.place_of[row] as usize]
    }

    /// Returns the rows with the columns that a table has by now, and its partition columns; only those that `shown`
    /// says, if it is given.
    pub(crate) fn to_view(
        &self,
        columns: &SchemaRef,
        schema: &SchemaRef,
        layout: Layout,
        shown: Option<&BooleanArray>,
    ) -> Result<RecordBatch, ArrowError> {
        let batch = widen(&self.batch, columns)?;
        let mut arrays = batch.columns().to_vec();
        arrays.extend(layout.columns((0..self.rows()).map(|row| self.place(row))));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
        shown.map_or(Ok(batch.clone()), |shown| filter_record_batch(&batch, shown))
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
pub(crate) fn widen(batch: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    crate::columns::widen(batch, columns)
}

/// Where the rows are: keys, chunks, and rows within.
type Locations = HashTable<(u128, u32, u32)>;

/// Rows that wait for a commit.
#[derive(Default)]
pub(crate) struct Buffer {
    pub(crate) chunks: Vec<Arc<Chunk>>,
    keys: HashTable<u128>,
    /// Where each key's row is. Made when it is first asked for: only rows that take others' places need it.
    locations: OnceLock<Locations>,
    /// Rows whose place a later one took, by chunk.
    dead: HashMap<u32, Vec<bool>>,
    /// The rows, dead ones not counted.
    pub(crate) rows: u64,
    /// Those of them that are to take the place of a sealed or committed row.
    pub(crate) hidden: u64,
    pub(crate) bytes: u64,
    /// When the oldest row came, by the clock that never goes back.
    pub(crate) since: Option<Duration>,
}

/// Rows of one place that take others' places.
pub(crate) struct Replacing {
    pub(crate) ids: HashSet<u128>,
    /// The ends of their event times; the first is [`NO_TIME`](crate::route::NO_TIME) if one has none.
    pub(crate) times: (i64, i64),
}

impl Buffer {
    /// Whether a row with this key (see [`Place::key`]) is here.
    pub(crate) fn holds(&self, key: u128) -> bool {
        self.keys.find(low(key), |found| *found == key).is_some()
    }

    /// Adds rows. None of their keys is here, but for those that take another's place.
    pub(crate) fn push(&mut self, arrived: Arrived, elapsed: Duration) {
        let Arrived { mut chunk, keys, replaces } = arrived;
        if chunk.rows() == 0 {
            return;
        }
        let rows = chunk.rows() as u64;
        let at = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        self.keys.reserve(keys.len(), |key| low(*key));
        if replaces.contains(&true) {
            chunk.replacing =
                replaces.iter().zip(&keys).map(|(replaces, key)| *replaces && self.replace(*key)).collect();
            self.hidden += chunk.replacing.iter().filter(|replacing| **replacing).count() as u64;
        }
        let mut locations = self.locations.get_mut();
        for (row, key) in keys.into_iter().enumerate() {
            // A dead row's key stays.
            if !replaces.get(row).copied().unwrap_or(false) || self.keys.find(low(key), |found| *found == key).is_none()
            {
                self.keys.insert_unique(low(key), key, |key| low(*key));
            }
            if let Some(locations) = &mut locations {
                locate(locations, key, at, row as u32);
            }
        }
        self.rows += rows;
        self.bytes += chunk.bytes;
        self.since.get_or_insert(elapsed);
        self.chunks.push(Arc::new(chunk));
    }

    /// Makes room for a row that takes another's place: the one that is here, if it is, is dead. Says whether a sealed
    /// or committed row is to be replaced.
    fn replace(&mut self, key: u128) -> bool {
        if !self.holds(key) {
            return true;
        }
        let found = self.locations().find(low(key), |(found, ..)| *found == key).copied();
        // What is held is located.
        let Some((_, at, row)) = found else { return true };
        let chunk = &self.chunks[at as usize];
        let was_replacing = chunk.is_replacing(row as usize);
        self.dead.entry(at).or_insert_with(|| vec![false; chunk.rows()])[row as usize] = true;
        self.rows -= 1;
        self.hidden -= u64::from(was_replacing);
        was_replacing
    }

    fn is_dead(&self, chunk: u32, row: usize) -> bool {
        self.dead.get(&chunk).is_some_and(|dead| dead[row])
    }

    fn locations(&self) -> &Locations {
        self.locations.get_or_init(|| {
            let mut locations = Locations::with_capacity(self.keys.len());
            for (at, chunk) in self.chunks.iter().enumerate() {
                for row in (0..chunk.rows()).filter(|row| !self.is_dead(at as u32, *row)) {
                    if let Some(key) = chunk.key(row) {
                        locate(&mut locations, key, at as u32, row as u32);
                    }
                }
            }
            locations
        })
    }

    /// Returns where the row with this key is.
    pub(crate) fn locate(&self, key: u128) -> Option<(Arc<Chunk>, u32)> {
        if !self.holds(key) {
            return None;
        }
        let (_, at, row) = self.locations().find(low(key), |(found, ..)| *found == key)?;
        Some((self.chunks[*at as usize].clone(), *row))
    }

    /// Returns the chunks, with the rows that views show if they don't show all.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (Arc<Chunk>, Option<BooleanArray>)> {
        self.chunks.iter().enumerate().map(|(at, chunk)| {
            let (at, is_whole) = (at as u32, chunk.replacing.is_empty());
            let shown = (!is_whole || self.dead.contains_key(&at)).then(|| {
                let rows = (0..chunk.rows()).map(|row| Some(!chunk.is_replacing(row) && !self.is_dead(at, row)));
                rows.collect()
            });
            (chunk.clone(), shown)
        })
    }

    /// Returns the rows that take the place of sealed or committed ones, by place; all rows of some partitions, as there
    /// may be rows whose place they take that nobody knew of when they came.
    pub(crate) fn replacing(&self, whole: &BTreeSet<partition::Key>) -> BTreeMap<Place, Replacing> {
        let mut replacing: BTreeMap<Place, Replacing> = BTreeMap::new();
        if self.hidden == 0 && whole.is_empty() {
            return replacing;
        }
        for (at, chunk) in self.chunks.iter().enumerate() {
            let takes = |row| chunk.is_replacing(row) || whole.contains(&chunk.place(row).partition());
            for row in (0..chunk.rows()).filter(|row| takes(*row) && !self.is_dead(at as u32, *row)) {
                let (Some(id), time) = (chunk.ids.get(row), chunk.times[row]) else { continue };
                let place = replacing
                    .entry(chunk.place(row))
                    .or_insert_with(|| Replacing { ids: HashSet::new(), times: (time, time) });
                place.ids.insert(*id);
                place.times = (place.times.0.min(time), place.times.1.max(time));
            }
        }
        replacing
    }

    /// Whether rows of a partition are here.
    pub(crate) fn touches(&self, key: partition::Key) -> bool {
        self.chunks.iter().any(|chunk| chunk.places.iter().any(|place| place.partition() == key))
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
            let dead = self.dead.get(&(at as u32));
            for (row, place_of) in chunk.place_of.iter().enumerate() {
                if dead.is_some_and(|dead| dead[row]) {
                    continue;
                }
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

/// Says where a key's row is by now.
fn locate(locations: &mut Locations, key: u128, chunk: u32, row: u32) {
    let entry = locations.entry(low(key), |(found, ..)| *found == key, |(key, ..)| low(*key));
    entry.insert((key, chunk, row));
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

    pub(crate) fn len(&self) -> usize {
        self.table.len()
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

//! Rows that take the place of older ones: what becomes of each row of a batch.
//!
//! ```text
//!   row --> same id in a buffer, or in a file of the place? --no--> new
//!                   |yes: are all values equal? --yes--> a repeat, dropped
//!                   +--no--> takes its place: in the open buffer at once (the old one is dead there),
//!                            in the sealed one and in files when it is committed (see `rewrite`)
//! ```
//!
//! Rows of one batch take each other's places in their order.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::append::{Fate, LOOKUPS_MAX};
use crate::buffer::{self, Chunk};
use crate::error::{AppendError, FileError};
use crate::file::DataFile;
use crate::route::{self, NO_TIME, Routed};
use crate::table::{Counters, Table};

/// What is known of the rows of a batch.
pub(crate) struct Fates {
    pub(crate) fates: Vec<Fate>,
    /// Whether a later row of the batch took the row's place; empty if that is so for none.
    pub(crate) superseded: Vec<bool>,
    /// Whether the row takes the place of one that was there before the batch; empty if none does.
    pub(crate) replaces: Vec<bool>,
}

impl Fates {
    /// Of an append that drops repeats.
    pub(crate) fn of(fates: Vec<Fate>) -> Self {
        Self { fates, superseded: Vec::new(), replaces: Vec::new() }
    }
}

/// Where a row stands by now, while a batch is gone through.
struct Now {
    hash: u64,
    /// Its row in the batch; none if it was there before.
    row: Option<usize>,
}

impl Table {
    /// Tells new rows, equal ones, and others with an id that is there.
    pub(crate) async fn fates_replacing(&self, routed: &Routed, columns: &SchemaRef) -> Result<Fates, AppendError> {
        let rows = routed.batch.num_rows();
        let mut fates = Fates::of(vec![Fate::New; rows]);
        if routed.ids.is_empty() {
            return Ok(fates);
        }
        let mut first: HashMap<u128, u32> = HashMap::with_capacity(rows);
        for (row, key) in routed.keys.iter().enumerate() {
            first.entry(*key).or_insert(row as u32);
        }
        let old = self.old_hashes(routed, columns, &first).await?;
        if old.is_empty() && first.len() == rows {
            return Ok(fates);
        }
        let values = self.values(columns).and_then(|values| values.hashes(&routed.batch));
        let hashes = values.map_err(|source| self.cast(source))?;
        (fates.replaces, fates.superseded) = (vec![false; rows], vec![false; rows]);
        let mut now: HashMap<u128, Now> =
            old.iter().map(|(key, hash)| (*key, Now { hash: *hash, row: None })).collect();
        for (row, key) in routed.keys.iter().enumerate() {
            let hash = hashes[row];
            let is_refused = route::is_refused(&self.spec, routed.reasons[row]);
            let before = now.get(key);
            if before.is_some_and(|before| before.hash == hash) {
                fates.fates[row] = Fate::Repeat;
                continue;
            }
            // A row that is handed back is not stored, and takes nobody's place.
            if is_refused {
                continue;
            }
            if let Some(before) = before {
                fates.fates[row] = Fate::Replaced;
                if let Some(earlier) = before.row {
                    fates.superseded[earlier] = true;
                }
            }
            fates.replaces[row] = old.contains_key(key);
            now.insert(*key, Now { hash, row: Some(row) });
        }
        Ok(fates)
    }

    /// Returns the hashes of the values of those rows that are there already, by key.
    async fn old_hashes(
        &self,
        routed: &Routed,
        columns: &SchemaRef,
        first: &HashMap<u128, u32>,
    ) -> Result<HashMap<u128, u64>, AppendError> {
        for lookup in 1.. {
            let (buffered, by_place) = self.old_in_buffers(routed, first);
            let mut old = self.hashes_of(buffered, columns).map_err(|source| self.cast(source))?;
            let mut lost = None;
            for (files, rows) in by_place {
                for file in files {
                    if let Err(error) = self.old_in_file(routed, &rows, &file, columns, &mut old).await {
                        lost = Some((file, error));
                        break;
                    }
                }
            }
            match lost {
                None => return Ok(old),
                Some((file, _)) if lookup < LOOKUPS_MAX && !self.is_current(&file) => {}
                Some((_, error)) => return Err(error.into()),
            }
        }
        Ok(HashMap::new())
    }

    /// Returns the rows that are buffered, and the others by place, with the place's files.
    #[expect(clippy::type_complexity, reason = "both halves are taken apart at once")]
    fn old_in_buffers(
        &self,
        routed: &Routed,
        first: &HashMap<u128, u32>,
    ) -> (Vec<(u128, Arc<Chunk>, u32)>, Vec<(Vec<Arc<DataFile>>, Vec<u32>)>) {
        let state = self.state();
        let mut by_place: Vec<_> =
            routed.places.iter().map(|place| (state.files.at(*place).to_vec(), Vec::new())).collect();
        let mut buffered = Vec::new();
        let sealed = state.sealed.as_ref().map(|sealed| &sealed.buffer);
        for (key, row) in first {
            // The open buffer's is the newer one.
            let found = state.open.locate(*key).or_else(|| sealed?.locate(*key));
            if let Some((chunk, at)) = found {
                buffered.push((*key, chunk, at));
                continue;
            }
            let (files, rows) = &mut by_place[routed.place_of[*row as usize] as usize];
            if !files.is_empty() {
                rows.push(*row);
            }
        }
        by_place.retain(|(_, rows)| !rows.is_empty());
        (buffered, by_place)
    }

    /// Hashes buffered rows.
    fn hashes_of(
        &self,
        mut buffered: Vec<(u128, Arc<Chunk>, u32)>,
        columns: &SchemaRef,
    ) -> Result<HashMap<u128, u64>, ArrowError> {
        let mut hashes = HashMap::with_capacity(buffered.len());
        if buffered.is_empty() {
            return Ok(hashes);
        }
        let values = self.values(columns)?;
        buffered.sort_unstable_by_key(|(_, chunk, row)| (Arc::as_ptr(chunk), *row));
        for same in buffered.chunk_by(|(_, a, _), (_, b, _)| Arc::ptr_eq(a, b)) {
            let Some((_, chunk, _)) = same.first() else { continue };
            let rows = UInt32Array::from_iter_values(same.iter().map(|(_, _, row)| *row));
            let batch = buffer::widen(&take_record_batch(chunk.batch(), &rows)?, columns)?;
            hashes.extend(same.iter().map(|(key, ..)| *key).zip(values.hashes(&batch)?));
        }
        Ok(hashes)
    }

    /// Adds the hashes of those rows that a file holds.
    async fn old_in_file(
        &self,
        routed: &Routed,
        rows: &[u32],
        file: &Arc<DataFile>,
        columns: &SchemaRef,
        old: &mut HashMap<u128, u64>,
    ) -> Result<(), FileError> {
        let mut wanted: HashMap<u128, i64> = HashMap::new();
        let mut row_of: HashMap<u128, u32> = HashMap::new();
        for row in rows {
            let (id, time) = (routed.ids[*row as usize], routed.times[*row as usize]);
            let meets = time == NO_TIME || file.times.is_none_or(|(least, most)| (least..=most).contains(&time));
            if meets && !old.contains_key(&routed.keys[*row as usize]) {
                wanted.insert(id, time);
                row_of.insert(id, *row);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        if let Some(filter) = self.filter_of(file).await? {
            wanted.retain(|id, _| filter.may_hold(*id));
            if wanted.is_empty() {
                return Ok(());
            }
            Counters::add(&self.counters.filter_hits, 1);
        }
        for (id, hash) in self.hashes_in(file, columns, &wanted).await? {
            if let Some(row) = row_of.get(&id) {
                old.insert(routed.keys[*row as usize], hash);
            }
        }
        Ok(())
    }
}

//! Appending: a batch in, its new rows in the buffer.
//!
//! ```text
//!  rows --> place and id --> in this batch, or in a buffer? --> in a file of the place? --> rules --> buffer
//!                                 (hash tables)            (event times, filter, ids)
//! ```
//!
//! Only files of places that the batch touches are looked at, of those only such whose event times meet the batch's, of
//! those only such whose filter doesn't exclude every id; of the rest the id columns are read. Nothing changes before
//! the last step, which doesn't wait.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::TryStreamExt;

use crate::buffer::{self, Arrived, Keys};
use crate::columns;
use crate::error::{AppendError, FileError};
use crate::file::DataFile;
use crate::filter::Filter;
use crate::outcome::{Appended, Reason, Refused, SourceId};
use crate::reader::Reader;
use crate::replacing::Fates;
use crate::route::{self, NO_TIME, Routed};
use crate::spec::Keep;
use crate::table::{Counters, Table};

/// How often files that a merge replaced and a vacuum deleted meanwhile are looked up anew.
pub(crate) const LOOKUPS_MAX: u32 = 4;

/// What is known of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    New,
    Repeat,
    /// It takes the place of an earlier row with its id.
    Replaced,
}

/// What an append does with a row whose id the table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnRepeat {
    Keep,
    Replace,
}

impl Table {
    /// Takes a batch: drops repeats, buffers the rest, and moves the positions in memory to `seen`, all or nothing. In
    /// a table that keeps the last row of an id ([`Keep::Last`]), rows take older ones' places like those of
    /// [`append_replacing`](Self::append_replacing).
    ///
    /// `seen` names, per source, the next sequence number after the rows of this and all earlier batches. The batch may
    /// lack columns (they become null), and is converted where the table's type holds every value of the batch's.
    /// Nothing is durable before [`commit`](Self::commit). An append whose future is dropped has no effect.
    ///
    /// # Errors
    /// See [`AppendError`]. `Full` asks for a commit.
    pub async fn append(&self, batch: RecordBatch, seen: &[(SourceId, u64)]) -> Result<Appended, AppendError> {
        let _one = self.appending.lock().await;
        let (routed, columns) = self.route(&batch, seen)?;
        match self.spec.keep {
            Keep::First => self.take(routed, &columns, seen, OnRepeat::Keep).await,
            Keep::Last => self.take(routed, &columns, seen, OnRepeat::Replace).await,
        }
    }

    /// Takes a batch like [`append`](Self::append), but a row whose id the table has takes the old row's place, if any
    /// value differs; rows whose values are all equal count as repeats. Of several rows of the batch with one id, the
    /// last stays. In a table without ids, all rows are new.
    ///
    /// Lateness is not judged: who replays knows that the rows are old. Rows that take a committed row's place are
    /// hidden from views until they are committed: see [`View::hidden`](crate::View::hidden).
    ///
    /// # Errors
    /// See [`AppendError`]. `Full` asks for a commit.
    pub async fn append_replacing(
        &self,
        batch: RecordBatch,
        seen: &[(SourceId, u64)],
    ) -> Result<Appended, AppendError> {
        let _one = self.appending.lock().await;
        let (mut routed, columns) = self.route(&batch, seen)?;
        for reason in &mut routed.reasons {
            *reason = reason.filter(|reason| *reason != Reason::Late);
        }
        self.take(routed, &columns, seen, OnRepeat::Replace).await
    }

    fn route(&self, batch: &RecordBatch, seen: &[(SourceId, u64)]) -> Result<(Routed, SchemaRef), AppendError> {
        let columns = self.admit(batch, seen)?;
        let batch = columns::conform(&self.spec.name, &columns, batch)?;
        let routed = route::route(&self.spec, &self.hasher, batch, self.env.now());
        Ok((routed.map_err(|source| self.cast(source))?, columns))
    }

    pub(crate) fn cast(&self, source: ArrowError) -> AppendError {
        AppendError::Cast { table: self.spec.name.clone(), column: "*".to_owned(), source }
    }

    async fn take(
        &self,
        routed: Routed,
        columns: &SchemaRef,
        seen: &[(SourceId, u64)],
        on_repeat: OnRepeat,
    ) -> Result<Appended, AppendError> {
        let fates = match on_repeat {
            OnRepeat::Keep => Fates::of(self.fates(&routed).await?),
            OnRepeat::Replace => self.fates_replacing(&routed, columns).await?,
        };
        let (appended, keep) = self.judge(&routed, &fates);
        let arrived = Arrived::of(routed, &keep, fates.replaces).map_err(|source| self.cast(source))?;
        {
            let mut state = self.state();
            state.open.push(arrived, self.env.elapsed());
            for (source, position) in seen {
                state.positions.insert(source.clone(), *position);
            }
        }
        self.count(&appended);
        Ok(appended)
    }

    /// Refuses what can't be taken now, and returns the table's columns.
    fn admit(&self, batch: &RecordBatch, seen: &[(SourceId, u64)]) -> Result<SchemaRef, AppendError> {
        if let Some(reshaping) = self.reshaping() {
            return Err(AppendError::Reshaping { table: self.spec.name.clone(), reshaping: Box::new(reshaping) });
        }
        let state = self.state();
        let sealed = state.sealed.as_ref().map_or(0, |sealed| sealed.buffer.bytes);
        let bytes = state.open.bytes + sealed;
        // An empty buffer takes any batch: a limit must not make one impossible.
        if bytes > 0 && bytes.saturating_add(buffer::bytes_of(batch)) > self.spec.buffer_bytes_max {
            return Err(AppendError::Full {
                table: self.spec.name.clone(),
                bytes,
                bytes_max: self.spec.buffer_bytes_max,
            });
        }
        for (source, given) in seen {
            if let Some(has) = state.positions.get(source).filter(|has| *has > given) {
                let (table, source_id) = (self.spec.name.clone(), source.clone());
                return Err(AppendError::Backwards { table, source_id, has: *has, given: *given });
            }
        }
        Ok(state.columns.clone())
    }

    /// Tells new rows from repeats.
    async fn fates(&self, routed: &Routed) -> Result<Vec<Fate>, AppendError> {
        let mut fates = vec![Fate::New; routed.batch.num_rows()];
        if routed.ids.is_empty() {
            return Ok(fates);
        }
        for lookup in 1.. {
            let by_place = self.look_in_buffers(routed, &mut fates);
            let mut lost = None;
            for (files, rows) in by_place {
                for file in files {
                    if let Err(error) = self.look_in_file(routed, &rows, &file, &mut fates).await {
                        lost = Some((file, error));
                        break;
                    }
                }
            }
            match lost {
                None => break,
                Some((file, _)) if lookup < LOOKUPS_MAX && !self.is_current(&file) => {}
                Some((_, error)) => return Err(error.into()),
            }
        }
        Ok(fates)
    }

    pub(crate) fn is_current(&self, file: &DataFile) -> bool {
        self.state().files.at(file.place).iter().any(|current| current.path == file.path)
    }

    /// Marks repeats within the batch and the buffers, and returns the other rows by place, with the place's files.
    fn look_in_buffers(&self, routed: &Routed, fates: &mut [Fate]) -> Vec<(Vec<Arc<DataFile>>, Vec<u32>)> {
        let mut own = Keys::with_capacity(routed.keys.len());
        let state = self.state();
        let mut by_place: Vec<_> =
            routed.places.iter().map(|place| (state.files.at(*place).to_vec(), Vec::new())).collect();
        for (row, key) in routed.keys.iter().enumerate() {
            let is_buffered =
                state.open.holds(*key) || state.sealed.as_ref().is_some_and(|sealed| sealed.buffer.holds(*key));
            // A row that is handed back is not stored, so another with its id is no repeat of it.
            let is_twin =
                if route::is_refused(&self.spec, routed.reasons[row]) { own.holds(*key) } else { !own.insert(*key) };
            let (files, rows) = &mut by_place[routed.place_of[row] as usize];
            if is_buffered || is_twin {
                fates[row] = Fate::Repeat;
            } else if fates[row] == Fate::New && !files.is_empty() {
                rows.push(row as u32);
            }
        }
        by_place.retain(|(_, rows)| !rows.is_empty());
        by_place
    }

    /// Marks the rows whose ids a file holds.
    async fn look_in_file(
        &self,
        routed: &Routed,
        rows: &[u32],
        file: &Arc<DataFile>,
        fates: &mut [Fate],
    ) -> Result<(), FileError> {
        let meets = |row: u32| {
            let time = routed.times[row as usize];
            fates[row as usize] == Fate::New
                && (time == NO_TIME || file.times.is_none_or(|(least, most)| (least..=most).contains(&time)))
        };
        let mut candidates: Vec<u32> = rows.iter().copied().filter(|row| meets(*row)).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        if let Some(held) = self.ids.get(&file.path) {
            for row in candidates {
                if held.binary_search(&routed.ids[row as usize]).is_ok() {
                    fates[row as usize] = Fate::Repeat;
                }
            }
            return Ok(());
        }
        if let Some(filter) = self.filter_of(file).await? {
            candidates.retain(|row| filter.may_hold(routed.ids[*row as usize]));
            if candidates.is_empty() {
                return Ok(());
            }
            Counters::add(&self.counters.filter_hits, 1);
        }
        self.look_in_ids(routed, &candidates, file, fates).await
    }

    pub(crate) async fn filter_of(&self, file: &Arc<DataFile>) -> Result<Option<Arc<Filter>>, FileError> {
        if let Some(filter) = self.filters.get(&file.path) {
            return Ok(Some(filter));
        }
        let mut reader = Reader::open(self.store.clone(), file.clone()).await?;
        let Some(filter) = reader.filter(&self.scheme).await? else { return Ok(None) };
        let filter = Arc::new(filter);
        self.filters.insert(&file.path, filter.clone(), filter.memory() as u64);
        Ok(Some(filter))
    }

    /// Reads a file's ids. They are kept if they are few enough; else they are only passed by.
    async fn look_in_ids(
        &self,
        routed: &Routed,
        candidates: &[u32],
        file: &Arc<DataFile>,
        fates: &mut [Fate],
    ) -> Result<(), FileError> {
        Counters::add(&self.counters.id_reads, 1);
        let reader = Reader::open(self.store.clone(), file.clone()).await?;
        let columns = self.columns();
        let keep = reader.rows().saturating_mul(size_of::<u128>() as u64) <= self.ids.bytes_max() / 2;
        let mut held: Vec<u128> = Vec::new();
        let mut wanted: HashMap<u128, Vec<u32>> = HashMap::new();
        for row in candidates {
            wanted.entry(routed.ids[*row as usize]).or_default().push(*row);
        }
        let mut ids = reader.ids(&self.spec.name, &columns, &self.spec.unique_by, self.hasher.clone())?;
        while let Some(ids) = ids.try_next().await? {
            for id in &ids {
                for row in wanted.remove(id).unwrap_or_default() {
                    fates[row as usize] = Fate::Repeat;
                }
            }
            if keep {
                held.extend_from_slice(&ids);
            } else if wanted.is_empty() {
                break;
            }
        }
        if keep {
            held.sort_unstable();
            let bytes = (held.len() * size_of::<u128>()) as u64;
            self.ids.insert(&file.path, held.into(), bytes);
        }
        Ok(())
    }

    /// Applies the rules, and returns which rows are kept.
    fn judge(&self, routed: &Routed, fates: &Fates) -> (Appended, Vec<bool>) {
        let mut appended = Appended::default();
        let mut keep = Vec::with_capacity(fates.fates.len());
        for (row, fate) in fates.fates.iter().enumerate() {
            if *fate == Fate::Repeat {
                appended.repeats += 1;
                keep.push(false);
                continue;
            }
            match routed.reasons[row] {
                None => {}
                Some(Reason::Late) => appended.late += 1,
                Some(Reason::NoTime | Reason::AbsurdTime) => appended.timeless += 1,
            }
            match routed.reasons[row].filter(|reason| route::is_refused(&self.spec, Some(*reason))) {
                Some(reason) => appended.refused.push(Refused { row, reason }),
                None if *fate == Fate::Replaced => appended.replaced += 1,
                None => appended.added += 1,
            }
            let is_superseded = fates.superseded.get(row).copied().unwrap_or(false);
            keep.push(!is_superseded && !route::is_refused(&self.spec, routed.reasons[row]));
        }
        (appended, keep)
    }

    fn count(&self, appended: &Appended) {
        Counters::add(&self.counters.added, appended.added);
        Counters::add(&self.counters.repeats, appended.repeats);
        Counters::add(&self.counters.replaced, appended.replaced);
        Counters::add(&self.counters.late, appended.late);
        Counters::add(&self.counters.timeless, appended.timeless);
        Counters::add(&self.counters.refused, appended.refused.len() as u64);
    }
}

//! Replacing a partition: all its rows for others, in one Delta version.
//!
//! ```text
//!   rows --check, route--> files per bucket, unnamed --> [buffered rows of the partition: commit] --one transaction-->
//!                                                                 (what it has by then out, the new files in)
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use futures::stream::{self, StreamExt, TryStreamExt};
use futures::{FutureExt, Stream};
use weir_types::Tally;

use crate::buffer::Keys;
use crate::columns;
use crate::compact;
use crate::error::{AppendError, CommitError, FileError, ReplaceError};
use crate::file::DataFile;
use crate::log::{Change, Rows};
use crate::outcome::{Committed, SourceId};
use crate::output::{Output, Stored};
use crate::partition::{self, Key};
use crate::place::Place;
use crate::route::{self, Routed};
use crate::table::{Table, Writing};
use crate::witness::PlaceChange;

/// Bytes that files being written may have in memory together. Beyond, the largest is ended early.
const MEMORY_MAX: usize = 256 << 20;
/// What an id takes in the set that tells repeats.
const ID_BYTES: u64 = 32;
/// How often what happens meanwhile (appends, other writers) is caught up with.
const ATTEMPTS_MAX: u32 = 10;
/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;

impl Table {
    /// Replaces all rows of a partition by others, and moves positions, in one transaction; with no rows, the partition
    /// becomes empty.
    ///
    /// The rows are written as they come, in bounded memory, into files of about
    /// [`Spec::target_file_bytes`](crate::Spec::target_file_bytes). Each must belong to the partition, by its event
    /// time, and no id may come twice. Appended rows of the partition that are buffered are committed first, and are
    /// replaced too. Appends, commits, merges and views go on meanwhile. Fenced like a commit, and counted as one. If
    /// the future is dropped, it may still have happened: the next operation finds out.
    ///
    /// `rows` must not wait for this table.
    ///
    /// # Errors
    /// See [`ReplaceError`]. The partition is as it was, unless the error is `Commit`, after which it may have been
    /// replaced: [`Table::positions`] says so once the next commit has returned.
    pub async fn replace_partition<E>(
        &self,
        day: Option<i32>,
        hour: Option<u8>,
        rows: impl Stream<Item = Result<RecordBatch, E>> + Send,
        positions: &[(SourceId, u64)],
    ) -> Result<Committed, ReplaceError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let key = (day, hour);
        if let Some(reshaping) = self.reshaping() {
            let table = self.spec.name.clone();
            return Err(AppendError::Reshaping { table, reshaping: Box::new(reshaping) }.into());
        }
        self.check_partition(key)?;
        self.check_positions(positions)?;
        let rows = rows.map(|batch| batch.map_err(Into::into)).boxed();
        let mut filling = Filling { table: self, key, ids: Keys::default(), open: BTreeMap::new(), stored: Vec::new() };
        let filled = filling.fill(rows).await;
        if let Err(error) = filled {
            filling.abort().await;
            return Err(error);
        }
        let new = Arc::new(New::of(std::mem::take(&mut filling.stored)));
        self.warm_footers(key).await;
        let mut writing = self.writing.lock().await;
        let version = self.swap_partition(&mut writing, key, &new, positions).await?;
        self.checkpoint_if_due(&mut writing).await;
        Ok(Committed {
            version,
            rows: new.places.values().map(|tally| tally.count).sum(),
            files: new.adds.len() as u64,
            bytes: new.adds.iter().map(|add| add.file.size).sum(),
        })
    }

    fn check_partition(&self, key: Key) -> Result<(), ReplaceError> {
        let fits = match key {
            (None, None) => true,
            (Some(_), None) => self.layout.day && !self.layout.hour,
            (Some(_), Some(hour)) => self.layout.hour && hour < 24,
            (None, Some(_)) => false,
        };
        if fits {
            return Ok(());
        }
        Err(ReplaceError::NoSuchPartition { table: self.spec.name.clone(), partition: partition::name(key) })
    }

    fn check_positions(&self, positions: &[(SourceId, u64)]) -> Result<(), ReplaceError> {
        let state = self.state();
        for (source, given) in positions {
            if let Some(has) = state.positions.get(source).filter(|has| *has > given) {
                let (table, source_id) = (self.spec.name.clone(), source.clone());
                return Err(ReplaceError::Backwards { table, source_id, has: *has, given: *given });
            }
        }
        Ok(())
    }

    /// Reads the footers of what will be replaced before anything is locked.
    async fn warm_footers(&self, key: Key) {
        if self.witness.is_none() {
            return;
        }
        // One that is gone by now was replaced by others, whose footers are read later.
        let files = self.files_of(key);
        let reads: Vec<_> = files.iter().map(|file| self.own_tally_of(file).map(drop).boxed()).collect();
        stream::iter(reads).for_each_concurrent(FOOTERS_AT_ONCE, |read| read).await;
    }

    fn files_of(&self, key: Key) -> Vec<Arc<DataFile>> {
        let state = self.state();
        let places = state.files.places().filter(|(place, _)| place.partition() == key);
        places.flat_map(|(_, files)| files.iter().cloned()).collect()
    }

    async fn swap_partition(
        &self,
        writing: &mut Writing,
        key: Key,
        new: &New,
        positions: &[(SourceId, u64)],
    ) -> Result<u64, ReplaceError> {
        for _ in 0..ATTEMPTS_MAX {
            self.resolve(writing).await?;
            // While this is held no row joins the partition, and none is looked for in what is about to go.
            let appending = self.appending.lock().await;
            if self.is_buffered(key) {
                drop(appending);
                self.commit_one(writing).await?;
                continue;
            }
            let old = self.files_of(key);
            let places = Arc::new(self.changes(&old, new).await?);
            let removes: Arc<HashSet<String>> = Arc::new(old.iter().map(|file| file.path.clone()).collect());
            self.check_positions(positions)?;
            let swapped = self.transact(writing, |commits| {
                let now = self.files_of(key);
                // Another writer changed the partition meanwhile: look again.
                (now.len() == removes.len() && now.iter().all(|file| removes.contains(&file.path))).then(|| {
                    Change::Rows(Rows {
                        adds: new.adds.clone(),
                        removes: removes.clone(),
                        positions: positions.iter().cloned().collect(),
                        commits: commits + 1,
                        changed: BTreeSet::from([key]),
                        places: places.clone(),
                        is_buffer: false,
                    })
                })
            });
            if swapped.await? {
                return Ok(self.state().version);
            }
        }
        Err(CommitError::Contended { table: self.spec.name.clone(), attempts: ATTEMPTS_MAX }.into())
    }

    /// Whether appended rows of the partition wait for a commit.
    fn is_buffered(&self, key: Key) -> bool {
        let state = self.state();
        state.open.touches(key) || state.sealed.as_ref().is_some_and(|sealed| sealed.buffer.touches(key))
    }

    /// Says per place what goes and what comes.
    pub(crate) async fn changes(&self, old: &[Arc<DataFile>], new: &New) -> Result<Vec<PlaceChange>, FileError> {
        let mut removed: BTreeMap<Place, Tally> = BTreeMap::new();
        // Nobody else is told.
        if self.witness.is_some() {
            let tallies: Vec<_> = old.iter().map(|file| self.own_tally_of(file).boxed()).collect();
            // In order, so that each meets its file.
            let mut tallies = stream::iter(tallies).buffered(FOOTERS_AT_ONCE);
            for file in old {
                let Some(tally) = tallies.try_next().await? else { break };
                removed.entry(file.place).or_default().merge(tally);
            }
        }
        let places: BTreeSet<Place> = removed.keys().chain(new.places.keys()).copied().collect();
        let tally = |tallies: &BTreeMap<Place, Tally>, place| tallies.get(&place).copied().unwrap_or_default();
        let change = |place| PlaceChange {
            place,
            added: tally(&new.places, place),
            removed: tally(&removed, place),
            late: 0,
            replaced: 0,
        };
        Ok(places.into_iter().map(change).collect())
    }
}

/// The new files.
#[derive(Default)]
pub(crate) struct New {
    pub(crate) adds: Arc<Vec<crate::log::Add>>,
    pub(crate) places: BTreeMap<Place, Tally>,
    pub(crate) _under_way: Vec<crate::output::UnderWay>,
}

impl New {
    fn of(stored: Vec<Stored>) -> Self {
        let (mut adds, mut places, mut under_way) = (Vec::new(), BTreeMap::<Place, Tally>::new(), Vec::new());
        for stored in stored {
            places.entry(stored.add.file.place).or_default().merge(stored.tally);
            adds.push(stored.add);
            under_way.push(stored.under_way);
        }
        Self { adds: Arc::new(adds), places, _under_way: under_way }
    }
}

/// The files of a partition that are being filled.
struct Filling<'t> {
    table: &'t Table,
    key: Key,
    ids: Keys,
    open: BTreeMap<Place, Output<'t>>,
    stored: Vec<Stored>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Filling<'_> {
    async fn fill(
        &mut self,
        mut rows: stream::BoxStream<'_, Result<RecordBatch, BoxError>>,
    ) -> Result<(), ReplaceError> {
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|source| ReplaceError::Rows {
                table: self.table.spec.name.clone(),
                partition: partition::name(self.key),
                source,
            })?;
            self.take(&batch).await?;
        }
        for output in std::mem::take(&mut self.open).into_values() {
            self.stored.extend(output.finish().await?);
        }
        Ok(())
    }

    async fn abort(&mut self) {
        for output in std::mem::take(&mut self.open).into_values() {
            output.abort().await;
        }
    }

    async fn take(&mut self, batch: &RecordBatch) -> Result<(), ReplaceError> {
        let table = self.table;
        // The columns may grow while rows come; a file has those of its beginning.
        let columns = table.columns();
        let batch = columns::conform(&table.spec.name, &columns, batch)?;
        let cast = |source| AppendError::Cast { table: table.spec.name.clone(), column: "*".to_owned(), source };
        let routed = route::route(&table.spec, &table.hasher, batch, table.env.now()).map_err(cast)?;
        self.check(&routed)?;
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::new(); routed.places.len()];
        for (row, place) in routed.place_of.iter().enumerate() {
            rows_of[*place as usize].push(row as u32);
        }
        for (place, rows) in routed.places.iter().zip(rows_of) {
            let ids: Vec<u128> = rows.iter().filter_map(|row| routed.ids.get(*row as usize).copied()).collect();
            let batch = if rows.len() == routed.batch.num_rows() {
                routed.batch.clone()
            } else {
                take_record_batch(&routed.batch, &UInt32Array::from(rows)).map_err(cast)?
            };
            self.write(*place, &batch, &ids).await?;
        }
        Ok(())
    }

    /// Refuses rows of other partitions and repeats.
    fn check(&mut self, routed: &Routed) -> Result<(), ReplaceError> {
        let (table, partition) = (&self.table.spec.name, || partition::name(self.key));
        if let Some(place) = routed.places.iter().find(|place| place.partition() != self.key) {
            let belongs = partition::name(place.partition());
            return Err(ReplaceError::Elsewhere { table: table.clone(), partition: partition(), belongs });
        }
        let rows_max = self.table.spec.buffer_bytes_max / ID_BYTES;
        if (self.ids.len() + routed.keys.len()) as u64 > rows_max {
            return Err(ReplaceError::TooMany { table: table.clone(), partition: partition(), rows_max });
        }
        for key in &routed.keys {
            if !self.ids.insert(*key) {
                return Err(ReplaceError::Repeat {
                    table: table.clone(),
                    partition: partition(),
                    unique_by: self.table.spec.unique_by.join(", "),
                });
            }
        }
        Ok(())
    }

    async fn write(&mut self, place: Place, batch: &RecordBatch, ids: &[u128]) -> Result<(), FileError> {
        // A file has one schema: what grew meanwhile begins another one.
        if self.open.get(&place).is_some_and(|output| output.columns() != batch.schema_ref()) {
            self.end(place).await?;
        }
        let table = self.table;
        let scheme = (!table.spec.unique_by.is_empty()).then_some(table.scheme.as_str());
        let notes = || compact::notes(&[], scheme, None);
        let output = self.open.entry(place);
        let output = output.or_insert_with(|| Output::new(table, place, batch.schema()).with_notes(notes()));
        output.write(batch, ids).await?;
        if output.is_full() {
            self.end(place).await?;
        }
        while self.open.values().map(Output::memory).sum::<usize>() > MEMORY_MAX {
            let largest = self.open.iter().max_by_key(|(_, output)| output.memory()).map(|(place, _)| *place);
            let Some(largest) = largest else { break };
            self.end(largest).await?;
        }
        Ok(())
    }

    async fn end(&mut self, place: Place) -> Result<(), FileError> {
        if let Some(output) = self.open.remove(&place) {
            self.stored.extend(output.finish().await?);
        }
        Ok(())
    }
}

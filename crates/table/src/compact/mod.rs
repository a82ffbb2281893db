//! Compaction: many files of a place become few, in order and without repeats, while rows come in and readers read.
//!
//! - [`choose`]: what is due, and what is most urgent.
//! - [`job`]: how it is done, in bounded memory. Its parts: [`input`] and [`fetch`] (row groups), [`order`] (keys),
//!   [`sort`] and [`run`] (what is not in order yet), [`repeats`], [`merge`], [`output`].
//! - Here: one compaction per place at a time, and the transaction that swaps the files.
//!
//! Invariant: what a version holds before and after are the same rows, but for those whose id another one has. If an input is
//! gone when the outputs are ready, nothing happens, and it is due again.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::error::ArrowError;
use tokio::runtime::Handle;

use crate::error::{CommitError, CompactError};
use crate::file::DataFile;
use crate::generation::Generation;
use crate::log::{Change, Rows};
use crate::outcome::Compacted;
use crate::place::Place;
use crate::table::Table;

mod choose;
mod fetch;
pub(crate) mod input;
mod job;
mod merge;
mod order;
mod output;
mod repeats;
mod run;
mod scratch;
mod sort;

pub use choose::{Due, Work};
pub(crate) use input::notes;

use job::{Job, StopOnDrop};
use output::{Made, Target};

/// Encoded bytes of a row group of a merge: small, since merging it again keeps one of each file in memory.
const MERGE_ROW_GROUP_BYTES: usize = 8 << 20;
/// Encoded bytes of a row group of a rebuild.
const REBUILD_ROW_GROUP_BYTES: usize = 64 << 20;

/// Places that are being compacted.
pub(crate) type Busy = Arc<Mutex<HashSet<Place>>>;

/// A place that is being compacted, until it is dropped.
struct Claim {
    all: Busy,
    place: Place,
}

impl Claim {
    fn of(all: &Busy, place: Place) -> Option<Self> {
        let is_free = all.lock().unwrap_or_else(PoisonError::into_inner).insert(place);
        is_free.then(|| Self { all: all.clone(), place })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

impl Table {
    /// Returns what is worth compacting now, the most urgent first; without what is being compacted.
    pub fn due(&self) -> Vec<Due> {
        let now = self.env.now();
        let places: Vec<(Place, Vec<Arc<DataFile>>)> =
            self.state().files.places().map(|(place, files)| (*place, files.clone())).collect();
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.retain(|path| places.iter().any(|(_, files)| matches!(files.as_slice(), [one] if one.path == *path)));
        let is_settled = |file: &DataFile| settled.contains(&file.path);
        let due = places.iter().filter(|(place, _)| !busy.contains(place));
        let due = due.filter_map(|(place, files)| choose::at(*place, files, &self.spec, now, is_settled));
        let mut due: Vec<Due> = due.collect();
        due.sort_by(|a, b| b.urgency.total_cmp(&a.urgency).then_with(|| a.place.cmp(&b.place)));
        due
    }

    /// Does the most urgent compaction, if one is due. Appends, commits and views go on meanwhile.
    ///
    /// # Errors
    /// See [`CompactError`].
    pub async fn merge(&self) -> Result<Compacted, CompactError> {
        for due in self.due() {
            let compacted = self.compact(due).await?;
            if compacted != Compacted::default() {
                return Ok(Compacted { more: compacted.more || !self.due().is_empty(), ..compacted });
            }
        }
        Ok(Compacted::default())
    }

    /// Rebuilds a place now, whether it is due or not: all of its files, in order and without repeats. Nothing happens if
    /// it is as compact as it gets, or another compaction works on it.
    ///
    /// # Errors
    /// See [`CompactError`].
    pub async fn rebuild(&self, place: Place) -> Result<Compacted, CompactError> {
        let files = self.state().files.at(place).to_vec();
        let generation = crate::finality::generation_of(&files);
        if files.is_empty() || generation.is_some_and(|has| has.options == crate::generation::options(&self.spec)) {
            return Ok(Compacted::default());
        }
        self.compact(Due::new(place, Work::Rebuild, files, &self.spec, self.env.now())).await
    }

    /// Does one compaction: files in, other files out, swapped in one version. Several places may be compacted at once.
    ///
    /// Dropping the future gives it up; what it had written is not named by any version, and a vacuum deletes it.
    ///
    /// # Errors
    /// See [`CompactError`]. The table's rows are as they were.
    pub async fn compact(&self, due: Due) -> Result<Compacted, CompactError> {
        let Due { place, work, inputs: files, .. } = due;
        let _shared = self.merging.read().await;
        // Files are all rewritten soon, and may lack columns of the id until then.
        if self.reshaping().is_some() {
            return Ok(Compacted::default());
        }
        let Some(_claim) = Claim::of(&self.busy, place) else { return Ok(Compacted::default()) };
        if !self.holds_all(place, &files) {
            return Ok(Compacted::default());
        }
        let columns = self.columns();
        let order = order::Order::by(self.spec.order(), &columns)?;
        let (inputs, rows) = job::open_inputs(&self.store, &files, &self.scheme, &order).await?;
        let is_foreign = !self.spec.unique_by.is_empty() && inputs.iter().any(|input| !input.is_ours);
        if work == Work::Merge && is_foreign {
            // Its rows may repeat those of any file of the place.
            drop((inputs, _claim, _shared));
            let files = self.state().files.at(place).to_vec();
            let all = Due::new(place, Work::Rebuild, files, &self.spec, self.env.now());
            return Box::pin(self.compact(all)).await;
        }
        if let [one] = inputs.as_slice()
            && one.is_sorted
            && !is_foreign
            && one.file.size <= self.spec.target_file_bytes
        {
            // There is nothing to gain; it is remembered, so that its footer is not read again.
            self.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(one.file.path.clone());
            return Ok(Compacted::default());
        }
        if is_foreign {
            job::fits(rows).map_err(|rows_max| CompactError::TooManyRows {
                table: self.spec.name.clone(),
                rows,
                rows_max,
            })?;
        }
        let (suffix, row_group_bytes) = match work {
            Work::Merge => (String::new(), MERGE_ROW_GROUP_BYTES),
            Work::Rebuild => {
                let generation = Generation::of(&self.spec, files.iter().map(Arc::as_ref));
                (generation.suffix(), REBUILD_ROW_GROUP_BYTES)
            }
        };
        let target = Target {
            spec: self.spec.clone(),
            store: self.store.clone(),
            folder: self.folder.clone(),
            layout: self.layout,
            place,
            columns: columns.clone(),
            hasher: self.hasher.clone(),
            scheme: self.scheme.clone(),
            env: self.env.clone(),
            runtime: Handle::current(),
            uploads: self.uploads.clone(),
            suffix,
            order: order.columns().to_vec(),
            arrived: inputs.iter().map(|input| input.arrived).max().unwrap_or_default(),
            row_group_bytes,
            file_bytes: self.spec.target_file_bytes,
            file_rows: rows,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let _stop = StopOnDrop(stop.clone());
        let job = Job {
            spec: self.spec.clone(),
            hasher: self.hasher.clone(),
            form: run::Form::new(columns.clone(), is_foreign),
            order,
            inputs: Arc::new(inputs),
            rows,
            decoder: Arc::new(input::Decoder::new(self.spec.name.clone(), columns)),
            scratch: scratch::Scratch::new(self.spec.name.clone(), self.spec.scratch.as_deref(), self.env.random()),
            finds_repeats: is_foreign,
            stop,
        };
        let done = Arc::new(job).run(target).await?;
        let compacted = Compacted {
            place: Some(place),
            files_in: files.len() as u64,
            files_out: done.made.len() as u64,
            rows: rows - done.removed,
            removed: done.removed,
            bytes_in: files.iter().map(|file| file.size).sum(),
            bytes_out: done.made.iter().map(|one| one.add.file.size).sum(),
            spilled: done.spilled,
            more: false,
        };
        match self.swap(place, &files, done.made, done.removed > 0).await? {
            true => Ok(compacted),
            // Another writer has replaced some of the files, and ours are gone again.
            false => Ok(Compacted { place: Some(place), more: true, ..Compacted::default() }),
        }
    }

    fn holds_all(&self, place: Place, files: &[Arc<DataFile>]) -> bool {
        let state = self.state();
        let held: HashSet<&str> = state.files.at(place).iter().map(|file| file.path.as_str()).collect();
        files.iter().all(|file| held.contains(file.path.as_str()))
    }

    /// Replaces files in one transaction, if they are all still there.
    async fn swap(
        &self,
        place: Place,
        files: &[Arc<DataFile>],
        made: Vec<Made>,
        changes_rows: bool,
    ) -> Result<bool, CommitError> {
        let removes: HashSet<String> = files.iter().map(|file| file.path.clone()).collect();
        let removes = Arc::new(removes);
        let (mut adds, mut under_way, mut filters) = (Vec::new(), Vec::new(), Vec::new());
        for Made { add, filter, under_way: one } in made {
            filters.push((add.file.path.clone(), filter));
            adds.push(add);
            under_way.push(one);
        }
        let adds = Arc::new(adds);
        let mut writing = self.writing.lock().await;
        let swapped = self.transact(&mut writing, |commits| {
            self.holds_all(place, files).then(|| match changes_rows {
                // Books have nothing of it: the rows that go are such as other writers had doubled.
                true => Change::Rows(Rows {
                    adds: adds.clone(),
                    removes: removes.clone(),
                    commits: commits + 1,
                    changed: BTreeSet::from([place.partition()]),
                    ..Rows::default()
                }),
                false => Change::Replace { adds: adds.clone(), removes: removes.as_ref().clone() },
            })
        });
        let swapped = swapped.await?;
        if swapped {
            for (path, filter) in filters {
                self.remember(&path, filter);
            }
            self.checkpoint_if_due(&mut writing).await;
        }
        drop(writing);
        if !swapped {
            let locations = adds.iter().map(|add| add.file.location.clone());
            job::delete(self.store.as_ref(), locations.collect()).await;
        }
        drop(under_way);
        Ok(swapped)
    }
}

impl From<ArrowError> for CompactError {
    fn from(source: ArrowError) -> Self {
        Self::Columns { source }
    }
}

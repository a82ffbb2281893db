//! Compaction: many files of a place become few, in order and without repeats, while rows come in and readers read.
//!
//! - [`choose`]: what is due, and what is most urgent.
//! - [`job`]: how it is done, in bounded memory. Its parts: [`input`] and [`fetch`] (row groups), [`order`] (keys),
//!   [`sort`] and [`run`] (what is not in order yet), [`repeats`], [`merge`], [`output`].
//! - Here: no file in two compactions at a time, and the transaction that swaps the files.
//!
//! Invariant: what a version holds before and after are the same rows, but for those whose id another one has. If an input is
//! gone when the outputs are ready, nothing happens, and it is due again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::error::ArrowError;
use tokio::runtime::Handle;
use weir_types::Timestamp;

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

/// What was read of files' footers, so that it is not read again.
#[derive(Default)]
pub(crate) struct Known {
    /// Files that are the only ones of their places, and in order.
    settled: HashSet<String>,
    /// When files came whose ids may be in others; none for files whose ids are not.
    arrivals: HashMap<String, Option<Timestamp>>,
}

impl Known {
    fn forget_all_but<'a>(&mut self, files: impl Iterator<Item = &'a Arc<DataFile>>) {
        let files: HashSet<&str> = files.map(|file| file.path.as_str()).collect();
        self.settled.retain(|path| files.contains(path.as_str()));
        self.arrivals.retain(|path, _| files.contains(path.as_str()));
    }
}

/// The names of files that are being compacted.
pub(crate) type Busy = Arc<Mutex<HashSet<String>>>;

/// Files that are being compacted, until it is dropped.
struct Claim {
    all: Busy,
    paths: Vec<String>,
}

impl Claim {
    /// Claims files, unless somebody has one of them.
    fn of(all: &Busy, files: &[Arc<DataFile>]) -> Option<Self> {
        let mut held = all.lock().unwrap_or_else(PoisonError::into_inner);
        if files.iter().any(|file| held.contains(&file.path)) {
            return None;
        }
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        held.extend(paths.iter().cloned());
        Some(Self { all: all.clone(), paths })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for path in &self.paths {
            held.remove(path);
        }
    }
}

impl Table {
    /// Returns what is worth compacting now, the most urgent first; without what is being compacted.
    pub fn due(&self) -> Vec<Due> {
        let now = self.env.now();
        let places: Vec<(Place, Vec<Arc<DataFile>>)> =
            self.state().files.places().map(|(place, files)| (*place, files.clone())).collect();
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut known = self.known();
        known.forget_all_but(places.iter().flat_map(|(_, files)| files));
        let is_settled = |file: &DataFile| known.settled.contains(&file.path);
        let is_busy = |file: &DataFile| busy.contains(&file.path);
        let due = places.iter();
        let due = due.filter_map(|(place, files)| choose::at(*place, files, &self.spec, now, is_settled, is_busy));
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
        let Some(_claim) = Claim::of(&self.busy, &files) else { return Ok(Compacted::default()) };
        if !self.holds_all(place, &files) {
            return Ok(Compacted::default());
        }
        let columns = self.columns();
        let order = order::Order::by(self.spec.order(), &columns)?;
        let (inputs, rows) = job::open_inputs(&self.store, &files, &self.scheme, &order).await?;
        let is_foreign = !self.spec.unique_by.is_empty() && inputs.iter().any(|input| !input.is_unique);
        if work == Work::Merge && (is_foreign || self.would_reorder(place, &inputs, &order).await?) {
            // Only all of the place can be put right. Where that costs much, it waits until it is due.
            drop((inputs, _claim, _shared));
            let files = self.state().files.at(place).to_vec();
            let all = Due::new(place, Work::Rebuild, files, &self.spec, self.env.now());
            return match all.bytes <= self.spec.target_file_bytes {
                true => Box::pin(self.compact(all)).await,
                false => Ok(Compacted::default()),
            };
        }
        if let [one] = inputs.as_slice()
            && one.is_sorted
            && !is_foreign
            && one.file.size <= self.spec.target_file_bytes
        {
            // There is nothing to gain; it is remembered, so that its footer is not read again.
            self.known().settled.insert(one.file.path.clone());
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

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether merging these would hide which came first: a file that may repeat their ids came between them.
    async fn would_reorder(
        &self,
        place: Place,
        inputs: &[input::Input],
        order: &order::Order,
    ) -> Result<bool, CompactError> {
        let arrived = inputs.iter().map(|input| input.arrived);
        let (Some(first), Some(last)) = (arrived.clone().min(), arrived.max()) else { return Ok(false) };
        if self.spec.unique_by.is_empty() {
            return Ok(false);
        }
        let files = self.state().files.at(place).to_vec();
        let unknown: Vec<_> =
            files.iter().filter(|file| !self.known().arrivals.contains_key(&file.path)).cloned().collect();
        let (opened, _) = job::open_inputs(&self.store, &unknown, &self.scheme, order).await?;
        let mut known = self.known();
        for input in inputs.iter().chain(&opened) {
            known.arrivals.insert(input.file.path.clone(), (!input.is_unique).then_some(input.arrived));
        }
        let doubtful = files.iter().filter_map(|file| *known.arrivals.get(&file.path)?);
        Ok(doubtful.into_iter().any(|at| first <= at && at <= last))
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
        for Made { add, filter, under_way: one, .. } in made {
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

//! One compaction: files of a place in, fewer files in order out.
//!
//! ```text
//!                       all in order, and what overlaps fits in memory?
//!   footers --yes--> row groups, opened as the merge comes to them --------------------+
//!      |                                                                               +--> files of the target size
//!      +---no---> row groups --decode, hash ids--> sort --> runs (memory, scratch) ----+    (ranges side by side)
//!                                      \--> portions of ids --> which rows go ---------+
//! ```
//!
//! Memory is the budget of the settings, whatever the files' size, and a row group per file that is being encoded. What goes
//! out is what came in less the repeats: rows are counted, and the sums of ids compared, before anything is committed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use arrow::array::RecordBatch;
use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::CompactError;
use super::fetch::{Fetch, Fetched};
use super::input::{self, Decoder, Input, Unit};
use super::merge::{Around, Merge, Units};
use super::order::{Key, Order};
use super::output::{Made, Outputs, Target, Uploads};
use super::repeats::{self, Removed, Scattered};
use super::run::{Form, Run, RunWriter};
use super::scratch::Scratch;
use super::sort::{Sorter, block_rows};
use crate::error::FileError;
use crate::id::Hasher;
use crate::spec::Spec;

/// Threads of one compaction.
const THREADS: usize = 2;
/// Footers that are read at once.
pub(super) const FOOTERS_AT_ONCE: usize = 8;
/// Rows of one compaction that removes repeats: a bit each.
const ROWS_MAX: u64 = 1 << 31;
/// Bytes of a block of a run.
const BLOCK_BYTES: u64 = 128 << 10;
/// Bytes of a block of a row group that is decoded for a merge, or for sorting.
const DECODED_BYTES: u64 = 1 << 20;
/// Bytes of a batch that a merge hands on.
const MERGED_BYTES: u64 = 2 << 20;
/// Batches and blocks of a file at least.
const FILE_SHARE: u64 = 16;
/// Bytes of a block at least.
const BLOCK_BYTES_MIN: u64 = 4096;
/// Batches between a merge and its encoder, where they run on a thread each.
const BATCHES_AHEAD: usize = 2;

/// What a compaction works with.
pub(crate) struct Job {
    pub(crate) spec: Spec,
    pub(crate) hasher: Hasher,
    pub(crate) order: Order,
    pub(crate) form: Form,
    pub(crate) inputs: Arc<Vec<Input>>,
    pub(crate) rows: u64,
    pub(crate) decoder: Arc<Decoder>,
    pub(crate) scratch: Scratch,
    /// Whether repeats are looked for.
    pub(crate) finds_repeats: bool,
    pub(crate) stop: Arc<AtomicBool>,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) made: Vec<Made>,
    pub(crate) removed: u64,
    pub(crate) spilled: u64,
}

/// Ends the threads of a compaction whose caller is gone.
pub(crate) struct StopOnDrop(pub(crate) Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Job {
    fn check(&self) -> Result<(), CompactError> {
        if self.stop.load(Ordering::Relaxed) { Err(CompactError::Stopped) } else { Ok(()) }
    }

    fn budget(&self) -> u64 {
        self.spec.compact_bytes
    }

    /// Returns so many bytes, or less where files are to be small: they end between batches, and are cut between blocks.
    fn share(&self, bytes: u64) -> u64 {
        (self.spec.target_file_bytes / FILE_SHARE).clamp(BLOCK_BYTES_MIN, bytes)
    }

    /// Does it all but the transaction. `target` is told how large files should be.
    pub(crate) async fn run(self: Arc<Self>, mut target: Target) -> Result<Outcome, CompactError> {
        let units = input::units(&self.inputs, &self.order)?;
        let bytes: u64 = self.inputs.iter().map(|input| input.file.size).sum();
        let is_direct = !self.finds_repeats
            && self.inputs.iter().all(|input| input.is_sorted)
            && peak(&units, DECODED_BYTES) <= self.budget();
        let (runs, removed) = match is_direct {
            true => (Vec::new(), None),
            false => self.clone().sorted_runs(units.clone(), target.store.clone()).await?,
        };
        let gone = removed.as_ref().map_or(0, |removed| removed.count());
        let kept = self.rows - gone.min(self.rows);
        let estimate = (u128::from(bytes) * u128::from(kept) / u128::from(self.rows.max(1))) as u64;
        let needed = estimate.div_ceil(self.spec.target_file_bytes).max(1);
        // Ranges of runs are merged side by side: an odd one at the end would leave a core idle.
        let files = if is_direct || needed == 1 { needed } else { needed.next_multiple_of(THREADS as u64) };
        target.file_bytes = estimate.div_ceil(files);
        target.file_rows = kept.div_ceil(files);
        let target = Arc::new(target);
        let store = target.store.clone();
        let uploads = match is_direct {
            true => self.clone().write_units(units, target, files).await,
            false => self.clone().write_runs(runs, removed, target, files).await,
        };
        let made = self.finish(uploads, kept, store.as_ref()).await?;
        let sums: Option<Vec<u128>> = self.inputs.iter().map(|input| input.sum).collect();
        let written = made.iter().fold(0u128, |sum, one| sum.wrapping_add(one.tally.sum));
        if gone == 0
            && let Some(sums) = sums
            && !self.spec.unique_by.is_empty()
            && sums.into_iter().fold(0, u128::wrapping_add) != written
        {
            delete(store.as_ref(), made.iter().map(|one| one.add.file.location.clone()).collect()).await;
            return Err(CompactError::Sum { table: self.spec.name.clone() });
        }
        Ok(Outcome { made, removed: gone, spilled: self.scratch.written() })
    }

    /// Waits for the uploads, and counts what they hold.
    async fn finish(
        &self,
        uploads: Result<Uploads, (CompactError, Uploads)>,
        kept: u64,
        store: &dyn ObjectStore,
    ) -> Result<Vec<Made>, CompactError> {
        let (mut failed, uploads) = match uploads {
            Ok(uploads) => (None, uploads),
            Err((error, uploads)) => (Some(error), uploads),
        };
        let mut made = Vec::with_capacity(uploads.len());
        for upload in uploads {
            match upload.await {
                Ok(Ok(one)) => made.push(one),
                Ok(Err(error)) => drop(failed.get_or_insert(error.into())),
                Err(source) => drop(failed.get_or_insert(self.thread(source))),
            }
        }
        let written: u64 = made.iter().filter_map(|one| one.add.file.rows).sum();
        let failed = match failed {
            None if written == kept => return Ok(made),
            None => CompactError::Count { table: self.spec.name.clone(), wants: kept, has: written },
            Some(error) => error,
        };
        delete(store, made.iter().map(|one| one.add.file.location.clone()).collect()).await;
        Err(failed)
    }

    fn thread(&self, source: tokio::task::JoinError) -> CompactError {
        CompactError::Thread { table: self.spec.name.clone(), source }
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, CompactError> + Send + 'static,
    ) -> Result<T, CompactError> {
        let job = self.clone();
        tokio::task::spawn_blocking(move || work(&job)).await.map_err(|source| self.thread(source))?
    }

    /// Decodes everything into sorted runs, and finds the repeats.
    async fn sorted_runs(
        self: Arc<Self>,
        units: Vec<Unit>,
        store: Arc<dyn ObjectStore>,
    ) -> Result<(Vec<Run>, Option<Arc<Removed>>), CompactError> {
        let for_fetch = self.budget() / 8;
        let for_ids = if self.finds_repeats { self.budget() / 4 } else { 0 };
        let for_rows = (self.budget() - for_fetch - for_ids) / THREADS as u64;
        let cost = |unit: &Unit| unit.range.end - unit.range.start;
        let fetch = Arc::new(Fetch::start(store, self.inputs.clone(), units, for_fetch, cost));
        let portions = repeats::portions(self.rows);
        let workers = (0..THREADS).map(|_| {
            let fetch = fetch.clone();
            self.blocking(move |job| {
                let ids = Scattered::new(portions, for_ids / THREADS as u64);
                job.sort_units(&fetch, ids, for_rows)
            })
        });
        let sorted = futures::future::join_all(workers).await;
        let (mut runs, mut ids) = (Vec::new(), Vec::new());
        for one in sorted {
            let (some, scattered) = one?;
            runs.extend(some);
            ids.push(scattered);
        }
        let removed = match self.finds_repeats {
            true => Some(self.repeats(ids, portions).await?),
            false => None,
        };
        let runs = self.blocking(move |job| job.fewer(runs)).await?;
        Ok((runs, removed))
    }

    /// One thread's part: row groups as they come, until there are no more.
    fn sort_units(
        &self,
        fetch: &Fetch,
        mut ids: Scattered,
        bytes_max: u64,
    ) -> Result<(Vec<Run>, Scattered), CompactError> {
        let mut runs = Vec::new();
        let mut sorter = Sorter::new(self.form.clone(), self.order.clone());
        while let Some(fetched) = fetch.next() {
            let Fetched { unit, bytes, share } = fetched?;
            let mut first = unit.first;
            for batch in self.decoder.read(&self.inputs[unit.input], &unit, bytes, DECODED_BYTES)? {
                self.check()?;
                let batch = batch?;
                let hashed = match self.finds_repeats {
                    true => crate::route::ids(&self.spec, &self.hasher, &batch)?,
                    false => Vec::new(),
                };
                ids.push(&hashed, first, &self.scratch)?;
                sorter.push(self.form.attach(&batch, first, &hashed)?)?;
                first += batch.num_rows() as u64;
                if sorter.bytes() >= bytes_max {
                    runs.push(self.spill(&mut sorter)?);
                }
            }
            drop(share);
        }
        if sorter.rows() > 0 {
            // What is left may stay in memory, unless merging would want for it.
            let stays = runs.is_empty() || sorter.bytes() <= self.budget() / 8;
            let rows = block_rows(self.share(BLOCK_BYTES), sorter.rows() as u64, sorter.bytes());
            runs.push(if stays { sorter.into_memory(rows) } else { self.spill(&mut sorter)? });
        }
        Ok((runs, ids))
    }

    fn spill(&self, sorter: &mut Sorter) -> Result<Run, CompactError> {
        let rows = block_rows(self.share(BLOCK_BYTES), sorter.rows() as u64, sorter.bytes());
        sorter.spill(&self.scratch, rows)
    }

    async fn repeats(self: &Arc<Self>, ids: Vec<Scattered>, portions: usize) -> Result<Arc<Removed>, CompactError> {
        let removed = Arc::new(Removed::none(self.rows));
        let ids = Arc::new(ids);
        let workers = (0..THREADS).map(|worker| {
            let (removed, ids) = (removed.clone(), ids.clone());
            self.blocking(move |job| {
                for portion in (worker..portions).step_by(THREADS) {
                    job.check()?;
                    removed.settle(portion, &ids, job.spec.keep, &job.scratch)?;
                }
                Ok(())
            })
        });
        for done in futures::future::join_all(workers).await {
            done?;
        }
        Ok(removed)
    }

    /// Merges runs until there are few enough to be merged at once.
    fn fewer(&self, mut runs: Vec<Run>) -> Result<Vec<Run>, CompactError> {
        let runs_max =
            usize::try_from(self.budget() / 2 / (THREADS as u64 * BLOCK_BYTES * 2)).unwrap_or(usize::MAX).max(2);
        while runs.len() > runs_max {
            let count = (runs.len() - runs_max + 1).clamp(2, runs_max);
            let some: Vec<Run> = runs.drain(..count).collect();
            let mut writer = RunWriter::new(&self.scratch, &self.form)?;
            let rows = block_rows(self.share(BLOCK_BYTES), self.rows, self.decoded());
            let mut merge = Merge::of_runs(Around { removed: None, ..self.around(true) }, &some, None, None, rows)?;
            while let Some(batch) = merge.next()? {
                self.check()?;
                let least = self.form.keys(&batch, &self.order)?.key(0);
                writer.write(&batch, least)?;
            }
            runs.push(writer.finish()?);
        }
        Ok(runs)
    }

    fn around(&self, keeps_ordinals: bool) -> Around<'_> {
        Around { order: &self.order, form: &self.form, scratch: &self.scratch, removed: None, keeps_ordinals }
    }

    fn decoded(&self) -> u64 {
        self.inputs.iter().map(Input::decoded).sum()
    }

    /// Merges row groups in order into files, one after the other.
    async fn write_units(
        self: Arc<Self>,
        mut units: Vec<Unit>,
        target: Arc<Target>,
        files: u64,
    ) -> Result<Uploads, (CompactError, Uploads)> {
        units.sort_by_key(|unit| unit.least);
        let least: VecDeque<u128> = units.iter().map(|unit| unit.least).collect();
        // What is open at once was counted before; only what is fetched ahead comes on top.
        let fetch = Fetch::start(target.store.clone(), self.inputs.clone(), units, u64::MAX, |_| 1);
        let rows = block_rows(self.share(MERGED_BYTES), self.rows, self.decoded());
        let outputs = Outputs::new(target, self.form.clone(), files);
        self.merge_and_encode(outputs, move |job, hand_on| {
            let (inputs, decoder) = (&job.inputs, job.decoder.clone());
            let units = Units { fetch: &fetch, least, inputs, decoder, block: DECODED_BYTES };
            let mut merge = Merge::of_units(job.around(false), units, rows);
            while let Some(batch) = merge.next()? {
                hand_on(batch)?;
            }
            Ok(())
        })
        .await
    }

    /// Merges runs into files, several ranges of keys at once.
    async fn write_runs(
        self: Arc<Self>,
        runs: Vec<Run>,
        removed: Option<Arc<Removed>>,
        target: Arc<Target>,
        files: u64,
    ) -> Result<Uploads, (CompactError, Uploads)> {
        let rows = block_rows(self.share(MERGED_BYTES), self.rows, self.decoded());
        let cuts = cuts(&runs, files);
        let runs = Arc::new(runs);
        let starts = std::iter::once(None).chain(cuts.iter().cloned().map(Some));
        let ends = cuts.iter().cloned().map(Some).chain(std::iter::once(None));
        let ranges: Vec<_> = starts.zip(ends).collect();
        let is_single = ranges.len() == 1;
        let written = ranges.into_iter().map(|(from, until)| {
            let (job, runs, removed) = (self.clone(), runs.clone(), removed.clone());
            let outputs = Outputs::new(target.clone(), job.form.clone(), 1);
            let merge = move |job: &Self, hand_on: &mut dyn FnMut(RecordBatch) -> Result<(), CompactError>| {
                let around = Around { removed: removed.as_deref(), ..job.around(false) };
                let mut merge = Merge::of_runs(around, &runs, from.as_ref(), until, rows)?;
                while let Some(batch) = merge.next()? {
                    hand_on(batch)?;
                }
                Ok(())
            };
            async move {
                match is_single {
                    true => job.merge_and_encode(outputs, merge).await,
                    false => job.merge_encoding(outputs, merge).await,
                }
            }
        });
        let written: Vec<_> = stream::iter(written).buffered(THREADS).collect().await;
        let (mut uploads, mut failed) = (Vec::new(), None);
        for one in written {
            match one {
                Ok(some) => uploads.extend(some),
                Err((error, some)) => {
                    uploads.extend(some);
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            None => Ok(uploads),
            Some(error) => Err((error, uploads)),
        }
    }

    /// Merges and encodes on one thread.
    async fn merge_encoding(
        self: Arc<Self>,
        mut outputs: Outputs,
        merge: impl FnOnce(&Self, &mut dyn FnMut(RecordBatch) -> Result<(), CompactError>) -> Result<(), CompactError>
        + Send
        + 'static,
    ) -> Result<Uploads, (CompactError, Uploads)> {
        let written = self.blocking(move |job| {
            let merged = merge(job, &mut |batch| {
                job.check()?;
                outputs.write(batch)
            });
            Ok(outputs.finish(merged))
        });
        written.await.unwrap_or_else(|error| Err((error, Vec::new())))
    }

    /// Merges on one thread and encodes on another.
    async fn merge_and_encode(
        self: Arc<Self>,
        mut outputs: Outputs,
        merge: impl FnOnce(&Self, &mut dyn FnMut(RecordBatch) -> Result<(), CompactError>) -> Result<(), CompactError>
        + Send
        + 'static,
    ) -> Result<Uploads, (CompactError, Uploads)> {
        let (sender, batches) = mpsc::sync_channel::<RecordBatch>(BATCHES_AHEAD);
        let merging = self.blocking(move |job| {
            merge(job, &mut |batch| {
                job.check()?;
                sender.send(batch).map_err(|_| CompactError::Stopped)
            })
        });
        let encoding = self.blocking(move |_| {
            let mut encoded = Ok(());
            for batch in &batches {
                encoded = outputs.write(batch);
                if encoded.is_err() {
                    break;
                }
            }
            drop(batches);
            Ok((outputs, encoded))
        });
        let (merged, encoded) = futures::future::join(merging, encoding).await;
        let (outputs, encoded) = encoded.map_err(|error| (error, Vec::new()))?;
        // Which of the two failed first: who encodes ends the merge, and not the other way round.
        let merged = encoded.and(merged);
        let finished = self.blocking(move |_| Ok(outputs.finish(merged))).await;
        finished.unwrap_or_else(|error| Err((error, Vec::new())))
    }
}

/// Deletes files that no version names, as far as the store lets us: a vacuum finds the rest.
pub(super) async fn delete(store: &dyn ObjectStore, locations: Vec<Path>) {
    for location in locations {
        if let Err(error) = store.delete(&location).await {
            tracing::debug!(path = %location, %error, "a file that is not needed stays until a vacuum");
        }
    }
}

/// Returns the most bytes that row groups take that are open at once when they are merged.
fn peak(units: &[Unit], block: u64) -> u64 {
    let mut ends: Vec<(u128, bool, u64)> = Vec::with_capacity(units.len() * 2);
    for unit in units {
        let bytes = unit.memory(block);
        // At one key, what begins comes before what ends.
        ends.push((unit.least, false, bytes));
        ends.push((unit.greatest, true, bytes));
    }
    ends.sort_unstable();
    let (mut now, mut most) = (0u64, 0);
    for (_, is_end, bytes) in ends {
        if is_end {
            now = now.saturating_sub(bytes);
        } else {
            now += bytes;
            most = most.max(now);
        }
    }
    most
}

/// Returns the keys that cut the runs into so many ranges of about as many rows; fewer if there are not so many keys.
fn cuts(runs: &[Run], ranges: u64) -> Vec<Key> {
    let mut marks: Vec<(&Key, usize)> = runs.iter().flat_map(Run::marks).collect();
    marks.sort_unstable_by(|a, b| a.0.cmp(b.0));
    let rows: u64 = marks.iter().map(|(_, rows)| *rows as u64).sum();
    let mut cuts: Vec<Key> = Vec::new();
    let mut before = 0;
    for (key, rows_here) in marks {
        let next = cuts.len() as u64 + 1;
        if next < ranges && before > 0 && before * ranges >= next * rows {
            cuts.push(key.clone());
        }
        before += rows_here as u64;
    }
    cuts
}

/// Reads the footers of files, and puts them in the order of their arrival.
pub(crate) async fn open_inputs(
    store: &Arc<dyn ObjectStore>,
    files: &[Arc<crate::file::DataFile>],
    scheme: &str,
    order: &Order,
) -> Result<(Vec<Input>, u64), FileError> {
    let opened = files.iter().map(|file| Input::open(store.clone(), file.clone(), scheme, order).boxed());
    let opened: Vec<_> = opened.collect();
    let mut inputs: Vec<Input> = stream::iter(opened).buffer_unordered(FOOTERS_AT_ONCE).try_collect().await?;
    let rows = input::arrange(&mut inputs);
    Ok((inputs, rows))
}

/// Whether a compaction that looks for repeats can have so many rows.
pub(crate) fn fits(rows: u64) -> Result<(), u64> {
    if rows > ROWS_MAX { Err(ROWS_MAX) } else { Ok(()) }
}

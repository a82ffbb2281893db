//! Copy on write: files that hold rows whose place others take are rewritten without them.
//!
//! Part of a commit, between writing the sealed buffer and the transaction that names its files: the same transaction
//! removes the old files and names the rewritten ones. Rows keep their order, and footer entries about it stay true.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use weir_types::Tally;

use crate::buffer::Replacing;
use crate::compact::input::ARRIVED_KEY;
use crate::error::FileError;
use crate::file::DataFile;
use crate::log::Add;
use crate::output::{Output, Stored};
use crate::partition;
use crate::place::Place;
use crate::reader::Reader;
use crate::route::NO_TIME;
use crate::table::{Sealed, State, Table};
use crate::witness::PlaceChange;

/// Files that are rewritten at once: each takes a row group's memory.
const REWRITES_AT_ONCE: usize = 2;
/// Before the names of footer entries of ids, which a rewritten file has anew.
const IDS_PREFIX: &str = "weir.ids.";
/// Before the names of all our footer entries.
const PREFIX: &str = "weir.";

/// What a sealed buffer's rows replace.
#[derive(Clone)]
pub(crate) struct Rewritten {
    /// The rewritten files.
    pub(crate) adds: Arc<Vec<Add>>,
    /// Those that they stand for.
    pub(crate) removes: Arc<HashSet<String>>,
    /// What the whole commit changes, the new rows included.
    pub(crate) places: Arc<Vec<PlaceChange>>,
    /// The files of each place that the commit changes: if they change, it must be done again.
    basis: Arc<Vec<(Place, HashSet<String>)>>,
}

impl Rewritten {
    /// Whether the files are still those that were looked at.
    pub(crate) fn is_current(&self, state: &State) -> bool {
        self.basis.iter().all(|(place, paths)| {
            let now = state.files.at(*place);
            now.len() == paths.len() && now.iter().all(|file| paths.contains(&file.path))
        })
    }
}

/// What became of one file.
struct Outcome {
    file: Arc<DataFile>,
    /// Whether weir wrote it. The books of a witness know nothing of other writers' rows.
    is_ours: bool,
    /// The ids of the rows that were dropped, and how many more rows there were with such an id.
    dropped: HashSet<u128>,
    doubled: Tally,
    /// None if no row is left.
    stored: Option<Stored>,
}

impl Table {
    /// Rewrites the files that hold rows which the sealed buffer's replace. `new` is what the buffer adds, every row
    /// counted as new. In the partitions `foreign` any row may replace some: what another writer added there was not known
    /// when the rows came.
    pub(crate) async fn rewrite_replaced(
        &self,
        sealed: &Arc<Sealed>,
        new: &[PlaceChange],
        foreign: &BTreeSet<partition::Key>,
    ) -> Result<Rewritten, FileError> {
        let replacing = sealed.buffer.replacing(foreign);
        let columns = self.columns();
        let files: Vec<(Place, Vec<Arc<DataFile>>)> = {
            let state = self.state();
            new.iter().map(|change| (change.place, state.files.at(change.place).to_vec())).collect()
        };
        let basis = files.iter().map(|(place, files)| (*place, files.iter().map(|file| file.path.clone()).collect()));
        let basis = Arc::new(basis.collect());
        let mut work: Vec<BoxFuture<'_, Result<Option<Outcome>, FileError>>> = Vec::new();
        for (place, files) in files {
            let Some(wanted) = replacing.get(&place) else { continue };
            let files = files.into_iter().filter(|file| meets(file, wanted));
            work.extend(files.map(|file| self.rewrite_without(file, wanted, &columns).boxed()));
        }
        let mut work = stream::iter(work).buffer_unordered(REWRITES_AT_ONCE);
        let mut places: BTreeMap<Place, PlaceChange> = new.iter().map(|change| (change.place, *change)).collect();
        let mut seen: BTreeMap<Place, HashSet<u128>> = BTreeMap::new();
        let (mut adds, mut removes) = (Vec::new(), HashSet::new());
        while let Some(outcome) = work.try_next().await? {
            let Some(Outcome { file, is_ours, dropped, doubled, stored }) = outcome else { continue };
            removes.insert(file.path.clone());
            adds.extend(stored.map(|stored| stored.add));
            let Some(change) = places.get_mut(&file.place).filter(|_| is_ours) else { continue };
            let seen = seen.entry(file.place).or_default();
            change.removed.merge(doubled);
            for id in dropped {
                if seen.insert(id) {
                    // The id was there, and is there.
                    change.added.subtract(Tally { count: 1, sum: id });
                    change.replaced += 1;
                } else {
                    change.removed.add(id);
                }
            }
        }
        Ok(Rewritten {
            adds: Arc::new(adds),
            removes: Arc::new(removes),
            places: Arc::new(places.into_values().collect()),
            basis,
        })
    }

    /// Rewrites a file without some rows; none if it holds none of them.
    async fn rewrite_without(
        &self,
        file: Arc<DataFile>,
        wanted: &Replacing,
        columns: &SchemaRef,
    ) -> Result<Option<Outcome>, FileError> {
        if let Some(filter) = self.filter_of(&file).await?
            && !wanted.ids.iter().any(|id| filter.may_hold(*id))
        {
            return Ok(None);
        }
        let reader = Reader::open(self.store.clone(), file.clone()).await?;
        let mut ids = reader.ids(&self.spec.name, columns, &self.spec.unique_by, self.hasher.clone())?;
        let (mut dropped, mut doubled, mut rest) = (HashSet::new(), Tally::default(), 0u64);
        while let Some(ids) = ids.try_next().await? {
            for id in ids {
                if !wanted.ids.contains(&id) {
                    rest += 1;
                } else if !dropped.insert(id) {
                    doubled.add(id);
                }
            }
        }
        if dropped.is_empty() {
            return Ok(None);
        }
        let stored = if rest == 0 { None } else { self.copy_without(&file, &dropped, rest, columns).await? };
        let is_ours = self.footer_of(&file).await?.is_ours;
        Ok(Some(Outcome { file, is_ours, dropped, doubled, stored }))
    }

    async fn copy_without(
        &self,
        file: &Arc<DataFile>,
        dropped: &HashSet<u128>,
        rest: u64,
        columns: &SchemaRef,
    ) -> Result<Option<Stored>, FileError> {
        let reader = Reader::open(self.store.clone(), file.clone()).await?;
        let output = Output::new(self, file.place, columns.clone());
        let mut output = output.with_notes(notes_of(&reader, file)).with_rows(rest);
        let mut rows = reader.rows_as(&self.spec.name, columns)?;
        loop {
            let copied = async {
                let Some(batch) = rows.try_next().await? else { return Ok(false) };
                let failed =
                    |source: ArrowError| FileError { verb: "read", path: file.location.clone(), source: source.into() };
                let ids = crate::route::ids(&self.spec, &self.hasher, &batch).map_err(failed)?;
                let stays: BooleanArray = ids.iter().map(|id| Some(!dropped.contains(id))).collect();
                let batch = filter_record_batch(&batch, &stays).map_err(failed)?;
                let ids: Vec<u128> = ids.into_iter().filter(|id| !dropped.contains(id)).collect();
                output.write(&batch, &ids).await?;
                Ok(true)
            };
            match copied.await {
                Ok(true) => {}
                Ok(false) => return output.finish().await,
                Err(error) => {
                    output.abort().await;
                    return Err(error);
                }
            }
        }
    }
}

/// Whether a file may hold such rows, going by event times.
fn meets(file: &DataFile, wanted: &Replacing) -> bool {
    let Some((least, most)) = file.times else { return true };
    wanted.times.0 == NO_TIME || (wanted.times.0 <= most && least <= wanted.times.1)
}

/// Returns what stays true of a file's rows when some go.
fn notes_of(reader: &Reader, file: &DataFile) -> Vec<(String, String)> {
    let entries = reader.metadata().file_metadata().key_value_metadata();
    let ours = entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.key.starts_with(PREFIX) && !entry.key.starts_with(IDS_PREFIX));
    let mut notes: Vec<_> = ours.filter_map(|entry| Some((entry.key.clone(), entry.value.clone()?))).collect();
    if !notes.iter().any(|(key, _)| key == ARRIVED_KEY) {
        notes.push((ARRIVED_KEY.to_owned(), file.modified.0.to_string()));
    }
    notes
}

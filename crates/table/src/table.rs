//! The table: its parts, and the order in which they are locked.
//!
//! ```text
//!   merging  (shared by compactions and vacuums; alone: rewriting all files)
//!     writing  (one transaction at a time: the Delta snapshot, what is sealed and written)
//!       appending  (one append at a time; a partition is not replaced during one)
//!         state  (moments only: files, buffers, positions; never held while waiting)
//! ```
//!
//! A commit seals the open buffer and writes it while appends go on into a new one; sealed rows stay visible to views
//! and to the search for repeats until the commit turned them into files, in one step.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arrow::datatypes::{Field, Schema, SchemaRef};
use delta_kernel::SnapshotRef;
use object_store::ObjectStore;
use object_store::path::Path;
use weir_env::Env;

use crate::buffer::Buffer;
use crate::cache::Cache;
use crate::committer::AttemptSlot;
use crate::compact::{Busy, Known};
use crate::file::DataFile;
use crate::filter::Filter;
use crate::footer::{FOOTER_CACHE_BYTES, Footer};
use crate::id::Hasher;
use crate::log::{Add, Log};
use crate::outcome::{Pending, SourceId, Stats, View};
use crate::output::Uploads;
use crate::partition;
use crate::place::{Layout, Place};
use crate::rewrite::Rewritten;
use crate::spec::Spec;
use crate::values::Held;
use crate::witness::{PlaceChange, Witness};

/// A table, open for appending by this process alone. All operations may run at once.
pub struct Table {
    pub(crate) spec: Spec,
    pub(crate) layout: Layout,
    pub(crate) hasher: Hasher,
    /// The key of the ids.
    pub(crate) id_key: [u8; 16],
    pub(crate) role: Role,
    /// What the filters of this table's files were made from: see [`crate::filter::SCHEME_KEY`].
    pub(crate) scheme: String,
    pub(crate) log: Log,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) folder: Path,
    pub(crate) env: Env,
    /// Compactions and vacuums share it; who rewrites every file has it alone.
    pub(crate) merging: tokio::sync::RwLock<()>,
    /// Files that are being compacted.
    pub(crate) busy: Busy,
    /// What compactions remember of files.
    pub(crate) known: Mutex<Known>,
    pub(crate) writing: tokio::sync::Mutex<Writing>,
    pub(crate) appending: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    versions: tokio::sync::watch::Sender<u64>,
    pub(crate) filters: Cache<Filter>,
    pub(crate) ids: Cache<[u128]>,
    pub(crate) footers: Cache<Footer>,
    /// Values of rows in files, by row group: see [`crate::values`].
    pub(crate) held: Cache<Held>,
    pub(crate) values_key: [u8; 16],
    pub(crate) uploads: Uploads,
    /// The table in which rows are gathered for this one, once it is open.
    pub(crate) aside: OnceLock<Arc<Table>>,
    pub(crate) counters: Counters,
    pub(crate) witness: Option<Arc<dyn Witness>>,
}

/// What a table is to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing.
    Own,
    /// Its table aside: see [`crate::aside`].
    Aside,
}

/// What a transaction needs and changes.
pub(crate) struct Writing {
    pub(crate) snapshot: SnapshotRef,
    /// Commits of rows in the snapshot, by any writer.
    pub(crate) commits: u64,
    /// What of the sealed buffer is in files by now.
    pub(crate) written: Option<Written>,
    /// A transaction of which it is not known yet whether it happened.
    pub(crate) in_flight: Option<InFlight>,
    /// Partitions whose rows another writer changed: the next commit of rows notes it.
    pub(crate) foreign: BTreeSet<partition::Key>,
    pub(crate) since_checkpoint: u64,
}

/// A sealed buffer that is in files, which no version names yet.
#[derive(Clone, Default)]
pub(crate) struct Written {
    pub(crate) adds: Arc<Vec<Add>>,
    pub(crate) places: Arc<Vec<PlaceChange>>,
    /// What its rows replace; none if that was not done yet.
    pub(crate) rewritten: Option<Rewritten>,
}

impl Written {
    /// Returns all files, rewritten ones included.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Add> {
        self.adds.iter().chain(self.rewritten.iter().flat_map(|rewritten| rewritten.adds.iter()))
    }
}

/// A transaction of which it is not known yet whether it happened: it runs, or failed, or its caller was dropped.
pub(crate) struct InFlight {
    /// What it put, or tried to; none if it did not come so far.
    pub(crate) attempt: AttemptSlot,
    /// What it did, if it was about rows and happened.
    pub(crate) rows: Option<Own>,
}

/// What a commit of rows of ours does beside adding and removing files.
#[derive(Clone)]
pub(crate) struct Own {
    pub(crate) positions: BTreeMap<SourceId, u64>,
    pub(crate) is_buffer: bool,
}

/// What readers and appends see.
pub(crate) struct State {
    pub(crate) version: u64,
    /// The table's columns, without the partition columns.
    pub(crate) columns: SchemaRef,
    pub(crate) files: Files,
    /// Commits of rows, as of the last one.
    pub(crate) commits: u64,
    /// Per partition the number of the last commit of rows that changed its rows.
    pub(crate) changed: Arc<BTreeMap<partition::Key, u64>>,
    /// As of the last commit.
    pub(crate) committed: BTreeMap<SourceId, u64>,
    /// The sealed and the open buffer included.
    pub(crate) positions: BTreeMap<SourceId, u64>,
    pub(crate) sealed: Option<Arc<Sealed>>,
    pub(crate) open: Buffer,
    /// The first version that another writer made, if one did.
    pub(crate) fenced: Option<u64>,
    /// A change of columns that files have to follow first.
    pub(crate) waiting: Option<Arc<crate::reshape::Waiting>>,
}

/// A buffer that a commit is about.
pub(crate) struct Sealed {
    pub(crate) buffer: Buffer,
    pub(crate) positions: BTreeMap<SourceId, u64>,
}

/// The files of a version.
#[derive(Default)]
pub(crate) struct Files {
    by_place: HashMap<Place, Vec<Arc<DataFile>>>,
    list: Arc<[Arc<DataFile>]>,
}

impl Files {
    pub(crate) fn new(files: Vec<DataFile>) -> Self {
        Self::of(files.into_iter().map(Arc::new).collect())
    }

    fn of(list: Arc<[Arc<DataFile>]>) -> Self {
        let mut by_place: HashMap<Place, Vec<Arc<DataFile>>> = HashMap::new();
        for file in list.iter() {
            by_place.entry(file.place).or_default().push(file.clone());
        }
        Self { by_place, list }
    }

    /// Returns these without some and with others.
    pub(crate) fn changed(&self, removes: impl Fn(&DataFile) -> bool, adds: impl Iterator<Item = DataFile>) -> Self {
        let kept = self.list.iter().filter(|file| !removes(file)).cloned();
        Self::of(kept.chain(adds.map(Arc::new)).collect())
    }

    pub(crate) fn list(&self) -> &Arc<[Arc<DataFile>]> {
        &self.list
    }

    pub(crate) fn at(&self, place: Place) -> &[Arc<DataFile>] {
        self.by_place.get(&place).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = (&Place, &Vec<Arc<DataFile>>)> {
        self.by_place.iter()
    }
}

/// Counters since the table was opened.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) added: AtomicU64,
    pub(crate) repeats: AtomicU64,
    pub(crate) replaced: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) timeless: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) filter_hits: AtomicU64,
    pub(crate) id_reads: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("name", &self.spec.name).field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The parts that opening a table has found.
pub(crate) struct Opened {
    pub(crate) spec: Spec,
    pub(crate) layout: Layout,
    pub(crate) hasher: Hasher,
    pub(crate) id_key: [u8; 16],
    pub(crate) role: Role,
    pub(crate) scheme: String,
    pub(crate) log: Log,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) folder: Path,
    pub(crate) env: Env,
    pub(crate) witness: Option<Arc<dyn Witness>>,
    pub(crate) writing: Writing,
    pub(crate) state: State,
}

impl Table {
    pub(crate) fn assemble(opened: Opened) -> Self {
        let Opened { spec, layout, hasher, id_key, role, scheme, log, store, folder, env, witness, writing, state } =
            opened;
        Self {
            filters: Cache::new(spec.filter_cache_bytes),
            ids: Cache::new(spec.id_cache_bytes),
            footers: Cache::new(FOOTER_CACHE_BYTES),
            held: Cache::new(spec.id_cache_bytes),
            values_key: ((u128::from(env.random()) << 64) | u128::from(env.random())).to_be_bytes(),
            uploads: Uploads::default(),
            aside: OnceLock::new(),
            spec,
            layout,
            hasher,
            id_key,
            role,
            scheme,
            log,
            store,
            folder,
            env,
            merging: tokio::sync::RwLock::new(()),
            busy: Busy::default(),
            known: Mutex::default(),
            writing: tokio::sync::Mutex::new(writing),
            appending: tokio::sync::Mutex::new(()),
            versions: tokio::sync::watch::Sender::new(state.version),
            state: Mutex::new(state),
            counters: Counters::default(),
            witness,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn event_time(&self) -> Option<String> {
        self.spec.partition_by.column().map(str::to_owned)
    }

    /// Tells whoever watches that readers see another version.
    pub(crate) fn announce(&self) {
        let version = self.state().version;
        self.versions.send_if_modified(|known| std::mem::replace(known, version) != version);
    }

    /// Returns the version that readers see, and wakes whoever waits for another one.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        self.versions.subscribe()
    }

    /// Returns what tells this table from another one that was made in its place: a table that was deleted and made again
    /// counts its commits anew.
    pub fn identity(&self) -> &str {
        &self.scheme
    }

    /// Returns the settings that the table was opened with.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Returns the clock and randomness that the table was opened with.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Returns the next sequence number to consume of each source, as of the last commit: where to resume after a
    /// crash.
    pub fn positions(&self) -> BTreeMap<SourceId, u64> {
        self.state().committed.clone()
    }

    /// Returns the columns as they are stored, without the partition columns.
    pub fn columns(&self) -> SchemaRef {
        self.state().columns.clone()
    }

    /// Returns the columns and the partition columns.
    pub fn schema(&self) -> SchemaRef {
        self.schema_of(&self.columns())
    }

    fn schema_of(&self, columns: &SchemaRef) -> SchemaRef {
        let fields = columns.fields().iter().cloned();
        Arc::new(Schema::new(fields.chain(self.layout.fields().into_iter().map(Field::into)).collect::<Vec<_>>()))
    }

    /// Returns what is in memory alone, for deciding when to commit.
    pub fn pending(&self) -> Pending {
        let state = self.state();
        let sealed = state.sealed.as_ref().map(|sealed| &sealed.buffer);
        let buffers = || sealed.into_iter().chain([&state.open]);
        let oldest = buffers().filter_map(|buffer| buffer.since).min();
        Pending {
            rows: buffers().map(|buffer| buffer.rows).sum(),
            hidden: buffers().map(|buffer| buffer.hidden).sum(),
            bytes: buffers().map(|buffer| buffer.bytes).sum(),
            oldest: oldest.map(|since| self.env.elapsed().saturating_sub(since)),
            moved: state.positions != state.committed,
        }
    }

    /// Returns a consistent picture for queries. It costs no copy of rows, but where some are replaced.
    pub fn view(&self) -> View {
        let (columns, version, files, positions, chunks, hidden) = {
            let state = self.state();
            let buffers = || state.sealed.iter().map(|sealed| &sealed.buffer).chain([&state.open]);
            let chunks: Vec<_> = buffers().flat_map(Buffer::shown).collect();
            let hidden = buffers().map(|buffer| buffer.hidden).sum();
            (state.columns.clone(), state.version, state.files.list().clone(), state.positions.clone(), chunks, hidden)
        };
        let schema = self.schema_of(&columns);
        let buffered =
            chunks.iter().map(|(chunk, shown)| chunk.to_view(&columns, &schema, self.layout, shown.as_ref()));
        let buffered = buffered.collect::<Result<_, _>>();
        #[expect(
            clippy::expect_used,
            reason = "a buffered batch has a schema that the table had, and schemas only grow"
        )]
        let buffered = buffered.expect("buffered batches fit the table's schema");
        View { version, schema, files, buffered, hidden, positions }
    }

    /// Returns the counters.
    pub fn stats(&self) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (version, files) = {
            let state = self.state();
            (state.version, state.files.list().clone())
        };
        Stats {
            version,
            rows: files.iter().filter_map(|file| file.rows).sum(),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.size).sum(),
            added: count(&self.counters.added),
            repeats: count(&self.counters.repeats),
            replaced: count(&self.counters.replaced),
            late: count(&self.counters.late),
            timeless: count(&self.counters.timeless),
            refused: count(&self.counters.refused),
            commits: count(&self.counters.commits),
            filter_hits: count(&self.counters.filter_hits),
            id_reads: count(&self.counters.id_reads),
        }
    }
}

//! From a stream's shards, through a function if there is one, into a table.
//!
//! ```text
//! [reader] shards --pages--> decode --> function --> batch + how far --channel--> [applier] append --> commit
//! ```
//!
//! The reader runs ahead by a bounded number of batches, so that decoding and writing overlap. A batch carries how far it
//! read its shard; rows and place enter the table together, and a crash resumes at what the table committed. A record that
//! can't be decoded, or on which the function fails, is parked as a dead letter before its batch is appended. Errors that no
//! record is the cause of (a store that is down, damage in the log) are told in the status and tried again.

mod apply;
mod aside;
mod prepare;
mod read;
#[cfg(test)]
mod tests;
mod whole;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use object_store::ObjectStore;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use weir_env::Env;
use weir_function::Function;
use weir_machine::Owner;
use weir_stream::{Checkpoints, Records, Shard, Stream};
use weir_table::{Appended, SourceId, Table};
use weir_types::{SequenceNumber, ShardId, TableName};

use self::apply::Applier;
pub(crate) use self::apply::chain;
pub(crate) use self::aside::{Aside, GATHERED_FRESHNESS, IfEmpty, Into, Whole};
pub(crate) use self::prepare::{Halt, Made, Preparer};
use self::read::Reader;
pub(crate) use self::read::{By, Prepared};
use crate::dead::DeadLetters;
use crate::ledger::{Books, Covered};
use crate::lookups::LookupSet;
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// Batches that readers are ahead of the applier. Who waits to hand one on is served in turn.
const AHEAD: usize = 2;
/// What the names of producers begin with whose blocks are of a replay.
pub(crate) const REPLAYED: &str = "_replayed/";

/// What a pipeline is made of.
pub(crate) struct Parts {
    /// The table's name.
    pub name: TableName,
    /// The columns of the rows that go into the table.
    pub columns: SchemaRef,
    pub env: Env,
    /// What the records are.
    pub stream: Arc<OpenStream>,
    /// Where they are read: the stream's shards, and that of records which are given to the table once more.
    pub sources: Vec<SourceShard>,
    pub function: Option<Arc<dyn Function>>,
    pub lookups: Arc<LookupSet>,
    pub table: Arc<Table>,
    /// Where rows are gathered until their run is complete, if the table takes whole runs.
    pub aside: Option<Aside>,
    /// Where the table's files are.
    pub store: Arc<dyn ObjectStore>,
    pub catalog: Catalog,
    pub dead_letters: Option<DeadLetters>,
    pub checkpoints: Owner<Checkpoints>,
    pub freshness: std::time::Duration,
    pub commit_bytes: u64,
    /// Records that were gone before they could be read.
    pub lost: AtomicU64,
    pub books: Arc<Books>,
    /// What was read and is not committed yet, for the books.
    pub covered: Arc<Covered>,
    /// What came of rows that replace, and that no replay of the table's own has brought.
    pub replayed: Replayed,
    /// Plants a fault: the next page is passed over.
    #[cfg(test)]
    pub skip_page: std::sync::atomic::AtomicBool,
    /// Plants a fault: the last row of the next page is dropped on its way to the table.
    #[cfg(test)]
    pub drop_row: std::sync::atomic::AtomicBool,
}

impl Parts {
    /// Returns the table that the records of the stream go to: the one aside, if there is one.
    pub fn fed(&self) -> &Arc<Table> {
        self.aside.as_ref().map_or(&self.table, |aside| &aside.table)
    }

    /// Tells whether what is read there is gathered aside.
    fn is_gathered(&self, source: &SourceShard) -> bool {
        self.aside.is_some() && source.stream.name() == self.stream.stream.name()
    }

    /// Tells whether nothing is read there now: records that are redriven to a table wait while a run is under way.
    pub fn holds_back(&self, source: &SourceShard) -> bool {
        !self.is_gathered(source) && self.aside.as_ref().is_some_and(Aside::is_under_way)
    }

    fn lands(&self, source: &SourceShard) -> Into {
        match &self.aside {
            Some(aside) if self.is_gathered(source) && aside.is_under_way() => Into::Aside,
            Some(_) if self.is_gathered(source) => Into::Between,
            _ => Into::Table,
        }
    }

    /// Returns how far a source was read, durably; none: it was not yet.
    pub fn committed(&self, source: &SourceShard) -> Option<SequenceNumber> {
        let of = |table: &Table| table.positions().get(&source.source()).copied().map(SequenceNumber);
        match self.is_gathered(source) {
            // What was read before the table took whole runs is in the table.
            true => of(self.fed()).or_else(|| of(&self.table)),
            false => of(&self.table),
        }
    }

    /// Returns where pages are noted for the books.
    fn covered_of(&self, into: Into) -> &Covered {
        match (&self.aside, into) {
            (Some(aside), Into::Aside | Into::Between | Into::Marker(_)) => &aside.covered,
            _ => &self.covered,
        }
    }
}

/// What the applier is asked for, in turn.
pub(crate) enum Work {
    /// To take a page's rows.
    Page(Box<Prepared>),
    /// To commit what it has without waiting for more.
    Commit,
}

/// What became of a page of a replay. It is not durable before the next commit.
#[derive(Debug)]
pub(crate) struct Told {
    /// How far it read its shard.
    pub next: SequenceNumber,
    /// Its rows.
    pub rows: u64,
    pub appended: Appended,
}

/// Counts of rows that replace, since the start.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub added: AtomicU64,
    pub replaced: AtomicU64,
    pub unchanged: AtomicU64,
    pub refused: AtomicU64,
}

impl Replayed {
    fn count(&self, appended: &Appended) {
        self.added.fetch_add(appended.added, Ordering::Relaxed);
        self.replaced.fetch_add(appended.replaced, Ordering::Relaxed);
        self.unchanged.fetch_add(appended.repeats, Ordering::Relaxed);
        self.refused.fetch_add(appended.refused.len() as u64, Ordering::Relaxed);
    }
}

/// A pipeline that runs.
pub(crate) struct Pipeline {
    parts: Arc<Parts>,
    applied: watch::Receiver<Vec<SequenceNumber>>,
    commits: watch::Receiver<u64>,
    /// Weak: the applier ends when the reader has.
    work: mpsc::WeakSender<Work>,
    trouble: Arc<Trouble>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a pipeline stands still, if it does: either half says so, and takes back its own word alone.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    reader: Mutex<Option<String>>,
    applier: Mutex<Option<String>>,
}

impl Trouble {
    fn of_reader(&self, what: Option<String>) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn of_applier(&self, what: Option<String>) {
        *self.applier.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    pub fn get(&self) -> Option<String> {
        let applier = self.applier.lock().unwrap_or_else(PoisonError::into_inner).clone();
        applier.or_else(|| self.reader.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What becomes of a row whose id the table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnRepeat {
    /// It is dropped: the one that came first stays.
    Keep,
    /// It takes the old one's place, if any value differs.
    Replace,
}

/// A shard that a table's records are read from.
#[derive(Clone)]
pub(crate) struct SourceShard {
    pub stream: Arc<Stream>,
    pub id: ShardId,
    /// The key of the records that are meant, where others are among them.
    pub only: Option<Vec<u8>>,
    /// What becomes of rows whose ids the table has.
    pub on_repeat: OnRepeat,
}

impl SourceShard {
    pub fn shard(&self) -> &Shard {
        &self.stream.shards()[self.id.0 as usize]
    }

    /// Says what becomes of rows of one block: what a replay has sent on to a stream replaces in its tables too.
    ///
    /// The mark is the producer's name: nobody from outside may have one that begins like this.
    pub fn on_repeat_of(&self, block: &Records<'_>) -> OnRepeat {
        let replayed = block.stamp().is_some_and(|stamp| stamp.producer.as_str().starts_with(REPLAYED));
        if replayed { OnRepeat::Replace } else { self.on_repeat }
    }

    /// Names the source that the shard is to a table.
    pub fn source(&self) -> SourceId {
        SourceId::new(self.shard().log().name().as_str())
    }
}

/// Returns all shards of a stream, with the key of the records that are meant.
pub(crate) fn shards_of(stream: &Arc<Stream>, only: Option<Vec<u8>>) -> impl Iterator<Item = SourceShard> {
    stream.shards().iter().map(move |shard| SourceShard {
        stream: stream.clone(),
        id: shard.id(),
        only: only.clone(),
        on_repeat: OnRepeat::Keep,
    })
}

impl Pipeline {
    /// Starts the two tasks, where the table's last commit left off.
    pub fn start(parts: Parts) -> Self {
        let parts = Arc::new(parts);
        let committed = |source| parts.committed(source).unwrap_or_default();
        let from: Vec<SequenceNumber> = parts.sources.iter().map(committed).collect();
        for source in &parts.sources {
            let covered = match &parts.aside {
                Some(aside) if parts.is_gathered(source) => &aside.covered,
                _ => &parts.covered,
            };
            covered.expect(source.source().as_str());
        }
        let (applied_to, applied) = watch::channel(from.clone());
        let (work, incoming) = mpsc::channel(AHEAD);
        let (commits_to, commits) = watch::channel(0);
        let (stop, stopping) = watch::channel(false);
        let trouble = Arc::new(Trouble::default());
        let weak = work.downgrade();
        let reader = Reader::new(parts.clone(), from, work, trouble.clone(), stopping.clone());
        let applier = Applier::new(parts.clone(), incoming, applied_to, commits_to, trouble.clone(), stopping.clone());
        let tasks = vec![tokio::spawn(reader.run()), tokio::spawn(applier.run())];
        Self { parts, applied, commits, work: weak, trouble, stop, tasks: Mutex::new(tasks) }
    }

    /// Returns the way in for whoever reads beside the pipeline. Who holds it up holds up the end of the pipeline.
    pub fn work(&self) -> mpsc::WeakSender<Work> {
        self.work.clone()
    }

    /// Returns how many commits there were, and wakes whoever waits for one.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.parts.table
    }

    /// Returns where a run's rows are gathered, if the table takes whole runs.
    pub fn aside(&self) -> Option<&Aside> {
        self.parts.aside.as_ref()
    }

    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.parts.store
    }

    pub fn stream(&self) -> &Arc<OpenStream> {
        &self.parts.stream
    }

    /// Returns the shards that the table's records are read from.
    pub fn sources(&self) -> &[SourceShard] {
        &self.parts.sources
    }

    /// Returns how far each of them was applied, and wakes whoever waits for more.
    pub fn applied(&self) -> watch::Receiver<Vec<SequenceNumber>> {
        self.applied.clone()
    }

    pub fn trouble(&self) -> Option<String> {
        let reshaping = self.parts.table.reshaping().map(|reshaping| reshaping.to_string());
        match (self.trouble.get(), reshaping) {
            (Some(trouble), Some(reshaping)) => Some(format!("{reshaping}; {trouble}")),
            (trouble, reshaping) => trouble.or(reshaping),
        }
    }

    /// Returns how far a source was read, durably; none: it was not yet.
    pub fn committed(&self, source: &SourceShard) -> Option<SequenceNumber> {
        self.parts.committed(source)
    }

    /// Records that were gone before they could be read, since the start.
    pub fn lost(&self) -> u64 {
        self.parts.lost.load(Ordering::Relaxed)
    }

    /// Records that are stored and not applied yet.
    pub fn behind(&self) -> u64 {
        let applied = self.applied.borrow();
        let sources = self.parts.sources.iter();
        sources.zip(applied.iter()).map(|(source, next)| source.shard().bounds().tail.since(*next)).sum()
    }

    /// Ends the reader, commits what was applied, and returns when both tasks are done.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A task that panicked has said so, and its work is redone at the next start.
            let _ = task.await;
        }
    }
}

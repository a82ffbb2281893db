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
mod prepare;
mod read;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use object_store::ObjectStore;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use weir_env::Env;
use weir_function::Function;
use weir_machine::Owner;
use weir_stream::{Checkpoints, Shard, Stream};
use weir_table::{SourceId, Table};
use weir_types::{SequenceNumber, ShardId, TableName};

use self::apply::Applier;
pub(crate) use self::apply::chain;
pub(crate) use self::prepare::{Halt, Preparer};
use self::read::Reader;
use crate::dead::DeadLetters;
use crate::ledger::{Books, Covered};
use crate::lookups::LookupSet;
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// Batches that the reader is ahead of the applier.
const AHEAD: usize = 2;

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
}

/// A pipeline that runs.
pub(crate) struct Pipeline {
    parts: Arc<Parts>,
    applied: watch::Receiver<Vec<SequenceNumber>>,
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

/// A shard that a table's records are read from.
#[derive(Clone)]
pub(crate) struct SourceShard {
    pub stream: Arc<Stream>,
    pub id: ShardId,
    /// The key of the records that are meant, where others are among them.
    pub only: Option<Vec<u8>>,
}

impl SourceShard {
    pub fn shard(&self) -> &Shard {
        &self.stream.shards()[self.id.0 as usize]
    }

    /// Names the source that the shard is to a table.
    pub fn source(&self) -> SourceId {
        SourceId::new(self.shard().log().name().as_str())
    }
}

/// Returns all shards of a stream, with the key of the records that are meant.
pub(crate) fn shards_of(stream: &Arc<Stream>, only: Option<Vec<u8>>) -> impl Iterator<Item = SourceShard> {
    stream.shards().iter().map(move |shard| SourceShard { stream: stream.clone(), id: shard.id(), only: only.clone() })
}

impl Pipeline {
    /// Starts the two tasks, where the table's last commit left off.
    pub fn start(parts: Parts) -> Self {
        let parts = Arc::new(parts);
        let positions = parts.table.positions();
        let committed = |source: &SourceShard| positions.get(&source.source()).copied().unwrap_or(0);
        let from: Vec<SequenceNumber> = parts.sources.iter().map(|source| SequenceNumber(committed(source))).collect();
        parts.sources.iter().for_each(|source| parts.covered.expect(source.source().as_str()));
        let (applied_to, applied) = watch::channel(from.clone());
        let (batches, incoming) = mpsc::channel(AHEAD);
        let (stop, stopping) = watch::channel(false);
        let trouble = Arc::new(Trouble::default());
        let reader = Reader::new(parts.clone(), from, batches, trouble.clone(), stopping.clone());
        let applier = Applier::new(parts.clone(), incoming, applied_to, trouble.clone(), stopping.clone());
        let tasks = vec![tokio::spawn(reader.run()), tokio::spawn(applier.run())];
        Self { parts, applied, trouble, stop, tasks: Mutex::new(tasks) }
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.parts.table
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

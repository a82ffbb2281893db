//! Archives of streams: what the plan says, and the task that keeps each one up.
//!
//! ```text
//! every few seconds: chunks that are due --> hours that are over --> the checkpoint; now and then, what is too old
//! ```
//!
//! An archive whose store is down does not keep the node from starting, nor its door from taking records: it is opened when that
//! works, and until then, and wherever it is behind, nothing of its stream is trimmed. Invariant: what [`OpenArchive::needs_from`]
//! says was durable in the archive before it was said.

mod place;
mod status;
mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::Semaphore;
use weir_archive::{Archive, Spec};
use weir_config::ArchivePlan;
use weir_env::Env;
use weir_machine::Owner;
use weir_stream::{CheckpointCommand, Checkpoints, Stream};
use weir_types::{SequenceNumber, ShardId, StreamName};

use crate::folder::Folder;
use crate::node::StartError;
use crate::schemas::Catalog;

pub use self::status::ArchiveStatus;

/// Chunks that a node gathers at once, over all its archives: each is held in memory until it is stored.
const WRITERS: usize = 2;

/// A stream's archive as the node has it.
pub(crate) struct OpenArchive {
    spec: Spec,
    stream: Arc<Stream>,
    store: Arc<dyn ObjectStore>,
    root: Path,
    env: Env,
    catalog: Catalog,
    checkpoints: Owner<Checkpoints>,
    writers: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    archive: Option<Arc<Archive>>,
    /// Why it stands still, if it does.
    trouble: Option<String>,
}

/// Why a stream's archive can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is no such stream.
    #[error("there is no stream `{stream}`")]
    NoStream {
        /// What was asked for.
        stream: StreamName,
    },
    /// The stream is not archived.
    #[error("stream `{stream}` is not archived: give it `archive = \"400d\"` in weir.hcl")]
    NotArchived {
        /// The stream.
        stream: StreamName,
    },
    /// The archive could not be opened yet.
    #[error("the archive of stream `{stream}` is not open: {trouble}")]
    NotOpen {
        /// The stream.
        stream: StreamName,
        /// Why, in words.
        trouble: String,
    },
}

/// All archives of a node, by stream.
pub(crate) type Archives = BTreeMap<StreamName, Arc<OpenArchive>>;

/// What archives need of the node.
pub(crate) struct Around<'a> {
    pub env: &'a Env,
    pub folder: &'a Folder,
    pub catalog: &'a Catalog,
    pub checkpoints: &'a Owner<Checkpoints>,
}

/// Makes the archives of the plan ready; nothing is read or written yet, but for the folder of a local one.
pub(crate) fn plan(plans: Vec<(Arc<Stream>, ArchivePlan)>, around: &Around<'_>) -> Result<Archives, StartError> {
    let writers = Arc::new(Semaphore::new(WRITERS));
    let archives = plans.into_iter().map(|(stream, plan)| {
        let (store, root) = place::of(&plan, stream.name(), around.folder)?;
        let settings = stream.settings();
        let spec = Spec {
            codec: plan.codec,
            every: plan.every,
            ..Spec::new(stream.name().clone(), settings.shards, plan.retention)
        };
        let spec = spec.within_log(settings.retention, settings.retention_bytes);
        let archive = OpenArchive {
            spec,
            store,
            root,
            env: around.env.clone(),
            catalog: around.catalog.clone(),
            checkpoints: around.checkpoints.clone(),
            writers: writers.clone(),
            state: Mutex::default(),
            stream: stream.clone(),
        };
        Ok((stream.name().clone(), Arc::new(archive)))
    });
    archives.collect()
}

impl OpenArchive {
    /// Returns the archive, once it is open.
    pub fn get(&self) -> Option<Arc<Archive>> {
        self.lock().archive.clone()
    }

    /// Returns why it stands still, if it does.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Returns the first record of a shard that is not archived, and must be kept.
    pub fn needs_from(&self, shard: ShardId) -> SequenceNumber {
        self.get().and_then(|archive| archive.written_to(shard)).unwrap_or(SequenceNumber::ZERO)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the archive, or returns it if that was done.
    async fn opened(&self) -> Result<Arc<Archive>, weir_archive::OpenError> {
        if let Some(archive) = self.get() {
            return Ok(archive);
        }
        let known = self.known();
        let opening = Archive::open(self.spec.clone(), self.store.clone(), self.root.clone(), self.env.clone(), &known);
        let archive = Arc::new(opening.await?);
        for back in &archive.stats().went_back {
            tracing::error!(stream = %self.spec.stream, shard = %back.shard, known = %back.known, found = ?back.found, "the archive ends earlier than it had");
        }
        self.lock().archive = Some(archive.clone());
        Ok(archive)
    }

    /// How far the archive was, by the checkpoints.
    fn known(&self) -> BTreeMap<ShardId, SequenceNumber> {
        let consumer = self.consumer();
        let shards = self.stream.shards().iter();
        self.checkpoints.read(|all| {
            let known = |shard: &weir_stream::Shard| Some((shard.id(), all.get(&consumer, shard.log().name())?.next));
            shards.filter_map(known).collect()
        })
    }

    /// Tells the checkpoints how far the archive is. The archive itself is what counts; this finds one that went back.
    async fn checkpoint(&self, archive: &Archive) {
        let shards = self.stream.shards().iter();
        let read =
            shards.filter_map(|shard| Some((shard.log().name().clone(), archive.written_to(shard.id())?))).collect();
        let consumer = self.consumer();
        if let Err(error) = self.checkpoints.submit(CheckpointCommand::Set { consumer, read }).await {
            tracing::warn!(stream = %self.spec.stream, %error, "a checkpoint was not stored");
        }
    }

    fn consumer(&self) -> String {
        format!("archive/{}", self.spec.stream)
    }
}

//! A stream: its shards, its producers, and opening it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_env::Env;
use weir_log::{Engine, EngineError, Log, ReadError, ReadLimit};
use weir_machine::{SnapshotError, Snapshots};
use weir_types::{ByteSize, LogName, ProducerId, SequenceNumber, ShardId, StreamName, limits};

use crate::block::Records;
use crate::producers::{Producers, Remembered};
use crate::writer::{WriteError, Writer};

/// A snapshot of the producers is due when this many bytes were written since the last: what opening reads again.
const SNAPSHOT_BYTES: u64 = 64 * 1024 * 1024;
const REPLAY_BYTES: usize = 1024 * 1024;

/// How a stream is laid out and how long it keeps its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many shards: 1 to [`limits::SHARDS_MAX`].
    pub shards: u32,
    /// Records older than this are forgotten.
    pub retention: Duration,
    /// The oldest records are forgotten when all shards together have more bytes than this; `None`: no limit.
    pub retention_bytes: Option<ByteSize>,
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The number of shards is out of range.
    #[error("stream `{stream}` has {shards} shards; 1 to {} are possible", limits::SHARDS_MAX)]
    Shards {
        /// The stream.
        stream: StreamName,
        /// What was asked for.
        shards: u32,
    },
    /// A shard's log could not be opened.
    #[error("open stream `{stream}`")]
    Engine {
        /// The stream.
        stream: StreamName,
        /// The cause.
        #[source]
        source: EngineError,
    },
    /// A shard's log does not read.
    #[error("open stream `{stream}`")]
    Read {
        /// The stream.
        stream: StreamName,
        /// The cause.
        #[source]
        source: ReadError,
    },
    /// The producers' snapshot can't be reached.
    #[error("open stream `{stream}`")]
    Snapshot {
        /// The stream.
        stream: StreamName,
        /// The cause.
        #[source]
        source: SnapshotError,
    },
}

/// One shard: an ordered log of records.
pub struct Shard {
    pub(crate) id: ShardId,
    pub(crate) log: Arc<dyn Log>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shard({})", self.log.name())
    }
}

impl Shard {
    /// Returns the shard's number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Returns the log beneath.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }
}

/// A stream that is open.
pub struct Stream {
    name: StreamName,
    pub(crate) settings: Settings,
    pub(crate) shards: Vec<Shard>,
    producers: Producers,
    pub(crate) snapshots: Snapshots,
    env: Env,
    written: AtomicU64,
    snapshot_at: AtomicU64,
    spread: AtomicU64,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({}, {} shards)", self.name, self.shards.len())
    }
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    /// Per shard the first record that the producers below do not account for.
    next: Vec<(ShardId, SequenceNumber)>,
    producers: Vec<Remembered>,
}

impl Stream {
    /// Opens a stream, and makes its shards' logs if they are new.
    ///
    /// A stream that had fewer shards gets the new ones; one that had more keeps reading them under its old number, which
    /// the caller must not lower.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        engine: &dyn Engine,
        snapshots: Snapshots,
        env: Env,
        name: StreamName,
        settings: Settings,
    ) -> Result<Arc<Self>, OpenError> {
        if settings.shards == 0 || settings.shards > limits::SHARDS_MAX {
            return Err(OpenError::Shards { stream: name, shards: settings.shards });
        }
        let mut shards = Vec::new();
        for id in (0..settings.shards).map(ShardId) {
            let log = engine
                .log(&LogName::shard(&name, id))
                .await
                .map_err(|source| OpenError::Engine { stream: name.clone(), source })?;
            shards.push(Shard { id, log });
        }
        let stream = Self {
            name,
            settings,
            shards,
            producers: Producers::default(),
            snapshots,
            spread: AtomicU64::new(env.random()),
            env,
            written: AtomicU64::new(0),
            snapshot_at: AtomicU64::new(0),
        };
        stream.recover_producers().await?;
        Ok(Arc::new(stream))
    }

    async fn recover_producers(&self) -> Result<(), OpenError> {
        let latest = self
            .snapshots
            .latest(&self.snapshot_name())
            .await
            .map_err(|source| OpenError::Snapshot { stream: self.name.clone(), source })?;
        let snapshot = latest.and_then(|(_, bytes)| match serde_json::from_slice::<Snapshot>(&bytes) {
            Ok(snapshot) if snapshot.version == 1 => Some(snapshot),
            // The log has it all: a snapshot that is not understood costs a longer replay.
            _ => {
                tracing::warn!(stream = %self.name, "the producers' snapshot is of an unknown form; reading the log instead");
                None
            }
        });
        let mut from = Vec::new();
        if let Some(snapshot) = snapshot {
            self.producers.restore(snapshot.producers);
            from = snapshot.next;
        }
        for shard in &self.shards {
            let next = from.iter().find(|(id, _)| *id == shard.id).map_or(SequenceNumber::ZERO, |(_, next)| *next);
            self.replay(shard, next).await?;
        }
        Ok(())
    }

    async fn replay(&self, shard: &Shard, from: SequenceNumber) -> Result<(), OpenError> {
        let mut next = from.max(shard.log.bounds().head);
        loop {
            let blocks = match shard.log.read(next, ReadLimit { bytes_max: REPLAY_BYTES }).await {
                Ok(blocks) => blocks,
                Err(ReadError::Damaged { to, from, .. } | ReadError::Lost { to, from, .. }) if to > next => {
                    // Records are missing for readers, who say so; the stamps of a lost block cost at worst a repeat.
                    tracing::error!(stream = %self.name, shard = %shard.id, %from, %to, "records are lost here");
                    next = to;
                    continue;
                }
                Err(source) => return Err(OpenError::Read { stream: self.name.clone(), source }),
            };
            let Some(last) = blocks.last() else { return Ok(()) };
            next = last.end();
            for block in &blocks {
                self.note_written(block.payload.len() as u64);
                match Records::new(block) {
                    Ok(records) => {
                        if let Some(stamp) = records.stamp() {
                            self.producers.replay(stamp, shard.id, block.appended_at);
                        }
                    }
                    Err(error) => tracing::error!(stream = %self.name, shard = %shard.id, %error, "skipped"),
                }
            }
        }
    }

    /// Returns the stream's name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Returns the shards, by number.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Returns how the stream is laid out.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Begins a batch. With a producer and a number, a batch that was stored before is not stored again; waits until the
    /// producer's batch before it is done.
    ///
    /// # Errors
    /// [`WriteError::Producer`] if the number does not fit.
    pub async fn write(self: &Arc<Self>, batch: Option<(ProducerId, u64)>) -> Result<Writer, WriteError> {
        Writer::new(self.clone(), batch).await
    }

    /// Remembers the producers, if enough was written since the last time; `close` asks for it in any case.
    ///
    /// # Errors
    /// If the object store fails; the next call tries again.
    pub async fn snapshot_if_due(&self) -> Result<(), SnapshotError> {
        let written = self.written.load(Ordering::Relaxed);
        if written - self.snapshot_at.load(Ordering::Relaxed) < SNAPSHOT_BYTES {
            return Ok(());
        }
        self.snapshot().await
    }

    /// Remembers the producers, so that the next opening reads nothing again. While a batch is long under way this does
    /// nothing: the next call tries again.
    ///
    /// # Errors
    /// If the object store fails.
    pub async fn snapshot(&self) -> Result<(), SnapshotError> {
        let written = self.written.load(Ordering::Relaxed);
        if written == self.snapshot_at.load(Ordering::Relaxed) {
            return Ok(());
        }
        // The places first: a batch that ends in between is in both, and taking a stamp in twice changes nothing.
        let next: Vec<_> = self.shards.iter().map(|shard| (shard.id, shard.log.bounds().tail)).collect();
        let version = SequenceNumber(next.iter().map(|(_, next)| next.0).sum());
        let Some(producers) = self.producers.snapshot(&self.env).await else { return Ok(()) };
        let state = Snapshot { version: 1, next, producers };
        let bytes = serde_json::to_vec(&state).expect("strings and numbers serialise");
        self.snapshots.put(&self.snapshot_name(), version, &bytes).await?;
        self.snapshot_at.store(written, Ordering::Relaxed);
        Ok(())
    }

    fn snapshot_name(&self) -> String {
        format!("stream/{}", self.name)
    }

    pub(crate) fn producers(&self) -> &Producers {
        &self.producers
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn note_written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn next_spread(&self) -> ShardId {
        ShardId((self.spread.fetch_add(1, Ordering::Relaxed) % self.shards.len() as u64) as u32)
    }
}

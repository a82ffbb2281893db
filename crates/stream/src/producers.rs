//! What each producer has stored, so that a batch that is sent again is not stored again.
//!
//! A producer sends its batches one after the other, each with a higher number than the last, and sends a batch again
//! with the same number until it is acknowledged. A batch is stored in chunks, cut at the same places each time; each shard
//! remembers the last (number, chunk) that it holds of each producer, from the stamps in its blocks. So of a batch that was
//! cut off by a crash just the chunks that are missing are stored.
//!
//! ```text
//! number  > last: new       = last: what is missing is stored       < last: refused, it can't be told apart
//! ```
//!
//! Invariant: a batch's stamp in memory is never ahead of its blocks in the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use weir_env::Env;
use weir_types::{ProducerId, ShardId, Timestamp};

/// Producers that one stream remembers. Beyond, the one that was silent longest is forgotten.
pub const PRODUCERS_MAX: usize = 100_000;
/// A producer that was silent for this long is forgotten: a repeat that comes later is stored again.
pub const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a snapshot waits for one producer's turn.
const TURN_PATIENCE: Duration = Duration::from_millis(100);

/// Which part of which batch a block belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Who sent the batch.
    pub producer: ProducerId,
    /// The batch's number: higher than that of the producer's batch before it.
    pub number: u64,
    /// The part of the batch, from 0.
    pub chunk: u32,
    /// How many shards the stream had: with another number, keys are in other shards, and parts can't be compared.
    pub shards: u32,
}

/// Why a stamped batch is refused. Nothing of it was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// A later batch of the same producer was stored already.
    #[error(
        "batch {number} of producer `{producer}` comes after its batch {last}: a producer sends its batches one after the other, with rising numbers"
    )]
    Stale {
        /// The producer.
        producer: ProducerId,
        /// The batch's number.
        number: u64,
        /// The highest number that was stored.
        last: u64,
    },
    /// The batch before this one failed halfway, and was not sent again.
    #[error("batch {last} of producer `{producer}` is not complete: send it again before batch {number}")]
    Unfinished {
        /// The producer.
        producer: ProducerId,
        /// The batch's number.
        number: u64,
        /// The batch that is not complete.
        last: u64,
    },
}

/// How far one producer has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// The last batch that was begun.
    number: Option<u64>,
    /// Whether that batch failed halfway while this process watched.
    unfinished: bool,
    /// How many shards the stream had when that batch was stored.
    layout: u32,
    /// Per shard the last (number, chunk) that it holds.
    shards: Vec<(ShardId, u64, u32)>,
    seen: Timestamp,
}

impl Progress {
    pub fn begin(&mut self, producer: &ProducerId, number: u64) -> Result<(), ProducerError> {
        match self.number {
            Some(last) if number < last => {
                return Err(ProducerError::Stale { producer: producer.clone(), number, last });
            }
            Some(last) if number > last && self.unfinished => {
                return Err(ProducerError::Unfinished { producer: producer.clone(), number, last });
            }
            _ => {}
        }
        self.number = Some(number);
        self.unfinished = true;
        Ok(())
    }

    pub fn finish(&mut self) {
        self.unfinished = false;
    }

    pub fn holds(&self, shard: ShardId, number: u64, chunk: u32, layout: u32) -> bool {
        self.layout == layout && self.shards.iter().any(|(id, n, c)| *id == shard && (*n, *c) >= (number, chunk))
    }

    pub fn stored(&mut self, shard: ShardId, number: u64, chunk: u32, layout: u32, at: Timestamp) {
        if self.layout != layout {
            self.layout = layout;
            self.shards.clear();
        }
        match self.shards.iter_mut().find(|(id, ..)| *id == shard) {
            Some(entry) => (entry.1, entry.2) = (entry.1, entry.2).max((number, chunk)),
            None => self.shards.push((shard, number, chunk)),
        }
        self.number = self.number.max(Some(number));
        self.seen = self.seen.max(at);
    }
}

/// A producer in a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Remembered {
    producer: ProducerId,
    layout: u32,
    shards: Vec<(ShardId, u64, u32)>,
    seen: Timestamp,
}

/// All producers of one stream.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    known: Mutex<HashMap<ProducerId, Arc<tokio::sync::Mutex<Progress>>>>,
}

impl Producers {
    fn entry(&self, producer: &ProducerId) -> Arc<tokio::sync::Mutex<Progress>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get(producer) {
            return entry.clone();
        }
        if known.len() >= PRODUCERS_MAX {
            forget_longest_silent(&mut known);
        }
        known.entry(producer.clone()).or_default().clone()
    }

    /// Waits for the producer's turn: its batches are stored one after the other.
    pub async fn lock(&self, producer: &ProducerId) -> OwnedMutexGuard<Progress> {
        self.entry(producer).lock_owned().await
    }

    /// Takes a stamp from the log into account, while the stream is opened and nobody writes.
    pub fn replay(&self, stamp: &Stamp, shard: ShardId, at: Timestamp) {
        if let Ok(mut progress) = self.entry(&stamp.producer).try_lock() {
            progress.stored(shard, stamp.number, stamp.chunk, stamp.shards, at);
        }
    }

    pub fn restore(&self, remembered: Vec<Remembered>) {
        for Remembered { producer, layout, shards, seen } in remembered {
            if let Ok(mut progress) = self.entry(&producer).try_lock() {
                for (shard, number, chunk) in shards {
                    progress.stored(shard, number, chunk, layout, seen);
                }
            }
        }
    }

    /// Returns what is to be remembered, and forgets whoever was silent for long. A batch under way may hold its producer's
    /// turn for as long as its sender takes: if one does not end soon, there is nothing, and the caller tries again later.
    pub async fn snapshot(&self, env: &Env) -> Option<Vec<Remembered>> {
        let now = env.now();
        let entries: Vec<_> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.iter().map(|(producer, entry)| (producer.clone(), entry.clone())).collect()
        };
        let mut remembered = Vec::new();
        let mut forgotten = Vec::new();
        for (producer, entry) in entries {
            let progress = env.within(TURN_PATIENCE, entry.lock()).await?;
            if progress.seen < now.before(REMEMBERED) {
                forgotten.push(producer);
            } else {
                remembered.push(Remembered {
                    producer,
                    layout: progress.layout,
                    shards: progress.shards.clone(),
                    seen: progress.seen,
                });
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for producer in forgotten {
            // Whoever waits for the entry still has it: only idle ones go.
            if known.get(&producer).is_some_and(|entry| Arc::strong_count(entry) == 1) {
                known.remove(&producer);
            }
        }
        Some(remembered)
    }
}

fn forget_longest_silent(known: &mut HashMap<ProducerId, Arc<tokio::sync::Mutex<Progress>>>) {
    let mut idle: Vec<(Timestamp, ProducerId)> = known
        .iter()
        .filter(|(_, entry)| Arc::strong_count(entry) == 1)
        .filter_map(|(producer, entry)| Some((entry.try_lock().ok()?.seen, producer.clone())))
        .collect();
    idle.sort_unstable();
    // A tenth at once, so that the search is rare.
    for (_, producer) in idle.into_iter().take(PRODUCERS_MAX / 10) {
        known.remove(&producer);
    }
}

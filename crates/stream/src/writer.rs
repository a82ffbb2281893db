//! Writes one batch of records to a stream, in chunks.
//!
//! While one chunk is being made durable the caller fills the next; at most those two are in memory. A chunk is cut by
//! the bytes and number of its records alone, so that a batch that is sent again is cut at the same places.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use weir_log::{AppendError, Block, Condition};
use weir_types::{Fingerprint, ProducerId, SequenceNumber, ShardId, StreamName};
use xxhash_rust::xxh3::xxh3_64;

use crate::block::Builder;
use crate::producers::{ProducerError, Progress, Stamp};
use crate::route::{Route, shard_of_hash, shard_of_key};
use crate::stream::Stream;

/// A chunk is stored when its records have this many bytes.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// How long a chunk waits for the log to take it before the caller is told to slow down.
const BUSY_PATIENCE: Duration = Duration::from_secs(2);
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Records that were made durable.
    pub stored: u64,
    /// Records that were left out because an earlier try had stored them.
    pub repeated: u64,
    /// Per shard that took records, the first place and how many, for each append.
    pub places: Vec<(ShardId, SequenceNumber, u64)>,
}

/// Why a batch failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The stamp does not fit what the producer has stored.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// A chunk was not stored whole. `stored` records of the batch are durable; a stamped batch may simply be sent again.
    #[error("write to stream `{stream}`")]
    Append {
        /// The stream.
        stream: StreamName,
        /// Records of this batch that are durable.
        stored: u64,
        /// The cause.
        #[source]
        source: AppendError,
    },
}

/// Who sends the batch, and which one it is.
#[derive(Debug, Clone)]
struct BatchId {
    producer: ProducerId,
    number: u64,
}

struct Chunk {
    number: u32,
    parts: Vec<(ShardId, Vec<Block>)>,
}

/// What became of a chunk, and the producer's turn, which went with it.
struct Stored {
    turn: Option<OwnedMutexGuard<Progress>>,
    repeated: u64,
    places: Vec<(ShardId, SequenceNumber, u64)>,
    failed: Option<AppendError>,
}

/// One batch on its way into a stream. Dropping it leaves what was flushed, and what is remembered of it is right all the
/// same: a chunk is stored by a task of its own, which holds the producer's turn until it is done.
pub struct Writer {
    stream: Arc<Stream>,
    batch: Option<BatchId>,
    /// The producer's turn, while no chunk is under way.
    turn: Option<OwnedMutexGuard<Progress>>,
    chunk: u32,
    spread_to: ShardId,
    builders: Vec<Builder>,
    bytes: usize,
    ready: VecDeque<Chunk>,
    under_way: Option<JoinHandle<Stored>>,
    receipt: Receipt,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({}, chunk {})", self.stream.name(), self.chunk)
    }
}

impl Writer {
    pub(crate) async fn new(stream: Arc<Stream>, batch: Option<(ProducerId, u64)>) -> Result<Self, WriteError> {
        let batch = batch.map(|(producer, number)| BatchId { producer, number });
        let turn = match &batch {
            Some(BatchId { producer, number }) => {
                let mut turn = stream.producers().lock(producer).await;
                turn.begin(producer, *number)?;
                Some(turn)
            }
            None => None,
        };
        let builders = stream.shards().iter().map(|_| Builder::default()).collect();
        let mut writer = Self {
            stream,
            batch,
            turn,
            chunk: 0,
            spread_to: ShardId(0),
            builders,
            bytes: 0,
            ready: VecDeque::new(),
            under_way: None,
            receipt: Receipt::default(),
        };
        writer.spread_to = writer.choose_spread();
        Ok(writer)
    }

    /// Adds a record; says whether [`Writer::flush`] is due. `body` is Avro binary of the schema that `fingerprint` stands for.
    pub fn push(&mut self, route: Route<'_>, fingerprint: Fingerprint, body: &[u8]) -> bool {
        let shards = self.builders.len() as u32;
        let shard = match route {
            Route::Key(key) => shard_of_key(key, shards),
            Route::Spread => self.spread_to,
        };
        self.builders[shard.0 as usize].push(fingerprint, None, body);
        self.bytes += body.len() + 8;
        if self.bytes >= CHUNK_BYTES {
            self.cut();
        }
        !self.ready.is_empty()
    }

    /// Hands the full chunks to the log. On return at most one is still being made durable.
    ///
    /// # Errors
    /// See [`WriteError`]; the batch has failed then.
    pub async fn flush(&mut self) -> Result<(), WriteError> {
        while let Some(chunk) = self.ready.pop_front() {
            self.settle().await?;
            let (stream, batch, turn) = (self.stream.clone(), self.batch.clone(), self.turn.take());
            self.under_way = Some(tokio::spawn(store(stream, batch, turn, chunk)));
        }
        Ok(())
    }

    /// Stores what is left, and returns when the whole batch is durable.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn finish(mut self) -> Result<Receipt, WriteError> {
        self.cut();
        self.flush().await?;
        self.settle().await?;
        if let Some(turn) = &mut self.turn {
            turn.finish();
        }
        Ok(std::mem::take(&mut self.receipt))
    }

    /// Ends a batch that its sender can't send any better: what was flushed stays, the rest is dropped, and the producer may
    /// go on with its next batch.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn abandon(mut self) -> Result<Receipt, WriteError> {
        self.settle().await?;
        if let Some(turn) = &mut self.turn {
            turn.finish();
        }
        Ok(std::mem::take(&mut self.receipt))
    }

    /// Returns what is known to be durable so far.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    fn choose_spread(&self) -> ShardId {
        match &self.batch {
            // The same batch must go the same way when it is sent again.
            Some(BatchId { producer, number }) => {
                let hash = xxh3_64(format!("{producer}\0{number}\0{}", self.chunk).as_bytes());
                shard_of_hash(hash, self.builders.len() as u32)
            }
            None => self.stream.next_spread(),
        }
    }

    /// Makes the records so far a chunk.
    fn cut(&mut self) {
        if self.bytes == 0 {
            return;
        }
        self.bytes = 0;
        let number = self.chunk;
        let stamp = self.batch.as_ref().map(|batch| Stamp {
            producer: batch.producer.clone(),
            number: batch.number,
            chunk: number,
            shards: self.builders.len() as u32,
        });
        let filled = self.builders.iter_mut().enumerate().filter(|(_, builder)| !builder.is_empty());
        let parts = filled.map(|(index, builder)| (ShardId(index as u32), builder.take(stamp.as_ref()))).collect();
        self.chunk += 1;
        self.spread_to = self.choose_spread();
        self.ready.push_back(Chunk { number, parts });
    }

    async fn settle(&mut self) -> Result<(), WriteError> {
        let Some(task) = self.under_way.take() else { return Ok(()) };
        let stored = match task.await {
            Ok(stored) => stored,
            Err(_) => return Err(self.failed(AppendError::Closed)),
        };
        self.turn = stored.turn;
        self.receipt.repeated += stored.repeated;
        self.receipt.stored += stored.places.iter().map(|(_, _, records)| records).sum::<u64>();
        self.receipt.places.extend(stored.places);
        match stored.failed {
            None => Ok(()),
            Some(source) => Err(self.failed(source)),
        }
    }

    fn failed(&self, source: AppendError) -> WriteError {
        WriteError::Append { stream: self.stream.name().clone(), stored: self.receipt.stored, source }
    }
}

/// Stores the parts of a chunk that their shards do not hold already, and takes note of each.
async fn store(
    stream: Arc<Stream>,
    batch: Option<BatchId>,
    mut turn: Option<OwnedMutexGuard<Progress>>,
    chunk: Chunk,
) -> Stored {
    let layout = stream.shards().len() as u32;
    let mut repeated = 0;
    let mut appends = Vec::new();
    for (shard, blocks) in chunk.parts {
        let records: u64 = blocks.iter().map(|block| u64::from(block.records)).sum();
        let held = match (&batch, &turn) {
            (Some(batch), Some(turn)) => turn.holds(shard, batch.number, chunk.number, layout),
            _ => false,
        };
        if held {
            repeated += records;
            continue;
        }
        let stream = &stream;
        appends.push(async move {
            let bytes = blocks.iter().map(|block| block.payload.len() as u64).sum();
            let first = append_patiently(stream, shard, blocks).await?;
            stream.note_written(bytes);
            Ok((shard, first, records))
        });
    }
    let results: Vec<Result<_, AppendError>> = futures::future::join_all(appends).await;
    let now = stream.env().now();
    let mut stored = Stored { turn: None, repeated, places: Vec::new(), failed: None };
    for result in results {
        match result {
            Ok(place) => {
                if let (Some(batch), Some(turn)) = (&batch, &mut turn) {
                    turn.stored(place.0, batch.number, chunk.number, layout, now);
                }
                stored.places.push(place);
            }
            Err(error) => stored.failed = Some(error),
        }
    }
    stored.turn = turn;
    stored
}

async fn append_patiently(stream: &Stream, shard: ShardId, blocks: Vec<Block>) -> Result<SequenceNumber, AppendError> {
    let log = stream.shards()[shard.0 as usize].log();
    let deadline = stream.env().elapsed() + BUSY_PATIENCE;
    loop {
        // Payloads are shared, so that a try costs no copy.
        match log.append(blocks.clone(), Condition::Always).await {
            Err(AppendError::Busy { .. }) if stream.env().elapsed() < deadline => {
                stream.env().sleep(stream.env().jitter(BUSY_PAUSE)).await;
            }
            result => return result,
        }
    }
}

//! Carries what a function or a crawl has made from its own stream to streams, queues and the dead letters.
//!
//! ```text
//! shard of `_function-NAME` --block by block--> stream (stamped batch), queue (stamped send), dead letters
//!            ^                                        |
//!            +------------- checkpoint ---------------+
//! ```
//!
//! Invariant: a block is carried on as a whole, and stamped with its place, before the checkpoint moves past it. A start
//! repeats the blocks since the checkpoint, and the targets drop them. Tables read the function's stream by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir_env::Env;
use weir_log::ReadError;
use weir_machine::Owner;
use weir_queue::{Adopted, Message, Queue, Stamp};
use weir_schema::Extractor;
use weir_stream::{CheckpointCommand, Checkpoints, ProducerError, Record, Route, Stream, WriteError};
use weir_types::{ProducerId, SequenceNumber, ShardId, Timestamp};

use super::Trouble;
use super::failure::{self, Failure};
use super::outbox::{FAILURE_KEY, LETTER_KEY};
use crate::pipeline::chain;
use crate::streams::OpenStream;

/// What one page asks for, in bytes.
const PAGE_BYTES: usize = 1024 * 1024;
/// Messages of one send.
const SEND_MESSAGES: usize = 1000;
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Where records of one key go. Keys without a target are somebody else's: a table's, or the state.
#[derive(Clone)]
pub(crate) enum Target {
    Stream(Arc<OpenStream>),
    Queue(Arc<Queue>),
    /// A queue that takes what the records are turned into, as of now.
    Turned(Arc<Queue>, fn(Timestamp, &[u8]) -> Message),
}

/// What a forwarder needs.
pub(crate) struct Parts {
    pub env: Env,
    /// Whose records they are, such as `function/score`: what its consumer of the stream is called.
    pub owner: String,
    pub stream: Arc<Stream>,
    pub shard: ShardId,
    pub checkpoints: Owner<Checkpoints>,
    /// Targets by the key of their records.
    pub targets: BTreeMap<Vec<u8>, Target>,
    pub trouble: Arc<Trouble>,
    /// What the names begin with that the records go on under, followed by the shard.
    pub producer: (&'static str, String),
}

/// Names the consumer that a function's forwarder is.
pub(crate) fn consumer(function: &str) -> String {
    format!("function/{function}")
}

/// Returns the targets that every function has beside its outputs.
pub(crate) fn targets_of_failures(
    dead_letters: Arc<OpenStream>,
    on_failure: Option<Arc<Queue>>,
) -> impl Iterator<Item = (Vec<u8>, Target)> {
    let failures = on_failure.map(|queue| (FAILURE_KEY.to_vec(), Target::Queue(queue)));
    std::iter::once((LETTER_KEY.to_vec(), Target::Stream(dead_letters))).chain(failures)
}

/// Why a block could not be carried on.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Send(#[from] weir_queue::SendError),
    #[error("{0}")]
    Block(String),
}

/// Runs until `stopping` says so.
pub(crate) async fn run(parts: Parts, mut stopping: watch::Receiver<bool>) {
    let shard = &parts.stream.shards()[parts.shard.0 as usize];
    let checkpoint = parts.checkpoints.read(|all| all.get(&parts.owner, shard.log().name()));
    let mut next = checkpoint.map_or(SequenceNumber::ZERO, |at| at.next).max(shard.bounds().head);
    let mut pause = RETRY;
    loop {
        tokio::select! {
            () = shard.wait(next) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        if shard.bounds().tail <= next {
            // The log is closed.
            return;
        }
        let carried = tokio::select! {
            carried = carry(&parts, &mut next) => carried,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match carried {
            Ok(()) => {
                pause = RETRY;
                parts.trouble.of_forwarder(None);
            }
            Err(error) => {
                tracing::error!(
                    owner = parts.owner,
                    error = chain(&error),
                    "what was made can't be carried on, which is tried again"
                );
                parts.trouble.of_forwarder(Some(chain(&error)));
                tokio::select! {
                    () = parts.env.sleep(parts.env.jitter(pause)) => {}
                    _ = stopping.wait_for(|stop| *stop) => return,
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Carries one page on, and moves the checkpoint.
async fn carry(parts: &Parts, next: &mut SequenceNumber) -> Result<(), Halt> {
    let shard = &parts.stream.shards()[parts.shard.0 as usize];
    let page = match shard.read(*next, PAGE_BYTES).await {
        Ok(page) => page,
        Err(ReadError::Trimmed { head: to, .. } | ReadError::Lost { to, .. }) if to > *next => {
            tracing::error!(owner = parts.owner, from = %next, %to, "what was made is gone before it was carried on");
            *next = to;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    for block in page.blocks() {
        let (first, records) = block.map_err(|error| Halt::Block(error.to_string()))?;
        let mut by_key: BTreeMap<&[u8], Vec<Record<'_>>> = BTreeMap::new();
        for record in records {
            let record = record.map_err(|error| Halt::Block(error.to_string()))?;
            if let Some(key) = record.key
                && parts.targets.contains_key(key)
            {
                by_key.entry(key).or_default().push(record);
            }
        }
        for (key, records) in by_key {
            match &parts.targets[key] {
                Target::Stream(target) => write(parts, key, first, target, &records).await?,
                Target::Queue(target) => {
                    let each = |record: &Record<'_>| message(key, record, target);
                    send(parts, key, first, target, &records, each).await?;
                }
                Target::Turned(target, turn) => {
                    let now = parts.env.now();
                    send(parts, key, first, target, &records, |record| turn(now, record.body)).await?;
                }
            }
        }
    }
    *next = page.end();
    let consumer = parts.owner.clone();
    let read = vec![(shard.log().name().clone(), *next)];
    if let Err(error) = parts.checkpoints.submit(CheckpointCommand::Set { consumer, read }).await {
        // The blocks are carried on once more after a start, and dropped there.
        tracing::warn!(owner = parts.owner, %error, "a checkpoint was not stored");
    }
    Ok(())
}

/// Who a target sees as the producer. Numbers are places of the shard, so each shard and key is a producer of its own.
fn producer(parts: &Parts, key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key).replace('\0', "");
    let (lane, name) = &parts.producer;
    let producer = format!("{lane}{name}/{}/{key}", parts.shard);
    if producer.len() <= weir_types::limits::NAME_BYTES_MAX {
        return producer;
    }
    // Names may have 128 bytes each, and so may a producer's: long ones are told apart by their hash.
    format!("{lane}{:032x}", xxhash_rust::xxh3::xxh3_128(producer.as_bytes()))
}

async fn write(
    parts: &Parts,
    key: &[u8],
    first: SequenceNumber,
    target: &Arc<OpenStream>,
    records: &[Record<'_>],
) -> Result<(), Halt> {
    let producer: ProducerId = producer(parts, key).parse().expect("a producer's id is printable and short");
    let mut writer = match target.stream.write(Some((producer, first.0))).await {
        Ok(writer) => writer,
        // A later block is there already, hence this one too.
        Err(WriteError::Producer(ProducerError::Stale { .. })) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let extractor = target.key_of(&target.schema);
    let mut ranges = Vec::new();
    for record in records {
        let key = key_of(extractor.as_ref(), record.body, &mut ranges);
        let route = key.map_or(Route::Spread, Route::Key);
        if writer.push(route, record.fingerprint, record.body) {
            writer.flush().await?;
        }
    }
    let receipt = writer.finish().await?;
    target.counters.carried(receipt.stored, receipt.repeated);
    Ok(())
}

/// Finds the partition key in a record, if the stream has one and the record is of its schema.
pub(super) fn key_of<'a>(
    extractor: Option<&Extractor>,
    body: &'a [u8],
    ranges: &mut Vec<std::ops::Range<usize>>,
) -> Option<&'a [u8]> {
    ranges.clear();
    extractor?.ranges(body, ranges).ok()?;
    ranges.first().map(|range| &body[range.clone()])
}

async fn send(
    parts: &Parts,
    key: &[u8],
    first: SequenceNumber,
    target: &Queue,
    records: &[Record<'_>],
    message: impl Fn(&Record<'_>) -> Message,
) -> Result<(), Halt> {
    let producer = producer(parts, key);
    for (index, records) in records.chunks(SEND_MESSAGES).enumerate() {
        // A block has fewer records than this many sends could carry: numbers of two blocks never meet.
        let stamp = Stamp { producer: producer.clone(), number: (first.0 << 16) + index as u64 };
        if key == failure::DEAD_KEY {
            target.adopt(stamp, records.iter().map(given).collect::<Result<_, _>>()?).await?;
        } else {
            target.send_once(stamp, records.iter().map(&message).collect()).await?;
        }
    }
    Ok(())
}

/// Reads a message on its way to a dead-letter queue, which keeps what it has.
fn given(record: &Record<'_>) -> Result<Adopted, Halt> {
    match failure::read(record.body) {
        Failure::Given(mut adopted) => {
            adopted.message.deduplication.get_or_insert_with(|| format!("{}", record.sequence));
            Ok(adopted)
        }
        // Nothing but this function's own letters has the key.
        Failure::New(_) => Err(Halt::Block(format!("the dead letter at {} does not read", record.sequence))),
    }
}

fn message(key: &[u8], record: &Record<'_>, target: &Queue) -> Message {
    let mut message = match (key == FAILURE_KEY).then(|| failure::read(record.body)) {
        Some(Failure::New(message) | Failure::Given(Adopted { message, .. })) => message,
        None => Message { body: bytes::Bytes::copy_from_slice(record.body), ..Message::default() },
    };
    if target.settings().fifo.is_some() {
        // What one function makes stays in order, and each record is a message of its own.
        message.group.get_or_insert_with(|| String::from_utf8_lossy(key).replace('\0', ""));
        message.deduplication.get_or_insert_with(|| format!("{}", record.sequence));
    }
    message
}

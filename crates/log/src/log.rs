//! The contract of a log and of an engine.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;
use weir_types::{LogName, SequenceNumber, Timestamp};

use crate::{AppendError, Block, EngineError, ReadError, StoredBlock, TrimError};

/// What must hold for an append to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// The log must end here: the fence. Appends of one caller, each conditional on the tail that the last one left, form
    /// a chain that nobody else can enter unnoticed.
    TailIs(SequenceNumber),
}

/// How much a read returns at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Payload bytes. The first block is returned even if it alone has more.
    pub bytes_max: usize,
}

/// Which records a log holds: `head <= sequence number < tail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest record's place, or `tail` if there is none.
    pub head: SequenceNumber,
    /// The place that the next record will get. Everything below is durable.
    pub tail: SequenceNumber,
}

/// A durable, ordered sequence of records.
///
/// - **Durable.** When `append` returns `Ok`, the records survive a crash of the process and of the machine. If it
///   returns `Err`, or its future is dropped, or the process dies first, they are stored whole or not at all.
/// - **Atomic.** The blocks of one append are stored together, with consecutive sequence numbers, or not at all.
/// - **Ordered.** Appends of one caller that awaits each are stored in that order; appends submitted (first polled) in
///   one order are sequenced in that order.
/// - **Honest.** A read returns exactly what was appended, without gaps, or an error that names what is missing.
/// - **Cancel-safe.** Dropping a read or trim future has no effect beyond what it had already done. An append whose future
///   is dropped may still be stored.
pub trait Log: Send + Sync + 'static {
    /// Returns the log's name.
    fn name(&self) -> &LogName;

    /// Appends blocks and returns the first record's place once all are durable.
    ///
    /// # Errors
    /// See [`AppendError`]. `Conflict` tells a fenced caller where the log ends.
    fn append(&self, blocks: Vec<Block>, condition: Condition) -> BoxFuture<'_, Result<SequenceNumber, AppendError>>;

    /// Returns the blocks from the one that holds `from`, in order; none if `from` is the tail or beyond.
    ///
    /// The first block may begin before `from`; callers skip within it.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read(&self, from: SequenceNumber, limit: ReadLimit) -> BoxFuture<'_, Result<Vec<StoredBlock>, ReadError>>;

    /// Returns what is held and durable at this moment.
    fn bounds(&self) -> Bounds;

    /// Returns the payload bytes of the blocks that are held, to the precision of the engine's index.
    fn bytes(&self) -> u64;

    /// Returns a place at or before the first record that was appended at `time` or later, and after which no record
    /// older than it by more than the engine's index step follows; the tail if every record is older. Callers
    /// compare [`StoredBlock::appended_at`] from there.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn seek(&self, time: Timestamp) -> BoxFuture<'_, Result<SequenceNumber, ReadError>>;

    /// Forgets the records below `to`, durably; the disk has their space back once no other log needs it.
    ///
    /// Blocks are not cut: those that hold a record at or after `to` stay readable from `to` on. Trimming to below the
    /// head does nothing.
    ///
    /// # Errors
    /// See [`TrimError`].
    fn trim(&self, to: SequenceNumber) -> BoxFuture<'_, Result<(), TrimError>>;

    /// Returns a watch of the durable tail, which wakes readers that wait for more.
    fn tail(&self) -> watch::Receiver<SequenceNumber>;
}

/// A holder of logs. Dropping it closes it.
pub trait Engine: Send + Sync + 'static {
    /// Opens a log, and makes it if it is new. Two calls with one name return handles of the same log.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn log(&self, name: &LogName) -> BoxFuture<'_, Result<Arc<dyn Log>, EngineError>>;

    /// Returns the names of all logs that were ever made here, in order.
    fn names(&self) -> Vec<LogName>;

    /// Returns the bytes that the engine's records take, on disk where there is one.
    fn bytes(&self) -> u64;

    /// Takes no more appends, writes what is queued, and completes when that is durable. Later calls fail as closed.
    fn close(&self) -> BoxFuture<'_, Result<(), EngineError>>;
}

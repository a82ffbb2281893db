//! Why an operation on queues failed.

use weir_log::{AppendError, EngineError, ReadError};
use weir_machine::{OpenError as MachineError, SnapshotError, SubmitError};
use weir_types::QueueName;

use crate::limits::{MOVE_RATE_MAX, MOVES_RUNNING_MAX, QUEUES_MAX, TAGS_MAX};
use crate::settings::SettingsError;

/// Why a queue could not do what it was asked to, by no fault of the caller.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The log did not take it. Nothing was changed; try again.
    #[error("store a change of queue `{queue}`")]
    Append {
        /// The queue.
        queue: QueueName,
        /// The cause.
        #[source]
        source: AppendError,
    },
    /// A message's payload does not read.
    #[error("read from queue `{queue}`")]
    Read {
        /// The queue.
        queue: QueueName,
        /// The cause.
        #[source]
        source: ReadError,
    },
    /// The queue was deleted, or the node is closing, or another node owns the queue now.
    #[error("queue `{queue}` is closed")]
    Closed {
        /// The queue.
        queue: QueueName,
    },
}

impl QueueError {
    /// Tells whether the queue will not answer any more.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

/// Why messages were not sent. None of them was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// The queue itself.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A message is larger than the queue takes.
    #[error("message {index} has {bytes} bytes with its attributes, and queue `{queue}` takes {bytes_max}")]
    TooLarge {
        /// The queue.
        queue: QueueName,
        /// Its place among those sent, from 0.
        index: usize,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The messages together are larger than one append may be.
    #[error("{bytes} bytes can't be sent to queue `{queue}` at once; {bytes_max} can")]
    BatchTooLarge {
        /// The queue.
        queue: QueueName,
        /// Their size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A FIFO queue needs a group.
    #[error("message {index} has no group, which FIFO queue `{queue}` needs")]
    NoGroup {
        /// The queue.
        queue: QueueName,
        /// Its place among those sent, from 0.
        index: usize,
    },
    /// A FIFO queue without content deduplication needs an id.
    #[error(
        "message {index} has no deduplication id, which FIFO queue `{queue}` needs: its content deduplication is off"
    )]
    NoDeduplication {
        /// The queue.
        queue: QueueName,
        /// Its place among those sent, from 0.
        index: usize,
    },
    /// A delay out of range.
    #[error("message {index} has a delay that is longer than queue `{queue}` takes")]
    Delay {
        /// The queue.
        queue: QueueName,
        /// Its place among those sent, from 0.
        index: usize,
    },
}

impl SendError {
    /// Tells whether the queue will not answer any more.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Queue(error) if error.is_closed())
    }
}

/// Why nothing was received.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReceiveError {
    /// The queue itself.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// As many messages are hidden by leases as may be.
    #[error("{in_flight} messages of queue `{queue}` are in flight, the most that may be")]
    OverLimit {
        /// The queue.
        queue: QueueName,
        /// Messages that are hidden by leases.
        in_flight: usize,
    },
}

impl ReceiveError {
    /// Tells whether the queue will not answer any more.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Queue(error) if error.is_closed())
    }
}

/// Why a receipt did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is no receipt of this queue.
    #[error("the receipt handle is not one of this queue")]
    Invalid,
    /// The message is not hidden by a lease any more: its time can't be changed.
    #[error("the message is not in flight")]
    NotInFlight,
    /// The message is gone, or a later receive has replaced the receipt.
    #[error("the receipt handle is out of date")]
    Replaced,
}

/// Why queues could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The registry of queues.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The log of the registry can't be opened.
    #[error("open the registry of queues")]
    Registry(#[source] EngineError),
    /// What a queue has handed to its dead-letter queue can't be told apart from what it has not.
    #[error("go on with the dead letters of queue `{queue}`")]
    Carry {
        /// The queue.
        queue: QueueName,
        /// The cause.
        #[source]
        source: QueueError,
    },
    /// A queue's log can't be opened.
    #[error("open queue `{queue}`")]
    Engine {
        /// The queue.
        queue: QueueName,
        /// The cause.
        #[source]
        source: EngineError,
    },
    /// A queue's log does not read.
    #[error("open queue `{queue}`")]
    Read {
        /// The queue.
        queue: QueueName,
        /// The cause.
        #[source]
        source: ReadError,
    },
    /// A queue's snapshot can't be reached.
    #[error("open queue `{queue}`")]
    Snapshot {
        /// The queue.
        queue: QueueName,
        /// The cause.
        #[source]
        source: SnapshotError,
    },
    /// A queue's log has what this weir does not understand.
    #[error("queue `{queue}` can't be read at {at}: {reason}")]
    Format {
        /// The queue.
        queue: QueueName,
        /// The place.
        at: weir_types::SequenceNumber,
        /// Why, in words.
        reason: String,
    },
}

/// Why a queue was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A setting is out of its limits.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is one of that name, with other settings.
    #[error("queue `{queue}` exists, with another value of `{setting}`")]
    Exists {
        /// The queue.
        queue: QueueName,
        /// The first setting that differs.
        setting: &'static str,
    },
    /// The dead-letter queue is not there, or does not take this one's messages.
    #[error("queue `{queue}` can't have `{to}` as its dead-letter queue: {reason}")]
    DeadLetter {
        /// The queue.
        queue: QueueName,
        /// The dead-letter queue.
        to: QueueName,
        /// Why.
        reason: &'static str,
    },
    /// One of that name was deleted, and the log still has something of it.
    #[error("queue `{queue}` was deleted and could not be erased yet: try again in a few seconds")]
    Erasing {
        /// The queue.
        queue: QueueName,
    },
    /// The node has as many queues as it may have.
    #[error("there are {QUEUES_MAX} queues, and may be no more: delete one")]
    TooManyQueues,
    /// More tags than a queue may have.
    #[error("a queue may have {TAGS_MAX} tags")]
    TooManyTags,
    /// The registry did not take it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The queue could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Why a queue was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such queue.
    #[error("there is no queue `{queue}`")]
    NoQueue {
        /// As asked for.
        queue: QueueName,
    },
    /// The new settings are refused.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// More tags than a queue may have.
    #[error("a queue may have {TAGS_MAX} tags")]
    TooManyTags,
    /// The registry did not take it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The queue itself.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Why a queue was not deleted.
pub type DeleteQueueError = ChangeError;

/// Why messages are not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is no such queue.
    #[error("there is no queue `{queue}`")]
    NoQueue {
        /// As asked for.
        queue: QueueName,
    },
    /// There is no such move, or it has ended.
    #[error("there is no move `{id}` that is under way")]
    NoMove {
        /// As asked for.
        id: String,
    },
    /// The source is no dead-letter queue of any queue, so that nobody can tell where its messages came from.
    #[error("queue `{queue}` is no dead-letter queue: say where its messages should go")]
    NoDeadLetterQueue {
        /// The queue.
        queue: QueueName,
    },
    /// The target is of another kind, or the source itself.
    #[error("messages of queue `{from}` can't go to queue `{to}`: {reason}")]
    Target {
        /// The source.
        from: QueueName,
        /// The target.
        to: QueueName,
        /// Why.
        reason: &'static str,
    },
    /// One is under way already.
    #[error("messages of queue `{queue}` are being moved already")]
    Running {
        /// The queue.
        queue: QueueName,
    },
    /// As many are under way as may be.
    #[error("{MOVES_RUNNING_MAX} moves are under way, and may be no more: wait for one, or cancel one")]
    TooMany,
    /// A rate out of range.
    #[error("a rate is 1 to {MOVE_RATE_MAX} messages a second")]
    Rate,
    /// The registry did not take it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

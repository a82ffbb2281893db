//! Queues: messages that are leased, retried, dead-lettered and redriven, over a log.
//!
//! ```text
//! send --> ready --receive--> hidden --delete--> gone
//!   |        ^                  |
//!   +-delay->+----- expiry -----+--- received too often --> dead-letter queue, or exhausted
//! ```
//!
//! Payloads stay in the log `queue/NAME`; memory holds an index of about 64 bytes for each message. Invariants: what is
//! acknowledged is durable; a message has one live lease at most; nothing is delivered after its delete was acknowledged;
//! the state is what the log says, whoever replays it, and the queue's own clock decides expiry, never the consumer's.

mod error;
mod id;
pub mod limits;
mod message;
mod queue;
mod queues;
mod settings;
mod transfer;
mod tuning;

pub use error::{
    ChangeError, CreateError, DeleteQueueError, MoveError, OpenError, QueueError, ReceiptError, ReceiveError, SendError,
};
pub use id::{MessageId, MoveId, ReceiptHandle};
pub use message::{Attribute, AttributeValue, Message, Receive, Received, Sent, SentOnce, Stamp};
pub use queue::{Depth, Queue, Stats};
pub use queues::{Move, MoveFilter, MoveStatus, Queues};
pub use settings::{
    DeadLetter, DeadLetterTo, DeduplicationScope, Fifo, RedriveAllow, Settings, SettingsError, ThroughputLimit,
};
pub use tuning::Tuning;

//! Messages on their way from one queue to another: dead letters, and messages that are moved.
//!
//! ```text
//! source: ready or expired --(durable number)--> under way --forgotten--> gone
//!                                                  |
//! target:            send with the number as stamp +--> stored, or known as a repeat
//! ```
//!
//! Invariant: a number names one message for ever, and numbers rise in the order in which they are given, also over
//! restarts. Whoever carries them sends in the order of their numbers, passes over those at or below
//! [`Queue::last_stamp`](crate::Queue::last_stamp) of the target, and forgets them only when the target has them.

use weir_types::{QueueName, SequenceNumber, Timestamp};

use crate::id::MessageId;
use crate::message::Message;

/// A message that is under way to another queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Its number among the queue's transfers, from 1.
    pub number: u64,
    /// As it was sent.
    pub message: Message,
    /// Its id, which it keeps.
    pub id: MessageId,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// The queue that it was given up in, before it came to this one.
    pub source: Option<QueueName>,
    /// How often it was received here.
    pub receive_count: u32,
}

/// What one step of a move took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MoveStep {
    /// The messages that are under way now, by rising number.
    pub transfers: Vec<Transfer>,
    /// Where the next step goes on; none: everything was looked at.
    pub next: Option<SequenceNumber>,
}

/// A message that comes from another queue, and keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The message. No delay given means none, whatever the queue says.
    pub message: Message,
    /// The id that it had.
    pub id: MessageId,
    /// When it was sent first; a FIFO queue takes the time of its arrival instead.
    pub sent_at: Timestamp,
    /// The queue that gave it up, if one did.
    pub source: Option<QueueName>,
}

//! Messages, as they are sent and as they are received.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_types::{QueueName, SequenceNumber, Timestamp};

use crate::id::{MessageId, ReceiptHandle};

/// A message on its way into a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Any bytes; over the wire, text.
    pub body: Bytes,
    /// The sender's own attributes.
    pub attributes: Vec<Attribute>,
    /// The X-Ray trace header.
    pub trace_header: Option<String>,
    /// Messages of one group are in order in a FIFO queue, and are one party in a fair one.
    pub group: Option<String>,
    /// By which a FIFO queue recognises a repeat.
    pub deduplication: Option<String>,
    /// How long it is hidden at first; `None`: as the queue says.
    pub delay: Option<Duration>,
    /// weir's own notes, such as the cause of a dead letter. Not shown over the wire.
    pub headers: Vec<(String, String)>,
}

impl Message {
    /// A message with a body and nothing else.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
}

/// A message's attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// `String`, `Number` or `Binary`, with a label behind a dot if the sender likes.
    pub data_type: String,
    /// Its value.
    pub value: AttributeValue,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeValue {
    /// Of `String` and `Number`.
    Text(String),
    /// Of `Binary`.
    Binary(Vec<u8>),
}

/// Who sends, and which of its sends this is: a number that rises. A repeat is stored once, also across a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Who.
    pub producer: String,
    /// Higher than that of the producer's send before it.
    pub number: u64,
}

/// What became of one message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its id; that of the first one, if a FIFO queue recognised a repeat.
    pub id: MessageId,
    /// Its place in the queue's log.
    pub sequence: SequenceNumber,
}

/// What became of a stamped send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentOnce {
    /// It was stored now.
    Stored(Vec<Sent>),
    /// It, or a later one of its producer, was stored before.
    Repeated,
}

/// What to receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receive {
    /// Messages, 1 to [`crate::limits::RECEIVE_INTERNAL_MAX`].
    pub max: usize,
    /// How long they are hidden from others, up to [`crate::limits::HIDDEN_MAX`].
    pub hidden_for: Duration,
    /// How long to wait for the first one.
    pub wait: Duration,
    /// FIFO queues: the same attempt again, within five minutes and before anything else happened, gets the same messages.
    pub attempt: Option<String>,
}

/// A message that was received, with its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its id.
    pub id: MessageId,
    /// The lease.
    pub receipt: ReceiptHandle,
    /// Its place in the queue's log.
    pub sequence: SequenceNumber,
    /// As it was sent.
    pub body: Bytes,
    /// As they were sent.
    pub attributes: Vec<Attribute>,
    /// As it was sent.
    pub trace_header: Option<String>,
    /// As it was sent.
    pub group: Option<String>,
    /// As it was sent, or made from the body.
    pub deduplication: Option<String>,
    /// weir's own notes.
    pub headers: Vec<(String, String)>,
    /// When it was sent. A dead letter of a standard queue keeps its first time.
    pub sent_at: Timestamp,
    /// When it was first received.
    pub first_received_at: Timestamp,
    /// How often, this time included.
    pub receive_count: u32,
    /// The queue that it was given up in, if this is a dead-letter queue.
    pub source: Option<QueueName>,
}

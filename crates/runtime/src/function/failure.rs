//! What is sent to a queue when a function gives up on a record or a message: the payload as the body, the cause in headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_queue::{Adopted, Attribute, Message, MessageId, Received};
use weir_types::{Fingerprint, QueueName, Timestamp};

use super::outbox::{FAILURE_KEY, Made};
use crate::dead::Letter;

/// The key of messages on their way to their queue's dead-letter queue.
pub(crate) const DEAD_KEY: &[u8] = b"\0dead";

/// A message as the outbox keeps it.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// In base64: bodies may be any bytes.
    body: String,
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Attribute>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_header: Option<String>,
    /// What a message on its way to a dead-letter queue keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
}

#[derive(Serialize, Deserialize)]
struct Origin {
    id: MessageId,
    sent_at: Timestamp,
    queue: QueueName,
}

/// Makes the message for the function's queue of failures.
pub(crate) fn made(letter: &Letter) -> Made {
    keep(FAILURE_KEY, letter, Kept::default())
}

/// Makes the message for the dead-letter queue of the queue that it came from, as it was.
pub(crate) fn made_dead(letter: &Letter, message: &Received, queue: &QueueName) -> Made {
    let origin = Origin { id: message.id, sent_at: message.sent_at, queue: queue.clone() };
    let kept = Kept {
        attributes: message.attributes.clone(),
        group: message.group.clone(),
        trace_header: message.trace_header.clone(),
        origin: Some(origin),
        ..Kept::default()
    };
    keep(DEAD_KEY, letter, kept)
}

fn keep(key: &[u8], letter: &Letter, kept: Kept) -> Made {
    let mut headers = letter.headers.clone();
    let mut note = |name: &str, value: String| headers.push((format!("weir-{name}"), value));
    note("source", letter.source.clone());
    if let Some((sequence, _)) = letter.place {
        note("sequence", sequence.to_string());
    }
    note("target", letter.target.clone());
    note("cause", letter.cause.as_str().to_owned());
    note("error", letter.error.clone());
    note("attempts", letter.attempts.to_string());
    if let Some(fingerprint) = letter.fingerprint {
        note("schema", fingerprint.to_string());
    }
    let kept = Kept { body: BASE64.encode(&letter.payload), headers, ..kept };
    let body = serde_json::to_vec(&kept).expect("texts serialise");
    Made { key: key.to_vec(), fingerprint: Fingerprint(0), body }
}

/// What was kept, read back.
pub(crate) enum Failure {
    /// A message for a queue of failures.
    New(Message),
    /// A message for a dead-letter queue.
    Given(Adopted),
}

/// Reads back what [`made`] and [`made_dead`] wrote. What does not read is passed on as it is: nothing is dropped.
pub(crate) fn read(body: &[u8]) -> Failure {
    let kept = serde_json::from_slice::<Kept>(body).ok();
    let decoded = kept.and_then(|kept| Some((BASE64.decode(&kept.body).ok()?, kept)));
    let Some((bytes, kept)) = decoded else {
        return Failure::New(Message { body: Bytes::copy_from_slice(body), ..Message::default() });
    };
    let message = Message {
        body: Bytes::from(bytes),
        headers: kept.headers,
        attributes: kept.attributes,
        group: kept.group,
        trace_header: kept.trace_header,
        ..Message::default()
    };
    match kept.origin {
        Some(Origin { id, sent_at, queue }) => Failure::Given(Adopted { message, id, sent_at, source: Some(queue) }),
        None => Failure::New(message),
    }
}

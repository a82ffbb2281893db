//! `SendMessage` and `SendMessageBatch`.
//!
//! The good messages of a batch are stored in one durable append; a bad one fails alone, unless what is wrong concerns the
//! batch as a whole. Invariant: an answer that names a message's id comes after the message is durable.

use serde::{Deserialize, Serialize};
use weir_queue::{Message, Queue, Sent, Settings};

use crate::action::Context;
use crate::batch::{self, Entry, Outcome, Success};
use crate::error::{ErrorCode, Failure};
use crate::limits::{BATCH_BYTES_MAX, DELAY_SECONDS_MAX, TOKEN_BYTES_MAX};
use crate::message::{self, Attributes};
use crate::seconds::seconds;
use crate::wire::{Reply, Xml};

/// Sends one message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SendMessage {
    queue_url: Option<String>,
    message_body: Option<String>,
    delay_seconds: Option<i64>,
    message_attributes: Option<Attributes>,
    message_system_attributes: Option<Attributes>,
    message_deduplication_id: Option<String>,
    message_group_id: Option<String>,
}

/// Sends up to ten messages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SendMessageBatch {
    queue_url: Option<String>,
    entries: Option<Vec<SendEntry>>,
}

/// One message of a batch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SendEntry {
    id: Option<String>,
    message_body: Option<String>,
    delay_seconds: Option<i64>,
    message_attributes: Option<Attributes>,
    message_system_attributes: Option<Attributes>,
    message_deduplication_id: Option<String>,
    message_group_id: Option<String>,
}

impl Entry for SendEntry {
    const NAME: &'static str = "SendMessageBatchRequestEntry";
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

/// What was stored: the message's id and the checksums of what arrived.
#[derive(Debug, Serialize)]
pub struct Stored {
    #[serde(rename = "Id", skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "MessageId")]
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    attributes: Option<String>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    system_attributes: Option<String>,
    #[serde(rename = "SequenceNumber", skip_serializing_if = "Option::is_none")]
    sequence_number: Option<String>,
}

impl Stored {
    fn write(&self, xml: &mut Xml) {
        xml.optional("Id", self.id.as_deref());
        xml.text("MessageId", &self.message_id);
        xml.text("MD5OfMessageBody", &self.body);
        xml.optional("MD5OfMessageAttributes", self.attributes.as_deref());
        xml.optional("MD5OfMessageSystemAttributes", self.system_attributes.as_deref());
        xml.optional("SequenceNumber", self.sequence_number.as_deref());
    }
}

impl Reply for Stored {
    fn xml(&self, xml: &mut Xml) {
        self.write(xml);
    }
}

impl Success for Stored {
    const NAME: &'static str = "SendMessageBatchResultEntry";
    fn xml(&self, xml: &mut Xml) {
        self.write(xml);
    }
}

/// Sends one message.
///
/// # Errors
/// As SQS: `MissingParameter`, `InvalidParameterValue`, `InvalidMessageContents`, `QueueDoesNotExist`.
pub async fn send_message(context: &Context<'_>, request: SendMessage) -> Result<Stored, Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let draft = Draft {
        body: request.message_body,
        delay_seconds: request.delay_seconds,
        attributes: request.message_attributes,
        system_attributes: request.message_system_attributes,
        deduplication: request.message_deduplication_id,
        group: request.message_group_id,
    };
    let settings = queue.settings();
    draft.check_fifo(&settings)?;
    let (message, sums) = draft.message(&settings)?;
    let sent = store(context, &queue, vec![message]).await?;
    let sent = sent.first().ok_or_else(|| Failure::new(ErrorCode::InternalError, "The message was not stored."))?;
    Ok(sums.stored(None, sent, settings.fifo.is_some()))
}

/// Sends a batch of messages.
///
/// # Errors
/// What concerns the batch as a whole: its size, its ids, and what a FIFO queue needs of each message.
pub async fn send_message_batch(context: &Context<'_>, request: SendMessageBatch) -> Result<Outcome<Stored>, Failure> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let entries = batch::check(request.entries)?;
    let settings = queue.settings();
    let (ids, drafts): (Vec<String>, Vec<Draft>) = entries.into_iter().map(Draft::of_entry).unzip();
    let bytes: usize = drafts.iter().map(Draft::bytes).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(Failure::new(
            ErrorCode::BatchRequestTooLong,
            format!("Batch requests cannot be longer than {BATCH_BYTES_MAX} bytes. You have sent {bytes} bytes."),
        ));
    }
    for draft in &drafts {
        draft.check_fifo(&settings)?;
    }
    let mut messages = Vec::new();
    let mut sums = Vec::new();
    for draft in drafts {
        sums.push(draft.message(&settings).map(|(message, sums)| {
            messages.push(message);
            sums
        }));
    }
    let sent = if messages.is_empty() { Vec::new() } else { store(context, &queue, messages).await? };
    let mut sent = sent.iter();
    let results = ids.iter().zip(sums).map(|(id, sums)| {
        let result = sums.and_then(|sums| match sent.next() {
            Some(sent) => Ok(sums.stored(Some(id.clone()), sent, settings.fifo.is_some())),
            None => Err(Failure::new(ErrorCode::InternalError, "The message was not stored.")),
        });
        (id.as_str(), result)
    });
    Ok(Outcome::of(results))
}

async fn store(context: &Context<'_>, queue: &Queue, messages: Vec<Message>) -> Result<Vec<Sent>, Failure> {
    queue.send(messages).await.map_err(|error| context.send_failed(queue.name(), &error))
}

/// A message as it came, alone or in a batch.
#[derive(Debug)]
struct Draft {
    body: Option<String>,
    delay_seconds: Option<i64>,
    attributes: Option<Attributes>,
    system_attributes: Option<Attributes>,
    deduplication: Option<String>,
    group: Option<String>,
}

/// The checksums of a message.
#[derive(Debug)]
struct Sums {
    body: String,
    attributes: Option<String>,
    system_attributes: Option<String>,
}

impl Draft {
    fn of_entry(entry: SendEntry) -> (String, Self) {
        let draft = Self {
            body: entry.message_body,
            delay_seconds: entry.delay_seconds,
            attributes: entry.message_attributes,
            system_attributes: entry.message_system_attributes,
            deduplication: entry.message_deduplication_id,
            group: entry.message_group_id,
        };
        (entry.id.unwrap_or_default(), draft)
    }

    /// What counts towards the size: body and attributes.
    fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().flatten().map(|(name, value)| name.len() + value.bytes());
        self.body.as_ref().map_or(0, String::len) + attributes.sum::<usize>()
    }

    /// Checks what a FIFO queue needs of every message, and fails a whole batch.
    fn check_fifo(&self, settings: &Settings) -> Result<(), Failure> {
        let Some(fifo) = &settings.fifo else { return Ok(()) };
        if self.group.is_none() {
            return Err(Failure::missing("MessageGroupId"));
        }
        if self.deduplication.is_none() && !fifo.content_deduplication {
            return Err(Failure::parameter(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                 explicitly",
            ));
        }
        Ok(())
    }

    fn message(self, settings: &Settings) -> Result<(Message, Sums), Failure> {
        let bytes = self.bytes();
        let body = self.body.filter(|body| !body.is_empty()).ok_or_else(|| Failure::missing("MessageBody"))?;
        let bytes_max = settings.message_bytes_max;
        if bytes > bytes_max {
            return Err(Failure::parameter(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {bytes_max} bytes."
            )));
        }
        message::check_text(&body)?;
        check_token("MessageGroupId", self.group.as_deref())?;
        check_token("MessageDeduplicationId", self.deduplication.as_deref())?;
        if settings.fifo.is_some() {
            if let Some(delay) = self.delay_seconds.filter(|delay| *delay != 0) {
                return Err(Failure::value("DelaySeconds", delay, NOT_FOR_TYPE));
            }
        } else if let Some(id) = &self.deduplication {
            return Err(Failure::value("MessageDeduplicationId", id, NOT_FOR_TYPE));
        }
        let delay = seconds("DelaySeconds", self.delay_seconds, DELAY_SECONDS_MAX, |max| {
            format!("DelaySeconds must be >= 0 and <= {max}.")
        })?;
        // A FIFO queue's messages all have the queue's delay.
        let delay = delay.filter(|_| settings.fifo.is_none());
        let attributes = message::check(self.attributes)?;
        let trace_header = message::check_trace_header(self.system_attributes)?;
        let sums = Sums {
            body: message::of_bytes(body.as_bytes()),
            attributes: message::of_attributes(&attributes),
            system_attributes: trace_header.as_deref().map(message::of_trace_header),
        };
        let message = Message {
            body: body.into(),
            attributes,
            trace_header,
            group: self.group,
            deduplication: self.deduplication,
            delay,
            headers: Vec::new(),
        };
        Ok((message, sums))
    }
}

/// SQS's own words and grammar.
pub const NOT_FOR_TYPE: &str = "The request include parameter that is not valid for this queue type.";

/// Checks a group's or a deduplication's id.
///
/// # Errors
/// `InvalidParameterValue`.
pub fn check_token(parameter: &str, token: Option<&str>) -> Result<(), Failure> {
    let fits =
        |token: &str| (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    match token {
        Some(token) if !fits(token) => Err(Failure::value(
            parameter,
            token,
            &format!(
                "{parameter} can only include alphanumeric and punctuation characters. 1 to {TOKEN_BYTES_MAX} in length."
            ),
        )),
        _ => Ok(()),
    }
}

impl Sums {
    fn stored(self, id: Option<String>, sent: &Sent, is_fifo: bool) -> Stored {
        Stored {
            id,
            message_id: sent.id.to_string(),
            body: self.body,
            attributes: self.attributes,
            system_attributes: self.system_attributes,
            sequence_number: is_fifo.then(|| sequence_number(sent.sequence)),
        }
    }
}

/// Shows a sequence number as SQS does: twenty digits, so that texts sort as numbers do.
pub fn sequence_number(sequence: weir_types::SequenceNumber) -> String {
    format!("{:020}", sequence.0)
}

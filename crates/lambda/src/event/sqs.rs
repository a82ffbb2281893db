//! A batch of a queue's messages, as Lambda's event source mapping for SQS sends it.
//!
//! The form: <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>. What a message does not have (a group, a
//! trace header) is left out, as AWS does.

use weir_types::Timestamp;

use super::arn::REGION;
use super::json::{Json, base64_len, string_len};

/// A received message.
#[derive(Debug, Clone, Copy)]
pub struct SqsMessage<'a> {
    /// What `batchItemFailures` names.
    pub message_id: &'a str,
    /// With which the handler may delete it itself.
    pub receipt_handle: &'a str,
    /// The text.
    pub body: &'a str,
    /// MD5 of the body, in hex.
    pub md5_of_body: &'a str,
    /// MD5 of the message attributes as SQS computes it, in hex, if there are attributes.
    pub md5_of_message_attributes: Option<&'a str>,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When it was received for the first time.
    pub first_received_at: Timestamp,
    /// Who sent it.
    pub sender_id: &'a str,
    /// The message group, of a FIFO or a fair queue.
    pub group_id: Option<&'a str>,
    /// The sequence number on a FIFO queue.
    pub sequence_number: Option<&'a str>,
    /// The deduplication id on a FIFO queue.
    pub deduplication_id: Option<&'a str>,
    /// The X-Ray header that it was sent with.
    pub trace_header: Option<&'a str>,
    /// The queue that it came from, if it is a dead letter.
    pub dead_letter_source_arn: Option<&'a str>,
    /// The sender's own attributes.
    pub attributes: &'a [SqsAttribute<'a>],
}

/// A message attribute.
#[derive(Debug, Clone, Copy)]
pub struct SqsAttribute<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type as the sender wrote it: `String`, `Number`, `Binary`, or one with a suffix such as `Number.int`.
    pub data_type: &'a str,
    /// Its value.
    pub value: SqsValue<'a>,
}

/// The value of a message attribute.
#[derive(Debug, Clone, Copy)]
pub enum SqsValue<'a> {
    /// Of a `String` or `Number`.
    Text(&'a str),
    /// Of a `Binary`.
    Binary(&'a [u8]),
}

/// What a message takes beside its strings: the fixed text, a count and two times.
const MESSAGE_BYTES: usize = 520;

/// What an attribute takes beside its strings.
const ATTRIBUTE_BYTES: usize = 100;

impl SqsMessage<'_> {
    /// Returns how many bytes of the event this message takes at most, so that a batch can be cut before it is too large.
    pub fn event_bytes(&self, queue_arn: &str) -> usize {
        let optional = [
            self.md5_of_message_attributes,
            self.group_id,
            self.sequence_number,
            self.deduplication_id,
            self.trace_header,
            self.dead_letter_source_arn,
        ];
        let strings: usize = [self.message_id, self.receipt_handle, self.body, self.md5_of_body, self.sender_id]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .map(string_len)
            .sum();
        let attributes: usize = self.attributes.iter().map(SqsAttribute::event_bytes).sum();
        MESSAGE_BYTES + string_len(queue_arn) + strings + attributes
    }
}

impl SqsAttribute<'_> {
    fn event_bytes(&self) -> usize {
        let value = match self.value {
            SqsValue::Text(text) => string_len(text),
            SqsValue::Binary(bytes) => base64_len(bytes.len()),
        };
        ATTRIBUTE_BYTES + string_len(self.name) + string_len(self.data_type) + value
    }
}

/// Writes the event for `messages` of one queue.
pub fn sqs<'a>(messages: impl IntoIterator<Item = SqsMessage<'a>>, queue_arn: &str) -> Vec<u8> {
    let messages = messages.into_iter();
    let mut json = Json::with_capacity(messages.size_hint().0.saturating_mul(MESSAGE_BYTES + 512).min(1 << 20));
    json.raw(r#"{"Records":["#);
    for (index, message) in messages.enumerate() {
        if index > 0 {
            json.raw(",");
        }
        write(&mut json, &message, queue_arn);
    }
    json.raw("]}");
    json.finish()
}

fn write(json: &mut Json, message: &SqsMessage<'_>, queue_arn: &str) {
    json.raw(r#"{"messageId":"#).string(message.message_id);
    json.raw(r#","receiptHandle":"#).string(message.receipt_handle);
    json.raw(r#","body":"#).string(message.body);
    json.raw(r#","attributes":{"ApproximateReceiveCount":"#).quoted(message.receive_count);
    let optional = [
        (r#","AWSTraceHeader":"#, message.trace_header),
        (r#","SequenceNumber":"#, message.sequence_number),
        (r#","MessageGroupId":"#, message.group_id),
        (r#","MessageDeduplicationId":"#, message.deduplication_id),
        (r#","DeadLetterQueueSourceArn":"#, message.dead_letter_source_arn),
    ];
    json.raw(r#","SentTimestamp":"#).quoted(message.sent_at.0);
    for (key, value) in optional {
        if let Some(value) = value {
            json.raw(key).string(value);
        }
    }
    json.raw(r#","SenderId":"#).string(message.sender_id);
    json.raw(r#","ApproximateFirstReceiveTimestamp":"#).quoted(message.first_received_at.0);
    json.raw(r#"},"messageAttributes":{"#);
    for (index, attribute) in message.attributes.iter().enumerate() {
        if index > 0 {
            json.raw(",");
        }
        json.string(attribute.name);
        match attribute.value {
            SqsValue::Text(text) => json.raw(r#":{"stringValue":"#).string(text),
            SqsValue::Binary(bytes) => json.raw(r#":{"binaryValue":"#).base64(bytes),
        };
        json.raw(r#","stringListValues":[],"binaryListValues":[],"dataType":"#).string(attribute.data_type).raw("}");
    }
    json.raw("}");
    if let Some(md5) = message.md5_of_message_attributes {
        json.raw(r#","md5OfMessageAttributes":"#).string(md5);
    }
    json.raw(r#","md5OfBody":"#).string(message.md5_of_body);
    json.raw(r#","eventSource":"aws:sqs","eventSourceARN":"#).string(queue_arn);
    json.raw(r#","awsRegion":"#).string(REGION).raw("}");
}

#[cfg(test)]
mod tests;

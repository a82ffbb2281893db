//! A batch of a stream's records, as Lambda's event source mapping for Kinesis sends it.
//!
//! The form: <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>. Without a tumbling window: `window`,
//! `state` and their like are not written.

use weir_types::Timestamp;

use super::arn::{REGION, Service, arn};
use super::json::{Json, base64_len, string_len};

/// A record of a stream.
#[derive(Debug, Clone, Copy)]
pub struct KinesisRecord<'a> {
    /// The shard's name as clients know it, such as `shardId-000000000006`.
    pub shard: &'a str,
    /// Its place in the shard. Its decimal form is what `batchItemFailures` names.
    pub sequence: u64,
    /// The partition key, empty if it has none.
    pub partition_key: &'a str,
    /// When it became durable.
    pub arrived_at: Timestamp,
    /// The payload.
    pub data: &'a [u8],
}

/// What a record takes beside its strings and payload: the fixed text, two sequence numbers and a time.
const RECORD_BYTES: usize = 420;

impl KinesisRecord<'_> {
    /// Returns how many bytes of the event this record takes at most, so that a batch can be cut before it is too large.
    pub fn event_bytes(&self, stream_arn: &str, function: &str) -> usize {
        let strings = string_len(self.shard) + string_len(self.partition_key) + string_len(stream_arn);
        RECORD_BYTES + strings + string_len(function) + base64_len(self.data.len())
    }
}

/// Writes the event for `records`, which are in the order of their shard. `function` is the name of who is invoked.
pub fn kinesis<'a>(records: impl IntoIterator<Item = KinesisRecord<'a>>, stream_arn: &str, function: &str) -> Vec<u8> {
    let records = records.into_iter();
    let mut json = Json::with_capacity(records.size_hint().0.saturating_mul(RECORD_BYTES + 256).min(1 << 20));
    // The same for every record, so it is escaped once.
    let mut tail = Json::with_capacity(256);
    tail.raw(r#","eventName":"aws:kinesis:record","invokeIdentityArn":"#).string(&arn(Service::Iam, function));
    tail.raw(r#","awsRegion":"#).string(REGION).raw(r#","eventSourceARN":"#).string(stream_arn).raw("}");
    let tail = String::from_utf8(tail.finish()).expect("made of strings");

    json.raw(r#"{"Records":["#);
    for (index, record) in records.enumerate() {
        if index > 0 {
            json.raw(",");
        }
        json.raw(r#"{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"#).string(record.partition_key);
        json.raw(r#","sequenceNumber":"#).quoted(record.sequence);
        json.raw(r#","data":"#).base64(record.data);
        json.raw(r#","approximateArrivalTimestamp":"#).seconds(record.arrived_at);
        json.raw(r#"},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"#);
        json.string(&format!("{}:{}", record.shard, record.sequence)).raw(&tail);
    }
    json.raw("]}");
    json.finish()
}

#[cfg(test)]
mod tests;

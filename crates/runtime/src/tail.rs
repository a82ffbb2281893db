//! Reading a stream's records as JSON, for people and for simple consumers.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use weir_log::ReadError;
use weir_schema::{Lookup, json};
use weir_stream::Start;
use weir_types::{SequenceNumber, ShardId, StreamName, Timestamp};

use crate::node::Node;

/// Records of one page.
pub const PAGE_RECORDS_MAX: usize = 10_000;
/// What one page reads, in bytes of Avro.
const PAGE_BYTES: usize = 1024 * 1024;
/// The longest that a page waits for a record.
pub const WAIT_MAX: Duration = Duration::from_secs(20);

/// A record as JSON.
#[derive(Debug, Serialize)]
pub struct TailRecord {
    /// Its shard.
    pub shard: ShardId,
    /// Its place.
    pub sequence: SequenceNumber,
    /// When it arrived.
    pub arrived_at: String,
    /// The fingerprint of the schema that it was written with.
    pub schema: String,
    /// The record; null if it can't be shown.
    pub value: Option<Box<RawValue>>,
    /// Why it can't be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Some records of a shard.
#[derive(Debug, Serialize)]
pub struct TailPage {
    /// The records, in order.
    pub records: Vec<TailRecord>,
    /// Where the next page begins.
    pub next: SequenceNumber,
    /// Records behind this page.
    pub behind: u64,
}

/// Why a page can't be read.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// There is no such stream.
    #[error("there is no stream `{0}`")]
    NoStream(StreamName),
    /// There is no such shard.
    #[error("stream `{stream}` has no shard {shard}; its shards are 0 to {last}")]
    NoShard {
        /// The stream.
        stream: StreamName,
        /// As asked for.
        shard: ShardId,
        /// The highest.
        last: u32,
    },
    /// The log does not read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Node {
    /// Reads up to `limit` records of a shard. If there is none, waits for one for up to `wait`.
    ///
    /// # Errors
    /// See [`TailError`].
    pub async fn tail(
        &self,
        name: &StreamName,
        shard: ShardId,
        start: Start,
        limit: usize,
        wait: Duration,
    ) -> Result<TailPage, TailError> {
        let stream = self.stream(name).ok_or_else(|| TailError::NoStream(name.clone()))?;
        let shards = stream.stream.shards();
        let reader = shards.get(shard.0 as usize).ok_or_else(|| TailError::NoShard {
            stream: name.clone(),
            shard,
            last: shards.len() as u32 - 1,
        })?;
        let from = reader.resolve(start).await?;
        let mut page = reader.read(from, PAGE_BYTES).await?;
        if page.is_empty() && wait > Duration::ZERO {
            self.env().within(wait.min(WAIT_MAX), reader.wait(from)).await;
            page = reader.read(from, PAGE_BYTES).await?;
        }
        let mut records = Vec::new();
        let mut next = page.end();
        let mut text = Vec::new();
        for record in page.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(stream = %name, %shard, %error, "a block can't be read");
                    break;
                }
            };
            if records.len() == limit.clamp(1, PAGE_RECORDS_MAX) {
                next = record.sequence;
                break;
            }
            text.clear();
            let shown = match self.registry().by_fingerprint(record.fingerprint) {
                None => Err(format!("no schema is registered for fingerprint {}", record.fingerprint)),
                Some(schema) => json::write(&schema, record.body, &mut text).map_err(|error| error.to_string()),
            };
            let value = shown.and_then(|()| {
                let text = String::from_utf8(std::mem::take(&mut text)).map_err(|error| error.to_string())?;
                RawValue::from_string(text).map_err(|error| error.to_string())
            });
            let (value, error) = match value {
                Ok(value) => (Some(value), None),
                Err(error) => (None, Some(error)),
            };
            records.push(TailRecord {
                shard,
                sequence: record.sequence,
                arrived_at: record.arrived_at.to_string(),
                schema: record.fingerprint.to_string(),
                value,
                error,
            });
        }
        let behind = reader.bounds().tail.since(next);
        Ok(TailPage { records, next, behind })
    }

    /// Returns the number of a stream's shards.
    ///
    /// # Errors
    /// [`TailError::NoStream`].
    pub fn shards(&self, name: &StreamName) -> Result<u32, TailError> {
        let stream = self.stream(name).ok_or_else(|| TailError::NoStream(name.clone()))?;
        Ok(stream.stream.shards().len() as u32)
    }

    /// Reads a start as users write it: `oldest`, `newest`, a sequence number, or a time in milliseconds with `ms` behind.
    pub fn parse_start(text: &str) -> Option<Start> {
        match text {
            "oldest" => Some(Start::Oldest),
            "newest" => Some(Start::Newest),
            _ => match text.strip_suffix("ms") {
                Some(ms) => ms.parse().ok().map(|ms| Start::Time(Timestamp(ms))),
                None => text.parse().ok().map(|sequence| Start::At(SequenceNumber(sequence))),
            },
        }
    }
}

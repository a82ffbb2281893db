//! What a node says of itself.

use std::sync::atomic::Ordering;

use serde::Serialize;
use weir_types::{SequenceNumber, ShardId, Timestamp};

use crate::node::Node;

/// The state of a node.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// weir's version.
    pub version: &'static str,
    /// Where the node keeps its data.
    pub data: String,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Streams, by name.
    pub streams: Vec<StreamStatus>,
    /// Lookups, by name.
    pub lookups: Vec<LookupStatus>,
    /// Tables, by name.
    pub tables: Vec<TableStatus>,
}

/// The state of a stream. Counts of the door are since the node was started.
#[derive(Debug, Clone, Serialize)]
pub struct StreamStatus {
    /// Its name.
    pub name: String,
    /// The fingerprint of its schema.
    pub schema: String,
    /// Records that it holds.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Records that came to the door.
    pub received: u64,
    /// Records that were stored.
    pub stored: u64,
    /// Records that an earlier try had stored.
    pub repeated: u64,
    /// Records that were refused.
    pub refused: u64,
    /// Records that became dead letters at the door.
    pub dead_lettered: u64,
    /// Its shards.
    pub shards: Vec<ShardStatus>,
}

/// The state of a shard.
#[derive(Debug, Clone, Serialize)]
pub struct ShardStatus {
    /// Its number.
    pub shard: ShardId,
    /// The oldest record's place.
    pub head: SequenceNumber,
    /// The next record's place.
    pub tail: SequenceNumber,
}

/// The state of a lookup.
#[derive(Debug, Clone, Serialize)]
pub struct LookupStatus {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// When they were read.
    pub loaded_at: Timestamp,
    /// Why the last refresh failed, if it did.
    pub failing: Option<String>,
}

/// The state of a table. Counts of rows taken are since the node was started.
#[derive(Debug, Clone, Serialize)]
pub struct TableStatus {
    /// Its name.
    pub name: String,
    /// The stream that feeds it.
    pub stream: String,
    /// The last Delta version.
    pub version: u64,
    /// Committed rows.
    pub rows: u64,
    /// Files that hold them.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Rows that wait for the next commit.
    pub pending: u64,
    /// Records of the stream that are not in the table.
    pub behind: u64,
    /// Rows taken.
    pub added: u64,
    /// Repeats dropped.
    pub repeats: u64,
    /// Rows that came later than the lookback.
    pub late: u64,
    /// Rows without a usable event time.
    pub timeless: u64,
    /// Rows handed to the dead letters by a rule.
    pub refused: u64,
    /// Records that were gone (trimmed, or lost to damage) before the table had read them.
    pub lost: u64,
    /// Why it stands still, if it does.
    pub trouble: Option<String>,
}

impl Node {
    /// Returns the node's state at this moment.
    pub fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            data: self.folder().root().display().to_string(),
            log_bytes: weir_log::Engine::bytes(self.engine()),
            streams: self.stream_statuses(),
            lookups: self
                .lookups()
                .freshness()
                .into_iter()
                .map(|(name, fresh)| LookupStatus {
                    name: name.to_string(),
                    rows: fresh.rows,
                    loaded_at: fresh.loaded_at,
                    failing: fresh.failing,
                })
                .collect(),
            tables: self.table_statuses(),
        }
    }

    fn stream_statuses(&self) -> Vec<StreamStatus> {
        self.streams()
            .iter()
            .map(|(name, stream)| {
                let shards: Vec<ShardStatus> = stream
                    .stream
                    .shards()
                    .iter()
                    .map(|shard| {
                        let bounds = shard.bounds();
                        ShardStatus { shard: shard.id(), head: bounds.head, tail: bounds.tail }
                    })
                    .collect();
                let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
                StreamStatus {
                    name: name.to_string(),
                    schema: stream.schema.fingerprint().to_string(),
                    records: shards.iter().map(|shard| shard.tail.since(shard.head)).sum(),
                    bytes: stream.stream.shards().iter().map(|shard| shard.log().bytes()).sum(),
                    received: count(&stream.counters.received),
                    stored: count(&stream.counters.stored),
                    repeated: count(&stream.counters.repeated),
                    refused: count(&stream.counters.refused),
                    dead_lettered: count(&stream.counters.dead_lettered),
                    shards,
                }
            })
            .collect()
    }

    fn table_statuses(&self) -> Vec<TableStatus> {
        self.pipelines()
            .iter()
            .map(|(name, pipeline)| {
                let stats = pipeline.table().stats();
                TableStatus {
                    name: name.to_string(),
                    stream: pipeline.stream().stream.name().to_string(),
                    version: stats.version,
                    rows: stats.rows,
                    files: stats.files,
                    bytes: stats.bytes,
                    pending: pipeline.table().pending().rows,
                    behind: pipeline.behind(),
                    added: stats.added,
                    repeats: stats.repeats,
                    late: stats.late,
                    timeless: stats.timeless,
                    refused: stats.refused,
                    lost: pipeline.lost(),
                    trouble: pipeline.trouble(),
                }
            })
            .collect()
    }
}

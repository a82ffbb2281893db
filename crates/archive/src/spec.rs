//! What an archive is of, and how it is kept.

use std::time::Duration;

use weir_schema::Codec;
use weir_types::{ByteSize, StreamName};

use crate::limits::{CHUNK_BYTES, CHUNK_BYTES_MIN};

/// What an archive is of, and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The stream.
    pub stream: StreamName,
    /// Its shards.
    pub shards: u32,
    /// How blocks are compressed.
    pub codec: Codec,
    /// Hours that ended longer ago than this are deleted.
    pub retention: Duration,
    /// A chunk is cut when its bodies have this many bytes.
    pub chunk_bytes: u64,
    /// A chunk is cut when its first record is this old, even if its hour is not over; none: at the hour's end.
    pub every: Option<Duration>,
}

impl Spec {
    /// An archive with zstd and chunks of [`CHUNK_BYTES`], which are cut at the hour's end.
    pub fn new(stream: StreamName, shards: u32, retention: Duration) -> Self {
        Self { stream, shards, codec: Codec::Zstandard, retention, chunk_bytes: CHUNK_BYTES, every: None }
    }

    /// Cuts chunks so early that the log's own retention does not have to wait: at half of its age and a quarter of its
    /// bytes.
    #[must_use]
    pub fn within_log(mut self, retention: Duration, retention_bytes: Option<ByteSize>) -> Self {
        let half = retention / 2;
        self.every = Some(self.every.map_or(half, |every| every.min(half)));
        if let Some(bytes) = retention_bytes {
            let share = bytes.0 / 4 / u64::from(self.shards.max(1));
            self.chunk_bytes = self.chunk_bytes.min(share).max(CHUNK_BYTES_MIN);
        }
        self
    }
}

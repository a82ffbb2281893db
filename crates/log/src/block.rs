//! The unit that is written and read: some records, as bytes that only the layer above understands.

use bytes::Bytes;
use weir_types::{SequenceNumber, Timestamp};

/// Records to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// How many records the payload holds: at least 1, and at most [`SPARE_RECORDS_MAX`](crate::SPARE_RECORDS_MAX) more than
    /// it has bytes. The block takes as many sequence numbers.
    pub records: u32,
    /// The records, in the form of the layer above. Up to [`weir_types::limits::APPEND_BYTES_MAX`] bytes.
    pub payload: Bytes,
}

/// Records as they were stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlock {
    /// The first record's place.
    pub first: SequenceNumber,
    /// How many records the payload holds.
    pub records: u32,
    /// When the engine took it, by the engine's wall clock. Never earlier than that of the block before it in the same log.
    pub appended_at: Timestamp,
    /// The bytes as appended; the engine has checked them against their checksum.
    pub payload: Bytes,
}

impl StoredBlock {
    /// Returns the place after the last record.
    pub fn end(&self) -> SequenceNumber {
        self.first + u64::from(self.records)
    }
}

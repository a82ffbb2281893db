//! What can be set, and within which bounds.

use crate::EngineError;

/// Settings of a [`LocalEngine`](super::LocalEngine). Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A segment is sealed once it has this many bytes. Default 64 MiB.
    pub segment_bytes: u64,
    /// Appends that wait for the writer or are being written; more are refused as busy. Default 32 MiB.
    pub queue_bytes_max: u64,
    /// What one write and one fsync take at most, unless a single append is larger. Default 4 MiB.
    pub group_bytes_max: u64,
    /// Disk is taken ahead in steps of this, so that a full disk shows before the write. Default 16 MiB.
    pub allocate_bytes: u64,
    /// Recent blocks that are kept in memory for readers at the tail. Default 16 MiB.
    pub tail_cache_bytes_max: u64,
    /// Indexes of sealed segments that are kept in memory. Default 8 MiB.
    pub index_cache_bytes_max: u64,
    /// Dead bytes in mostly dead segments from which on their live frames are copied and the segments deleted.
    /// Default 64 MiB.
    pub dead_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            queue_bytes_max: 32 << 20,
            group_bytes_max: 4 << 20,
            allocate_bytes: 16 << 20,
            tail_cache_bytes_max: 16 << 20,
            index_cache_bytes_max: 8 << 20,
            dead_bytes_max: 64 << 20,
        }
    }
}

/// The smallest segment: below this the headers would be most of it.
pub const SEGMENT_BYTES_MIN: u64 = 16 << 10;

/// The largest segment: offsets in an index are 32 bits wide, and a group or a footer may reach past the end.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

impl Options {
    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// [`EngineError::Options`].
    pub fn validate(&self) -> Result<(), EngineError> {
        let refuse = |what: String| Err(EngineError::Options { what });
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return refuse(format!("`segment_bytes` must be {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"));
        }
        for (name, value) in [
            ("queue_bytes_max", self.queue_bytes_max),
            ("group_bytes_max", self.group_bytes_max),
            ("allocate_bytes", self.allocate_bytes),
            ("dead_bytes_max", self.dead_bytes_max),
        ] {
            if value == 0 || value > SEGMENT_BYTES_MAX {
                return refuse(format!("`{name}` must be 1 to {SEGMENT_BYTES_MAX}"));
            }
        }
        Ok(())
    }
}

//! How often a queue tidies up.

/// When a queue writes snapshots and copies old messages forward. Tests make all of it small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// Bytes that the log grows by until the next snapshot; more if the last snapshot itself was larger. Default 32 MiB.
    pub snapshot_bytes: u64,
    /// Bytes of dead messages, beyond as many as there are live ones, from which on old live messages are copied to the
    /// log's end. Default 32 MiB.
    pub dead_bytes: u64,
    /// Bytes of the log that one round of upkeep reads to copy live messages. Default 32 MiB.
    pub carry_bytes: usize,
    /// Messages that one round of upkeep looks at for their age. Default 1,000,000.
    pub sweep_messages: usize,
    /// Bytes of recent payloads that are kept in memory. Default 8 MiB.
    pub cache_bytes: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            snapshot_bytes: 32 << 20,
            dead_bytes: 32 << 20,
            carry_bytes: 32 << 20,
            sweep_messages: 1_000_000,
            cache_bytes: 8 << 20,
        }
    }
}

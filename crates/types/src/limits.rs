//! Limits that more than one layer must agree on. Each has a name, and no limit is written as a number elsewhere.

/// A user's name of a thing, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// One record as it arrives at the door and as it is stored, in bytes: Kinesis's limit of 1 MiB.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// What one append may carry to a log, in bytes of payload.
pub const APPEND_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Shards of one stream.
pub const SHARDS_MAX: u32 = 1024;

/// Depth of nested values in a record or a schema.
pub const NESTING_MAX: usize = 64;

//! What an archive refuses to exceed.

use std::time::Duration;

/// Bodies of a chunk after which it is cut, in bytes. A writer holds one chunk, compressed, in memory.
pub const CHUNK_BYTES: u64 = 64 * 1024 * 1024;
/// The least that a chunk is cut at, however little the log may keep.
pub const CHUNK_BYTES_MIN: u64 = 64 * 1024;
/// Records of a chunk. Bounds what records without bytes can take.
pub const CHUNK_RECORDS_MAX: u64 = 8 * 1024 * 1024;
/// Schemas of a chunk, and so files of it, each with one open block.
pub const PARTS_MAX: usize = 64;
/// What the runs of a chunk may take, in bytes before compression: many arrival times, schemas that take turns, or keys.
pub const RUN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// One key beyond that: keys are no longer than records.
pub const RECORD_KEY_SPARE: usize = weir_types::limits::RECORD_BYTES_MAX + 64;
/// Bodies of one block of a container file, in bytes.
pub const BLOCK_BYTES: usize = 256 * 1024;
/// Records of one block of a container file.
pub const BLOCK_RECORDS_MAX: u64 = 32 * 1024;
/// A manifest, in bytes: runs in base64, and 1,024 shards or 64 parts beside them.
pub const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What one read of a file of the archive asks for, in bytes.
pub const FETCH_BYTES: u64 = 1024 * 1024;
/// What one read of the log asks for, in bytes.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// How long after its end an hour is taken for over: what was stamped in its last moment is in the log by then.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long one call of the object store may take, its own retries included.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// How far a clock may have gone back, in hours, for a reader that is asked for arrivals up to some time: it looks so far
/// beyond for records that were put into a later hour.
pub const CLOCK_BACK_HOURS: i64 = 48;
/// Hours that one call of [`retain`](crate::Archive::retain) deletes.
pub const EXPIRED_HOURS_MAX: usize = 48;
/// Requests to the store at once, where many small objects are read or deleted.
pub const REQUESTS: usize = 16;
/// Findings that a verdict names; the rest is counted.
pub const FINDINGS_MAX: usize = 1000;

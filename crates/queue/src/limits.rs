//! Limits of queues: SQS's own where it has one.

use std::time::Duration;

/// Messages of one receive over the wire.
pub const RECEIVE_MAX: usize = 10;
/// Messages of one receive by the node itself.
pub const RECEIVE_INTERNAL_MAX: usize = 10_000;
/// The longest that a message may be hidden, counted from its receive.
pub const HIDDEN_MAX: Duration = Duration::from_secs(12 * 3600);
/// The longest delay over the wire.
pub const DELAY_MAX: Duration = Duration::from_secs(15 * 60);
/// The longest delay that the node itself may give.
pub const DELAY_INTERNAL_MAX: Duration = Duration::from_secs(400 * 24 * 3600);
/// The shortest retention.
pub const RETENTION_MIN: Duration = Duration::from_secs(60);
/// The longest retention.
pub const RETENTION_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
/// The longest that a receive over the wire waits.
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// The longest retention of a queue of weir's own: tasks of a crawl may wait for months for an account's quota.
pub const RETENTION_INTERNAL_MAX: Duration = Duration::from_secs(400 * 24 * 3600);
/// The smallest limit of a message's size, in bytes.
pub const MESSAGE_BYTES_MIN: usize = 1024;
/// The largest limit of a message's size, in bytes; what a queue takes if nothing else is said.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Receives after which a message may be given up.
pub const RECEIVES_MAX: u32 = 1000;
/// Messages of a standard queue that may be hidden by leases at once.
pub const IN_FLIGHT_MAX: usize = 120_000;
/// Messages of a FIFO queue that may be hidden by leases at once.
pub const IN_FLIGHT_FIFO_MAX: usize = 20_000;
/// How long a deduplication id is remembered.
pub const DEDUPLICATION: Duration = Duration::from_secs(5 * 60);
/// Queues of a node.
pub const QUEUES_MAX: usize = 10_000;
/// Tags of a queue.
pub const TAGS_MAX: usize = 50;
/// Messages a second of a move, at most, if a rate is given.
pub const MOVE_RATE_MAX: u32 = 500;
/// Moves of one queue that are remembered.
pub const MOVES_KEPT: usize = 10;
/// Moves of a node that may be under way at once.
pub const MOVES_RUNNING_MAX: usize = 100;

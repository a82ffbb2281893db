//! Replays: records of the past, once more through the plan as it is now.
//!
//! ```text
//! begin --> [machine] run: ranges, targets ----+          [worker] one for each run and target
//!                                              |             |
//!  stream, archive --pages of the ranges-------+-------------+--> applier of a table: rows replace, and the run's place is
//!                                                            |      in the same Delta commit (`replay/ID/STREAM/SHARD`)
//!                                                            +--> `_replay-function-NAME`, which the function alone reads
//! ```
//!
//! Invariants: a run's ranges are fixed when it begins, so that it ends; its records are held until it is over; how far it
//! has come stands where its rows do, so that a crash repeats and leaves out nothing; what can't be read any more fails the
//! run, and never shortens it in silence. Decision 0017 says why it is so.

mod act;
mod ask;
mod counts;
mod into_function;
mod into_table;
mod machine;
mod pace;
mod preview;
mod rate;
mod replaying;
mod resolve;
mod source;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod times;

pub use act::ReplayError;
pub use ask::{Ask, Destination, DestinationError};
pub use counts::Counts;
pub(crate) use machine::Replays;
pub use machine::{ACTIVE_MAX, HISTORY_MAX, Origin, ShardRange, Window};
pub use preview::{PartitionPreview, Preview, TargetPreview};
pub use rate::{Rate, RateError};
pub(crate) use replaying::Replaying;
pub use resolve::ResolveError;
pub use status::{RunStatus, TargetStatus};
pub use target::{Target, TargetError};

//! The embedded engine: one write-ahead log in segment files, shared by all logs of the node.
//!
//! ```text
//! append --checksum--> [queue, bounded] --> writer --one write, one sync per group--> hot segment --full--> sealed
//!                                                                                                            |
//! read   <-- newest blocks in memory <-- or the runs of a segment's footer <---------------------------------+
//! trim   --durable--> dead segments are deleted; what lives in mostly dead ones is copied to cold segments
//! ```
//!
//! - One sync serves every log that has something to write: nothing lingers, and what comes in during a sync shares the
//!   next one.
//! - What is on disk is in `format`; every byte is under a checksum. Damage is told from a torn write, is an error that names
//!   segment, offset and records, and never a shorter answer. [`repair`] keeps every frame that still reads.
//! - A second process is refused by a lock on the folder.
//!
//! The decision record is `docs/decisions/0002-local-log-format.md`.

mod cold;
mod engine;
pub mod files;
mod format;
mod group;
mod handle;
mod hole;
mod index;
mod inspect;
mod options;
mod queue;
mod read;
mod recover;
mod repair;
mod report;
mod runs;
mod scan;
mod sealed;
mod segment;
mod shared;
mod survey;
mod tail_cache;
mod tidy;
mod verify;
mod walk;
mod writer;

pub use engine::LocalEngine;
pub use inspect::{inspect, inspect_on};
pub use options::{Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use read::READ_BYTES_MAX;
pub use repair::{repair, repair_on};
pub use report::{Certainty, Damage, Inspection, LogInspection, Loss, Report, SegmentInspection};
pub use verify::{verify, verify_on};

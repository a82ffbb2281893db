//! Snapshots of a queue's index: they make a restart quick, and nothing else depends on them.
//!
//! ```text
//! queue/NAME/IDENTITY/
//!     00000000000000004711-000000.part    slots 0..        as of place 4711
//!     00000000000000004711-000001.part    slots 16384..    as of place 4720: the queue has gone on meanwhile
//!     00000000000000004711.index          what else there is, as of 4711; written last
//! ```
//!
//! A snapshot is fuzzy: each part is taken between two turns of the owner, and notes up to where it has applied the log.
//! Replay begins at the snapshot's own place and passes over, for each message, what its part has seen. So the queue never
//! stands still for longer than one part takes, and no second copy of the index is ever in memory.
//!
//! The log alone has everything too: what is alive lies behind the log's head, copied there if need be. So a snapshot that
//! does not read costs a longer replay. Two are kept, and the log from the older one on.

mod format;
mod store;

pub(crate) use format::{Globals, Part, encode_part, load_part};
pub(crate) use store::Store;

/// Slots of one part.
pub(crate) const PART_SLOTS: u32 = 16_384;

/// Where the next part begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub slot: u32,
    /// Of which index: a purge begins another, and ends a snapshot that is under way.
    pub generation: u64,
}

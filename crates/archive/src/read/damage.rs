//! What is wrong with an archive where it is read.

use weir_types::{SequenceNumber, ShardId};

/// What a reader does about damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDamage {
    /// Ends with an error that names it.
    Stop,
    /// Names it in the page, and goes on behind it.
    Skip,
}

/// Something that is missing or does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// An object is gone.
    #[error("`{path}` of the archive is missing")]
    Missing {
        /// The object.
        path: String,
        /// Whose records it had.
        shard: Option<ShardId>,
    },
    /// A file has another size than when it was written.
    #[error("`{path}` of the archive has {found} bytes, and was written with {expected}")]
    Size {
        /// The file.
        path: String,
        /// Its bytes now.
        found: u64,
        /// Its bytes when it was written.
        expected: u64,
    },
    /// A file does not read from some record on.
    #[error(
        "`{path}` of the archive is damaged from record {from} of shard {shard} on ({reason}); {lost} records are not read"
    )]
    File {
        /// The file.
        path: String,
        /// The shard.
        shard: ShardId,
        /// The first record that is not handed over.
        from: SequenceNumber,
        /// Why, in words.
        reason: String,
        /// Records of the file that are not handed over.
        lost: u64,
    },
    /// A file reads, and has other records than were written: what was handed over of it is not to be trusted.
    #[error("`{path}` of the archive has other records than were written: {reason}")]
    Differs {
        /// The file.
        path: String,
        /// What differs, in words.
        reason: String,
    },
    /// A manifest does not read.
    #[error("`{path}` of the archive does not read: {reason}")]
    Manifest {
        /// The object.
        path: String,
        /// Why, in words.
        reason: String,
    },
    /// There is no chunk for these places of a shard.
    #[error("records {from} to {to} of shard {shard} are not in the archive: a chunk's manifest is missing")]
    Gap {
        /// The shard.
        shard: ShardId,
        /// The first place.
        from: SequenceNumber,
        /// The place behind the last.
        to: SequenceNumber,
    },
}

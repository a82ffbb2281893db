//! What can fail, per operation.

use object_store::path::Path;
use weir_log::ReadError as LogError;
use weir_stream::BlockError;
use weir_types::{Hour, SequenceNumber, ShardId, StreamName};

use crate::read::Damage;

/// The object store failed. What was being put may be there all the same; the next try looks.
#[derive(Debug, thiserror::Error)]
#[error("{action} `{path}` of the archive")]
pub struct StoreError {
    /// What was tried.
    pub action: &'static str,
    /// The object.
    pub path: Path,
    /// The cause.
    #[source]
    pub source: object_store::Error,
}

/// Why an archive did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder holds another stream's archive.
    #[error(
        "`{root}` holds the archive of stream `{found}`, and can't be that of `{stream}`: give it another archive_location"
    )]
    Other {
        /// The folder.
        root: Path,
        /// The stream that was asked for.
        stream: StreamName,
        /// Whose archive it is.
        found: StreamName,
    },
    /// A manifest does not read.
    #[error("`{path}` of the archive is damaged ({reason}): restore it, or move its hour's folder away")]
    Manifest {
        /// The object.
        path: Path,
        /// Why, in words.
        reason: String,
    },
}

/// Why a chunk was not written. The shard's place is as it was.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log does not read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A block of the log breaks the stream's format.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The compressor failed.
    #[error("compress records for the archive of stream `{stream}`")]
    Compress {
        /// The stream.
        stream: StreamName,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The archive is further than the log.
    #[error(
        "the archive of stream `{stream}` has shard {shard} up to {archived}, and the log of this data folder ends at {tail}: \
         it was made from another data folder; use that one, or another archive_location"
    )]
    AheadOfLog {
        /// The stream.
        stream: StreamName,
        /// The shard.
        shard: ShardId,
        /// How far the archive is.
        archived: SequenceNumber,
        /// Where the log ends.
        tail: SequenceNumber,
    },
    /// A name is taken by an object with other records.
    #[error(
        "`{path}` of the archive has other records than the log ({reason}): it was written from another data folder, or \
         changed; give the stream another archive_location, or move the file away"
    )]
    Foreign {
        /// The object.
        path: Path,
        /// What differs, in words.
        reason: String,
    },
}

/// Why an hour was not closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The hour was closed with other contents.
    #[error(
        "`{path}` of the archive says something else of its hour than its chunks: it was written from another data folder, or changed"
    )]
    Foreign {
        /// The object.
        path: Path,
    },
}

/// Why old hours were not deleted. The next try goes on.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an archive can't be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The object store failed. The reader may be asked again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something is missing or damaged, and the reader was not asked to go on.
    #[error("{0}")]
    Damaged(Damage),
}

/// Why an archive could not be looked through.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The hours were asked for in the wrong order.
    #[error("the hours end at {to}, which is before they begin at {from}")]
    Order {
        /// The first.
        from: Hour,
        /// The last.
        to: Hour,
    },
}

//! Where a run's records are read: the stream's shards, or its archive. Both know records by shard and sequence number, so
//! that a run's place means the same in either.

use std::sync::Arc;

use futures::future::BoxFuture;
use weir_log::ReadError;
use weir_stream::{Page, Stream};
use weir_types::{SequenceNumber, ShardId, Timestamp};

use super::machine::ShardRange;

/// An archive, as a replay reads it.
pub(crate) trait Archived: Send + Sync {
    /// Returns, per shard, the archived records that arrived at `since` or later, and before `until`.
    fn ranges(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> BoxFuture<'_, Result<Vec<ShardRange>, ArchiveError>>;

    /// Reads records of a shard from `from` on, about `bytes_max` bytes of them, at least one if there is any before `to`.
    fn read(
        &self,
        shard: ShardId,
        from: SequenceNumber,
        to: SequenceNumber,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Page, ArchiveError>>;
}

/// Why records do not read, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ArchiveError(pub String);

/// Where a run reads.
#[derive(Clone)]
pub(super) enum Source {
    Stream(Arc<Stream>),
    Archive(Arc<dyn Archived>),
}

/// Why a page can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// They are gone for good: the run can't be whole.
    #[error("records {from} to {to} of shard {shard} were trimmed from the stream")]
    Trimmed { shard: ShardId, from: SequenceNumber, to: SequenceNumber },
    /// Damage has taken the records before this one, and a repair has noted that.
    #[error("records up to {0} are lost to damage")]
    Lost(SequenceNumber),
    /// It may read later.
    #[error(transparent)]
    Log(ReadError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Source {
    /// Reads the next records of a range: at most about `bytes_max` bytes, and `records_max` records.
    pub async fn read(
        &self,
        range: &ShardRange,
        from: SequenceNumber,
        bytes_max: usize,
        records_max: u64,
    ) -> Result<Page, PageError> {
        let page = match self {
            Self::Stream(stream) => {
                let shard = &stream.shards()[range.shard.0 as usize];
                shard.read(from, bytes_max).await.map_err(|error| match error {
                    ReadError::Trimmed { head, .. } if head > from => {
                        PageError::Trimmed { shard: range.shard, from, to: head.min(range.to) }
                    }
                    ReadError::Lost { to, .. } if to > from => PageError::Lost(to.min(range.to)),
                    error => PageError::Log(error),
                })?
            }
            Self::Archive(archive) => archive.read(range.shard, from, range.to, bytes_max).await?,
        };
        Ok(page.cut(records_max, range.to))
    }
}

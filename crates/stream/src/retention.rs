//! Forgetting old records, by age and by size, but never those that a consumer of the plan has still to read.

use std::time::Duration;

use weir_log::{ReadError, ReadLimit, TrimError};
use weir_machine::SnapshotError;
use weir_types::{SequenceNumber, ShardId, Timestamp};

use crate::reader::Start;
use crate::stream::{Shard, Stream};

const READ_BYTES: usize = 4 * 1024 * 1024;

/// Why old records could not be forgotten. They stay until the next try.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The log does not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log could not be trimmed.
    #[error(transparent)]
    Trim(#[from] TrimError),
    /// The producers could not be remembered.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl Stream {
    /// Forgets what is older than the retention, and the oldest beyond the limit of bytes. `hold` says, per shard, the
    /// first record that somebody has still to read: from there on all is kept.
    ///
    /// Returns how many records were forgotten.
    ///
    /// # Errors
    /// See [`RetainError`].
    pub async fn retain(
        &self,
        now: Timestamp,
        hold: impl Fn(ShardId) -> Option<SequenceNumber>,
    ) -> Result<u64, RetainError> {
        let mut forgotten = 0;
        let total: u64 = self.shards.iter().map(|shard| shard.log.bytes()).sum();
        for shard in &self.shards {
            let head = shard.bounds().head;
            let mut to = first_younger(shard, now, self.settings.retention).await?;
            if let Some(limit) = self.settings.retention_bytes
                && total > limit.0
            {
                // Each shard gives in proportion to what it holds.
                let excess = u128::from(total - limit.0) * u128::from(shard.log.bytes()) / u128::from(total.max(1));
                to = to.max(behind_bytes(shard, head, excess as u64).await?);
            }
            let to = hold(shard.id).map_or(to, |held| to.min(held));
            if to > head {
                // The stamps of what goes must be remembered: their producers may still try again.
                self.snapshot().await?;
                shard.log.trim(to).await?;
                forgotten += to.since(head);
            }
        }
        Ok(forgotten)
    }
}

async fn first_younger(shard: &Shard, now: Timestamp, retention: Duration) -> Result<SequenceNumber, RetainError> {
    Ok(shard.resolve(Start::Time(now.before(retention))).await?)
}

/// Returns the place behind the first blocks that have `bytes` together.
async fn behind_bytes(shard: &Shard, head: SequenceNumber, bytes: u64) -> Result<SequenceNumber, RetainError> {
    let mut next = head;
    let mut passed = 0;
    while passed < bytes {
        let blocks = match shard.log.read(next, ReadLimit { bytes_max: READ_BYTES }).await {
            // What a repair could not read takes no room.
            Err(ReadError::Lost { to, .. }) if to > next => {
                next = to;
                continue;
            }
            read => read?,
        };
        if blocks.is_empty() {
            break;
        }
        for block in blocks {
            passed += block.payload.len() as u64;
            if passed > bytes {
                return Ok(next);
            }
            next = block.end();
        }
    }
    Ok(next)
}

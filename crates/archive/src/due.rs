//! When a chunk is to be written.
//!
//! Files are as large as the hour and the bound of a chunk let them be: until then the log holds the records, as durably.

use weir_log::ReadError as LogError;
use weir_stream::Shard;
use weir_types::{Hour, SequenceNumber, Timestamp};

use crate::archive::Archive;
use crate::limits::GRACE;

/// Why a chunk is to be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A crash has left one that is not whole.
    Resumed,
    /// There is enough for a whole one.
    Full,
    /// The hour of its first record is over.
    HourOver,
    /// Its first record is as old as one may get.
    Interval,
}

impl Archive {
    /// Says whether a chunk of the shard is to be written now, and why. Reads no more of the log than its oldest record that
    /// is not archived, and that once.
    ///
    /// # Errors
    /// If the log does not read there.
    pub async fn due(&self, shard: &Shard) -> Result<Option<Due>, LogError> {
        let bounds = shard.bounds();
        let (known, floor) = {
            let state = self.state();
            (state.shards[shard.id().0 as usize], state.floor(shard.id()))
        };
        let next = known.next.unwrap_or(bounds.head);
        if next == bounds.tail {
            return Ok(None);
        }
        // One that is ahead of its log is told by `advance`.
        if known.resume.is_some() || next > bounds.tail {
            return Ok(Some(Due::Resumed));
        }
        let held = bounds.tail.since(bounds.head).max(1);
        let bytes = u128::from(shard.log().bytes()) * u128::from(bounds.tail.since(next)) / u128::from(held);
        if bytes >= u128::from(self.spec.chunk_bytes) {
            return Ok(Some(Due::Full));
        }
        let arrived_at = match known.pending {
            Some((at, arrived_at)) if at == next => arrived_at,
            _ => {
                let Some(arrived_at) = arrival(shard, next, bounds.tail).await? else { return Ok(None) };
                self.state().shards[shard.id().0 as usize].pending = Some((next, arrived_at));
                arrived_at
            }
        };
        let now = self.env.now();
        let hour = Some(Hour::of(arrived_at)).max(floor).unwrap_or_default();
        if hour.end().after(GRACE) <= now {
            return Ok(Some(Due::HourOver));
        }
        Ok(self.spec.every.filter(|every| arrived_at.after(*every) <= now).map(|_| Due::Interval))
    }
}

/// Returns when the first record from `from` on arrived; none if none is left that reads.
async fn arrival(shard: &Shard, from: SequenceNumber, tail: SequenceNumber) -> Result<Option<Timestamp>, LogError> {
    let mut next = from;
    while next < tail {
        match shard.read(next, 1).await {
            Ok(page) => return Ok(page.heads().flatten().next().map(|head| head.arrived_at)),
            Err(LogError::Trimmed { head: to, .. } | LogError::Lost { to, .. }) if to > next => next = to,
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

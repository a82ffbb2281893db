//! What keeps a queue's memory, disk and restart bounded, a step at a time.
//!
//! ```text
//! log:  head ........ older snapshot ........ newer snapshot ........ tail
//!            ^ live messages here are copied  ^ replay begins here
//!              to the tail once the log is
//!              mostly dead; then head moves up
//! ```
//!
//! Invariant: whatever is alive lies behind the head, and what else there is (stamps, the next transfer's number, the keys of
//! five minutes) is written again before the log that has it is trimmed: the log alone is always enough.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use weir_log::ReadLimit;
use weir_machine::SnapshotError;
use weir_types::SequenceNumber;

use crate::command::messages;
use crate::error::QueueError;
use crate::owner::{Call, ask};
use crate::shared::Shared;

/// Slots that one step looks at for old messages.
const SWEEP_SLOTS: u32 = 16_384;
/// Messages that one step lists, and bytes that one step copies.
const CARRY_MESSAGES: usize = 10_000;
const CARRY_BYTES: usize = 1 << 20;
/// The log is trimmed once this part of what may be dead is dead.
const TRIM_PART: u64 = 16;

/// Where upkeep is.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// The next slot to look at for its age.
    pub sweep: u32,
    /// The newest snapshot, and from where on the log is kept for the older one.
    pub snapshots: Option<(SequenceNumber, SequenceNumber)>,
    /// Of the bytes that the log has, those that the newest snapshot has seen.
    pub seen_bytes: u64,
    /// The size of the newest snapshot.
    pub snapshot_bytes: u64,
}

/// Why a round ended early. The next round tries again.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("read the log")]
    Read(#[from] weir_log::ReadError),
    #[error("trim the log")]
    Trim(#[from] weir_log::TrimError),
    #[error("the log does not read: {0}")]
    Format(&'static str),
}

/// One queue's upkeep, for one round.
pub(crate) struct Round<'a> {
    pub shared: &'a Arc<Shared>,
    pub calls: &'a mpsc::Sender<Call>,
    pub upkeep: &'a mut Upkeep,
}

impl Round<'_> {
    /// Does what is due.
    pub(crate) async fn run(mut self) {
        if let Err(error) = self.steps().await
            && !matches!(&error, Failed::Queue(error) if error.is_closed())
        {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(queue = %self.shared.name, %error, cause, "upkeep could not be done; it is tried again");
        }
    }

    async fn steps(&mut self) -> Result<(), Failed> {
        self.sweep().await?;
        let tuning = &self.shared.tuning;
        let space = self.ask(|answer| Call::Space { answer }).await?;
        let dead = self.shared.log.bytes().saturating_sub(space.bytes);
        let is_mostly_dead = dead > space.bytes.saturating_add(tuning.dead_bytes);
        let bound = self.upkeep.snapshots.map_or(space.tail, |(_, oldest)| oldest.0);
        if is_mostly_dead && space.first_place < bound {
            self.carry(bound).await?;
        }
        let grown = self.shared.log.bytes().saturating_sub(self.upkeep.seen_bytes);
        let is_held = is_mostly_dead && bound < space.tail;
        if grown >= tuning.snapshot_bytes.max(self.upkeep.snapshot_bytes) || is_held {
            self.snapshot().await?;
        }
        self.trim().await
    }

    async fn ask<T>(&self, call: impl FnOnce(crate::owner::Answer<T>) -> Call) -> Result<T, QueueError> {
        ask(self.shared, self.calls, call).await
    }

    /// Looks for messages that have grown too old.
    async fn sweep(&mut self) -> Result<(), Failed> {
        let mut looked = 0;
        while looked < self.shared.tuning.sweep_messages {
            let from = self.upkeep.sweep;
            let next = self.ask(|answer| Call::Sweep { from, count: SWEEP_SLOTS, answer }).await?;
            self.upkeep.sweep = next.unwrap_or(0);
            looked += SWEEP_SLOTS as usize;
            if next.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Copies live messages that lie below a place to the log's end.
    async fn carry(&mut self, bound: u64) -> Result<(), Failed> {
        let mut read = 0;
        while read < self.shared.tuning.carry_bytes {
            let placed = self.ask(|answer| Call::Placed { from: 0, to: bound, max: CARRY_MESSAGES, answer }).await?;
            if placed.is_empty() {
                break;
            }
            read += self.carry_some(&placed).await?;
        }
        Ok(())
    }

    /// Copies the first of these messages, by number and place. Returns the bytes that were read.
    async fn carry_some(&mut self, placed: &[(u64, u64)]) -> Result<usize, Failed> {
        let (mut read, mut copied) = (0, 0);
        let mut records: Vec<(u64, u64, Bytes)> = Vec::new();
        let mut wanted = placed.iter().peekable();
        while let Some((_, place)) = wanted.peek().copied()
            && copied < CARRY_BYTES
        {
            let blocks = self.shared.log.read(SequenceNumber(*place), ReadLimit { bytes_max: 1 }).await?;
            let block = blocks.into_iter().next().ok_or(Failed::Format("a message lies beyond its end"))?;
            read += block.payload.len();
            for (number, place, record) in
                messages(block.first.0, &block.payload).map_err(|error| Failed::Format(error.0))?
            {
                if wanted.next_if(|wanted| **wanted == (number, place)).is_some() {
                    copied += record.len();
                    records.push((number, place, record));
                }
            }
            if wanted.peek().is_some_and(|(_, next)| next == place) {
                return Err(Failed::Format("a message does not lie where it should"));
            }
        }
        self.ask(|answer| Call::Carry { records, answer }).await?;
        Ok(read)
    }

    /// Writes a snapshot, part by part.
    async fn snapshot(&mut self) -> Result<(), Failed> {
        let seen = self.shared.log.bytes();
        let (globals, first) = self.ask(|answer| Call::Globals { answer }).await?;
        if self.upkeep.snapshots.is_some_and(|(newest, _)| newest == globals.at) {
            return Ok(());
        }
        let (mut cursor, mut parts, mut bytes) = (Some(first), 0, 0);
        while let Some(at) = cursor {
            let (part, next) = self.ask(|answer| Call::Part { cursor: at, answer }).await?;
            if part.is_empty() {
                // A purge has begun another index.
                return Ok(());
            }
            bytes += part.len() as u64;
            self.shared.store.put_part(globals.at, parts, part).await?;
            parts += 1;
            cursor = next;
        }
        let index = globals.encode(parts);
        bytes += index.len() as u64;
        let oldest = self.shared.store.put_index(globals.at, index).await?;
        self.upkeep.snapshots = Some((globals.at, oldest));
        self.upkeep.seen_bytes = seen;
        self.upkeep.snapshot_bytes = bytes;
        Ok(())
    }

    /// Trims the log as far as neither messages nor snapshots need it, if that is worth it.
    async fn trim(&mut self) -> Result<(), Failed> {
        let space = self.ask(|answer| Call::Space { answer }).await?;
        let log = &self.shared.log;
        let oldest = self.upkeep.snapshots.map_or(u64::MAX, |(_, oldest)| oldest.0);
        let target = SequenceNumber(space.first_place.min(oldest));
        let is_worth_it = log.bytes() > space.bytes + self.shared.tuning.dead_bytes / TRIM_PART;
        if target <= log.bounds().head || !is_worth_it {
            return Ok(());
        }
        self.ask(|answer| Call::Refresh { below: target.0, answer }).await?;
        let before = log.bytes();
        log.trim(target).await?;
        let trimmed = before.saturating_sub(log.bytes());
        self.upkeep.seen_bytes = self.upkeep.seen_bytes.saturating_sub(trimmed);
        Ok(())
    }
}

//! Reading a shard.

use weir_log::{Bounds, ReadError, ReadLimit, StoredBlock};
use weir_types::{Hour, SequenceNumber, Timestamp};

use crate::block::{BlockError, Record, Records};
use crate::stream::Shard;

const SEEK_BYTES: usize = 1024 * 1024;

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is still there.
    Oldest,
    /// Behind the newest.
    Newest,
    /// At this record.
    At(SequenceNumber),
    /// At the first record that arrived at this time or later.
    Time(Timestamp),
}

/// A block without its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHead {
    /// The place of its first record.
    pub first: SequenceNumber,
    /// The place behind its last record.
    pub end: SequenceNumber,
    /// When the log took it.
    pub arrived_at: Timestamp,
    /// The wrapping sum of its records' digests, as its writer had them.
    pub sum: Option<u128>,
}

/// Some blocks of a shard, to be read from `from` on.
#[derive(Debug)]
pub struct Page {
    from: SequenceNumber,
    blocks: Vec<StoredBlock>,
}

impl Page {
    /// Returns the records in order.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'_>, BlockError>> {
        self.blocks
            .iter()
            .flat_map(|block| {
                let (records, failed) = match Records::new(block) {
                    Ok(records) => (Some(records), None),
                    Err(error) => (None, Some(Err(error))),
                };
                records.into_iter().flatten().chain(failed)
            })
            .filter(|record| !matches!(record, Ok(record) if record.sequence < self.from))
    }

    /// Returns the page block by block, each with the place of its first record: what one append stored as one. The first may
    /// begin before the page does.
    ///
    /// # Errors
    /// For a block that breaks the format.
    pub fn blocks(&self) -> impl Iterator<Item = Result<(SequenceNumber, Records<'_>), BlockError>> {
        self.blocks.iter().map(|block| Ok((block.first, Records::new(block)?)))
    }

    /// Returns where each block stands, when the log took it, and what its writer says that its records add up to. The first
    /// may begin before the page does.
    ///
    /// # Errors
    /// For a block that breaks the format.
    pub fn heads(&self) -> impl Iterator<Item = Result<BlockHead, BlockError>> {
        self.blocks.iter().map(|block| {
            let sum = Records::new(block)?.digest_sum();
            Ok(BlockHead { first: block.first, end: block.end(), arrived_at: block.appended_at, sum })
        })
    }

    /// Returns the page without the blocks that arrived in a later hour than its first.
    #[must_use]
    pub fn of_one_hour(mut self) -> Self {
        if let Some(hour) = self.hour() {
            let blocks = self.blocks.iter();
            let same = blocks.take_while(|block| Hour::of(block.appended_at) == hour).count();
            self.blocks.truncate(same);
        }
        self
    }

    /// Returns the hour in which the first block arrived.
    pub fn hour(&self) -> Option<Hour> {
        self.blocks.first().map(|block| Hour::of(block.appended_at))
    }

    /// Returns the place of the first record that the page is about.
    pub fn start(&self) -> SequenceNumber {
        self.from
    }

    /// Returns the place after the last record, where the next page begins.
    pub fn end(&self) -> SequenceNumber {
        self.blocks.last().map_or(self.from, StoredBlock::end).max(self.from)
    }

    /// Says whether there was nothing to read.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Returns the bytes held.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.payload.len()).sum()
    }
}

impl Shard {
    /// Returns which records are there.
    pub fn bounds(&self) -> Bounds {
        self.log.bounds()
    }

    /// Turns a start into a place.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn resolve(&self, start: Start) -> Result<SequenceNumber, ReadError> {
        let bounds = self.bounds();
        match start {
            Start::Oldest => Ok(bounds.head),
            Start::Newest => Ok(bounds.tail),
            Start::At(sequence) => Ok(sequence),
            Start::Time(time) => {
                let mut next = self.log.seek(time).await?;
                loop {
                    let blocks = match self.log.read(next, ReadLimit { bytes_max: SEEK_BYTES }).await {
                        // What a repair could not read has no time.
                        Err(ReadError::Lost { to, .. }) if to > next => {
                            next = to;
                            continue;
                        }
                        read => read?,
                    };
                    let Some(last) = blocks.last() else { return Ok(next) };
                    if let Some(found) = blocks.iter().find(|block| block.appended_at >= time) {
                        return Ok(found.first.max(next));
                    }
                    next = last.end();
                }
            }
        }
    }

    /// Reads the next records from `from` on: about `bytes_max` bytes of them, at least one if there is any.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, from: SequenceNumber, bytes_max: usize) -> Result<Page, ReadError> {
        let blocks = self.log.read(from, ReadLimit { bytes_max }).await?;
        Ok(Page { from, blocks })
    }

    /// Completes when there is a record at `from` or beyond, or the log is closed.
    pub async fn wait(&self, from: SequenceNumber) {
        let mut tail = self.log.tail();
        // An error says that the log is closed: the read that follows says so too.
        let _ = tail.wait_for(|tail| *tail > from).await;
    }
}

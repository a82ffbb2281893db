//! Reading a shard.

use weir_log::{Block, Bounds, ReadError, ReadLimit, StoredBlock};
use weir_types::{Hour, SequenceNumber, Timestamp};

use crate::block::{BlockError, Builder, Record, Records};
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

/// Some blocks of a shard, to be read from `from` on, and before `to`.
#[derive(Debug, Clone)]
pub struct Page {
    from: SequenceNumber,
    to: SequenceNumber,
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
            .take_while(|record| !matches!(record, Ok(record) if record.sequence >= self.to))
    }

    /// Makes a page of records that were kept elsewhere, in order. Its end is behind the last of them, or `end` if that is
    /// further: what lies between is known not to be there.
    pub fn of<'a>(from: SequenceNumber, end: SequenceNumber, records: impl IntoIterator<Item = Record<'a>>) -> Self {
        let mut blocks = Vec::new();
        let mut builder = Builder::default();
        // Of the block that is being filled: its first record, when they arrived, and the place that follows.
        let mut open: Option<(SequenceNumber, Timestamp, SequenceNumber)> = None;
        for record in records {
            let follows = |(_, arrived_at, next)| arrived_at == record.arrived_at && next == record.sequence;
            if !open.is_some_and(follows) {
                blocks.extend(stored(&mut builder, open.take()));
            }
            builder.push(record.fingerprint, record.key, record.body);
            let (first, arrived_at, _) = open.unwrap_or((record.sequence, record.arrived_at, record.sequence));
            open = Some((first, arrived_at, record.sequence + 1));
        }
        blocks.extend(stored(&mut builder, open));
        let to = blocks.last().map_or(end, |block| block.end().max(end));
        Self { from, to, blocks }
    }

    /// Returns the page without what lies behind so many records, or at `to` and beyond.
    #[must_use]
    pub fn cut(mut self, records_max: u64, to: SequenceNumber) -> Self {
        let within = SequenceNumber(self.from.0.saturating_add(records_max)).min(to);
        self.to = self.to.min(within).max(self.from);
        self
    }

    /// Returns the page without what lies before a record.
    #[must_use]
    pub fn starting_at(mut self, from: SequenceNumber) -> Self {
        self.from = self.from.max(from).min(self.to);
        self
    }

    /// Takes the page apart where `mark` of two blocks that follow each other differs.
    ///
    /// # Errors
    /// For a block that breaks the format.
    pub fn split_by<M: PartialEq>(self, mark: impl Fn(&Records<'_>) -> M) -> Result<Vec<(M, Self)>, BlockError> {
        let mut pages: Vec<(M, Self)> = Vec::new();
        let Self { from, to, blocks } = self;
        for block in blocks {
            let mark = mark(&Records::new(&block)?);
            match pages.last_mut() {
                Some((last, page)) if *last == mark => {
                    page.to = block.end().min(to);
                    page.blocks.push(block);
                }
                _ => {
                    let page = Self { from: block.first.max(from), to: block.end().min(to), blocks: vec![block] };
                    pages.push((mark, page));
                }
            }
        }
        Ok(pages)
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
            self.to = self.to.min(self.blocks.last().map_or(self.from, StoredBlock::end)).max(self.from);
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
        self.to
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

/// Closes the block that was filled; one that grew too large has become several.
fn stored(
    builder: &mut Builder,
    open: Option<(SequenceNumber, Timestamp, SequenceNumber)>,
) -> impl Iterator<Item = StoredBlock> {
    let (mut first, appended_at, _) = open.unwrap_or_default();
    builder.take(None).into_iter().map(move |Block { records, payload }| {
        let block = StoredBlock { first, records, appended_at, payload };
        first = block.end();
        block
    })
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
        let to = blocks.last().map_or(from, StoredBlock::end).max(from);
        Ok(Page { from, to, blocks })
    }

    /// Completes when there is a record at `from` or beyond, or the log is closed.
    pub async fn wait(&self, from: SequenceNumber) {
        let mut tail = self.log.tail();
        // An error says that the log is closed: the read that follows says so too.
        let _ = tail.wait_for(|tail| *tail > from).await;
    }
}

//! Records of one shard that are stored together or not at all, each with a key of its writer's choice.
//!
//! The way in for weir's own streams, whose writer is alone and keeps its place among the records: what it has made and how
//! far it has come are one append. [`crate::Writer`] is the way in for producers.

use weir_log::{AppendError, Block, Condition, ReadError};
use weir_types::{Fingerprint, SequenceNumber, ShardId};

use crate::block::Builder;
use crate::reader::Page;
use crate::stream::{Shard, Stream};

/// Collects the records of one append.
#[derive(Debug, Default)]
pub struct Lot {
    builder: Builder,
    bytes: usize,
}

impl Lot {
    /// Adds a record. `body` is what its reader expects of `fingerprint` and `key`; the stream never looks inside.
    pub fn push(&mut self, fingerprint: Fingerprint, key: &[u8], body: &[u8]) {
        self.builder.push(fingerprint, Some(key), body);
        self.bytes += body.len() + key.len() + 16;
    }

    /// Returns an upper bound of the bytes that the records take, but for the heads of blocks.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the lot ready to be stored; from here on it is cheap to try again.
    pub fn seal(mut self) -> SealedLot {
        SealedLot { blocks: self.builder.take(None) }
    }
}

/// A lot as it is stored.
#[derive(Debug, Clone)]
pub struct SealedLot {
    blocks: Vec<Block>,
}

impl Stream {
    /// Stores a lot at the end of a shard: all of it, or nothing.
    ///
    /// # Errors
    /// See [`AppendError`]; `Limit` says that the lot is too large for one append.
    pub async fn append(&self, shard: ShardId, lot: &SealedLot) -> Result<SequenceNumber, AppendError> {
        let bytes: usize = lot.blocks.iter().map(|block| block.payload.len()).sum();
        let first = self.shards[shard.0 as usize].log.append(lot.blocks.clone(), Condition::Always).await?;
        self.note_written(bytes as u64);
        Ok(first)
    }
}

impl Shard {
    /// Reads the last block that was stored; an empty page if there is none.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_last(&self) -> Result<Page, ReadError> {
        let bounds = self.bounds();
        if bounds.head == bounds.tail {
            return self.read(bounds.tail, 1).await;
        }
        self.read(SequenceNumber(bounds.tail.0 - 1), 1).await
    }
}

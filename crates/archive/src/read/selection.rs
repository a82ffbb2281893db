//! Which records are read.

use std::collections::BTreeMap;

use weir_types::{SequenceNumber, ShardId, Timestamp};

use crate::manifest::Chunk;

/// Which records of an archive are read; by default all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those that arrived at this time or later.
    pub since: Option<Timestamp>,
    /// Those that arrived before this time.
    pub until: Option<Timestamp>,
    /// Those of these shards; none: of all.
    pub shards: Option<Vec<ShardId>>,
    /// Per shard, those from this place on: where an earlier reader left off.
    pub from: BTreeMap<ShardId, SequenceNumber>,
    /// Per shard, those before this place.
    pub to: BTreeMap<ShardId, SequenceNumber>,
}

impl Selection {
    pub(crate) fn has(&self, shard: ShardId) -> bool {
        self.shards.as_ref().is_none_or(|shards| shards.contains(&shard))
    }

    pub(crate) fn from(&self, shard: ShardId) -> Option<SequenceNumber> {
        self.from.get(&shard).copied()
    }

    pub(crate) fn to(&self, shard: ShardId) -> Option<SequenceNumber> {
        self.to.get(&shard).copied()
    }

    /// Says whether records of a chunk may be meant.
    pub(crate) fn touches(&self, chunk: &Chunk) -> bool {
        self.from(chunk.shard).is_none_or(|from| chunk.end > from)
            && self.to(chunk.shard).is_none_or(|to| chunk.first < to)
            && self.since.is_none_or(|since| chunk.arrived_last >= since)
            && self.until.is_none_or(|until| chunk.arrived_first < until)
    }

    /// Says whether nothing behind the chunk can be meant: places and arrivals of a shard never go back.
    pub(crate) fn ends_with(&self, chunk: &Chunk) -> bool {
        self.until.is_some_and(|until| chunk.arrived_last >= until)
            || self.to(chunk.shard).is_some_and(|to| chunk.end >= to)
    }

    /// Says whether a record is meant, by its place and arrival.
    pub(crate) fn takes(&self, shard: ShardId, sequence: SequenceNumber, arrived_at: Timestamp) -> bool {
        self.from(shard).is_none_or(|from| sequence >= from)
            && self.to(shard).is_none_or(|to| sequence < to)
            && self.since.is_none_or(|since| arrived_at >= since)
            && self.until.is_none_or(|until| arrived_at < until)
    }
}

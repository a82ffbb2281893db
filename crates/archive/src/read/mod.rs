//! Reading an archive back, page by page.
//!
//! ```text
//! hours --> chunks of an hour, by shard and place --> runs + files, fetched a piece at a time --> pages
//! ```
//!
//! Hours go in order, and in an hour the shards one after the other, each in its order. Memory holds one page, one chunk's runs and
//! a fetched piece of each of its files. Invariant: every place of a shard between the first and the last that is read is handed
//! over, named as missing, or named as damaged; sums are compared at each file's end. Requests are made as pages are asked for, so
//! that a reader may pause for as long as it likes.

mod chunk;
mod damage;
mod page;
mod part;
mod selection;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;

use object_store::path::Path;
use weir_types::{Hour, SequenceNumber, ShardId, StreamName};

use self::chunk::OpenChunk;
pub use self::damage::{Damage, OnDamage};
pub use self::page::{ArchivedRecord, Page};
pub use self::selection::Selection;
use crate::error::ReadError;
use crate::manifest::HourManifest;
use crate::open;
use crate::place::{self, Kind};
use crate::store::Store;

/// Reads what a selection says, in pages.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    stream: StreamName,
    selection: Selection,
    on_damage: OnDamage,
    hours: VecDeque<Hour>,
    /// Chunks of the hour that is being read.
    chunks: VecDeque<Listed>,
    /// Where each shard goes on, once that is known.
    expected: BTreeMap<ShardId, SequenceNumber>,
    /// Where each shard ends in the hour that is being read, if the hour is closed.
    ends: BTreeMap<ShardId, SequenceNumber>,
    current: Option<OpenChunk>,
    /// Shards that have nothing more in the selection.
    done: BTreeSet<ShardId>,
}

/// A chunk's manifest that is there.
#[derive(Debug, Clone)]
struct Listed {
    shard: ShardId,
    first: SequenceNumber,
    path: Path,
}

impl Reader {
    pub(crate) async fn begin(
        store: Store,
        stream: StreamName,
        selection: Selection,
        on_damage: OnDamage,
        within: RangeInclusive<Hour>,
    ) -> Result<Self, ReadError> {
        let hours = store.hours().await?.into_iter().filter(|hour| within.contains(hour)).collect();
        Ok(Self {
            store,
            stream,
            selection,
            on_damage,
            hours,
            chunks: VecDeque::new(),
            expected: BTreeMap::new(),
            ends: BTreeMap::new(),
            current: None,
            done: BTreeSet::new(),
        })
    }

    /// Returns the next page, of one shard: records with about `bytes_max` bytes, at least one, or damage that was passed. None
    /// at the end.
    ///
    /// Cancel-safe: a future that is dropped has handed over nothing, and the next call goes on at the same place.
    ///
    /// # Errors
    /// See [`ReadError`]. After [`ReadError::Store`] the reader may be asked again.
    pub async fn next(&mut self, bytes_max: usize) -> Result<Option<Page>, ReadError> {
        loop {
            if let Some(chunk) = &mut self.current {
                let page = chunk.page(&self.store, &self.selection, bytes_max).await?;
                if chunk.is_done() {
                    self.expected.insert(chunk.shard(), chunk.end());
                    self.current = None;
                }
                if page.is_empty() {
                    continue;
                }
                if let (OnDamage::Stop, Some(damage)) = (self.on_damage, page.damage().first()) {
                    return Err(ReadError::Damaged(damage.clone()));
                }
                return Ok(Some(page));
            }
            if let Some(listed) = self.chunks.front().cloned() {
                if let Some(damage) = self.open_chunk(&listed).await? {
                    return self.passed(listed.shard, damage).map(Some);
                }
                continue;
            }
            if let Some((shard, damage)) = self.unseen_end() {
                return self.passed(shard, damage).map(Some);
            }
            let Some(hour) = self.hours.front().copied() else { return Ok(None) };
            self.open_hour(hour).await?;
            self.hours.pop_front();
        }
    }

    /// Hands over damage that no record comes with.
    fn passed(&self, shard: ShardId, damage: Damage) -> Result<Page, ReadError> {
        match self.on_damage {
            OnDamage::Stop => Err(ReadError::Damaged(damage)),
            OnDamage::Skip => Ok(Page::of_damage(shard, damage)),
        }
    }

    async fn open_hour(&mut self, hour: Hour) -> Result<(), ReadError> {
        let folder = place::hour(&self.store.root, hour);
        let manifest = place::hour_manifest(&self.store.root, hour);
        let manifest = self.store.get(&manifest).await?;
        // One that does not read is `verify`'s to name: the chunks have all that reading needs.
        let manifest = manifest.and_then(|bytes| open::parse_hour(&bytes, &self.stream, hour).ok());
        let mut chunks = Vec::new();
        for object in self.store.list(hour).await? {
            if let Some(Kind::Chunk { shard, first }) = place::kind(&folder, &object.location)
                && self.selection.has(shard)
                && !self.done.contains(&shard)
            {
                chunks.push(Listed { shard, first, path: object.location });
            }
        }
        chunks.sort_unstable_by_key(|chunk| (chunk.shard, chunk.first));
        // Chunks before the one that the selection begins in need not be looked at.
        let wanted = chunks.iter().enumerate().filter(|(index, chunk)| {
            let next = chunks.get(index + 1).filter(|next| next.shard == chunk.shard);
            next.is_none_or(|next| self.selection.from(chunk.shard).is_none_or(|from| next.first > from))
        });
        self.chunks = wanted.map(|(_, chunk)| chunk.clone()).collect();
        self.expect(manifest, &chunks);
        Ok(())
    }

    /// Takes note of where a closed hour's shards begin and end.
    fn expect(&mut self, manifest: Option<HourManifest>, listed: &[Listed]) {
        self.ends.clear();
        for shard in manifest.into_iter().flat_map(|manifest| manifest.shards) {
            if !self.selection.has(shard.shard) || self.done.contains(&shard.shard) || shard.totals.chunks == 0 {
                continue;
            }
            let begins = self.selection.from(shard.shard);
            if begins.is_none_or(|from| from < shard.end) {
                self.ends.insert(shard.shard, shard.end);
                let skipped = listed.iter().find(|chunk| chunk.shard == shard.shard).map(|chunk| chunk.first);
                let first_wanted = self.chunks.iter().find(|chunk| chunk.shard == shard.shard).map(|chunk| chunk.first);
                // What the selection leaves out is not missed.
                if skipped == first_wanted {
                    self.expected.entry(shard.shard).or_insert(shard.first);
                }
            }
        }
    }

    /// Names what a closed hour should have behind the last chunk that is there.
    fn unseen_end(&mut self) -> Option<(ShardId, Damage)> {
        while let Some((shard, end)) = self.ends.pop_first() {
            if self.done.contains(&shard) {
                continue;
            }
            let from = self.expected.insert(shard, end);
            if let Some(from) = from.filter(|from| *from < end) {
                let from = self.selection.from(shard).map_or(from, |begin| begin.max(from));
                if from < end {
                    return Some((shard, Damage::Gap { shard, from, to: end }));
                }
            }
        }
        None
    }

    /// Opens a chunk, and takes it off the list; returns what is wrong with it, or before it, if anything is.
    async fn open_chunk(&mut self, listed: &Listed) -> Result<Option<Damage>, ReadError> {
        let shard = listed.shard;
        let expected = self.expected.get(&shard).copied();
        if self.done.contains(&shard) {
            self.chunks.pop_front();
            return Ok(None);
        }
        if let Some(from) = expected.filter(|from| *from < listed.first) {
            self.expected.insert(shard, listed.first);
            let from = self.selection.from(shard).map_or(from, |begin| begin.max(from));
            if from < listed.first {
                return Ok(Some(Damage::Gap { shard, from, to: listed.first }));
            }
        }
        let bytes = self.store.get(&listed.path).await?;
        self.chunks.pop_front();
        let Some(bytes) = bytes else {
            return Ok(Some(Damage::Missing { path: listed.path.to_string(), shard: Some(shard) }));
        };
        let chunk = open::parse_chunk(&bytes, &self.stream);
        if let Ok(chunk) = &chunk {
            if self.selection.ends_with(chunk) {
                self.done.insert(shard);
            }
            if !self.selection.touches(chunk) {
                self.expected.insert(shard, chunk.end);
                return Ok(None);
            }
        }
        match chunk.and_then(|chunk| OpenChunk::new(&self.store.root, chunk)) {
            Ok(chunk) => {
                self.current = Some(chunk);
                Ok(None)
            }
            Err(reason) => Ok(Some(Damage::Manifest { path: listed.path.to_string(), reason })),
        }
    }
}

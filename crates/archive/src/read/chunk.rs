//! A chunk that is being read: its runs say from which file the next record comes.

use object_store::path::Path;
use weir_types::{SequenceNumber, ShardId};

use super::page::Entry;
use super::part::{Failure, PartReader};
use super::{Damage, Page, Selection};
use crate::error::StoreError;
use crate::manifest::Chunk;
use crate::place;
use crate::runs::{Run, Runs};
use crate::store::Store;

/// A chunk that is being read, and the page that is being filled from it.
#[derive(Debug)]
pub(super) struct OpenChunk {
    source: Source,
    /// Here, and not in a future: what a dropped future has read is not lost.
    filling: Option<Page>,
}

#[derive(Debug)]
struct Source {
    shard: ShardId,
    end: SequenceNumber,
    parts: Vec<PartReader>,
    runs: Runs,
    run: Run,
    /// The next record's place.
    next: SequenceNumber,
    path: String,
    done: bool,
}

impl OpenChunk {
    pub fn new(root: &Path, chunk: Chunk) -> Result<Self, String> {
        let runs = Runs::parse(&chunk.runs)?;
        let path = place::chunk(root, chunk.hour, chunk.shard, chunk.first).to_string();
        let (hour, shard) = (chunk.hour, chunk.shard);
        let reader = |part: crate::manifest::Part| PartReader::new(place::file(root, hour, shard, &part.file), part);
        let source = Source {
            shard,
            end: chunk.end,
            parts: chunk.parts.into_iter().map(reader).collect(),
            runs,
            run: Run::default(),
            next: chunk.first,
            path,
            done: false,
        };
        Ok(Self { source, filling: None })
    }

    pub fn shard(&self) -> ShardId {
        self.source.shard
    }

    pub fn end(&self) -> SequenceNumber {
        self.source.end
    }

    pub fn is_done(&self) -> bool {
        self.source.done
    }

    /// Reads on until about `bytes_max` bytes are there, or the chunk is done.
    pub async fn page(&mut self, store: &Store, selection: &Selection, bytes_max: usize) -> Result<Page, StoreError> {
        let Self { source, filling } = self;
        let page = filling.get_or_insert_with(|| {
            let mut page = Page::new(source.shard);
            page.schemas = source.parts.iter().map(|part| (part.fingerprint(), None)).collect();
            page
        });
        source.fill(store, selection, bytes_max, page).await?;
        Ok(filling.take().unwrap_or_else(|| Page::new(source.shard)))
    }
}

impl Source {
    async fn fill(
        &mut self,
        store: &Store,
        selection: &Selection,
        bytes_max: usize,
        page: &mut Page,
    ) -> Result<(), StoreError> {
        while self.run.records > 0 || self.next_run(page) {
            if !page.entries.is_empty() && page.bytes.len() >= bytes_max {
                break;
            }
            if let Err(error) = self.record(store, selection, page).await {
                // What is in the page goes first; then the store is asked again.
                if page.is_empty() {
                    return Err(error);
                }
                break;
            }
        }
        for (part, (_, schema)) in self.parts.iter().zip(&mut page.schemas) {
            if !part.is_opaque() {
                schema.clone_from(&part.schema);
            }
        }
        page.end = Some(self.next);
        Ok(())
    }

    /// Goes to the next run; false at the end of the chunk.
    fn next_run(&mut self, page: &mut Page) -> bool {
        let damaged = |reason: &str| Damage::Manifest { path: self.path.clone(), reason: reason.to_owned() };
        match self.runs.next() {
            Ok(Some(run)) if run.part < self.parts.len() && run.missing + run.records <= self.end.since(self.next) => {
                if run.missing > 0 {
                    page.missing.push((self.next, self.next + run.missing));
                    self.next = self.next + run.missing;
                }
                self.run = run;
                return true;
            }
            Ok(Some(_)) => page.damage.push(damaged("its runs do not fit its files")),
            Err(reason) => page.damage.push(damaged(reason)),
            Ok(None) if self.next != self.end => page.damage.push(damaged("its runs end too early")),
            Ok(None) => {
                let whole = self.parts.iter().filter(|part| !part.broken);
                page.damage.extend(whole.filter_map(PartReader::compare));
            }
        }
        self.next = self.end;
        self.done = true;
        false
    }

    /// Reads the next record of the run.
    async fn record(&mut self, store: &Store, selection: &Selection, page: &mut Page) -> Result<(), StoreError> {
        let part = &mut self.parts[self.run.part];
        if part.broken {
            self.next = self.next + self.run.records;
            self.run.records = 0;
            return Ok(());
        }
        let failure = match part.fill(store).await {
            Ok(true) => {
                let body = part.take();
                if selection.takes(self.shard, self.next, self.run.arrived_at) {
                    let mut put = |bytes: &[u8]| {
                        let start = page.bytes.len();
                        page.bytes.extend_from_slice(bytes);
                        start..page.bytes.len()
                    };
                    let body = put(body);
                    let key = self.run.key.as_deref().map(put);
                    let (sequence, arrived_at) = (self.next, self.run.arrived_at);
                    page.entries.push(Entry { sequence, arrived_at, schema: self.run.part, key, body });
                }
                self.next = self.next + 1;
                self.run.records -= 1;
                return Ok(());
            }
            Ok(false) => Failure::Broken("it has fewer records than were written".to_owned()),
            Err(failure) => failure,
        };
        page.damage.push(part.give_up(failure, self.shard, self.next)?);
        Ok(())
    }
}

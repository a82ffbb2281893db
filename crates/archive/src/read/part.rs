//! One file of a chunk, fetched and decoded a piece at a time.

use std::ops::Range;

use object_store::path::Path;
use weir_schema::{ContainerHeader, ContainerReader, Schema};
use weir_stream::digest;
use weir_types::{Fingerprint, SequenceNumber, ShardId, Tally};

use super::Damage;
use crate::error::StoreError;
use crate::limits::FETCH_BYTES;
use crate::manifest::Part;
use crate::runs::get_varint;
use crate::store::Store;

/// Why a file does not read on.
pub(super) enum Failure {
    /// The store failed; the same may be tried again.
    Store(StoreError),
    /// The file is gone, or not what it was.
    Damage(Damage),
    /// The file is damaged where it was read.
    Broken(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct PartReader {
    path: Path,
    part: Part,
    /// What comes next from the store.
    offset: u64,
    /// Bytes before the header is whole.
    head: Vec<u8>,
    reader: Option<ContainerReader>,
    pub schema: Option<Schema>,
    /// Bodies that were decoded and not handed over, and where each ends.
    bodies: Vec<u8>,
    ends: Vec<usize>,
    at: usize,
    handed: Tally,
    pub broken: bool,
}

impl PartReader {
    pub fn new(path: Path, part: Part) -> Self {
        Self {
            path,
            part,
            offset: 0,
            head: Vec::new(),
            reader: None,
            schema: None,
            bodies: Vec::new(),
            ends: Vec::new(),
            at: 0,
            handed: Tally::default(),
            broken: false,
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.part.fingerprint
    }

    /// Says whether the file's records are `bytes` that hold them.
    pub fn is_opaque(&self) -> bool {
        self.part.opaque
    }

    /// Fetches until a record is there; false at the end of the file.
    pub async fn fill(&mut self, store: &Store) -> Result<bool, Failure> {
        while self.at == self.ends.len() {
            if self.offset == self.part.bytes {
                return match self.reader.take() {
                    Some(reader) => reader.finish().map(|()| false).map_err(|error| Failure::Broken(error.to_string())),
                    None => Ok(false),
                };
            }
            let to = (self.offset + FETCH_BYTES).min(self.part.bytes);
            let bytes = match store.get_range(&self.path, self.offset..to).await {
                Ok(bytes) if bytes.len() as u64 == to - self.offset => bytes,
                Ok(_) => return Err(self.why_short(store, None).await),
                Err(error) => return Err(self.why_short(store, Some(error)).await),
            };
            self.offset = to;
            self.bodies.clear();
            self.ends.clear();
            self.at = 0;
            self.feed(&bytes).map_err(Failure::Broken)?;
        }
        Ok(true)
    }

    /// Finds out why a range could not be had: the file is gone or has another size, or the store failed.
    async fn why_short(&self, store: &Store, error: Option<StoreError>) -> Failure {
        let path = self.path.to_string();
        match (store.size(&self.path).await, error) {
            (Ok(None), _) => Failure::Damage(Damage::Missing { path, shard: None }),
            (Ok(Some(found)), _) if found != self.part.bytes => {
                Failure::Damage(Damage::Size { path, found, expected: self.part.bytes })
            }
            (_, Some(error)) | (Err(error), None) => Failure::Store(error),
            (Ok(Some(_)), None) => Failure::Broken("the store gave fewer bytes than it has".to_owned()),
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (bodies, ends) = (&mut self.bodies, &mut self.ends);
        let mut wrong = None;
        let opaque = self.part.opaque;
        let mut each = |number: u64, record: Result<&[u8], weir_schema::RecordError>| match record {
            Ok(record) if wrong.is_none() => {
                let body = if opaque { unwrapped(record) } else { Some(record) };
                match body {
                    Some(body) => {
                        bodies.extend_from_slice(body);
                        ends.push(bodies.len());
                    }
                    None => wrong = Some(format!("record {number} of the file is not `bytes`")),
                }
            }
            Ok(_) => {}
            Err(error) => wrong = Some(wrong.take().unwrap_or_else(|| format!("record {number} of the file: {error}"))),
        };
        if let Some(reader) = &mut self.reader {
            reader.feed(bytes, &mut each).map_err(|error| error.to_string())?;
        } else {
            self.head.extend_from_slice(bytes);
            if let Some(header) = ContainerHeader::read(&self.head).map_err(|error| error.to_string())? {
                let mut reader = ContainerReader::new(&header.schema);
                let head = std::mem::take(&mut self.head);
                reader.feed(&head, &mut each).map_err(|error| error.to_string())?;
                self.reader = Some(reader);
                self.schema = Some(header.schema);
            } else if self.offset == self.part.bytes {
                return Err("it ends inside its header".to_owned());
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Takes the next record, which [`PartReader::fill`] has said is there.
    pub fn take(&mut self) -> &[u8] {
        let range = self.range();
        self.at += 1;
        let body = &self.bodies[range];
        self.handed.add(digest(body));
        body
    }

    fn range(&self) -> Range<usize> {
        let start = if self.at == 0 { 0 } else { self.ends[self.at - 1] };
        start..self.ends[self.at]
    }

    /// Compares what the file had with what was written.
    pub fn compare(&self) -> Option<Damage> {
        (self.handed != self.part.records).then(|| Damage::Differs {
            path: self.path.to_string(),
            reason: format!("{} instead of {}, counted and summed", self.handed, self.part.records),
        })
    }

    /// Gives the file up, and says what of it is not read.
    pub fn give_up(&mut self, failure: Failure, shard: ShardId, from: SequenceNumber) -> Result<Damage, StoreError> {
        let lost = self.part.records.count.saturating_sub(self.handed.count);
        let damage = match failure {
            Failure::Store(error) => return Err(error),
            Failure::Damage(Damage::Missing { path, .. }) => Damage::Missing { path, shard: Some(shard) },
            Failure::Damage(damage) => damage,
            Failure::Broken(reason) => Damage::File { path: self.path.to_string(), shard, from, reason, lost },
        };
        self.broken = true;
        Ok(damage)
    }
}

/// Returns what an Avro `bytes` holds.
fn unwrapped(record: &[u8]) -> Option<&[u8]> {
    let (zigzag, length) = get_varint(record)?;
    let body = record.get(length..)?;
    (zigzag & 1 == 0 && body.len() as u64 == zigzag >> 1).then_some(body)
}

//! The bytes of a block: some records of one shard.
//!
//! Format 1, integers as unsigned LEB128 (`varint`) unless noted:
//!
//! ```text
//! u8      format = 1
//! u8      flags: 1 = stamped, 2 = summed
//! [stamp] producer length, producer, number, chunk, shards
//! [sum]   16 bytes little endian: the wrapping sum of the records' digests
//! varint  how many fingerprints, then each as 8 bytes little endian
//! records, each:
//!     varint  body length << 2 | has key << 1 | fingerprint is not the first
//!     [varint index of the fingerprint]   [varint key length, key]
//!     body
//! ```
//!
//! The number of records stands in the log's own frame, and so does the checksum. Decoding checks every length
//! against what is there: a block that breaks the format is an error, never a shorter list.

use bytes::{BufMut, Bytes};
use weir_log::{Block, StoredBlock};
use weir_types::{Fingerprint, ProducerId, SequenceNumber, Timestamp};

use crate::digest::digest;
use crate::producers::Stamp;

const FORMAT: u8 = 1;
const STAMPED: u8 = 1;
const SUMMED: u8 = 2;
/// A block is closed when it has grown to this many bytes.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;
/// Schemas in one block; a batch with more is split.
const FINGERPRINTS_MAX: usize = 64;

/// A block that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the block at {first} breaks the stream's format: {reason}")]
pub struct BlockError {
    /// The block's first sequence number.
    pub first: SequenceNumber,
    /// What is wrong, in words.
    pub reason: &'static str,
}

/// One record, borrowed from its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the shard.
    pub sequence: SequenceNumber,
    /// When the log took it.
    pub arrived_at: Timestamp,
    /// The schema it was written with.
    pub fingerprint: Fingerprint,
    /// The partition key, where the producer gave one beside the record.
    pub key: Option<&'a [u8]>,
    /// Avro binary.
    pub body: &'a [u8],
}

/// A block that takes no more records.
#[derive(Debug)]
struct Closed {
    records: u32,
    sum: u128,
    /// Fingerprints and records.
    tail: Vec<u8>,
}

/// Collects records into blocks.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    closed: Vec<Closed>,
    fingerprints: Vec<Fingerprint>,
    records: u32,
    /// The wrapping sum of the records' digests.
    sum: u128,
    body: Vec<u8>,
    bytes: usize,
}

impl Builder {
    pub fn push(&mut self, fingerprint: Fingerprint, key: Option<&[u8]>, body: &[u8]) {
        let index = match self.fingerprints.iter().position(|known| *known == fingerprint) {
            Some(index) => index,
            None => {
                if self.fingerprints.len() == FINGERPRINTS_MAX {
                    self.close_block();
                }
                self.fingerprints.push(fingerprint);
                self.fingerprints.len() - 1
            }
        };
        let before = self.body.len();
        put_varint(&mut self.body, (body.len() as u64) << 2 | u64::from(key.is_some()) << 1 | u64::from(index > 0));
        if index > 0 {
            put_varint(&mut self.body, index as u64);
        }
        if let Some(key) = key {
            put_varint(&mut self.body, key.len() as u64);
            self.body.put_slice(key);
        }
        self.body.put_slice(body);
        self.records += 1;
        // The producer's side of the ledger: readers sum up what they find, and the two must agree.
        self.sum = self.sum.wrapping_add(digest(body));
        self.bytes += self.body.len() - before;
        if self.body.len() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn close_block(&mut self) {
        if self.records == 0 {
            return;
        }
        let mut tail = Vec::with_capacity(8 * self.fingerprints.len() + 4 + self.body.len());
        put_varint(&mut tail, self.fingerprints.len() as u64);
        for fingerprint in self.fingerprints.drain(..) {
            tail.put_u64_le(fingerprint.0);
        }
        tail.append(&mut self.body);
        let (records, sum) = (std::mem::take(&mut self.records), std::mem::take(&mut self.sum));
        self.closed.push(Closed { records, sum, tail });
    }

    /// Returns the blocks, each with the stamp, and leaves the builder empty.
    pub fn take(&mut self, stamp: Option<&Stamp>) -> Vec<Block> {
        self.close_block();
        self.bytes = 0;
        let mut head = vec![FORMAT, SUMMED | (u8::from(stamp.is_some()) * STAMPED)];
        if let Some(Stamp { producer, number, chunk, shards }) = stamp {
            put_varint(&mut head, producer.as_str().len() as u64);
            head.put_slice(producer.as_str().as_bytes());
            put_varint(&mut head, *number);
            put_varint(&mut head, u64::from(*chunk));
            put_varint(&mut head, u64::from(*shards));
        }
        self.closed
            .drain(..)
            .map(|Closed { records, sum, tail }| {
                let mut payload = Vec::with_capacity(head.len() + 16 + tail.len());
                payload.extend_from_slice(&head);
                payload.put_u128_le(sum);
                payload.extend_from_slice(&tail);
                Block { records, payload: Bytes::from(payload) }
            })
            .collect()
    }
}

/// A block's records, in order.
#[derive(Debug)]
pub struct Records<'a> {
    stamp: Option<Stamp>,
    sum: Option<u128>,
    fingerprints: Vec<Fingerprint>,
    input: Input<'a>,
    next: SequenceNumber,
    left: u32,
    arrived_at: Timestamp,
}

impl<'a> Records<'a> {
    /// Reads the head of a block.
    ///
    /// # Errors
    /// If it breaks the format.
    pub fn new(block: &'a StoredBlock) -> Result<Self, BlockError> {
        let mut input = Input { first: block.first, bytes: &block.payload };
        if input.byte()? != FORMAT {
            return Err(input.error("an unknown format version"));
        }
        let flags = input.byte()?;
        if flags & !(STAMPED | SUMMED) != 0 {
            return Err(input.error("unknown flags"));
        }
        let stamp = match flags & STAMPED {
            0 => None,
            _ => {
                let producer = std::str::from_utf8(input.slice()?)
                    .ok()
                    .and_then(|text| text.parse::<ProducerId>().ok())
                    .ok_or_else(|| input.error("a producer id that is not one"))?;
                let number = input.varint()?;
                let chunk = u32::try_from(input.varint()?).map_err(|_| input.error("a chunk number out of range"))?;
                let shards =
                    u32::try_from(input.varint()?).map_err(|_| input.error("a number of shards out of range"))?;
                Some(Stamp { producer, number, chunk, shards })
            }
        };
        let sum = match flags & SUMMED {
            0 => None,
            _ => Some(u128::from_le_bytes(input.take(16)?.try_into().expect("16 bytes were taken"))),
        };
        let count = input.varint()?;
        if count > FINGERPRINTS_MAX as u64 {
            return Err(input.error("too many fingerprints"));
        }
        let mut fingerprints = Vec::new();
        for _ in 0..count {
            let bytes = input.take(8)?;
            fingerprints.push(Fingerprint(u64::from_le_bytes(bytes.try_into().expect("8 bytes were taken"))));
        }
        Ok(Self {
            stamp,
            sum,
            fingerprints,
            input,
            next: block.first,
            left: block.records,
            arrived_at: block.appended_at,
        })
    }

    /// Returns the stamp of the batch that the block belongs to.
    pub fn stamp(&self) -> Option<&Stamp> {
        self.stamp.as_ref()
    }

    /// Returns the wrapping sum of the digests of the block's records, as its writer had them; none in blocks of a weir
    /// that kept none.
    pub fn digest_sum(&self) -> Option<u128> {
        self.sum
    }

    fn read(&mut self) -> Result<Record<'a>, BlockError> {
        let head = self.input.varint()?;
        let index = if head & 1 == 0 { 0 } else { self.input.varint()? };
        let fingerprint = usize::try_from(index)
            .ok()
            .and_then(|index| self.fingerprints.get(index))
            .copied()
            .ok_or_else(|| self.input.error("a fingerprint that the block does not have"))?;
        let key = if head & 2 == 0 { None } else { Some(self.input.slice()?) };
        let length = usize::try_from(head >> 2).map_err(|_| self.input.error("a length out of range"))?;
        let body = self.input.take(length)?;
        let sequence = self.next;
        self.next = self.next + 1;
        Ok(Record { sequence, arrived_at: self.arrived_at, fingerprint, key, body })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if self.input.bytes.is_empty() {
                return None;
            }
            let error = self.input.error("bytes after the last record");
            self.input.bytes = &[];
            return Some(Err(error));
        }
        let record = self.read();
        // After an error nothing behind it can be trusted.
        self.left = if record.is_ok() { self.left - 1 } else { 0 };
        if record.is_err() {
            self.input.bytes = &[];
        }
        Some(record)
    }
}

#[derive(Debug)]
struct Input<'a> {
    first: SequenceNumber,
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn error(&self, reason: &'static str) -> BlockError {
        BlockError { first: self.first, reason }
    }

    fn byte(&mut self) -> Result<u8, BlockError> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], BlockError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(|| self.error("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn slice(&mut self) -> Result<&'a [u8], BlockError> {
        let length = usize::try_from(self.varint()?).map_err(|_| self.error("a length out of range"))?;
        self.take(length)
    }

    fn varint(&mut self) -> Result<u64, BlockError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("a number that is too long"))
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(block: Block) -> StoredBlock {
        StoredBlock {
            first: SequenceNumber(7),
            records: block.records,
            appended_at: Timestamp(9),
            payload: block.payload,
        }
    }

    type Given = (u64, Option<Vec<u8>>, Vec<u8>);

    fn given() -> impl Strategy<Value = Given> {
        let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
        (0u64..100, prop::option::of(bytes(20)), bytes(300))
    }

    proptest! {
        #[test]
        fn what_is_built_reads_back(records in prop::collection::vec(given(), 1..200), stamped in any::<bool>()) {
            let stamp = stamped.then(|| Stamp { producer: "p".parse().unwrap(), number: 300, chunk: 2, shards: 3 });
            let mut builder = Builder::default();
            for (fingerprint, key, body) in &records {
                builder.push(Fingerprint(*fingerprint), key.as_deref(), body);
            }
            let mut read = Vec::new();
            for block in builder.take(stamp.as_ref()) {
                let block = stored(block);
                let found = Records::new(&block).unwrap();
                prop_assert_eq!(found.stamp(), stamp.as_ref());
                let bodies = Records::new(&block).unwrap().map(|record| digest(record.unwrap().body));
                prop_assert_eq!(found.digest_sum(), Some(bodies.fold(0, u128::wrapping_add)));
                for record in found {
                    let record = record.unwrap();
                    read.push((record.fingerprint.0, record.key.map(<[u8]>::to_vec), record.body.to_vec()));
                }
            }
            prop_assert_eq!(read, records);
            prop_assert!(builder.is_empty());
        }

        #[test]
        fn any_bytes_are_records_or_an_error(payload in prop::collection::vec(any::<u8>(), 0..200), count in 1u32..50) {
            let block = stored(Block { records: count, payload: payload.into() });
            if let Ok(records) = Records::new(&block) {
                let read: Vec<_> = records.collect();
                prop_assert!(read.last().is_some_and(Result::is_err) || read.len() == count as usize);
            }
        }
    }
}

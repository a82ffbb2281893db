//! Avro object container files, read as they arrive and written block by block.
//!
//! ```text
//! Obj 1 | metadata: schema, codec | sync     then, until the end:     count | size | records | sync
//! ```
//!
//! Invariants: at most one block is held, compressed and decompressed, each bounded by
//! [`BLOCK_BYTES_MAX`]; what is handed over is binary of the target schema, and has been
//! checked. Damage within a record refuses the rest of its block, record by record, since nothing tells where the next
//! one begins; the next block is found by its length and its sync marker. Damage of a block's frame ends the file.
//!
//! Source: Avro specification 1.11, "Object Container Files".

mod codec;
mod header;
#[cfg(test)]
mod tests;
mod write;

pub use codec::Codec;
pub use header::ContainerHeader;
pub use write::ContainerWriter;

use crate::binary::{CUT_OFF, Cursor};
use crate::compatibility::can_read;
use crate::limits::{BLOCK_BYTES_MAX, EMPTY_ITEMS_MAX};
use crate::resolve::skip;
use crate::{Incompatibility, ParseError, RecordError, Resolver, Schema};
use weir_types::limits::RECORD_BYTES_MAX;

/// A container file that can't be read on. The records handed over before are good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// The first four bytes are not `Obj` and 1.
    #[error("this is no Avro container file: it does not begin with `Obj` and a 1")]
    Magic,
    /// The header is no header.
    #[error("the header of the Avro container file can't be read: {reason}")]
    Header {
        /// Why.
        reason: String,
    },
    /// The header's schema is no schema.
    #[error("the schema of the Avro container file can't be read")]
    Schema(#[source] ParseError),
    /// The target schema can't read the file's.
    #[error("the Avro container file's schema does not fit: {}", first(reasons))]
    Incompatible {
        /// What does not fit.
        reasons: Vec<Incompatibility>,
    },
    /// Compressed in a way that isn't known here.
    #[error("the Avro container file is compressed with `{codec}`: use null, deflate, snappy or zstandard")]
    Codec {
        /// Its name.
        codec: String,
    },
    /// A block is too long, or its frame is damaged.
    #[error("block {block} of the Avro container file can't be read: {reason}")]
    Block {
        /// Its number, from 1.
        block: u64,
        /// Why.
        reason: String,
    },
    /// The file ends inside its header or a block.
    #[error("the Avro container file ends early, behind {records} records and inside {}", within(*block))]
    CutOff {
        /// The block's number, from 1; 0 is the header.
        block: u64,
        /// Records handed over before.
        records: u64,
    },
}

fn first(reasons: &[Incompatibility]) -> String {
    match reasons {
        [] => String::new(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

fn within(block: u64) -> String {
    if block == 0 { "the header".to_owned() } else { format!("block {block}") }
}

/// Reads one container file into records of a target schema.
#[derive(Debug)]
pub struct ContainerReader {
    target: Schema,
    /// What has come and is not read.
    pending: Vec<u8>,
    file: Option<File>,
    blocks: u64,
    records: u64,
    /// A block, decompressed.
    block: Vec<u8>,
    /// A record, resolved.
    record: Vec<u8>,
}

/// What the header says.
#[derive(Debug)]
struct File {
    writer: Schema,
    codec: Codec,
    sync: [u8; 16],
    /// `None` if the binary forms are the same.
    resolver: Option<Resolver>,
}

impl ContainerReader {
    /// Begins a file whose records are wanted in the schema `target`.
    pub fn new(target: &Schema) -> Self {
        Self {
            target: target.clone(),
            pending: Vec::new(),
            file: None,
            blocks: 0,
            records: 0,
            block: Vec::new(),
            record: Vec::new(),
        }
    }

    /// Takes the next chunk, and hands over the records of each block that ends in it, with their numbers, from 1.
    ///
    /// # Errors
    /// If the file can't be read on; the reader is of no use then.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        mut each: impl FnMut(u64, Result<&[u8], RecordError>),
    ) -> Result<(), ContainerError> {
        self.pending.extend_from_slice(chunk);
        let pending = std::mem::take(&mut self.pending);
        let mut used = 0;
        if self.file.is_none() {
            match self.header(&pending)? {
                Some((file, length)) => {
                    self.file = Some(file);
                    used = length;
                }
                None => {
                    self.pending = pending;
                    return Ok(());
                }
            }
        }
        // Put back after: a loop of blocks borrows both.
        let Some(file) = self.file.take() else { return Ok(()) };
        while let Some(length) = self.block(&file, &pending[used..], &mut each)? {
            used += length;
        }
        self.file = Some(file);
        self.pending = pending;
        self.pending.drain(..used);
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If it ends inside its header or a block.
    pub fn finish(self) -> Result<(), ContainerError> {
        if self.file.is_some() && self.pending.is_empty() {
            return Ok(());
        }
        let block = if self.file.is_some() { self.blocks + 1 } else { 0 };
        Err(ContainerError::CutOff { block, records: self.records })
    }

    /// Reads the header, if all of it is there.
    fn header(&self, bytes: &[u8]) -> Result<Option<(File, usize)>, ContainerError> {
        let Some(ContainerHeader { schema: writer, codec, sync, length, .. }) = ContainerHeader::read(bytes)? else {
            return Ok(None);
        };
        let incompatible = |reasons| ContainerError::Incompatible { reasons };
        let resolver = if writer.canonical_form() == self.target.canonical_form() {
            let reasons = can_read(&self.target, &writer);
            if !reasons.is_empty() {
                return Err(incompatible(reasons));
            }
            None
        } else {
            Some(Resolver::new(&writer, &self.target).map_err(incompatible)?)
        };
        Ok(Some((File { writer, codec, sync, resolver }, length)))
    }

    /// Reads one block and returns its length, if all of it is there.
    fn block(
        &mut self,
        file: &File,
        bytes: &[u8],
        each: &mut impl FnMut(u64, Result<&[u8], RecordError>),
    ) -> Result<Option<usize>, ContainerError> {
        let number = self.blocks + 1;
        let damaged = |reason: String| ContainerError::Block { block: number, reason };
        let mut cursor = Cursor::new(bytes);
        let (count, size) = match cursor.long().and_then(|count| Ok((count, cursor.long()?))) {
            Ok(found) => found,
            Err(CUT_OFF) => return Ok(None),
            Err(reason) => return Err(damaged(reason.to_owned())),
        };
        let (Ok(count), Ok(size)) = (u64::try_from(count), usize::try_from(size)) else {
            return Err(damaged("its count or its size is negative".to_owned()));
        };
        if size > BLOCK_BYTES_MAX {
            return Err(damaged(format!(
                "it has {size} bytes, and {BLOCK_BYTES_MAX} are allowed: write smaller blocks"
            )));
        }
        let (Ok(compressed), Ok(sync)) = (cursor.take(size), cursor.array::<16>()) else { return Ok(None) };
        if sync != file.sync {
            return Err(damaged("the sync marker behind it is not the file's".to_owned()));
        }
        let mut block = std::mem::take(&mut self.block);
        let records = file.codec.decompress(compressed, &mut block).map_err(damaged)?;
        self.hand_over(file, records, count, each).map_err(damaged)?;
        self.block = block;
        self.blocks = number;
        Ok(Some(cursor.at()))
    }

    fn hand_over(
        &mut self,
        file: &File,
        bytes: &[u8],
        count: u64,
        each: &mut impl FnMut(u64, Result<&[u8], RecordError>),
    ) -> Result<(), String> {
        let count_max = if file.writer.root().empty { EMPTY_ITEMS_MAX } else { bytes.len() as u64 };
        if count > count_max {
            return Err(format!("it claims {count} records, and holds {count_max} at most"));
        }
        let mut cursor = Cursor::new(bytes);
        for index in 0..count {
            let start = cursor.at();
            self.records += 1;
            let number = self.records;
            let resolved = file.resolver.as_ref().and_then(|resolver| {
                self.record.clear();
                resolver.next(&mut cursor, &mut self.record).err()
            });
            if file.resolver.is_none() || resolved.is_some() {
                // A record that can't be resolved may be whole all the same: the next one is found behind it.
                cursor = cursor.back_to(start);
                if let Err(fault) = skip(&file.writer, file.writer.root_id(), &mut cursor, 0) {
                    self.refuse_rest(number, count - index, *fault, each);
                    return Ok(());
                }
            }
            let record = match (&file.resolver, resolved) {
                (_, Some(fault)) => Err(*fault),
                (None, None) => Ok(cursor.since(start)),
                (Some(_), None) => Ok(&self.record[..]),
            };
            each(number, record.and_then(bounded));
        }
        match cursor.rest() {
            0 => Ok(()),
            rest => Err(format!("{rest} bytes are left behind its records")),
        }
    }

    /// Refuses record `number` and those behind it in its block, `count` in all.
    fn refuse_rest(
        &mut self,
        number: u64,
        count: u64,
        fault: RecordError,
        each: &mut impl FnMut(u64, Result<&[u8], RecordError>),
    ) {
        each(number, Err(fault));
        for lost in 1..count {
            let reason = format!("the record stands behind record {number} in its block, which is damaged");
            each(number + lost, Err(RecordError::whole(reason)));
        }
        self.records = number + count - 1;
    }
}

/// Refuses a record that is longer than one may be.
fn bounded(record: &[u8]) -> Result<&[u8], RecordError> {
    if record.len() <= RECORD_BYTES_MAX {
        return Ok(record);
    }
    Err(RecordError::whole(format!("the record has {} bytes, and {RECORD_BYTES_MAX} are allowed", record.len())))
}

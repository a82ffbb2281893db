//! A chunk as it is gathered: bodies into blocks, one file for each schema, and the runs that give back their order.

use bytes::Bytes;
use object_store::PutPayload;
use weir_schema::{Codec, ContainerHeader, ContainerWriter, Lookup};
use weir_stream::{Record, digest};
use weir_types::{Fingerprint, Hour, SequenceNumber, ShardId, StreamName, Tally, Timestamp};
use xxhash_rust::xxh3::xxh3_128;

use crate::limits::{BLOCK_BYTES, BLOCK_RECORDS_MAX, CHUNK_RECORDS_MAX, PARTS_MAX, RUN_BYTES_MAX};
use crate::manifest::{Chunk, FORMAT, Part};
use crate::place;
use crate::runs::{Collector, put_varint};

/// The schema of files whose records' own schema is not known.
pub(crate) const OPAQUE_SCHEMA: &str = "\"bytes\"";

/// When a chunk takes no more records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// When its bodies have so many bytes, or another bound is reached.
    Bytes(u64),
    /// At this place: another try has decided.
    Decided,
}

/// What is gathered of one schema.
struct PartBuilder {
    fingerprint: Fingerprint,
    /// None: it is not known.
    schema: Option<String>,
    blocks: Vec<Bytes>,
    block: Vec<u8>,
    block_records: u64,
    body_bytes: u64,
    records: Tally,
}

/// A chunk that is being gathered.
pub(crate) struct Builder<'a> {
    schemas: &'a (dyn Lookup + Sync),
    writer: ContainerWriter,
    limit: Limit,
    shard: ShardId,
    hour: Hour,
    first: SequenceNumber,
    end: SequenceNumber,
    arrived: Option<(Timestamp, Timestamp)>,
    missing: Vec<(SequenceNumber, SequenceNumber)>,
    parts: Vec<PartBuilder>,
    /// The part of the last record.
    last: usize,
    runs: Collector,
    body_bytes: u64,
    records: u64,
}

/// A chunk with its files, which are put in this order.
#[derive(Debug)]
pub(crate) struct Built {
    pub chunk: Chunk,
    pub files: Vec<PutPayload>,
}

/// Returns the sync marker of a chunk's files: what is made again after a crash is the same.
fn sync_marker(stream: &StreamName, shard: ShardId, first: SequenceNumber) -> [u8; 16] {
    xxh3_128(format!("{stream}/{shard}/{first}").as_bytes()).to_le_bytes()
}

impl<'a> Builder<'a> {
    /// Begins a chunk at `first`, whose first record arrived in `hour`.
    pub fn new(
        stream: &StreamName,
        shard: ShardId,
        (hour, first): (Hour, SequenceNumber),
        (codec, limit): (Codec, Limit),
        schemas: &'a (dyn Lookup + Sync),
    ) -> std::io::Result<Self> {
        Ok(Self {
            schemas,
            writer: ContainerWriter::new(codec, sync_marker(stream, shard, first))?,
            limit,
            shard,
            hour,
            first,
            end: first,
            arrived: None,
            missing: Vec::new(),
            parts: Vec::new(),
            last: 0,
            runs: Collector::default(),
            body_bytes: 0,
            records: 0,
        })
    }

    pub fn hour(&self) -> Hour {
        self.hour
    }

    /// Says whether the chunk has to end before this record.
    pub fn is_full_for(&self, fingerprint: Fingerprint) -> bool {
        let Limit::Bytes(bytes) = self.limit else { return false };
        self.body_bytes >= bytes
            || self.records >= CHUNK_RECORDS_MAX
            || self.runs.bytes() >= RUN_BYTES_MAX
            || (self.parts.len() >= PARTS_MAX && self.parts.iter().all(|part| part.fingerprint != fingerprint))
    }

    /// Adds the next record. Places between the last one and it have none.
    pub fn push(&mut self, record: &Record<'_>) -> std::io::Result<()> {
        let missing = record.sequence.since(self.end);
        if missing > 0 {
            self.missing.push((self.end, record.sequence));
        }
        if self.parts.get(self.last).is_none_or(|part| part.fingerprint != record.fingerprint) {
            self.last = self.part_of(record.fingerprint);
        }
        self.runs.push(missing, self.last, record.arrived_at, record.key);
        let first_arrival = self.arrived.map_or(record.arrived_at, |(first, _)| first);
        self.arrived = Some((first_arrival, record.arrived_at));
        let part = &mut self.parts[self.last];
        part.records.add(digest(record.body));
        part.body_bytes += record.body.len() as u64;
        if part.schema.is_none() {
            // Avro's lengths are zigzag encoded.
            put_varint(&mut part.block, (record.body.len() as u64) << 1);
        }
        part.block.extend_from_slice(record.body);
        part.block_records += 1;
        if part.block.len() >= BLOCK_BYTES || part.block_records >= BLOCK_RECORDS_MAX {
            part.end_block(&mut self.writer)?;
        }
        self.body_bytes += record.body.len() as u64;
        self.records += 1;
        self.end = record.sequence + 1;
        Ok(())
    }

    fn part_of(&mut self, fingerprint: Fingerprint) -> usize {
        if let Some(known) = self.parts.iter().position(|part| part.fingerprint == fingerprint) {
            return known;
        }
        self.parts.push(PartBuilder {
            fingerprint,
            schema: self.schemas.by_fingerprint(fingerprint).map(|schema| schema.to_json().to_owned()),
            blocks: Vec::new(),
            block: Vec::new(),
            block_records: 0,
            body_bytes: 0,
            records: Tally::default(),
        });
        self.parts.len() - 1
    }

    /// Ends the chunk; none if it has no record.
    pub fn finish(mut self, stream: &StreamName) -> std::io::Result<Option<Built>> {
        let Some((arrived_first, arrived_last)) = self.arrived else { return Ok(None) };
        let count = self.parts.len();
        let (mut parts, mut files) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (index, mut part) in self.parts.into_iter().enumerate() {
            part.end_block(&mut self.writer)?;
            let identity = Identity {
                stream: stream.clone(),
                shard: self.shard,
                hour: self.hour,
                first: self.first,
                end: self.end,
                part: index,
                parts: count,
                fingerprint: part.fingerprint,
                opaque: part.schema.is_none(),
                records: part.records,
            };
            let entries = identity.entries();
            let entries: Vec<(&str, &str)> = entries.iter().map(|(key, value)| (*key, value.as_str())).collect();
            let header = self.writer.header(part.schema.as_deref().unwrap_or(OPAQUE_SCHEMA), &entries);
            let payload: PutPayload = std::iter::once(Bytes::from(header)).chain(part.blocks).collect();
            parts.push(Part {
                file: place::file_name(self.first, index),
                fingerprint: part.fingerprint,
                opaque: identity.opaque,
                bytes: payload.content_length() as u64,
                body_bytes: part.body_bytes,
                records: part.records,
            });
            files.push(payload);
        }
        let chunk = Chunk {
            format: FORMAT,
            stream: stream.clone(),
            shard: self.shard,
            hour: self.hour,
            first: self.first,
            end: self.end,
            arrived_first,
            arrived_last,
            missing: self.missing,
            parts,
            runs: self.runs.finish()?,
        };
        Ok(Some(Built { chunk, files }))
    }
}

impl PartBuilder {
    fn end_block(&mut self, writer: &mut ContainerWriter) -> std::io::Result<()> {
        if self.block_records > 0 {
            self.blocks.push(writer.block(self.block_records, &self.block)?.into());
            self.block.clear();
            self.block_records = 0;
        }
        Ok(())
    }
}

/// What a file's header says of it. The first file of a chunk decides by it what the chunk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub stream: StreamName,
    pub shard: ShardId,
    pub hour: Hour,
    pub first: SequenceNumber,
    pub end: SequenceNumber,
    pub part: usize,
    pub parts: usize,
    pub fingerprint: Fingerprint,
    pub opaque: bool,
    pub records: Tally,
}

impl Identity {
    fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = vec![
            ("weir.stream", self.stream.to_string()),
            ("weir.shard", self.shard.to_string()),
            ("weir.hour", self.hour.to_string()),
            ("weir.first", self.first.to_string()),
            ("weir.end", self.end.to_string()),
            ("weir.part", self.part.to_string()),
            ("weir.parts", self.parts.to_string()),
            ("weir.fingerprint", self.fingerprint.to_string()),
            ("weir.records", self.records.count.to_string()),
            ("weir.sum", format!("{:032x}", self.records.sum)),
        ];
        if self.opaque {
            entries.push(("weir.opaque", "true".to_owned()));
        }
        entries
    }

    /// Reads a file's header; none if it lacks an entry.
    pub fn of(header: &ContainerHeader) -> Option<Self> {
        fn number<T: std::str::FromStr>(header: &ContainerHeader, key: &str) -> Option<T> {
            header.get(key)?.parse().ok()
        }
        let count = number(header, "weir.records")?;
        let sum = u128::from_str_radix(header.get("weir.sum")?, 16).ok()?;
        Some(Self {
            stream: header.get("weir.stream")?.parse().ok()?,
            shard: ShardId(number(header, "weir.shard")?),
            hour: header.get("weir.hour")?.parse().ok()?,
            first: SequenceNumber(number(header, "weir.first")?),
            end: SequenceNumber(number(header, "weir.end")?),
            part: number(header, "weir.part")?,
            parts: number(header, "weir.parts")?,
            fingerprint: Fingerprint(u64::from_str_radix(header.get("weir.fingerprint")?, 16).ok()?),
            opaque: header.get("weir.opaque") == Some("true"),
            records: Tally { count, sum },
        })
    }

    /// What the file number `part` of this chunk must say.
    pub fn expected(chunk: &Chunk, part: usize) -> Self {
        let of = &chunk.parts[part];
        Self {
            stream: chunk.stream.clone(),
            shard: chunk.shard,
            hour: chunk.hour,
            first: chunk.first,
            end: chunk.end,
            part,
            parts: chunk.parts.len(),
            fingerprint: of.fingerprint,
            opaque: of.opaque,
            records: of.records,
        }
    }
}

//! A page of archived records.

use std::ops::Range;

use weir_schema::Schema;
use weir_types::{Fingerprint, SequenceNumber, ShardId, Timestamp};

use super::Damage;

/// One record, as it was in the stream.
#[derive(Debug, Clone, Copy)]
pub struct ArchivedRecord<'a> {
    /// Its shard.
    pub shard: ShardId,
    /// Its place in the shard.
    pub sequence: SequenceNumber,
    /// When the log took it.
    pub arrived_at: Timestamp,
    /// The partition key, where the producer gave one beside the record.
    pub key: Option<&'a [u8]>,
    /// The fingerprint of the schema that it was written with.
    pub fingerprint: Fingerprint,
    /// That schema; none if it was not known when the record was archived.
    pub schema: Option<&'a Schema>,
    /// Avro binary.
    pub body: &'a [u8],
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub sequence: SequenceNumber,
    pub arrived_at: Timestamp,
    /// Index of the schema.
    pub schema: usize,
    /// The key in the page's bytes.
    pub key: Option<Range<usize>>,
    /// The body in the page's bytes.
    pub body: Range<usize>,
}

/// Some records of one shard, in order.
#[derive(Debug)]
pub struct Page {
    pub(super) shard: ShardId,
    pub(super) end: Option<SequenceNumber>,
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    pub(super) schemas: Vec<(Fingerprint, Option<Schema>)>,
    pub(super) missing: Vec<(SequenceNumber, SequenceNumber)>,
    pub(super) damage: Vec<Damage>,
}

impl Page {
    pub(super) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            end: None,
            bytes: Vec::new(),
            entries: Vec::new(),
            schemas: Vec::new(),
            missing: Vec::new(),
            damage: Vec::new(),
        }
    }

    pub(super) fn of_damage(shard: ShardId, damage: Damage) -> Self {
        Self { damage: vec![damage], ..Self::new(shard) }
    }

    /// Returns the shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Returns the records in order.
    pub fn records(&self) -> impl Iterator<Item = ArchivedRecord<'_>> {
        self.entries.iter().map(|entry| {
            let (fingerprint, schema) = &self.schemas[entry.schema];
            ArchivedRecord {
                shard: self.shard,
                sequence: entry.sequence,
                arrived_at: entry.arrived_at,
                key: entry.key.clone().map(|key| &self.bytes[key]),
                fingerprint: *fingerprint,
                schema: schema.as_ref(),
                body: &self.bytes[entry.body.clone()],
            }
        })
    }

    /// Returns how many records there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Says whether there is nothing to hand over, damage included.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.damage.is_empty() && self.missing.is_empty()
    }

    /// Returns where the shard goes on: the place to begin at after this page. None for a page of damage alone.
    pub fn end(&self) -> Option<SequenceNumber> {
        self.end
    }

    /// Returns places of which the log had no records any more when they were to be archived (from, and up to but not including).
    pub fn missing(&self) -> &[(SequenceNumber, SequenceNumber)] {
        &self.missing
    }

    /// Returns what was found wrong, and passed.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }
}

//! What the archive says of its files: chunks' manifests, hours' manifests, and two objects at the root. All are JSON; sums
//! and digests are hexadecimal, places are numbers.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use weir_types::{Fingerprint, Hour, SequenceNumber, ShardId, StreamName, Tally, Timestamp};
use xxhash_rust::xxh3::xxh3_128;

/// The version of all manifests' form.
pub(crate) const FORMAT: u32 = 1;

/// One file of a chunk: its records of one schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The file's name in the folder of the shard.
    pub file: String,
    /// The fingerprint of the records' schema.
    #[serde(with = "fingerprint")]
    pub fingerprint: Fingerprint,
    /// No schema was registered for the fingerprint: the file's records are Avro `bytes`, each of which is a record's body.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opaque: bool,
    /// The file's bytes.
    pub bytes: u64,
    /// Bytes of the records' bodies.
    pub body_bytes: u64,
    /// The records, by the digests of their bodies.
    pub records: Tally,
}

/// Some records of one shard that arrived in one hour, and the files that they are in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    pub(crate) format: u32,
    /// The stream.
    pub stream: StreamName,
    /// The shard.
    pub shard: ShardId,
    /// The hour of arrival.
    #[serde(with = "hour")]
    pub hour: Hour,
    /// Where the chunk begins: where the one before it ends.
    pub first: SequenceNumber,
    /// The place behind its last record.
    pub end: SequenceNumber,
    /// When the first record arrived, by the log's clock.
    pub arrived_first: Timestamp,
    /// When the last one did.
    pub arrived_last: Timestamp,
    /// Places of which the log had no records any more (from, and up to but not including).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<(SequenceNumber, SequenceNumber)>,
    /// The files.
    pub parts: Vec<Part>,
    /// Order, arrival times and keys, for the reader.
    pub(crate) runs: String,
}

impl Chunk {
    /// Returns all records' count and sum.
    pub fn records(&self) -> Tally {
        self.parts.iter().map(|part| part.records).sum()
    }

    /// Returns how many records the log did not have any more.
    pub fn missing(&self) -> u64 {
        self.missing.iter().map(|(from, to)| to.since(*from)).sum()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            chunks: 1,
            files: self.parts.len() as u64,
            bytes: self.parts.iter().map(|part| part.bytes).sum(),
            body_bytes: self.parts.iter().map(|part| part.body_bytes).sum(),
            records: self.records(),
            missing: self.missing(),
        }
    }
}

/// What some chunks have together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Chunks.
    pub chunks: u64,
    /// Their files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of the records' bodies.
    pub body_bytes: u64,
    /// The records, by the digests of their bodies.
    pub records: Tally,
    /// Records that were gone before they could be archived.
    pub missing: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.files += other.files;
        self.bytes += other.bytes;
        self.body_bytes += other.body_bytes;
        self.records.merge(other.records);
        self.missing += other.missing;
    }

    /// What is left when `other`, which is part of this, is gone.
    pub(crate) fn without(mut self, other: Self) -> Self {
        self.chunks = self.chunks.saturating_sub(other.chunks);
        self.files = self.files.saturating_sub(other.files);
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.body_bytes = self.body_bytes.saturating_sub(other.body_bytes);
        self.records.subtract(other.records);
        self.missing = self.missing.saturating_sub(other.missing);
        self
    }
}

/// What one shard has in an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardHour {
    /// The shard.
    pub shard: ShardId,
    /// Where its first chunk of the hour begins; without one, where its next chunk will.
    pub first: SequenceNumber,
    /// Where its last chunk of the hour ends.
    pub end: SequenceNumber,
    /// What the chunks have together.
    pub totals: Totals,
    /// The digest of the chunks' manifests, in order.
    #[serde(with = "digest")]
    pub digest: u128,
}

/// An hour that is closed, and the one that was closed before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HourManifest {
    pub(crate) format: u32,
    /// The stream.
    pub stream: StreamName,
    /// The hour.
    #[serde(with = "hour")]
    pub hour: Hour,
    /// The hour that was closed before; none for the first.
    pub previous: Option<Link>,
    /// Every shard that ever had a record, by number.
    pub shards: Vec<ShardHour>,
    /// What all shards have in the hour.
    pub totals: Totals,
    /// What the archive had since its beginning, this hour included, whatever retention deleted.
    pub all: Totals,
}

/// A closed hour, and the digest of its manifest's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The hour.
    #[serde(with = "hour")]
    pub hour: Hour,
    /// The digest.
    #[serde(with = "digest")]
    pub digest: u128,
}

/// An hour of the archive, closed or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HourSummary {
    /// The hour.
    #[serde(with = "hour")]
    pub hour: Hour,
    /// Whether all its records are in it.
    pub closed: bool,
    /// The shards that have records in it, by number; of a closed hour, all.
    pub shards: Vec<ShardHour>,
    /// What they have together.
    pub totals: Totals,
}

/// Whose archive it is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub format: u32,
    pub stream: StreamName,
}

/// Which hours are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retained {
    pub format: u32,
    /// The first hour that is kept: what is before it is deleted, or about to be.
    #[serde(with = "hour")]
    pub from: Hour,
    /// What the hours before had.
    pub deleted: Totals,
}

/// Returns the digest of a manifest's bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// Returns the digest of a list of digests.
pub(crate) fn digest_of_all(digests: impl IntoIterator<Item = u128>) -> u128 {
    let bytes: Vec<u8> = digests.into_iter().flat_map(u128::to_le_bytes).collect();
    xxh3_128(&bytes)
}

pub(crate) fn to_json(manifest: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(manifest).expect("texts and numbers serialise")
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<std::borrow::Cow<'de, str>, D::Error> {
    std::borrow::Cow::deserialize(deserializer)
}

pub(crate) mod hour {
    use super::{Deserializer, Hour, Serializer};

    pub fn serialize<S: Serializer>(hour: &Hour, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(hour)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hour, D::Error> {
        super::text(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

mod fingerprint {
    use super::{Deserializer, Fingerprint, Serializer};

    pub fn serialize<S: Serializer>(fingerprint: &Fingerprint, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(fingerprint)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fingerprint, D::Error> {
        let text = super::text(deserializer)?;
        u64::from_str_radix(&text, 16).map(Fingerprint).map_err(serde::de::Error::custom)
    }
}

mod digest {
    use super::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(digest: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{digest:032x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = super::text(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

//! A segment's header: which segment it is, and every log with its bounds at the moment the segment began.
//!
//! ```text
//!  0 magic [8] | 8 version u32 | 12 kind u32 | 16 number u64 | 24 salt u64
//! 32 bytes of one copy u32 | 36 crc of the rest of the copy u32 | 40 created at i64 | 48 0... | 60 crc u32
//! 64 catalog: logs u32, then per log: id u32, name length u16, head u64, tail u64, last time i64, name
//!    zeros up to a multiple of 4096, where the second copy begins
//! ```
//!
//! It stands twice, so that one bad sector takes neither names nor trim points with it. All segments of a folder have one
//! salt, so that it can be learned from any of them.

use weir_types::{LogName, SequenceNumber, Timestamp};

use super::bytes::Taker;
use super::{Kind, LogId, SegmentId, VERSION};

/// Bytes of the fixed part.
pub(crate) const FIXED_BYTES: usize = 64;

/// A copy takes a multiple of this: what a disk loses at once.
pub(crate) const COPY_STEP: usize = 4096;

/// The longest copy: [`LOGS_MAX`](crate::LOGS_MAX) logs with the longest names.
pub(crate) const COPY_BYTES_MAX: usize = 20 << 20;

const MAGIC: [u8; 8] = *b"\xf7weirlog";

/// A log as a header lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CatalogEntry {
    pub id: LogId,
    pub name: LogName,
    pub head: SequenceNumber,
    pub tail: SequenceNumber,
    pub last_at: Timestamp,
}

/// The part of a header that has a fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub id: SegmentId,
    pub salt: u64,
    pub copy_bytes: usize,
    pub created_at: Timestamp,
    rest_crc: u32,
}

impl Fixed {
    /// Returns where the frames begin.
    pub(crate) fn frames_start(&self) -> u64 {
        2 * self.copy_bytes as u64
    }
}

/// Why a header does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Its checksum is wrong.
    Damaged,
    /// It is of a version that is not known.
    Version(u32),
}

/// Writes both copies.
pub(crate) fn encode(id: SegmentId, salt: u64, created_at: Timestamp, catalog: &[CatalogEntry]) -> Vec<u8> {
    let mut copy = vec![0; FIXED_BYTES];
    copy.extend((catalog.len() as u32).to_le_bytes());
    for entry in catalog {
        copy.extend(entry.id.0.to_le_bytes());
        copy.extend((entry.name.as_str().len() as u16).to_le_bytes());
        copy.extend(entry.head.0.to_le_bytes());
        copy.extend(entry.tail.0.to_le_bytes());
        copy.extend(entry.last_at.0.to_le_bytes());
        copy.extend(entry.name.as_str().as_bytes());
    }
    copy.resize(copy.len().next_multiple_of(COPY_STEP), 0);
    let rest_crc = crc32c::crc32c(&copy[FIXED_BYTES..]);
    let copy_bytes = copy.len() as u32;
    let kind: u32 = match id.kind {
        Kind::Hot => 1,
        Kind::Cold => 2,
    };
    copy[0..8].copy_from_slice(&MAGIC);
    copy[8..12].copy_from_slice(&VERSION.to_le_bytes());
    copy[12..16].copy_from_slice(&kind.to_le_bytes());
    copy[16..24].copy_from_slice(&id.number.to_le_bytes());
    copy[24..32].copy_from_slice(&salt.to_le_bytes());
    copy[32..36].copy_from_slice(&copy_bytes.to_le_bytes());
    copy[36..40].copy_from_slice(&rest_crc.to_le_bytes());
    copy[40..48].copy_from_slice(&created_at.0.to_le_bytes());
    let crc = crc32c::crc32c(&copy[..60]);
    copy[60..64].copy_from_slice(&crc.to_le_bytes());
    copy.repeat(2)
}

/// Reads the fixed part of a copy.
pub(crate) fn decode_fixed(bytes: &[u8]) -> Result<Fixed, Unreadable> {
    fixed(bytes).unwrap_or(Err(Unreadable::Damaged))
}

fn fixed(bytes: &[u8]) -> Option<Result<Fixed, Unreadable>> {
    let bytes = bytes.get(..FIXED_BYTES)?;
    if bytes[..8] != MAGIC || Taker(&bytes[60..]).u32()? != crc32c::crc32c(&bytes[..60]) {
        return None;
    }
    let mut taker = Taker(&bytes[8..]);
    let version = taker.u32()?;
    if version != VERSION {
        return Some(Err(Unreadable::Version(version)));
    }
    let kind = match taker.u32()? {
        1 => Kind::Hot,
        2 => Kind::Cold,
        _ => return None,
    };
    let id = SegmentId { number: taker.u64()?, kind };
    let salt = taker.u64()?;
    let copy_bytes = taker.u32()? as usize;
    if copy_bytes == 0 || copy_bytes > COPY_BYTES_MAX || !copy_bytes.is_multiple_of(COPY_STEP) {
        return None;
    }
    let rest_crc = taker.u32()?;
    Some(Ok(Fixed { id, salt, copy_bytes, created_at: Timestamp(taker.i64()?), rest_crc }))
}

/// Reads the catalog of a whole copy; `None` if it is damaged.
pub(crate) fn decode_catalog(fixed: &Fixed, copy: &[u8]) -> Option<Vec<CatalogEntry>> {
    let rest = copy.get(FIXED_BYTES..fixed.copy_bytes)?;
    if crc32c::crc32c(rest) != fixed.rest_crc {
        return None;
    }
    let mut taker = Taker(rest);
    let logs = taker.u32()?;
    let mut catalog = Vec::new();
    for _ in 0..logs {
        let id = LogId(taker.u32()?);
        let length = taker.u16()?;
        let head = SequenceNumber(taker.u64()?);
        let tail = SequenceNumber(taker.u64()?);
        let last_at = Timestamp(taker.i64()?);
        let name = std::str::from_utf8(taker.bytes(usize::from(length))?).ok()?.parse().ok()?;
        catalog.push(CatalogEntry { id, name, head, tail, last_at });
    }
    Some(catalog)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_copy_reads_back_alone_and_a_flipped_bit_shows() {
        let entry = |id: u32| CatalogEntry {
            id: LogId(id),
            name: format!("stream/flights/{id}").parse().unwrap(),
            head: SequenceNumber(u64::from(id)),
            tail: SequenceNumber(u64::from(id) + 100),
            last_at: Timestamp(-5),
        };
        let catalog: Vec<CatalogEntry> = (0..200).map(entry).collect();
        let id = SegmentId { number: 9, kind: Kind::Cold };
        let bytes = encode(id, 77, Timestamp(1), &catalog);
        for copy in bytes.chunks(bytes.len() / 2) {
            let fixed = decode_fixed(copy).unwrap();
            assert_eq!((fixed.id, fixed.salt, fixed.frames_start()), (id, 77, bytes.len() as u64));
            assert_eq!(decode_catalog(&fixed, copy).as_ref(), Some(&catalog));
            for byte in 0..copy.len() {
                let mut copy = copy.to_vec();
                copy[byte] ^= 4;
                let read = decode_fixed(&copy).ok().and_then(|fixed| decode_catalog(&fixed, &copy));
                assert_eq!(read, None, "byte {byte}");
            }
        }
    }

    #[test]
    fn newer_versions_are_told_from_damage() {
        let mut bytes = encode(SegmentId { number: 1, kind: Kind::Hot }, 1, Timestamp(1), &[]);
        bytes[8] = 2;
        assert_eq!(decode_fixed(&bytes), Err(Unreadable::Damaged));
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode_fixed(&bytes), Err(Unreadable::Version(2)));
    }
}

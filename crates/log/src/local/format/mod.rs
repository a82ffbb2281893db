//! The bytes on disk, version 1. Numbers are little-endian.
//!
//! ```text
//! hot segment   [header][header, again][frame][frame]...[frame]        [footer]   the footer once it is sealed
//! cold segment  [header][header, again][frame][frame]...[frame]        [footer]   always sealed; copies of live frames
//! ```
//!
//! Invariant: every byte is under a checksum, or is known to be zero, so that a flipped bit can't pass. The checksum of a
//! header is seeded with the folder's salt, the segment's number and the offset: bytes that look like a frame, in a payload
//! or written to a wrong place, are none.

mod bytes;
pub(crate) mod footer;
pub(crate) mod frame;
pub(crate) mod header;

use std::fmt;

/// The newest version that this code reads, and the one it writes.
pub(crate) const VERSION: u32 = 1;

/// Frames and headers begin at multiples of this, so that a search for the next one takes large steps.
pub(crate) const ALIGNMENT: u64 = 8;

/// Rounds up to where the next frame may begin.
pub(crate) const fn aligned(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGNMENT)
}

/// What a log is called inside the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct LogId(pub u32);

impl LogId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which chain a segment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Written by appends.
    Hot,
    /// Written by copying what still lives.
    Cold,
}

/// A segment's place among the others, and with that its file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentId {
    pub number: u64,
    pub kind: Kind,
}

impl SegmentId {
    /// Reads a file's name; `None` if it is not a segment's.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (number, extension) = name.split_once('.')?;
        let kind = match extension {
            "hot" => Kind::Hot,
            "cold" => Kind::Cold,
            _ => return None,
        };
        if number.len() != 12 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self { number: number.parse().ok()?, kind })
    }

    /// Returns the name that a file has until it is complete.
    pub(crate) fn unfinished(self) -> String {
        format!("{self}{UNFINISHED}")
    }
}

/// The end of the name of a file that is not complete. Opening removes such files.
pub(crate) const UNFINISHED: &str = ".tmp";

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extension = match self.kind {
            Kind::Hot => "hot",
            Kind::Cold => "cold",
        };
        write!(f, "{:012}.{extension}", self.number)
    }
}

/// What all checksums of one segment are seeded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed {
    pub salt: u64,
    pub number: u64,
}

impl Seed {
    /// Returns the checksum of bytes that stand at an offset.
    pub(crate) fn checksum(self, offset: u64, bytes: &[u8]) -> u32 {
        let mut place = [0; 24];
        place[..8].copy_from_slice(&self.salt.to_le_bytes());
        place[8..16].copy_from_slice(&self.number.to_le_bytes());
        place[16..].copy_from_slice(&offset.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(&place), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_read_back_and_others_are_none() {
        for id in [SegmentId { number: 7, kind: Kind::Hot }, SegmentId { number: 123_456, kind: Kind::Cold }] {
            assert_eq!(SegmentId::parse(&id.to_string()), Some(id));
        }
        for other in ["lock", "7.hot", "000000000007.hot.tmp", "00000000000x.hot", "+00000000007.hot", ""] {
            assert_eq!(SegmentId::parse(other), None, "{other}");
        }
    }
}

//! A frame: 64 bytes of header, the payload, and zeros up to the next multiple of 8.
//!
//! ```text
//!  0 magic u32 | 4 version u8, kind u8, flags u8, 0 | 8 group u32 | 12 log u32
//! 16 records u32 | 20 payload length u32 | 24 first u64
//! 32 appended at i64 (ms) | 40 payload crc u32 | 44 previous log u32
//! 48 previous end u64 | 56 previous records u32 | 60 header crc u32
//! ```
//!
//! - `group` is the offset at which the write that brought this frame began. A frame proves that everything before its
//!   group was durable when it was written: a hole below is damage, a hole within the last group is a torn write.
//! - `previous` names the records of the frame before, so that a frame whose header is lost can still be named.
//! - A frame with the flag `MORE` is not the last of its append.

use weir_types::{SequenceNumber, Timestamp};

use super::bytes::Taker;
use super::{LogId, Seed, aligned};

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 64;

/// Bytes that no text has, so that names and documents are not searched in vain.
pub(crate) const MAGIC: u32 = u32::from_le_bytes([0xf7, b'w', 0x9e, 0x01]);

const FRAME_VERSION: u8 = 1;

const MORE: u8 = 1;

/// What a frame means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Records.
    Data,
    /// Log `log` is new; the payload is its name.
    Create,
    /// Log `log` begins at `first`.
    Trim,
    /// The records of `log` from `first` on are lost, up to the number in the payload (u64).
    Lost,
    /// As `Lost`, of records of which it is not known whether they were ever written.
    MaybeLost,
    /// Everything before is durable. Written without a sync when the writer falls idle, and written over by the next group.
    Durable,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Data,
            2 => Self::Create,
            3 => Self::Trim,
            4 => Self::Lost,
            5 => Self::Durable,
            6 => Self::MaybeLost,
            _ => return None,
        })
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Create => 2,
            Self::Trim => 3,
            Self::Lost => 4,
            Self::Durable => 5,
            Self::MaybeLost => 6,
        }
    }

    /// Returns whether a frame stands for records that are not there.
    pub(crate) fn is_loss(self) -> bool {
        matches!(self, Self::Lost | Self::MaybeLost)
    }
}

/// Whether a frame ends its append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Others follow.
    More,
    /// It is the last.
    Last,
}

/// The records of the frame before; of none if it had none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Previous {
    pub log: LogId,
    pub end: u64,
    pub records: u32,
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub kind: FrameKind,
    pub part: Part,
    pub group: u32,
    pub log: LogId,
    pub records: u32,
    pub length: u32,
    pub first: SequenceNumber,
    pub appended_at: Timestamp,
    pub payload_crc: u32,
    pub previous: Previous,
}

impl FrameHeader {
    /// Returns the place after the last record. For a loss, see [`lost_end`].
    pub(crate) fn end(&self) -> SequenceNumber {
        self.first + u64::from(self.records)
    }

    /// Returns what this frame is to the one after it.
    pub(crate) fn as_previous(&self) -> Previous {
        match self.kind {
            FrameKind::Data => Previous { log: self.log, end: self.end().0, records: self.records },
            _ => Previous::default(),
        }
    }

    /// Returns the bytes of header, payload and padding.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(self.length as usize)
    }

    /// Writes the header as it stands at `offset`.
    pub(crate) fn encode(&self, seed: Seed, offset: u64) -> [u8; HEADER_BYTES] {
        let flags = match self.part {
            Part::More => MORE,
            Part::Last => 0,
        };
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&[FRAME_VERSION, self.kind.to_byte(), flags, 0]);
        bytes[8..12].copy_from_slice(&self.group.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.log.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.appended_at.0.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.previous.log.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous.end.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.previous.records.to_le_bytes());
        let crc = seed.checksum(offset, &bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header that stands at `offset`; `None` if there is none.
    pub(crate) fn decode(seed: Seed, offset: u64, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if bytes[..4] != MAGIC.to_le_bytes() {
            return None;
        }
        let mut crc = Taker(&bytes[60..]);
        if crc.u32()? != seed.checksum(offset, &bytes[..60]) {
            return None;
        }
        let mut taker = Taker(&bytes[4..]);
        let (version, kind, flags, _) = (taker.u8()?, taker.u8()?, taker.u8()?, taker.u8()?);
        if version != FRAME_VERSION {
            return None;
        }
        Some(Self {
            kind: FrameKind::from_byte(kind)?,
            part: if flags & MORE != 0 { Part::More } else { Part::Last },
            group: taker.u32()?,
            log: LogId(taker.u32()?),
            records: taker.u32()?,
            length: taker.u32()?,
            first: SequenceNumber(taker.u64()?),
            appended_at: Timestamp(taker.i64()?),
            payload_crc: taker.u32()?,
            previous: Previous { log: LogId(taker.u32()?), end: taker.u64()?, records: taker.u32()? },
        })
    }

    /// Reads a header in which one bit is turned over; `None` if there is none. No more can be put right for certain.
    pub(crate) fn mend(seed: Seed, offset: u64, bytes: &[u8]) -> Option<Self> {
        let mut bytes: [u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        (0..8 * HEADER_BYTES).find_map(|bit| {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mended = Self::decode(seed, offset, &bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
            mended
        })
    }

    /// Returns whether `payload` and the padding behind it are as written. `bytes` are all bytes after the header.
    pub(crate) fn matches(&self, bytes: &[u8]) -> bool {
        let Some((payload, padding)) = bytes.split_at_checked(self.length as usize) else { return false };
        padding.iter().all(|byte| *byte == 0) && crc32c::crc32c(payload) == self.payload_crc
    }
}

/// Returns the bytes of a frame with a payload of `length` bytes.
pub(crate) fn frame_bytes(length: usize) -> u64 {
    aligned((HEADER_BYTES + length) as u64)
}

/// Returns where a loss ends, from its payload.
pub(crate) fn lost_end(payload: &[u8]) -> Option<SequenceNumber> {
    Taker(payload).u64().map(SequenceNumber)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> impl Strategy<Value = FrameHeader> {
        let ids = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
        (1..=6_u8, any::<bool>(), ids, any::<u64>(), any::<i64>(), any::<(u32, u64, u32)>()).prop_map(
            |(kind, more, (group, log, records, length, payload_crc), first, at, previous)| FrameHeader {
                kind: FrameKind::from_byte(kind).unwrap(),
                part: if more { Part::More } else { Part::Last },
                group,
                log: LogId(log),
                records,
                length,
                first: SequenceNumber(first),
                appended_at: Timestamp(at),
                payload_crc,
                previous: Previous { log: LogId(previous.0), end: previous.1, records: previous.2 },
            },
        )
    }

    proptest! {
        #[test]
        fn headers_read_back_only_whole_and_in_their_place(header in header(), salt: u64, at in 0..1_000_000_u64, bit in 0..512_usize) {
            let seed = Seed { salt, number: 3 };
            let mut bytes = header.encode(seed, at);
            prop_assert_eq!(FrameHeader::decode(seed, at, &bytes), Some(header));
            prop_assert_eq!(FrameHeader::decode(seed, at + 8, &bytes), None);
            prop_assert_eq!(FrameHeader::decode(Seed { number: 4, ..seed }, at, &bytes), None);
            prop_assert_eq!(FrameHeader::decode(seed, at, &bytes[..63]), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(FrameHeader::decode(seed, at, &bytes), None);
            prop_assert_eq!(FrameHeader::mend(seed, at, &bytes), Some(header));
            prop_assert_eq!(FrameHeader::mend(seed, at + 8, &bytes), None);
        }
    }
}

//! A sealed segment's footer: where each log's frames lie.
//!
//! ```text
//! runs     56 bytes each: log u32, offset u32, span u32, bytes u32, payload bytes u32, frames u32,
//!          first u64, end u64, oldest i64, newest i64
//! pieces   56 bytes each: log u32, first run u32, runs u32, bytes u32, payload bytes u32, frames u32, and as above
//! trailer  64 bytes: magic [8], version u32, runs u32, pieces u32, runs crc u32, pieces crc u32, 0 u32,
//!          number u64, salt u64, frames end u64, 0 u32, crc u32
//! ```
//!
//! A run is a stretch of the file that holds consecutive records of one log, maybe with other logs' frames between; a
//! piece is all consecutive records of one log in the segment. Opening reads trailer and pieces, reading a record the runs.

use weir_types::{SequenceNumber, Timestamp};

use super::bytes::Taker;
use super::{LogId, Seed, VERSION};

/// Bytes of a run and of a piece.
pub(crate) const ENTRY_BYTES: usize = 56;

/// Bytes of the trailer: the file's last ones.
pub(crate) const TRAILER_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"\xf7sealed\x01";

/// Consecutive records of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub first: SequenceNumber,
    pub end: SequenceNumber,
    pub oldest: Timestamp,
    pub newest: Timestamp,
    /// Bytes of its frames.
    pub bytes: u32,
    /// Bytes of their payloads.
    pub payload: u32,
    pub frames: u32,
}

/// Where consecutive records of one log lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub offset: u32,
    /// From the first byte of the first frame to the last of the last.
    pub span: u32,
    pub extent: Extent,
}

/// Consecutive records of one log, and which runs hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub log: LogId,
    pub run_first: u32,
    pub run_count: u32,
    pub extent: Extent,
}

/// The last bytes of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub runs: u32,
    pub pieces: u32,
    pub frames_end: u64,
    pub number: u64,
    pub salt: u64,
    runs_crc: u32,
    pieces_crc: u32,
}

impl Trailer {
    /// Returns where the runs begin.
    pub(crate) fn runs_start(&self) -> u64 {
        self.frames_end
    }

    /// Returns where the pieces begin.
    pub(crate) fn pieces_start(&self) -> u64 {
        self.frames_end + u64::from(self.runs) * ENTRY_BYTES as u64
    }

    /// Returns the length of the file that ends with it.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.pieces_start() + u64::from(self.pieces) * ENTRY_BYTES as u64 + TRAILER_BYTES as u64
    }

    /// Reads it; `None` if it is damaged, or of another segment or length than the file's.
    pub(crate) fn decode(seed: Seed, file_bytes: u64, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != TRAILER_BYTES || bytes[..8] != MAGIC {
            return None;
        }
        if Taker(&bytes[60..]).u32()? != crc32c::crc32c(&bytes[..60]) {
            return None;
        }
        let mut taker = Taker(&bytes[8..]);
        let version = taker.u32()?;
        let (runs, pieces, runs_crc, pieces_crc) = (taker.u32()?, taker.u32()?, taker.u32()?, taker.u32()?);
        let _zero = taker.u32()?;
        let (number, salt, frames_end) = (taker.u64()?, taker.u64()?, taker.u64()?);
        let trailer = Self { runs, pieces, frames_end, number, salt, runs_crc, pieces_crc };
        let fits = version == VERSION && seed == Seed { salt, number } && trailer.file_bytes() == file_bytes;
        fits.then_some(trailer)
    }

    /// Reads the runs; `None` if they are damaged.
    pub(crate) fn decode_runs(&self, bytes: &[u8]) -> Option<Vec<Run>> {
        if crc32c::crc32c(bytes) != self.runs_crc {
            return None;
        }
        let run = |[_, offset, span]: [u32; 3], extent| Run { offset, span, extent };
        bytes
            .chunks_exact(ENTRY_BYTES)
            .map(|entry| decode_entry(entry).map(|(head, extent)| run(head, extent)))
            .collect()
    }

    /// Reads the pieces; `None` if they are damaged.
    pub(crate) fn decode_pieces(&self, bytes: &[u8]) -> Option<Vec<Piece>> {
        if crc32c::crc32c(bytes) != self.pieces_crc {
            return None;
        }
        let piece =
            |[log, run_first, run_count]: [u32; 3], extent| Piece { log: LogId(log), run_first, run_count, extent };
        let pieces: Option<Vec<Piece>> = bytes
            .chunks_exact(ENTRY_BYTES)
            .map(|entry| decode_entry(entry).map(|(head, extent)| piece(head, extent)))
            .collect();
        let within = |piece: &Piece| u64::from(piece.run_first) + u64::from(piece.run_count) <= u64::from(self.runs);
        pieces.filter(|pieces| pieces.iter().all(within))
    }
}

/// Writes a footer that follows frames which end at `frames_end`.
pub(crate) fn encode(seed: Seed, frames_end: u64, runs: &[(LogId, Run)], pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((runs.len() + pieces.len()) * ENTRY_BYTES + TRAILER_BYTES);
    for (log, run) in runs {
        encode_entry(&mut bytes, [log.0, run.offset, run.span], &run.extent);
    }
    let runs_crc = crc32c::crc32c(&bytes);
    let pieces_start = bytes.len();
    for piece in pieces {
        encode_entry(&mut bytes, [piece.log.0, piece.run_first, piece.run_count], &piece.extent);
    }
    let pieces_crc = crc32c::crc32c(&bytes[pieces_start..]);
    let trailer_start = bytes.len();
    bytes.extend(MAGIC);
    for number in [VERSION, runs.len() as u32, pieces.len() as u32, runs_crc, pieces_crc, 0] {
        bytes.extend(number.to_le_bytes());
    }
    for number in [seed.number, seed.salt, frames_end] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[trailer_start..]);
    bytes.extend(crc.to_le_bytes());
    bytes
}

fn encode_entry(bytes: &mut Vec<u8>, head: [u32; 3], extent: &Extent) {
    for number in head.into_iter().chain([extent.bytes, extent.payload, extent.frames]) {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(extent.first.0.to_le_bytes());
    bytes.extend(extent.end.0.to_le_bytes());
    bytes.extend(extent.oldest.0.to_le_bytes());
    bytes.extend(extent.newest.0.to_le_bytes());
}

fn decode_entry(bytes: &[u8]) -> Option<([u32; 3], Extent)> {
    let mut taker = Taker(bytes);
    let head = [taker.u32()?, taker.u32()?, taker.u32()?];
    let (bytes, payload, frames) = (taker.u32()?, taker.u32()?, taker.u32()?);
    let (first, end) = (SequenceNumber(taker.u64()?), SequenceNumber(taker.u64()?));
    let (oldest, newest) = (Timestamp(taker.i64()?), Timestamp(taker.i64()?));
    Some((head, Extent { first, end, oldest, newest, bytes, payload, frames }))
}

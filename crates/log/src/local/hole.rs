//! What lay in bytes that are no frame.
//!
//! A header in which one bit is turned over still says which records it was of, and where the next frame begins. From the
//! first header that can't be put right on, any log's records may have lain up to the end.

use std::io;

use super::files::read_full;
use super::format::frame::{FrameHeader, FrameKind, HEADER_BYTES};
use super::segment::SegmentFile;

/// What is known of a hole.
pub(crate) struct Hole {
    /// Frames whose headers could be put right, in order.
    pub frames: Vec<FrameHeader>,
    /// Bytes behind them in which other frames may have lain.
    pub unknown: u64,
    /// Whether the frame behind the hole names the last one in it.
    pub last_is_named: bool,
}

impl Hole {
    /// Looks into the bytes from the end of a frame up to `end`.
    pub(crate) fn look_into(segment: &SegmentFile, offset: u64, end: u64) -> io::Result<Self> {
        let (mut at, mut frames) = (offset, Vec::new());
        let header_bytes = |at| {
            let mut bytes = [0; HEADER_BYTES];
            read_full(&*segment.file, at, &mut bytes).map(|read| bytes[..read].to_vec())
        };
        while at < end {
            let mended = FrameHeader::mend(segment.seed, at, &header_bytes(at)?);
            let Some(header) = mended.filter(|header| header.kind != FrameKind::Durable) else { break };
            if header.frame_bytes() > end - at {
                break;
            }
            at += header.frame_bytes();
            frames.push(header);
        }
        // The first frame that an engine writes after it was opened names none.
        let behind = FrameHeader::decode(segment.seed, end, &header_bytes(end)?);
        let last_is_named = behind.is_some_and(|header| header.previous.records > 0);
        Ok(Self { frames, unknown: end - at, last_is_named })
    }
}

//! Reading a segment from front to back, past whatever is damaged.
//!
//! Invariant: every byte between the first frame and the last is either part of a frame that reads well, or is reported as
//! bad. A damaged length hides nothing: the scanner then looks for the next header whose checksum fits its place.

use std::io;

use bytes::Bytes;

use super::files::{File, read_full};
use super::format::frame::{FrameHeader, HEADER_BYTES, MAGIC};
use super::format::{ALIGNMENT, Seed, aligned};

/// Bytes that are read ahead when a whole segment is read.
pub(crate) const SCAN_STEP: usize = 1 << 20;

/// A part of a file in memory, moved along as it is read.
pub(crate) struct Window<'a> {
    file: &'a dyn File,
    end: u64,
    step: usize,
    start: u64,
    data: Bytes,
}

impl<'a> Window<'a> {
    /// Returns a window on the bytes below `end` that reads `step` bytes at once.
    pub(crate) fn new(file: &'a dyn File, end: u64, step: usize) -> Self {
        Self { file, end, step, start: 0, data: Bytes::new() }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn step(&self) -> usize {
        self.step
    }

    /// Returns `len` bytes; fewer where the file or the window ends.
    pub(crate) fn get(&mut self, offset: u64, len: usize) -> io::Result<Bytes> {
        let len = (self.end.saturating_sub(offset)).min(len as u64) as usize;
        if offset < self.start || offset + len as u64 > self.start + self.data.len() as u64 {
            let ahead = (self.end.saturating_sub(offset)).min(len.max(self.step) as u64) as usize;
            let mut data = vec![0; ahead];
            let read = read_full(self.file, offset, &mut data)?;
            data.truncate(read);
            (self.start, self.data) = (offset, Bytes::from(data));
        }
        let from = (offset - self.start) as usize;
        Ok(self.data.slice(from.min(self.data.len())..(from + len).min(self.data.len())))
    }

    /// Returns the header at `offset`; `None` if none stands there.
    pub(crate) fn header(&mut self, seed: Seed, offset: u64) -> io::Result<Option<FrameHeader>> {
        Ok(FrameHeader::decode(seed, offset, &self.get(offset, HEADER_BYTES)?))
    }

    /// Returns a frame's payload; `None` if it does not match its checksum.
    pub(crate) fn payload(&mut self, offset: u64, header: &FrameHeader) -> io::Result<Option<Bytes>> {
        let rest = header.frame_bytes() as usize - HEADER_BYTES;
        let bytes = self.get(offset + HEADER_BYTES as u64, rest)?;
        let whole = bytes.len() == rest && header.matches(&bytes);
        Ok(whole.then(|| bytes.slice(..header.length as usize)))
    }

    /// Returns the first header at or behind `offset`.
    pub(crate) fn find(&mut self, seed: Seed, offset: u64) -> io::Result<Option<(u64, FrameHeader)>> {
        let mut at = aligned(offset);
        while at < self.end {
            let chunk = self.get(at, self.step.max(HEADER_BYTES))?;
            let candidates = chunk.chunks_exact(ALIGNMENT as usize).enumerate();
            let magic = MAGIC.to_le_bytes();
            for (index, _) in candidates.filter(|(_, bytes)| bytes[..4] == magic) {
                let candidate = at + index as u64 * ALIGNMENT;
                if let Some(header) = self.header(seed, candidate)? {
                    return Ok(Some((candidate, header)));
                }
            }
            let stepped = chunk.len() as u64 / ALIGNMENT * ALIGNMENT;
            if stepped == 0 {
                break;
            }
            at += stepped;
        }
        Ok(None)
    }

    /// Returns whether all bytes from `offset` on are zero.
    pub(crate) fn is_blank(&mut self, mut offset: u64) -> io::Result<bool> {
        loop {
            let chunk = self.get(offset, self.step)?;
            if chunk.is_empty() {
                return Ok(true);
            }
            if chunk.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            offset += chunk.len() as u64;
        }
    }
}

/// What stands at a place in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// A frame that reads well.
    Frame { offset: u64, header: FrameHeader, payload: Bytes },
    /// A frame whose header reads well and whose payload does not.
    BadPayload { offset: u64, header: FrameHeader },
    /// Bytes that are no frame, up to the next header.
    NoFrame { offset: u64, end: u64 },
    /// Bytes with no header behind them, up to the end.
    Rest { offset: u64 },
}

/// Goes through a segment.
pub(crate) struct Scanner<'a> {
    window: Window<'a>,
    seed: Seed,
    at: u64,
}

impl<'a> Scanner<'a> {
    /// Scans from `start` up to `end`.
    pub(crate) fn new(file: &'a dyn File, seed: Seed, start: u64, end: u64) -> Self {
        Self { window: Window::new(file, end, SCAN_STEP), seed, at: start }
    }

    /// Returns the next item; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Item>> {
        let offset = self.at;
        if offset >= self.window.end() {
            return Ok(None);
        }
        if let Some(header) = self.window.header(self.seed, offset)? {
            self.at = offset + header.frame_bytes();
            return Ok(Some(match self.window.payload(offset, &header)? {
                Some(payload) => Item::Frame { offset, header, payload },
                None => Item::BadPayload { offset, header },
            }));
        }
        if let Some((end, _)) = self.window.find(self.seed, offset + 1)? {
            self.at = end;
            return Ok(Some(Item::NoFrame { offset, end }));
        }
        self.at = self.window.end();
        Ok(Some(Item::Rest { offset }))
    }

    /// Returns whether all bytes from `offset` on are zero.
    pub(crate) fn is_blank(&mut self, offset: u64) -> io::Result<bool> {
        self.window.is_blank(offset)
    }
}

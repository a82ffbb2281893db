//! Writing a cold segment: copies of frames that still live, so that the segments they were in can go.
//!
//! Invariant: under its final name a cold segment is always complete and durable. A crash leaves an unfinished file, which
//! opening removes, or the copies beside the originals, of which opening keeps the copies.

use std::io::{self, IoSlice};
use std::sync::Arc;

use weir_types::Timestamp;

use super::files::{File, Files, write_all};
use super::format::footer::{self, Piece};
use super::format::frame::{FrameHeader, HEADER_BYTES, Part, Previous};
use super::format::{Kind, Seed, SegmentId, header};
use super::index::SegmentNumber;
use super::runs::Runs;
use super::segment::extent_of;

/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 1 << 20;

/// Bytes that are written between two syncs, so that a sync never holds the disk for long.
const SYNC_BYTES: u64 = 4 << 20;

/// A cold segment that is being written.
pub(crate) struct ColdWriter<'a> {
    files: &'a dyn Files,
    id: SegmentId,
    seed: Seed,
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    /// Behind what is in the file.
    written: u64,
    synced: u64,
    runs: Runs,
    previous: Previous,
}

/// A cold segment that is durable.
pub(crate) struct Cold {
    pub id: SegmentId,
    pub bytes: u64,
    pub pieces: Vec<Piece>,
}

impl<'a> ColdWriter<'a> {
    pub(crate) fn begin(
        files: &'a dyn Files,
        number: SegmentNumber,
        salt: u64,
        now: Timestamp,
        segment_bytes: u64,
    ) -> io::Result<Self> {
        let id = SegmentId { number, kind: Kind::Cold };
        let buffer = header::encode(id, salt, now, &[]);
        let file = files.create(&id.unfinished())?;
        let (seed, runs) = (Seed { salt, number }, Runs::new(segment_bytes));
        Ok(Self { files, id, seed, file, buffer, written: 0, synced: 0, runs, previous: Previous::default() })
    }

    fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds a frame. Its payload has been checked. An append of several blocks was whole when it was copied, so that its
    /// parts need not hang together any more.
    pub(crate) fn add(&mut self, header: &FrameHeader, payload: &[u8]) -> io::Result<()> {
        let offset = self.end();
        let header = FrameHeader { group: offset as u32, part: Part::Last, previous: self.previous, ..*header };
        self.buffer.extend_from_slice(&header.encode(self.seed, offset));
        self.buffer.extend_from_slice(payload);
        let padding = header.frame_bytes() as usize - HEADER_BYTES - payload.len();
        self.buffer.extend_from_slice(&[0; 8][..padding]);
        self.previous = header.as_previous();
        if let Some(extent) = extent_of(&header, payload) {
            self.runs.add(header.log, offset as u32, extent);
        }
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all(&*self.file, self.written, &mut [IoSlice::new(&self.buffer)])?;
        self.written = self.end();
        self.buffer.clear();
        if self.written - self.synced >= SYNC_BYTES {
            self.file.sync()?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// Seals it, and gives it its name.
    pub(crate) fn finish(mut self) -> io::Result<Cold> {
        let sealed = self.seal();
        if sealed.is_err() {
            self.discard();
        }
        sealed
    }

    fn seal(&mut self) -> io::Result<Cold> {
        let (runs, pieces) = self.runs.finish();
        let footer = footer::encode(self.seed, self.end(), &runs, &pieces);
        self.buffer.extend_from_slice(&footer);
        self.flush()?;
        self.file.sync()?;
        self.files.rename(&self.id.unfinished(), &self.id.to_string())?;
        self.files.sync_folder()?;
        Ok(Cold { id: self.id, bytes: self.written, pieces })
    }

    /// Gives up. What is left behind is removed at the next opening, if not now.
    pub(crate) fn discard(self) {
        let _ = self.files.remove(&self.id.unfinished());
    }
}

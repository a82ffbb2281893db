//! Open sealed segments with their runs, the latest used of them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use weir_types::SequenceNumber;

use super::format::LogId;
use super::format::footer::{Extent, Piece, Run};
use super::index::SegmentNumber;
use super::segment::SegmentFile;
use super::shared::Shared;

/// Segments that are held open at once.
const OPEN_MAX: usize = 64;

/// A sealed segment and its runs.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub segment: SegmentFile,
    runs: Vec<Run>,
    pieces: Vec<Piece>,
}

impl Sealed {
    fn load(segment: SegmentFile) -> io::Result<Self> {
        let trailer = segment.trailer()?;
        if let Some(trailer) = &trailer
            && let (Some(runs), Some(pieces)) = (segment.runs(trailer)?, segment.pieces(trailer)?)
        {
            return Ok(Self { segment, runs, pieces });
        }
        // The footer does not read: the frames say the same. One that is missing shows as a gap when it is read.
        let end = segment.frames_limit(trailer.as_ref())?;
        let (runs, flaws) = segment.rebuild(end)?;
        tracing::warn!(segment = %segment.id, flaws = flaws.len(), "the footer of a segment is damaged; its index was made anew from its frames");
        let (runs, pieces) = runs.finish();
        Ok(Self { segment, runs: runs.into_iter().map(|(_, run)| run).collect(), pieces })
    }

    /// Returns the runs of a log that hold a record and those behind it.
    pub(crate) fn runs(&self, log: LogId, from: SequenceNumber) -> &[Run] {
        let start = self.pieces.partition_point(|piece| piece.log < log);
        let mut own = self.pieces[start..].iter().take_while(|piece| piece.log == log);
        let Some(piece) = own.find(|piece| piece.extent.end > from) else { return &[] };
        let runs = &self.runs[piece.run_first as usize..][..piece.run_count as usize];
        &runs[runs.partition_point(|run| run.extent.end <= from)..]
    }

    fn bytes(&self) -> u64 {
        (self.runs.len() * size_of::<Run>() + self.pieces.len() * size_of::<Piece>() + size_of::<Extent>()) as u64
    }
}

#[derive(Debug)]
pub(crate) struct SealedCache {
    held: HashMap<SegmentNumber, (Arc<Sealed>, u64)>,
    bytes: u64,
    bytes_max: u64,
    uses: u64,
}

impl SealedCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { held: HashMap::new(), bytes: 0, bytes_max, uses: 0 }
    }

    fn get(&mut self, number: SegmentNumber) -> Option<Arc<Sealed>> {
        self.uses += 1;
        let (sealed, used) = self.held.get_mut(&number)?;
        *used = self.uses;
        Some(Arc::clone(sealed))
    }

    fn put(&mut self, sealed: &Arc<Sealed>) {
        let number = sealed.segment.id.number;
        self.remove(number);
        self.uses += 1;
        self.bytes += sealed.bytes();
        self.held.insert(number, (Arc::clone(sealed), self.uses));
        // One stays, whatever its size: it is in use.
        while self.held.len() > 1 && (self.bytes > self.bytes_max || self.held.len() > OPEN_MAX) {
            let Some(oldest) = self.held.iter().min_by_key(|(_, (_, used))| *used).map(|(number, _)| *number) else {
                break;
            };
            self.remove(oldest);
        }
    }

    /// Forgets a segment, so that its disk space is free once it is deleted.
    pub(crate) fn remove(&mut self, number: SegmentNumber) {
        if let Some((sealed, _)) = self.held.remove(&number) {
            self.bytes -= sealed.bytes();
        }
    }
}

impl Shared {
    /// Opens a sealed segment, or returns it as it was opened before.
    ///
    /// # Errors
    /// `NotFound` if it has been deleted since.
    pub(crate) fn open_sealed(&self, number: SegmentNumber) -> io::Result<Arc<Sealed>> {
        if let Some(sealed) = self.sealed().get(number) {
            return Ok(sealed);
        }
        let id = self.index().segment_id(number);
        let sealed = Arc::new(Sealed::load(SegmentFile::open(&*self.files, id, self.salt)?)?);
        // With the index held: a deletion comes before, and is seen, or after, and forgets it. Else it would stay open, with
        // its space taken.
        let index = self.index();
        if index.segments.contains_key(&number) {
            self.sealed().put(&sealed);
        }
        Ok(sealed)
    }
}

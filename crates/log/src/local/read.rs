//! Reading blocks, and finding a place by time.
//!
//! Blocks that were just written come from memory; others from the disk, on a thread that may block. A segment that is
//! deleted while it is being looked for has been replaced by another: the index is asked again.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use weir_types::{LogName, SequenceNumber, Timestamp};

use super::format::LogId;
use super::format::footer::Run;
use super::index::SegmentNumber;
use super::sealed::Sealed;
use super::segment::SegmentFile;
use super::shared::Shared;
use super::walk::{Stop, Walk};
use crate::{ReadError, ReadLimit, StoredBlock};

/// Payload bytes of one read, whatever the caller allows: a reader's memory is bounded.
pub const READ_BYTES_MAX: usize = 64 << 20;

/// Runs of the active segment that one look at the index yields.
const ACTIVE_RUNS: usize = 64;

/// How often a segment may be replaced while one read looks for it.
const RETRIES: u32 = 16;

/// Payloads from this size on share the buffer they were read into; smaller ones are copied out, so that one that is
/// kept does not keep a large buffer.
const SHARE_BYTES: usize = 32 << 10;

/// Where the records that are read next lie.
enum Source {
    Active { segment: SegmentFile, runs: Vec<Run> },
    Sealed(Arc<Sealed>),
}

impl Source {
    fn segment(&self) -> &SegmentFile {
        match self {
            Self::Active { segment, .. } => segment,
            Self::Sealed(sealed) => &sealed.segment,
        }
    }

    fn runs(&self, log: LogId, from: SequenceNumber) -> &[Run] {
        match self {
            Self::Active { runs, .. } => runs,
            Self::Sealed(sealed) => sealed.runs(log, from),
        }
    }
}

/// A log's reader.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub shared: Arc<Shared>,
    pub log: LogId,
    pub name: LogName,
}

impl Reader {
    fn io(&self, source: io::Error) -> ReadError {
        ReadError::Io { log: self.name.clone(), source: Arc::new(source) }
    }

    /// Reads without touching the disk; `None` if that can't be done.
    pub(crate) fn read_cached(
        &self,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Option<Result<Vec<StoredBlock>, ReadError>> {
        if self.shared.is_closed() {
            return Some(Err(ReadError::Closed));
        }
        let bounds = self.shared.index().log(self.log).bounds();
        if from < bounds.head {
            return Some(Err(self.trimmed(from, bounds.head)));
        }
        if from >= bounds.tail {
            return Some(Ok(Vec::new()));
        }
        self.shared.cache().read(self.log, from, limit).map(Ok)
    }

    fn trimmed(&self, asked: SequenceNumber, head: SequenceNumber) -> ReadError {
        ReadError::Trimmed { log: self.name.clone(), asked, head }
    }

    /// Reads from the disk. Blocks.
    pub(crate) fn read(&self, from: SequenceNumber, limit: ReadLimit) -> Result<Vec<StoredBlock>, ReadError> {
        let mut room = limit.bytes_max.min(READ_BYTES_MAX);
        let tail = self.shared.index().log(self.log).tail;
        let mut blocks: Vec<StoredBlock> = Vec::new();
        let mut next = from;
        while next < tail {
            match self.read_segment(next, &mut room, &mut blocks) {
                Ok(Progress::Full) => break,
                Ok(Progress::Until(reached)) => next = reached,
                // What is before the trouble is good; the next read begins at it.
                Err(_) if !blocks.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(blocks)
    }

    fn read_segment(
        &self,
        next: SequenceNumber,
        room: &mut usize,
        blocks: &mut Vec<StoredBlock>,
    ) -> Result<Progress, ReadError> {
        let (source, end) = self.source(next)?;
        let mut walk = Walk::new(source.segment(), self.log, source.runs(self.log, next), (next, end), *room);
        loop {
            let (header, payload) = match walk.next() {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(Progress::Until(end)),
                Err(stop) => return Err(self.stopped(stop, source.segment())),
            };
            if !blocks.is_empty() && payload.len() > *room {
                return Ok(Progress::Full);
            }
            *room = room.saturating_sub(payload.len());
            let payload = if payload.len() < SHARE_BYTES { Bytes::copy_from_slice(&payload) } else { payload };
            let (first, records, appended_at) = (header.first, header.records, header.appended_at);
            blocks.push(StoredBlock { first, records, appended_at, payload });
        }
    }

    /// Finds the segment that holds a record, and up to which record this source goes.
    fn source(&self, next: SequenceNumber) -> Result<(Source, SequenceNumber), ReadError> {
        for _ in 0..RETRIES {
            let (number, end, active) = {
                let index = self.shared.index();
                let state = index.log(self.log);
                if next < state.head {
                    return Err(self.trimmed(next, state.head));
                }
                let Some(place) = state.place_of(next) else {
                    let what = "the index has no place for it".to_owned();
                    return Err(ReadError::Damaged { log: self.name.clone(), from: next, to: state.tail, place: what });
                };
                let active = place.segment == index.active.number;
                let runs = active.then(|| index.active_runs(self.log, next, ACTIVE_RUNS));
                (place.segment, place.extent.end, runs)
            };
            match self.open(number, active) {
                Ok(Source::Active { segment, runs }) => {
                    let end = runs.last().map_or(end, |run| run.extent.end);
                    return Ok((Source::Active { segment, runs }, end));
                }
                Ok(source) => return Ok((source, end)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.io(error)),
            }
        }
        Err(self.io(io::Error::other("the segment was replaced again and again")))
    }

    fn open(&self, number: SegmentNumber, active: Option<Vec<Run>>) -> io::Result<Source> {
        if let Some(runs) = active {
            let segment = self.shared.active();
            if segment.id.number == number {
                return Ok(Source::Active { segment, runs });
            }
        }
        // It may have been sealed since: its footer is then complete.
        self.shared.open_sealed(number).map(Source::Sealed)
    }

    fn stopped(&self, stop: Stop, segment: &SegmentFile) -> ReadError {
        match stop {
            Stop::Damaged { from, to, offset } => {
                let place = format!("segment `{}`, offset {offset}", segment.id);
                ReadError::Damaged { log: self.name.clone(), from, to, place }
            }
            Stop::Lost { from, to, .. } => ReadError::Lost { log: self.name.clone(), from, to },
            Stop::Io(error) => self.io(error),
        }
    }

    /// Finds a place by time. Blocks.
    pub(crate) fn seek(&self, time: Timestamp) -> Result<SequenceNumber, ReadError> {
        for _ in 0..RETRIES {
            let (number, first, head, active) = {
                let index = self.shared.index();
                let state = index.log(self.log);
                let Some(place) = state.place_at(time) else { return Ok(state.tail) };
                let active = place.segment == index.active.number;
                let runs = active.then(|| index.active_runs(self.log, place.extent.first, usize::MAX));
                (place.segment, place.extent.first, state.head, runs)
            };
            match self.open(number, active) {
                Ok(source) => {
                    let runs = source.runs(self.log, first);
                    let run = runs.get(runs.partition_point(|run| run.extent.newest < time));
                    return Ok(run.map_or(first, |run| run.extent.first).max(head));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.io(error)),
            }
        }
        Err(self.io(io::Error::other("the segment was replaced again and again")))
    }
}

enum Progress {
    /// The limit is reached.
    Full,
    /// Everything before this record is read.
    Until(SequenceNumber),
}

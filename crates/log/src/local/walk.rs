//! Reading one log's frames out of one segment.
//!
//! Invariant: the frames come in order and without gaps from the place that was asked for. Bytes that hinder that are an
//! error which names the records that are lost with them, and never a shorter answer.

use std::io;

use bytes::Bytes;
use weir_types::SequenceNumber;

use super::format::LogId;
use super::format::footer::Run;
use super::format::frame::{FrameHeader, FrameKind, HEADER_BYTES, lost_end};
use super::scan::Window;
use super::segment::SegmentFile;

/// Read ahead at most.
const STEP_MAX: usize = 256 << 10;

/// Read ahead at least: a disk's page.
const STEP_MIN: usize = 4 << 10;

/// What stopped a walk.
#[derive(Debug)]
pub(crate) enum Stop {
    /// These records don't read.
    Damaged { from: SequenceNumber, to: SequenceNumber, offset: u64 },
    /// These records were recorded as lost.
    Lost { from: SequenceNumber, to: SequenceNumber, header: FrameHeader },
    /// The operating system refused.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Walks through the runs of one log.
pub(crate) struct Walk<'a> {
    segment: &'a SegmentFile,
    log: LogId,
    runs: &'a [Run],
    window: Window<'a>,
    at: u64,
    /// The next record that is wanted.
    next: SequenceNumber,
    /// The place after the last record that the runs hold.
    end: SequenceNumber,
}

impl<'a> Walk<'a> {
    /// Begins at the frame that holds `next`, in the first of `runs`, and ends before `end`. About `bytes` of payload will be read.
    pub(crate) fn new(
        segment: &'a SegmentFile,
        log: LogId,
        runs: &'a [Run],
        (next, end): (SequenceNumber, SequenceNumber),
        bytes: usize,
    ) -> Self {
        let step = bytes.saturating_add(HEADER_BYTES).clamp(STEP_MIN, STEP_MAX);
        Self { segment, log, runs, window: window(segment, runs, step), at: runs.first().map_or(0, start), next, end }
    }

    /// Passes over records that don't read.
    pub(crate) fn skip_to(&mut self, next: SequenceNumber) {
        self.next = next;
    }

    /// Returns the next frame with records; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<(FrameHeader, Bytes)>, Stop> {
        while self.next < self.end {
            let Some(run) = self.runs.first() else {
                return Err(Stop::Damaged { from: self.next, to: self.end, offset: self.at });
            };
            if self.at >= start(run) + u64::from(run.span) {
                self.runs = &self.runs[1..];
                let step = self.window.step();
                self.window = window(self.segment, self.runs, step);
                self.at = self.runs.first().map_or(self.at, start);
                continue;
            }
            if let Some(found) = self.frame()? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Reads the frame at the current place; `None` if it is not wanted.
    fn frame(&mut self) -> Result<Option<(FrameHeader, Bytes)>, Stop> {
        let offset = self.at;
        let Some(header) = self.window.header(self.segment.seed, offset)? else {
            return self.resume(offset).map(|()| None);
        };
        self.at = offset + header.frame_bytes();
        let holds_records = header.kind == FrameKind::Data || header.kind.is_loss();
        if header.log != self.log || !holds_records || (header.kind == FrameKind::Data && header.end() <= self.next) {
            return Ok(None);
        }
        if header.first > self.next {
            // The frame is read again once the caller has skipped what is missing before it.
            self.at = offset;
            return Err(Stop::Damaged { from: self.next, to: header.first, offset });
        }
        let payload = self.window.payload(offset, &header)?;
        let end = match &payload {
            _ if header.kind == FrameKind::Data => header.end(),
            Some(payload) => lost_end(payload).unwrap_or(self.end),
            None => self.end,
        };
        if end <= self.next {
            return Ok(None);
        }
        match payload {
            None => Err(Stop::Damaged { from: header.first, to: end, offset }),
            Some(_) if header.kind.is_loss() => Err(Stop::Lost { from: header.first, to: end, header }),
            Some(payload) => {
                self.next = end;
                Ok(Some((header, payload)))
            }
        }
    }

    /// Goes on at the next header behind bytes that are none.
    fn resume(&mut self, offset: u64) -> Result<(), Stop> {
        match self.window.find(self.segment.seed, offset + 1)? {
            Some((found, _)) => self.at = found,
            None => self.at = self.window.end(),
        }
        // Whether one of this log's own frames is missing shows when its next one is read, or at the end of the runs.
        Ok(())
    }
}

fn start(run: &Run) -> u64 {
    u64::from(run.offset)
}

fn window<'a>(segment: &'a SegmentFile, runs: &[Run], step: usize) -> Window<'a> {
    Window::new(&*segment.file, runs.first().map_or(0, |run| start(run) + u64::from(run.span)), step)
}

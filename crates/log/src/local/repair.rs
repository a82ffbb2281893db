//! Making a damaged folder readable again.
//!
//! ```text
//! damaged segment --second name in `damaged/`--> frames that read go to a cold segment --> the original's first name goes
//! records that are missing ----------------------> frames that say so, in a cold segment
//! damaged last segment --------------------------> a new one, whose header lists all logs with their bounds
//! ```
//!
//! A log whose newest records may have lain in damaged bytes goes on behind all that can have been there: a sequence number
//! that a reader may have seen is never given to another record.
//!
//! Invariant: no byte is deleted that is not under `damaged/` or copied whole; a read of lost records reports them until they
//! are trimmed. A crash at any point leaves a folder that repair can be run on again.

use std::io;
use std::path::Path;

use weir_env::Env;
use weir_types::{SequenceNumber, Timestamp};

use super::cold::ColdWriter;
use super::engine::{begin_now, lock, synced};
use super::files::Files;
use super::format::frame::{FrameHeader, FrameKind, Part, Previous};
use super::format::header::CatalogEntry;
use super::format::{Kind, LogId, SegmentId};
use super::inspect::existing;
use super::options::Options;
use super::recover::{failed, recover};
use super::report::Report;
use super::scan::{Item, SCAN_STEP, Window};
use super::segment::SegmentFile;
use super::survey::{Known, Survey, Surveyed, nameless, survey};
use crate::EngineError;

/// The folder that keeps the files which repair replaced.
const KEPT: &str = "damaged";

/// Makes a damaged, closed folder readable again: keeps every frame that still reads, and records what is lost or may be, so
/// that reading it is [`ReadError::Lost`](crate::ReadError::Lost) until it is trimmed.
///
/// The files that it replaces stay in the folder `damaged` below. On a sound folder it changes nothing.
///
/// # Errors
/// [`EngineError::InUse`] while an engine has it, [`EngineError::Damaged`] if it can't be made readable; see [`EngineError`].
pub fn repair(dir: &Path, env: &Env) -> Result<Report, EngineError> {
    repair_on(&existing(dir)?, env)
}

/// Makes a damaged, closed folder of any file layer readable again.
///
/// # Errors
/// As [`repair`].
pub fn repair_on(files: &dyn Files, env: &Env) -> Result<Report, EngineError> {
    let _lock = lock(files)?;
    let survey = survey(files)?;
    let mut report = survey.report(files);
    if report.is_clean() {
        return Ok(report);
    }
    Repair::new(files, env, &survey).run(&mut report)?;
    // What was made must open: better to hear it now.
    recover(files, Options::default().segment_bytes)?;
    Ok(report)
}

struct Repair<'a> {
    files: &'a dyn Files,
    env: &'a Env,
    survey: &'a Survey,
    salt: u64,
    next_number: u64,
}

impl<'a> Repair<'a> {
    fn new(files: &'a dyn Files, env: &'a Env, survey: &'a Survey) -> Self {
        let next_number = survey.segments.iter().map(|surveyed| surveyed.id.number).max().unwrap_or(0) + 1;
        Self { files, env, survey, salt: survey.salt.unwrap_or_else(|| env.random()), next_number }
    }

    fn run(mut self, report: &mut Report) -> Result<(), EngineError> {
        let damaged: Vec<&Surveyed> =
            self.survey.segments.iter().filter(|surveyed| !surveyed.flaws.is_empty()).collect();
        for surveyed in &damaged {
            let name = surveyed.id.to_string();
            let kept = self
                .files
                .keep_copy(&name, KEPT)
                .map_err(|source| failed("keep a copy of", self.files, &name, source))?;
            report.kept_copies.push(kept);
        }
        for surveyed in &damaged {
            if let Some(segment) = &surveyed.segment {
                self.copy_good(segment, surveyed.end)?;
            }
        }
        self.record_losses()?;
        let hot = self.survey.segments.iter().rev().find(|surveyed| surveyed.id.kind == Kind::Hot);
        if hot.is_none_or(|surveyed| !surveyed.flaws.is_empty()) {
            let id = SegmentId { number: self.take_number(), kind: Kind::Hot };
            begin_now(self.files, id, self.salt, self.env, &self.catalog())?;
        }
        for surveyed in &damaged {
            let name = surveyed.id.to_string();
            self.files.remove(&name).map_err(|source| failed("remove", self.files, &name, source))?;
        }
        synced(self.files, "", self.files.sync_folder())
    }

    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    fn cold(&mut self) -> Result<ColdWriter<'a>, EngineError> {
        let number = self.take_number();
        let id = SegmentId { number, kind: Kind::Cold };
        // One that an earlier repair left unfinished.
        let _ = self.files.remove(&id.unfinished());
        let begun = ColdWriter::begin(self.files, number, self.salt, self.env.now(), Options::default().segment_bytes);
        begun.map_err(|source| failed("begin segment", self.files, &id.unfinished(), source))
    }

    /// Copies the frames of a damaged segment that read and are not trimmed.
    fn copy_good(&mut self, segment: &SegmentFile, end: u64) -> Result<(), EngineError> {
        let reading = |source| failed("read", self.files, &segment.id.to_string(), source);
        let mut frames: Vec<(LogId, SequenceNumber, u64)> = Vec::new();
        let mut scanner = segment.scan(end);
        while let Some(item) = scanner.next().map_err(reading)? {
            let Item::Frame { offset, header, payload } = item else { continue };
            let Some(extent) = super::segment::extent_of(&header, &payload) else { continue };
            let known = self.survey.logs.get(&header.log);
            if known.is_some_and(|known| extent.end > known.head && self.is_wanted(known, &header, extent.end)) {
                frames.push((header.log, header.first, offset));
            }
        }
        if frames.is_empty() {
            return Ok(());
        }
        frames.sort();
        frames.dedup_by_key(|(log, first, _)| (*log, *first));
        let mut cold = self.cold()?;
        let copied = copy_frames(segment, &frames, end, &mut cold).and_then(|()| cold.finish());
        copied.map(drop).map_err(|source| failed("copy", self.files, &segment.id.to_string(), source))
    }

    /// A recorded loss is not wanted where the records have turned up.
    fn is_wanted(&self, known: &Known, header: &FrameHeader, end: SequenceNumber) -> bool {
        header.kind == FrameKind::Data
            || !known.good.iter().any(|range| range.first <= header.first && range.end >= end)
    }

    fn record_losses(&mut self) -> Result<(), EngineError> {
        let losses: Vec<_> = self
            .survey
            .logs
            .iter()
            .flat_map(|(log, known)| {
                let certain = known.missing().into_iter().map(|range| (FrameKind::Lost, *log, range));
                certain.chain(known.in_doubt().map(|range| (FrameKind::MaybeLost, *log, range)))
            })
            .collect();
        if losses.is_empty() {
            return Ok(());
        }
        let mut cold = self.cold()?;
        let mut record = || {
            for (kind, log, range) in &losses {
                let payload = range.end.0.to_le_bytes();
                cold.add(&loss(*kind, *log, range.first, range.newest, &payload), &payload)?;
            }
            Ok(())
        };
        let recorded: io::Result<()> = record();
        recorded
            .and_then(|()| cold.finish())
            .map(drop)
            .map_err(|source| failed("record losses in", self.files, "", source))
    }

    fn catalog(&self) -> Vec<CatalogEntry> {
        let logs = self.survey.logs.keys().next_back().map_or(0, |last| last.0 + 1);
        let nothing = Known::default();
        let entry = |id| {
            let known = self.survey.logs.get(&LogId(id)).unwrap_or(&nothing);
            let name = known.name.clone().unwrap_or_else(|| nameless(LogId(id)));
            let Known { head, last_at, .. } = *known;
            CatalogEntry { id: LogId(id), name, head, tail: known.next(), last_at }
        };
        (0..logs).map(entry).collect()
    }
}

fn copy_frames(
    segment: &SegmentFile,
    frames: &[(LogId, SequenceNumber, u64)],
    end: u64,
    cold: &mut ColdWriter<'_>,
) -> io::Result<()> {
    let mut window = Window::new(&*segment.file, end, SCAN_STEP / 16);
    for (_, _, offset) in frames {
        let header = window.header(segment.seed, *offset)?.ok_or_else(changed)?;
        let payload = window.payload(*offset, &header)?.ok_or_else(changed)?;
        cold.add(&header, &payload)?;
    }
    Ok(())
}

fn changed() -> io::Error {
    io::Error::other("a frame read well before and does not now: the disk is failing")
}

fn loss(kind: FrameKind, log: LogId, first: SequenceNumber, at: Timestamp, payload: &[u8]) -> FrameHeader {
    FrameHeader {
        kind,
        part: Part::Last,
        group: 0,
        log,
        records: 0,
        length: payload.len() as u32,
        first,
        appended_at: at,
        payload_crc: crc32c::crc32c(payload),
        previous: Previous::default(),
    }
}

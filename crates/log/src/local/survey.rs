//! Everything that a folder holds, read to the last byte, whatever is damaged.
//!
//! Invariant: what is known of a log comes from every source that reads: headers, frames, footers, and what each frame says
//! of the one before. So the records that are missing are named even where they left no trace of their own. Where damage may
//! have taken a log's newest records and nothing behind it tells, as many as it can have held are named as possibly lost:
//!
//! ```text
//! a 0..5 | b 0..3 | ?????????? | a 9..12      a: 5..9 are lost.      b: 3.. up to one per byte of ?? may be lost.
//! ```

use std::collections::BTreeMap;
use std::io;

use weir_types::{LogName, SequenceNumber, Timestamp};

use super::files::Files;
use super::format::footer::TRAILER_BYTES;
use super::format::frame::{FrameHeader, FrameKind, HEADER_BYTES, Part};
use super::format::header::{self, CatalogEntry};
use super::format::{Kind, LogId, Seed, SegmentId, VERSION};
use super::hole::Hole;
use super::recover::failed;
use super::report::{Certainty, Damage, Loss, Report};
use super::scan::Item;
use super::segment::{Flaw, SegmentFile, extent_of, flaw_of, may_hold_frames, read_headers};
use crate::{EngineError, SPARE_RECORDS_MAX};

/// A damaged byte can't have held more than one record: the bound on possible losses.
const _: () = assert!(SPARE_RECORDS_MAX <= HEADER_BYTES);

/// Consecutive records and their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub first: SequenceNumber,
    pub end: SequenceNumber,
    pub newest: Timestamp,
}

/// What is known of a log.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub name: Option<LogName>,
    pub head: SequenceNumber,
    pub tail: SequenceNumber,
    /// Where the log ended at most, by the damaged bytes that nothing behind them has explained; 0 if there are none.
    pub reach: SequenceNumber,
    pub last_at: Timestamp,
    /// Records that read.
    pub good: Vec<Range>,
    /// Records that were recorded as lost.
    pub lost: Vec<Range>,
    /// Records that were recorded as possibly lost.
    pub maybe_lost: Vec<Range>,
}

impl Known {
    /// Returns the records that neither read nor are recorded as lost, and were not trimmed.
    pub(crate) fn missing(&self) -> Vec<Range> {
        let mut held: Vec<Range> = self.good.iter().chain(&self.lost).chain(&self.maybe_lost).copied().collect();
        held.sort_by_key(|range| range.first);
        let (mut reached, mut newest, mut missing) = (self.head, Timestamp::default(), Vec::new());
        for range in held {
            if range.first > reached {
                missing.push(Range { first: reached, end: range.first, newest: newest.max(Timestamp(0)) });
            }
            reached = reached.max(range.end);
            newest = newest.max(range.newest);
        }
        if reached < self.tail {
            missing.push(Range { first: reached, end: self.tail, newest });
        }
        missing
    }

    /// Returns the records behind the known tail that may have been there.
    pub(crate) fn in_doubt(&self) -> Option<Range> {
        let range = Range { first: self.tail, end: self.reach, newest: self.last_at };
        (self.reach > self.tail).then_some(range)
    }

    /// Returns the place that the next record may get: behind all that is or may have been there.
    pub(crate) fn next(&self) -> SequenceNumber {
        self.tail.max(self.reach)
    }

    /// Returns all records that are lost or may be, recorded as that or not, and not trimmed.
    pub(crate) fn losses(&self) -> Vec<(Range, Certainty)> {
        let certain = self.missing().into_iter().chain(self.lost.iter().copied());
        let possible = self.in_doubt().into_iter().chain(self.maybe_lost.iter().copied());
        let certain = certain.map(|range| (range, Certainty::Certain));
        let all = certain.chain(possible.map(|range| (range, Certainty::Possible)));
        all.filter(|(range, _)| range.end > self.head).collect()
    }
}

/// A segment as it was found.
pub(crate) struct Surveyed {
    pub id: SegmentId,
    /// `None` if nothing of it can be read.
    pub segment: Option<SegmentFile>,
    /// Behind the last frame that is to be kept.
    pub end: u64,
    pub flaws: Vec<Flaw>,
}

/// A folder as it was found.
pub(crate) struct Survey {
    pub segments: Vec<Surveyed>,
    pub logs: BTreeMap<LogId, Known>,
    pub salt: Option<u64>,
    frames: u64,
    bytes: u64,
    torn_bytes: u64,
}

/// Reads a folder.
pub(crate) fn survey(files: &dyn Files) -> Result<Survey, EngineError> {
    let names = files.list().map_err(|source| failed("list", files, "", source))?;
    let mut ids: Vec<SegmentId> = names.iter().filter_map(|name| SegmentId::parse(name)).collect();
    ids.sort_by_key(|id| id.number);
    let newest_hot = ids.iter().rev().find(|id| id.kind == Kind::Hot).copied();
    let mut survey =
        Survey { segments: Vec::new(), logs: BTreeMap::new(), salt: None, frames: 0, bytes: 0, torn_bytes: 0 };
    survey.salt = learn_salt(files, &ids)?;
    for id in ids {
        let read = survey.read(files, id, newest_hot == Some(id));
        read.map_err(|error| match error {
            SurveyError::Io(source) => failed("read", files, &id.to_string(), source),
            SurveyError::Version(found) => {
                EngineError::Version { path: files.path().join(id.to_string()), found, known: VERSION }
            }
        })?;
    }
    Ok(survey)
}

enum SurveyError {
    Io(io::Error),
    Version(u32),
}

impl From<io::Error> for SurveyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// All segments have one salt: any header that reads tells it for those that don't.
fn learn_salt(files: &dyn Files, ids: &[SegmentId]) -> Result<Option<u64>, EngineError> {
    for id in ids {
        let reading = |source| failed("read", files, &id.to_string(), source);
        let file = files.open(&id.to_string()).map_err(reading)?;
        if let Some(fixed) = read_headers(*id, &*file).map_err(reading)?.fixed {
            return Ok(Some(fixed.salt));
        }
    }
    Ok(None)
}

impl Survey {
    fn read(&mut self, files: &dyn Files, id: SegmentId, is_last: bool) -> Result<(), SurveyError> {
        let file = files.open(&id.to_string())?;
        let len = file.len()?;
        self.bytes += len;
        let headers = read_headers(id, &*file)?;
        if let Some(version) = headers.version {
            return Err(SurveyError::Version(version));
        }
        if !headers.flaws.is_empty() && is_last && !may_hold_frames(&*file)? && self.follows_a_seal(id)? {
            // It never began: see `recover`.
            self.torn_bytes += len;
            return Ok(());
        }
        let mut flaws = headers.flaws;
        // Where the header does not tell how long it is, frames may have stood before the first that reads.
        let frames_from = if headers.fixed.is_some() { None } else { Some(self.header_bytes(id)) };
        for entry in headers.catalog.into_iter().flatten() {
            self.note_entry(entry);
        }
        let segment = match (headers.fixed, self.salt) {
            (Some(fixed), _) => SegmentFile::new(id, file, &fixed),
            (None, Some(salt)) => {
                let seed = Seed { salt, number: id.number };
                let mut segment = SegmentFile { id, file, seed, frames_start: 0 };
                segment.frames_start = segment.first_frame()?.unwrap_or(len);
                segment
            }
            (None, None) => {
                let what = "both copies of the header are damaged, and no other segment tells the salt".to_owned();
                flaws.push(Flaw { offset: 0, bytes: len, what });
                self.segments.push(Surveyed { id, segment: None, end: 0, flaws });
                return Ok(());
            }
        };
        let hidden = frames_from.map_or(0, |from| segment.frames_start.saturating_sub(from));
        let end = self.read_frames(&segment, is_last, hidden, &mut flaws)?;
        self.segments.push(Surveyed { id, segment: Some(segment), end, flaws });
        Ok(())
    }

    /// Returns how long a segment's header is at least: it lists all logs that were known before.
    fn header_bytes(&self, id: SegmentId) -> u64 {
        let entry = |(log, known): (&LogId, &Known)| {
            let Known { head, tail, last_at, .. } = *known;
            known.name.clone().map(|name| CatalogEntry { id: *log, name, head, tail, last_at })
        };
        let known: Vec<CatalogEntry> = self.logs.iter().filter_map(entry).collect();
        header::encode(id, 0, Timestamp::default(), &known).len() as u64
    }

    fn follows_a_seal(&self, id: SegmentId) -> io::Result<bool> {
        match self.segments.iter().rev().find(|surveyed| surveyed.id.kind == Kind::Hot) {
            None => Ok(self.segments.is_empty() && id.number == 1),
            Some(Surveyed { segment: Some(segment), .. }) => Ok(segment.trailer()?.is_some()),
            Some(_) => Ok(false),
        }
    }

    /// Reads a segment's frames, before the first of which others may have stood in `hidden` bytes.
    fn read_frames(
        &mut self,
        segment: &SegmentFile,
        is_last: bool,
        hidden: u64,
        flaws: &mut Vec<Flaw>,
    ) -> Result<u64, SurveyError> {
        let trailer = if is_last { segment.whole_trailer()? } else { segment.trailer()? };
        let limit = segment.frames_limit(trailer.as_ref())?;
        // Cold segments hold copies: nothing in them tells where a log ends.
        let is_hot = segment.id.kind == Kind::Hot;
        let mut names_all = !is_hot;
        if let Some(trailer) = &trailer {
            let footer = |offset, bytes, what: &str| Flaw { offset, bytes, what: what.to_owned() };
            if segment.runs(trailer)?.is_none() {
                let bytes = trailer.pieces_start() - trailer.runs_start();
                flaws.push(footer(trailer.runs_start(), bytes, "the runs in the footer are damaged"));
            }
            match segment.pieces(trailer)? {
                None => {
                    let bytes = trailer.file_bytes() - TRAILER_BYTES as u64 - trailer.pieces_start();
                    flaws.push(footer(trailer.pieces_start(), bytes, "the pieces in the footer are damaged"));
                }
                Some(pieces) => {
                    names_all = true;
                    pieces.iter().for_each(|piece| self.note_tail(piece.log, piece.extent.end));
                }
            }
        }
        let may_be_torn = is_last && trailer.is_none();
        let durable = if may_be_torn { durable_end(segment, limit)? } else { limit };
        if !names_all {
            self.doubt(hidden);
        }
        let mut scanner = segment.scan(limit);
        let mut pending = Vec::new();
        let mut end = segment.frames_start;
        while let Some(item) = scanner.next()? {
            let offset = match &item {
                Item::Frame { offset, .. } | Item::BadPayload { offset, .. } => *offset,
                Item::NoFrame { offset, .. } | Item::Rest { offset } => *offset,
            };
            let is_frame = matches!(&item, Item::Frame { header, .. } if header.kind != FrameKind::Durable);
            if may_be_torn && !is_frame && offset >= durable {
                // From here on nothing was acknowledged.
                self.note_marker(&item);
                break;
            }
            flaws.extend(flaw_of(&item));
            if let Item::Frame { header, .. } | Item::BadPayload { header, .. } = &item
                && is_hot
                && offset <= durable
            {
                // Also where its own append is torn: what is before was durable.
                self.note_previous(header);
                self.settle_previous(header);
            }
            match item {
                Item::Frame { offset, header, payload } => {
                    let after = offset + header.frame_bytes();
                    pending.push((header, payload));
                    if header.part == Part::Last || after < durable {
                        for (header, payload) in pending.drain(..) {
                            self.note_frame(&header, &payload);
                            if is_hot {
                                self.settle(&header);
                            }
                        }
                        end = after;
                    }
                }
                Item::BadPayload { header, .. } => {
                    self.note_bad(&header);
                    if is_hot {
                        self.settle(&header);
                    }
                }
                Item::NoFrame { offset, end } if !names_all => {
                    let hole = Hole::look_into(segment, offset, end)?;
                    for header in &hole.frames {
                        self.note_bad(header);
                        self.settle(header);
                    }
                    let named = if hole.last_is_named && end <= durable { HEADER_BYTES as u64 } else { 0 };
                    self.doubt(hole.unknown.saturating_sub(named));
                }
                Item::NoFrame { .. } => {}
                Item::Rest { offset } if may_be_torn => end = end.min(offset),
                Item::Rest { offset } => {
                    if !names_all {
                        self.doubt(limit - offset);
                    }
                    flaws.push(Flaw { offset, bytes: limit - offset, what: "the footer is damaged".to_owned() });
                }
            }
        }
        if may_be_torn && !scanner.is_blank(end)? {
            self.torn_bytes += limit - end;
        }
        Ok(if trailer.is_some() { limit } else { end })
    }

    fn note_entry(&mut self, entry: CatalogEntry) {
        let known = self.logs.entry(entry.id).or_default();
        known.name = Some(entry.name);
        known.head = known.head.max(entry.head);
        known.tail = known.tail.max(entry.tail);
        known.last_at = known.last_at.max(entry.last_at);
        // It was written behind all that is in doubt so far.
        known.reach = SequenceNumber::ZERO;
    }

    /// Takes note of bytes that may have held the newest records of any log.
    fn doubt(&mut self, bytes: u64) {
        if bytes < HEADER_BYTES as u64 {
            return;
        }
        for known in self.logs.values_mut() {
            known.reach = known.next() + bytes;
        }
    }

    /// A frame of a hot segment says where its log ended: what was in doubt before it shows as a gap, or was never there.
    fn settle(&mut self, header: &FrameHeader) {
        self.settle_previous(header);
        if header.kind == FrameKind::Data {
            self.logs.entry(header.log).or_default().reach = SequenceNumber::ZERO;
        }
    }

    fn settle_previous(&mut self, header: &FrameHeader) {
        if header.previous.records > 0 {
            self.logs.entry(header.previous.log).or_default().reach = SequenceNumber::ZERO;
        }
    }

    fn note_tail(&mut self, log: LogId, tail: SequenceNumber) {
        let known = self.logs.entry(log).or_default();
        known.tail = known.tail.max(tail);
    }

    fn note_previous(&mut self, header: &FrameHeader) {
        if header.previous.records > 0 {
            self.note_tail(header.previous.log, SequenceNumber(header.previous.end));
        }
    }

    /// A mark that all is durable names the last frame before it.
    fn note_marker(&mut self, item: &Item) {
        if let Item::Frame { header, .. } = item {
            self.note_previous(header);
            self.settle_previous(header);
        }
    }

    fn note_bad(&mut self, header: &FrameHeader) {
        self.note_previous(header);
        if header.kind == FrameKind::Data {
            self.note_tail(header.log, header.end());
        }
    }

    fn note_frame(&mut self, header: &FrameHeader, payload: &[u8]) {
        self.note_previous(header);
        let known = self.logs.entry(header.log).or_default();
        match header.kind {
            FrameKind::Data | FrameKind::Lost | FrameKind::MaybeLost => {
                let Some(extent) = extent_of(header, payload) else { return };
                self.frames += u64::from(header.kind == FrameKind::Data);
                known.tail = known.tail.max(extent.end);
                known.last_at = known.last_at.max(header.appended_at);
                let ranges = match header.kind {
                    FrameKind::Data => &mut known.good,
                    FrameKind::Lost => &mut known.lost,
                    _ => &mut known.maybe_lost,
                };
                match ranges.last_mut() {
                    Some(last) if last.end == extent.first => (last.end, last.newest) = (extent.end, extent.newest),
                    _ => ranges.push(Range { first: extent.first, end: extent.end, newest: extent.newest }),
                }
            }
            FrameKind::Create => {
                if let Some(name) = std::str::from_utf8(payload).ok().and_then(|name| name.parse().ok()) {
                    known.name = Some(name);
                }
            }
            FrameKind::Trim => {
                known.head = known.head.max(header.first);
                known.tail = known.tail.max(header.first);
            }
            FrameKind::Durable => {}
        }
    }

    /// Returns the name of a log, or one that says that it is not known.
    pub(crate) fn name(&self, log: LogId) -> LogName {
        let known = self.logs.get(&log).and_then(|known| known.name.clone());
        known.unwrap_or_else(|| nameless(log))
    }

    /// Returns what was found, as a report.
    pub(crate) fn report(&self, files: &dyn Files) -> Report {
        let mut report = Report {
            segments: self.segments.len() as u64,
            bytes: self.bytes,
            frames: self.frames,
            torn_bytes: self.torn_bytes,
            ..Report::default()
        };
        for surveyed in &self.segments {
            let path = files.path().join(surveyed.id.to_string());
            for Flaw { offset, bytes, what } in surveyed.flaws.iter().cloned() {
                report.damages.push(Damage { path: path.clone(), offset, bytes, what });
            }
        }
        for (log, known) in &self.logs {
            let missing = known.missing();
            let name = self.name(*log);
            if report.damages.is_empty() && !missing.is_empty() {
                let what =
                    format!("records {} to {} of log `{name}` are in no segment", missing[0].first, missing[0].end);
                report.damages.push(Damage { path: files.path().to_owned(), offset: 0, bytes: 0, what });
            }
            for (range, certainty) in known.losses() {
                report.losses.push(Loss { log: name.clone(), from: range.first, to: range.end, certainty });
            }
        }
        report.losses.sort();
        report
    }
}

/// Returns up to where a frame proves that everything is durable.
fn durable_end(segment: &SegmentFile, limit: u64) -> io::Result<u64> {
    let mut scanner = segment.scan(limit);
    let mut durable = segment.frames_start;
    while let Some(item) = scanner.next()? {
        if let Item::Frame { header, .. } | Item::BadPayload { header, .. } = item {
            durable = durable.max(u64::from(header.group));
        }
    }
    Ok(durable)
}

/// The name of a log whose name is lost.
pub(crate) fn nameless(log: LogId) -> LogName {
    let name = format!("lost-name/{}", log.0);
    name.parse().unwrap_or_else(|_| LogName::machine("lost-name"))
}

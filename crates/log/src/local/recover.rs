//! What a folder holds, found out without changing it.
//!
//! ```text
//! sealed segments   trailer and pieces are read; a footer that does not read is made anew from the frames
//! the last one      its header lists all logs; its frames are read, checked and applied in order
//! ```
//!
//! A hole in the last segment is a torn write if every frame behind it belongs to the group that the hole lies in: nothing
//! of it was acknowledged, and it is cut off. If a frame of a later group stands behind it, the hole had been durable, and
//! is damage. Invariant of the outcome: the places of each log cover its head to its tail without a gap.

use std::collections::HashMap;
use std::io;

use weir_types::SequenceNumber;

use super::files::{File, Files};
use super::format::footer::{Extent, Piece};
use super::format::frame::{FrameHeader, FrameKind, Part};
use super::format::{Kind, LogId, SegmentId, UNFINISHED, VERSION};
use super::index::{Index, LogState};
use super::scan::Item;
use super::segment::{Flaw, SegmentFile, extent_of, flaw_of, may_hold_frames, read_headers};
use crate::EngineError;

/// A folder's content.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub index: Index,
    /// The last hot segment.
    pub last: SegmentFile,
    /// Where its frames end.
    pub end: u64,
    /// Whether it is sealed: a crash came before its successor.
    pub sealed: bool,
    /// Bytes behind the end that a crash left, other than zeros.
    pub torn_bytes: u64,
    /// Files that nothing needs.
    pub needless: Vec<String>,
    /// Damage that has a replacement.
    pub flaws: Vec<(SegmentId, Flaw)>,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// No segment, and maybe files that nothing needs.
    Nothing { needless: Vec<String> },
    /// Segments.
    Logs(Box<Recovered>),
}

/// Reads a folder.
pub(crate) fn recover(files: &dyn Files, segment_bytes: u64) -> Result<Found, EngineError> {
    let names = files.list().map_err(|source| failed("list", files, "", source))?;
    let mut ids: Vec<SegmentId> = names.iter().filter_map(|name| SegmentId::parse(name)).collect();
    ids.sort_by_key(|id| id.number);
    let mut needless: Vec<String> = names.into_iter().filter(|name| is_unfinished(name)).collect();
    let mut flaws = Vec::new();
    let mut opened = Vec::new();
    for (position, id) in ids.iter().copied().enumerate() {
        let reading = |source| failed("read", files, &id.to_string(), source);
        let file = files.open(&id.to_string()).map_err(|source| failed("open", files, &id.to_string(), source))?;
        let headers = read_headers(id, &*file).map_err(reading)?;
        if let Some(found) = headers.version {
            return Err(EngineError::Version { path: files.path().join(id.to_string()), found, known: VERSION });
        }
        let whole = headers.flaws.is_empty();
        let newest_hot = id.kind == Kind::Hot && ids[position + 1..].iter().all(|id| id.kind == Kind::Cold);
        if !whole && newest_hot && never_began(&*file, &opened, &ids).map_err(reading)? {
            needless.push(id.to_string());
            continue;
        }
        let (Some(fixed), Some(catalog)) = (headers.fixed, headers.catalog) else {
            return Err(damaged(files, id, "both copies of its header, at offset 0, are damaged"));
        };
        flaws.extend(headers.flaws.into_iter().map(|flaw| (id, flaw)));
        let segment = SegmentFile::new(id, file, &fixed);
        let trailer = if newest_hot { segment.whole_trailer() } else { segment.trailer() };
        let trailer = trailer.map_err(reading)?;
        opened.push(Opened { segment, catalog, trailer });
    }
    let Some(last) = opened.iter().rposition(|opened| opened.segment.id.kind == Kind::Hot) else {
        if opened.is_empty() {
            return Ok(Found::Nothing { needless });
        }
        return Err(damaged(files, opened[0].segment.id, "there is no hot segment beside it"));
    };
    let last = opened.remove(last);
    let reading = |source| failed("read", files, &last.segment.id.to_string(), source);
    let mut index = Index::new(last.segment.id.number, segment_bytes);
    for (position, entry) in last.catalog.into_iter().enumerate() {
        if entry.id.index() != position {
            return Err(damaged(files, last.segment.id, "the list of logs in its header has a gap"));
        }
        index.create(LogState::new(entry.name, entry.head, entry.tail, entry.last_at));
    }
    let limit = last.segment.frames_limit(last.trailer.as_ref()).map_err(reading)?;
    index.add_segment(last.segment.id, limit);
    let mut replay = Replay::new(files, &last.segment, index);
    let mut scanner = last.segment.scan(limit);
    while let Some(item) = scanner.next().map_err(reading)? {
        replay.take(item)?;
    }
    let sealed = last.trailer.is_some();
    if sealed && (replay.end != limit || !replay.pending.is_empty()) {
        return Err(replay.hole_error(replay.hole.as_ref().map_or(replay.end, |hole| hole.offset)));
    }
    let (end, mut index) = (replay.end, replay.index);
    let torn_bytes = if sealed || scanner.is_blank(end).map_err(reading)? { 0 } else { limit - end };
    if let Some(segment) = index.segments.get_mut(&last.segment.id.number) {
        segment.bytes = end;
    }
    add_sealed(files, &mut index, &opened, &mut needless, &mut flaws)?;
    check_coverage(files, &index)?;
    for log in &index.logs {
        // Whoever waits sees at once what was found behind the catalog's tail.
        log.watch.send_replace(log.tail);
    }
    let last = last.segment;
    Ok(Found::Logs(Box::new(Recovered { index, last, end, sealed, torn_bytes, needless, flaws })))
}

struct Opened {
    segment: SegmentFile,
    catalog: Vec<super::format::header::CatalogEntry>,
    trailer: Option<super::format::footer::Trailer>,
}

fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(|name| SegmentId::parse(name).is_some())
}

/// Returns whether a crash came between the creation of the newest hot segment and its first sync: there is no frame in
/// it, and its predecessor is sealed, or it is the first of all. Nothing is lost with it.
fn never_began(file: &dyn File, opened: &[Opened], ids: &[SegmentId]) -> io::Result<bool> {
    if may_hold_frames(file)? {
        return Ok(false);
    }
    let predecessor = opened.iter().rev().find(|opened| opened.segment.id.kind == Kind::Hot);
    Ok(predecessor.map_or(matches!(ids, [SegmentId { number: 1, .. }]), |opened| opened.trailer.is_some()))
}

/// The first place in the last segment at which no whole frame stands.
struct Hole {
    offset: u64,
    what: String,
}

/// Applies the last segment's frames.
struct Replay<'a> {
    files: &'a dyn Files,
    segment: &'a SegmentFile,
    index: Index,
    /// Frames of an append whose last one is yet to come.
    pending: Vec<(u64, FrameHeader, Extent)>,
    /// Behind the last whole append.
    end: u64,
    hole: Option<Hole>,
}

impl<'a> Replay<'a> {
    fn new(files: &'a dyn Files, segment: &'a SegmentFile, index: Index) -> Self {
        Self { files, segment, index, pending: Vec::new(), end: segment.frames_start, hole: None }
    }

    fn take(&mut self, item: Item) -> Result<(), EngineError> {
        let what = flaw_of(&item).map(|flaw| flaw.what);
        match item {
            Item::Frame { header, offset, .. } if self.hole.is_some() => self.judge(offset, &header),
            Item::Frame { offset, header, payload } => self.apply(offset, header, &payload),
            Item::BadPayload { offset, header } => {
                let judged = self.judge(offset, &header);
                self.note_hole(offset, what);
                judged
            }
            Item::NoFrame { offset, .. } => {
                self.note_hole(offset, what);
                Ok(())
            }
            Item::Rest { .. } => Ok(()),
        }
    }

    fn note_hole(&mut self, offset: u64, what: Option<String>) {
        self.hole.get_or_insert_with(|| Hole { offset, what: what.unwrap_or_default() });
    }

    /// Looks whether a frame behind a hole proves that the hole had been durable.
    fn judge(&self, offset: u64, header: &FrameHeader) -> Result<(), EngineError> {
        match &self.hole {
            Some(hole) if u64::from(header.group) > hole.offset => {
                Err(self.hole_error_before(hole.offset, offset, header))
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, offset: u64, header: FrameHeader, payload: &[u8]) -> Result<(), EngineError> {
        match header.kind {
            FrameKind::Data | FrameKind::Lost | FrameKind::MaybeLost => {
                let Some(extent) = extent_of(&header, payload) else {
                    return Err(self.error(offset, "a recorded loss does not say where it ends"));
                };
                self.pending.push((offset, header, extent));
                if header.part == Part::More {
                    return Ok(());
                }
                for (offset, header, extent) in std::mem::take(&mut self.pending) {
                    self.add(offset, &header, extent)?;
                }
            }
            FrameKind::Create => {
                let name = std::str::from_utf8(payload).ok().and_then(|name| name.parse().ok());
                let Some(name) = name.filter(|_| header.log.index() == self.index.logs.len()) else {
                    return Err(self.error(offset, "the creation of a log does not follow that of the one before"));
                };
                self.index.create(LogState::new(name, header.first, header.first, header.appended_at));
            }
            FrameKind::Trim => {
                let known = self.index.logs.get(header.log.index()).is_some_and(|log| header.first <= log.tail);
                if !known {
                    return Err(self.error(offset, "a log is trimmed that does not reach so far"));
                }
                self.index.trim(header.log, header.first);
            }
            FrameKind::Durable => {
                // The next group is written over it: whatever stands behind belongs to a write that begins here.
                self.note_hole(offset, None);
                return Ok(());
            }
        }
        self.end = offset + header.frame_bytes();
        Ok(())
    }

    fn add(&mut self, offset: u64, header: &FrameHeader, extent: Extent) -> Result<(), EngineError> {
        let Some(log) = self.index.logs.get(header.log.index()) else {
            return Err(self.error(offset, "a frame belongs to a log that was never created"));
        };
        if log.tail != extent.first {
            let what = format!(
                "log `{}` ends at {}, and the next frame holds records {} to {}",
                log.name, log.tail, extent.first, extent.end
            );
            return Err(self.error(offset, &what));
        }
        self.index.add_frame(header.log, offset as u32, extent);
        Ok(())
    }

    fn error(&self, offset: u64, what: &str) -> EngineError {
        damaged(self.files, self.segment.id, &format!("at offset {offset} {what}"))
    }

    fn hole_error(&self, offset: u64) -> EngineError {
        let what = self.hole.as_ref().map_or("no frame is readable here", |hole| &hole.what);
        self.error(offset, what)
    }

    fn hole_error_before(&self, hole: u64, offset: u64, next: &FrameHeader) -> EngineError {
        let what = self.hole.as_ref().map_or("", |hole| &hole.what);
        let previous = next.previous;
        let named = match self.index.logs.get(previous.log.index()) {
            Some(log) if previous.records > 0 => {
                let first = previous.end.saturating_sub(u64::from(previous.records));
                format!("; the last frame of the damage held records {first} to {} of log `{}`", previous.end, log.name)
            }
            _ => String::new(),
        };
        self.error(hole, &format!("{what}, up to offset {offset}{named}"))
    }
}

/// Adds what the sealed segments hold, and finds those that cold copies have replaced.
fn add_sealed(
    files: &dyn Files,
    index: &mut Index,
    opened: &[Opened],
    needless: &mut Vec<String>,
    flaws: &mut Vec<(SegmentId, Flaw)>,
) -> Result<(), EngineError> {
    let mut all: Vec<(&SegmentFile, Vec<Piece>)> = Vec::new();
    for Opened { segment, trailer, .. } in opened {
        let reading = |source| failed("read", files, &segment.id.to_string(), source);
        let pieces = match trailer {
            Some(trailer) => segment.pieces(trailer).map_err(reading)?,
            None => None,
        };
        let pieces = match pieces {
            Some(pieces) => pieces,
            None => rebuilt(files, segment, trailer.as_ref().map(|trailer| trailer.frames_end), flaws)?,
        };
        if pieces.iter().any(|piece| piece.log.index() >= index.logs.len()) {
            return Err(damaged(files, segment.id, "it holds a log that was never created"));
        }
        all.push((segment, pieces));
    }
    let mut copies: HashMap<LogId, Vec<(u64, Extent)>> = HashMap::new();
    for (segment, pieces) in all.iter().filter(|(segment, _)| segment.id.kind == Kind::Cold) {
        for piece in pieces {
            copies.entry(piece.log).or_default().push((segment.id.number, piece.extent));
        }
    }
    for extents in copies.values_mut() {
        extents.sort_by_key(|(_, extent)| extent.first);
    }
    for (segment, pieces) in &all {
        let live = |piece: &&Piece| piece.extent.end > index.log(piece.log).head;
        let replaced = |piece: &Piece| {
            let newer = copies.get(&piece.log).into_iter().flatten().filter(|(number, _)| *number > segment.id.number);
            covers(newer.map(|(_, extent)| extent), index.log(piece.log).head.max(piece.extent.first), piece.extent.end)
        };
        if pieces.iter().filter(live).all(replaced) {
            needless.push(segment.id.to_string());
            continue;
        }
        let bytes = segment.file.len().map_err(|source| failed("read", files, &segment.id.to_string(), source))?;
        index.add_segment(segment.id, bytes);
        for piece in pieces {
            index.add_place(piece.log, segment.id.number, piece.extent);
        }
    }
    Ok(())
}

fn rebuilt(
    files: &dyn Files,
    segment: &SegmentFile,
    frames_end: Option<u64>,
    flaws: &mut Vec<(SegmentId, Flaw)>,
) -> Result<Vec<Piece>, EngineError> {
    let reading = |source| failed("read", files, &segment.id.to_string(), source);
    let end = match frames_end {
        Some(end) => end,
        None => segment.file.len().map_err(reading)?,
    };
    let (runs, bad) = segment.rebuild(end).map_err(reading)?;
    if let Some(flaw) = bad.first() {
        return Err(damaged(
            files,
            segment.id,
            &format!("at offset {} {}, and its footer is damaged", flaw.offset, flaw.what),
        ));
    }
    flaws.push((
        segment.id,
        Flaw { offset: end, bytes: 0, what: "the footer is damaged, and every frame reads well".to_owned() },
    ));
    Ok(runs.finish().1)
}

/// Returns whether `extents`, in order, hold all records of `from..to`.
pub(crate) fn covers<'a>(extents: impl Iterator<Item = &'a Extent>, from: SequenceNumber, to: SequenceNumber) -> bool {
    let mut reached = from;
    for extent in extents {
        if extent.first > reached {
            break;
        }
        reached = reached.max(extent.end);
    }
    reached >= to
}

fn check_coverage(files: &dyn Files, index: &Index) -> Result<(), EngineError> {
    for log in &index.logs {
        let mut reached = log.head;
        for place in &log.places {
            if place.extent.first > reached {
                let (id, extent) = (index.segment_id(place.segment), place.extent);
                let what = format!("records {reached} to {} of log `{}` are missing before it", extent.first, log.name);
                return Err(damaged(files, id, &what));
            }
            reached = reached.max(place.extent.end);
        }
        if reached != log.tail {
            let what =
                format!("log `{}` ends at {}, and its segments hold records up to {reached}", log.name, log.tail);
            return Err(EngineError::Damaged { path: files.path().to_owned(), what });
        }
    }
    Ok(())
}

pub(crate) fn damaged(files: &dyn Files, id: SegmentId, what: &str) -> EngineError {
    EngineError::Damaged { path: files.path().join(id.to_string()), what: what.to_owned() }
}

pub(crate) fn failed(action: &'static str, files: &dyn Files, name: &str, source: io::Error) -> EngineError {
    EngineError::Io { action, path: files.path().join(name), source }
}

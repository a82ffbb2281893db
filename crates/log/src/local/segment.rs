//! A segment's file: its header, and its footer if it is sealed.

use std::io::{self, IoSlice};
use std::sync::Arc;

use weir_types::Timestamp;

use super::files::{File, Files, read_exact, read_full, write_all};
use super::format::footer::{Extent, Piece, Run, TRAILER_BYTES, Trailer};
use super::format::frame::{FrameHeader, FrameKind, HEADER_BYTES, MAGIC, lost_end};
use super::format::header::{
    self, COPY_BYTES_MAX, COPY_STEP, CatalogEntry, FIXED_BYTES, Fixed, Unreadable, decode_catalog, decode_fixed,
};
use super::format::{ALIGNMENT, LogId, Seed, SegmentId};
use super::runs::Runs;
use super::scan::{Item, SCAN_STEP, Scanner, Window};

/// An open segment.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFile {
    pub id: SegmentId,
    pub file: Arc<dyn File>,
    pub seed: Seed,
    pub frames_start: u64,
}

/// What is wrong with a part of a file that has a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub offset: u64,
    pub bytes: u64,
    pub what: String,
}

/// What the headers of a segment say.
#[derive(Debug)]
pub(crate) struct Headers {
    /// From the first copy that reads.
    pub fixed: Option<Fixed>,
    /// From the first copy that reads.
    pub catalog: Option<Vec<CatalogEntry>>,
    pub flaws: Vec<Flaw>,
    /// The version, if it is not a known one.
    pub version: Option<u32>,
}

/// Reads both copies of a header.
pub(crate) fn read_headers(id: SegmentId, file: &dyn File) -> io::Result<Headers> {
    let mut headers = Headers { fixed: None, catalog: None, flaws: Vec::new(), version: None };
    let mut copies = [Some(0), None];
    let mut first = vec![0; FIXED_BYTES];
    let read = read_full(file, 0, &mut first)?;
    copies[1] = match decode_fixed(&first[..read]) {
        Ok(fixed) => Some(fixed.copy_bytes as u64),
        Err(_) => find_second(file)?,
    };
    for (number, offset) in copies.into_iter().enumerate() {
        let bytes = headers.fixed.map_or(COPY_STEP as u64, |fixed| fixed.copy_bytes as u64);
        let flaw = |what: String| Flaw { offset: offset.unwrap_or(COPY_STEP as u64), bytes, what };
        let Some(offset) = offset else {
            headers.flaws.push(flaw("no second copy of the header is found".to_owned()));
            continue;
        };
        let mut fixed = vec![0; FIXED_BYTES];
        let read = read_full(file, offset, &mut fixed)?;
        match decode_fixed(&fixed[..read]) {
            Err(Unreadable::Damaged) => {
                headers.flaws.push(flaw(format!("copy {} of the header is damaged", number + 1)));
            }
            Err(Unreadable::Version(version)) => headers.version = Some(version),
            Ok(fixed) if fixed.id != id => {
                headers.flaws.push(flaw(format!("copy {} of the header is of segment `{}`", number + 1, fixed.id)));
            }
            Ok(fixed) => {
                let mut copy = vec![0; fixed.copy_bytes];
                let read = read_full(file, offset, &mut copy)?;
                match decode_catalog(&fixed, &copy[..read]) {
                    None => headers
                        .flaws
                        .push(flaw(format!("the list of logs in copy {} of the header is damaged", number + 1))),
                    Some(catalog) => {
                        headers.catalog.get_or_insert(catalog);
                        headers.fixed.get_or_insert(fixed);
                    }
                }
            }
        }
    }
    Ok(headers)
}

/// Looks for the second copy where the first does not say where it is.
fn find_second(file: &dyn File) -> io::Result<Option<u64>> {
    let mut window = Window::new(file, (2 * COPY_BYTES_MAX) as u64, SCAN_STEP);
    let mut at = COPY_STEP as u64;
    loop {
        let bytes = window.get(at, FIXED_BYTES)?;
        if bytes.len() < FIXED_BYTES {
            return Ok(None);
        }
        if decode_fixed(&bytes).is_ok_and(|fixed| fixed.copy_bytes as u64 == at) {
            return Ok(Some(at));
        }
        at += COPY_STEP as u64;
    }
}

/// Returns whether there is anything in a file that may be the start of a frame.
pub(crate) fn may_hold_frames(file: &dyn File) -> io::Result<bool> {
    let mut window = Window::new(file, file.len()?, SCAN_STEP);
    let mut at = 0;
    loop {
        let chunk = window.get(at, SCAN_STEP)?;
        if chunk.chunks_exact(ALIGNMENT as usize).any(|bytes| bytes[..4] == MAGIC.to_le_bytes()) {
            return Ok(true);
        }
        if chunk.len() < SCAN_STEP {
            return Ok(false);
        }
        at += chunk.len() as u64;
    }
}

impl SegmentFile {
    pub(crate) fn new(id: SegmentId, file: Arc<dyn File>, fixed: &Fixed) -> Self {
        let seed = Seed { salt: fixed.salt, number: id.number };
        Self { id, file, seed, frames_start: fixed.frames_start() }
    }

    /// Opens a segment whose header is known to read.
    pub(crate) fn open(files: &dyn Files, id: SegmentId, salt: u64) -> io::Result<Self> {
        let file = files.open(&id.to_string())?;
        let seed = Seed { salt, number: id.number };
        let frames_start = match read_headers(id, &*file)?.fixed {
            Some(fixed) => fixed.frames_start(),
            None => {
                let headless = Self { id, file: Arc::clone(&file), seed, frames_start: 0 };
                headless.first_frame()?.unwrap_or(0)
            }
        };
        Ok(Self { id, file, seed, frames_start })
    }

    /// Reads the trailer; `None` if the segment is not sealed, or the trailer is damaged.
    pub(crate) fn trailer(&self) -> io::Result<Option<Trailer>> {
        let len = self.file.len()?;
        let Some(offset) = len.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
        let mut bytes = vec![0; TRAILER_BYTES];
        let read = read_full(&*self.file, offset, &mut bytes)?;
        Ok(Trailer::decode(self.seed, len, &bytes[..read]).filter(|trailer| trailer.frames_end >= self.frames_start))
    }

    /// Reads the trailer of the last segment: `None` also if the rest of the footer does not read, as after a crash while it was
    /// sealed.
    pub(crate) fn whole_trailer(&self) -> io::Result<Option<Trailer>> {
        let Some(trailer) = self.trailer()? else { return Ok(None) };
        let whole = self.runs(&trailer)?.is_some() && self.pieces(&trailer)?.is_some();
        Ok(whole.then_some(trailer))
    }

    /// Reads the pieces; `None` if they are damaged.
    pub(crate) fn pieces(&self, trailer: &Trailer) -> io::Result<Option<Vec<Piece>>> {
        let end = trailer.file_bytes() - TRAILER_BYTES as u64;
        let mut bytes = vec![0; (end - trailer.pieces_start()) as usize];
        read_exact(&*self.file, trailer.pieces_start(), &mut bytes)?;
        Ok(trailer.decode_pieces(&bytes))
    }

    /// Reads the runs; `None` if they are damaged.
    pub(crate) fn runs(&self, trailer: &Trailer) -> io::Result<Option<Vec<Run>>> {
        let mut bytes = vec![0; (trailer.pieces_start() - trailer.runs_start()) as usize];
        read_exact(&*self.file, trailer.runs_start(), &mut bytes)?;
        Ok(trailer.decode_runs(&bytes))
    }

    /// Returns where the frames end: what the trailer says, or the end of the file.
    pub(crate) fn frames_limit(&self, trailer: Option<&Trailer>) -> io::Result<u64> {
        match trailer {
            Some(trailer) => Ok(trailer.frames_end),
            None => self.file.len(),
        }
    }

    pub(crate) fn scan(&self, end: u64) -> Scanner<'_> {
        Scanner::new(&*self.file, self.seed, self.frames_start, end)
    }

    /// Returns where the first frame stands, for a segment whose header does not say.
    pub(crate) fn first_frame(&self) -> io::Result<Option<u64>> {
        let found = Window::new(&*self.file, self.file.len()?, SCAN_STEP).find(self.seed, 0)?;
        Ok(found.map(|(offset, _)| offset))
    }

    /// Makes the index anew from the frames, and lists what is no frame.
    pub(crate) fn rebuild(&self, end: u64) -> io::Result<(Runs, Vec<Flaw>)> {
        let mut runs = Runs::new(end);
        let mut flaws = Vec::new();
        let mut scanner = self.scan(end);
        while let Some(item) = scanner.next()? {
            match &item {
                Item::Frame { offset, header, payload } => {
                    if let Some(extent) = extent_of(header, payload) {
                        runs.add(header.log, *offset as u32, extent);
                    }
                }
                // A footer that does not read ends the scan; frames that are missing show as a gap.
                Item::Rest { .. } => {}
                bad => flaws.extend(flaw_of(bad)),
            }
        }
        Ok((runs, flaws))
    }
}

/// Returns what a frame adds to the index: nothing, unless it holds records or stands for lost ones.
pub(crate) fn extent_of(header: &FrameHeader, payload: &[u8]) -> Option<Extent> {
    let end = match header.kind {
        FrameKind::Data => header.end(),
        kind if kind.is_loss() => lost_end(payload)?,
        _ => return None,
    };
    Some(Extent {
        first: header.first,
        end,
        oldest: header.appended_at,
        newest: header.appended_at,
        bytes: header.frame_bytes() as u32,
        payload: if header.kind == FrameKind::Data { header.length } else { 0 },
        frames: 1,
    })
}

/// Says what is wrong with an item; nothing if it is a good frame.
pub(crate) fn flaw_of(item: &Item) -> Option<Flaw> {
    match item {
        Item::Frame { .. } | Item::Rest { .. } => None,
        Item::NoFrame { offset, end } => {
            Some(Flaw { offset: *offset, bytes: end - offset, what: "no frame is readable here".to_owned() })
        }
        Item::BadPayload { offset, header } => {
            let what = match header.kind {
                FrameKind::Data => {
                    format!("the payload of records {} to {} of log {}", header.first, header.end(), name(header.log))
                }
                _ => format!("a frame of log {}", name(header.log)),
            };
            let bytes = header.frame_bytes() - HEADER_BYTES as u64;
            Some(Flaw {
                offset: offset + HEADER_BYTES as u64,
                bytes,
                what: format!("{what} does not match its checksum"),
            })
        }
    }
}

fn name(log: LogId) -> String {
    format!("number {}", log.0)
}

/// Why a segment did not begin.
#[derive(Debug)]
pub(crate) enum BeginError {
    /// It could not be written.
    Write(io::Error),
    /// What of it is durable is unknown.
    Sync(io::Error),
}

/// Makes a hot segment, durable with its name.
pub(crate) fn begin(
    files: &dyn Files,
    id: SegmentId,
    salt: u64,
    now: Timestamp,
    catalog: &[CatalogEntry],
) -> Result<SegmentFile, BeginError> {
    let header = header::encode(id, salt, now, catalog);
    let file = files.create(&id.to_string()).map_err(BeginError::Write)?;
    file.allocate(0, header.len() as u64).map_err(BeginError::Write)?;
    write_all(&*file, 0, &mut [IoSlice::new(&header)]).map_err(BeginError::Write)?;
    file.sync().map_err(BeginError::Sync)?;
    files.sync_folder().map_err(BeginError::Sync)?;
    Ok(SegmentFile { id, file, seed: Seed { salt, number: id.number }, frames_start: header.len() as u64 })
}

//! The one thread that writes appends.
//!
//! ```text
//! take what waits -> plan (sequence numbers, conditions) -> one write -> one sync -> publish -> answer
//! ```
//!
//! Invariant: the index, the tails that watchers see, and the answers only ever speak of what is durable. A group that
//! can't be written leaves the file as it was before, and every caller of it an error; the next group tries the disk anew.
//! A sync that fails ends the engine (and with the real file layer the process).

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;

use super::files::write_all;
use super::format::SegmentId;
use super::format::footer;
use super::format::frame::{FrameHeader, FrameKind, HEADER_BYTES, Part, Previous};
use super::format::{Kind, Seed};
use super::group::{Frame, Group};
use super::queue::{Batch, Request};
use super::runs::Runs;
use super::segment::{SegmentFile, begin, extent_of};
use super::shared::Shared;
use crate::StoredBlock;

/// Payloads below this are copied next to their headers; larger ones are written from where they are.
const COPY_BYTES: usize = 4 << 10;

/// Space that is taken ahead and left to requests without records, so that a trim still works on a full disk.
const RESERVE_BYTES: u64 = 64 << 10;

/// Why a group was not written.
pub(crate) enum Failure {
    /// The file is as it was.
    Refused(Arc<io::Error>),
    /// What is durable is unknown.
    Stopped,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    segment: SegmentFile,
    /// Behind the last durable frame.
    end: u64,
    /// Up to where space has been taken.
    allocated: u64,
    previous: Previous,
}

/// The bytes of a group: headers, small payloads and padding in one buffer, large payloads where they are.
struct Encoded {
    staged: Vec<u8>,
    parts: Vec<Chunk>,
    end: u64,
    previous: Previous,
}

enum Chunk {
    Staged { from: usize, to: usize },
    Payload(Bytes),
}

impl Encoded {
    fn new(end: u64, previous: Previous, bytes: usize) -> Self {
        Self { staged: Vec::with_capacity(bytes), parts: Vec::new(), end, previous }
    }

    fn stage(&mut self, bytes: &[u8]) {
        let from = self.staged.len();
        self.staged.extend_from_slice(bytes);
        match self.parts.last_mut() {
            Some(Chunk::Staged { to, .. }) => *to = self.staged.len(),
            _ => self.parts.push(Chunk::Staged { from, to: self.staged.len() }),
        }
    }

    fn add(&mut self, seed: Seed, group: u64, frame: &mut Frame) {
        frame.offset = self.end;
        frame.header.group = group as u32;
        frame.header.previous = self.previous;
        self.stage(&frame.header.encode(seed, self.end));
        if frame.payload.len() < COPY_BYTES {
            frame.staged_at = Some(self.staged.len());
            self.stage(&frame.payload);
        } else {
            self.parts.push(Chunk::Payload(frame.payload.clone()));
        }
        let bytes = frame.header.frame_bytes();
        let padding = bytes as usize - HEADER_BYTES - frame.payload.len();
        self.stage(&[0; 8][..padding]);
        self.previous = frame.header.as_previous();
        self.end += bytes;
    }

    fn slices(&self) -> Vec<IoSlice<'_>> {
        self.parts
            .iter()
            .map(|chunk| match chunk {
                Chunk::Staged { from, to } => IoSlice::new(&self.staged[*from..*to]),
                Chunk::Payload(payload) => IoSlice::new(payload),
            })
            .collect()
    }
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, end: u64) -> Self {
        let segment = shared.active();
        Self { shared, segment, end, allocated: end, previous: Previous::default() }
    }

    /// Writes until the queue is closed and empty, or what is durable is unknown.
    pub(crate) fn run(mut self) {
        while let Some(batch) = self.shared.queue.take(self.shared.options.group_bytes_max) {
            if self.commit(batch).is_err() {
                self.shared.queue.abandon();
                self.shared.set_closed();
                return;
            }
            if self.shared.queue.is_empty() {
                self.mark();
            }
        }
        self.finish();
    }

    /// Writes a batch, and answers it. An error says that the engine must stop.
    fn commit(&mut self, batch: Batch) -> Result<(), ()> {
        let mut group = Group::plan(&self.shared, batch.requests);
        let written = self.write(&mut group);
        // Before the answers: a caller that has its answer finds room for its next request.
        self.shared.queue.release(batch.bytes);
        match written {
            Ok(staged) => {
                self.publish(&mut group, &staged);
                group.succeed(&self.shared);
                Ok(())
            }
            Err(Failure::Stopped) => {
                group.close();
                Err(())
            }
            Err(Failure::Refused(error)) => {
                let again = group.refuse(&self.shared, &error);
                self.trim_only(again)
            }
        }
    }

    /// Writes the trims of a group that was refused: on a full disk they are what makes space.
    fn trim_only(&mut self, trims: Vec<Request>) -> Result<(), ()> {
        if trims.is_empty() {
            return Ok(());
        }
        let mut group = Group::plan(&self.shared, trims);
        match self.write(&mut group) {
            Ok(staged) => {
                self.publish(&mut group, &staged);
                group.succeed(&self.shared);
                Ok(())
            }
            Err(Failure::Stopped) => {
                group.close();
                Err(())
            }
            Err(Failure::Refused(error)) => {
                group.fail(&self.shared, &error);
                Ok(())
            }
        }
    }

    /// Makes a group durable, and returns its headers and small payloads.
    fn write(&mut self, group: &mut Group) -> Result<Bytes, Failure> {
        if group.frames.is_empty() {
            return Ok(Bytes::new());
        }
        let full = self.end - self.segment.frames_start >= self.shared.options.segment_bytes;
        if full {
            match self.roll() {
                // A full disk must not keep a trim from making space: it goes to the reserve behind the full segment.
                Err(Failure::Refused(_)) if !group.has_records() => {}
                rolled => rolled?,
            }
        }
        let mut encoded = Encoded::new(self.end, self.previous, group.staged_bytes(COPY_BYTES));
        for frame in &mut group.frames {
            encoded.add(self.segment.seed, self.end, frame);
        }
        let reserve = if group.has_records() { RESERVE_BYTES } else { 0 };
        self.allocate(encoded.end, reserve).map_err(refused)?;
        if let Err(error) = write_all(&*self.segment.file, self.end, &mut encoded.slices()) {
            self.cut_back()?;
            return Err(refused(error));
        }
        self.sync()?;
        (self.end, self.previous) = (encoded.end, encoded.previous);
        Ok(Bytes::from(encoded.staged))
    }

    /// Takes space up to `end` and `reserve` bytes beyond, in large steps where the disk has them.
    fn allocate(&mut self, end: u64, reserve: u64) -> io::Result<()> {
        let need = end + reserve;
        if need <= self.allocated {
            return Ok(());
        }
        let full = self.segment.frames_start + self.shared.options.segment_bytes + RESERVE_BYTES;
        let step = (self.allocated + self.shared.options.allocate_bytes).min(full).max(need);
        let file = &self.segment.file;
        self.allocated = match file.allocate(self.allocated, step) {
            Err(error) if is_full(&error) && step > need => {
                file.allocate(self.allocated, need)?;
                need
            }
            done => done.map(|()| step)?,
        };
        Ok(())
    }

    /// Removes what a failed write has left behind the last durable frame.
    fn cut_back(&mut self) -> Result<(), Failure> {
        if let Err(error) = self.segment.file.set_len(self.end) {
            tracing::error!(segment = %self.segment.id, %error, "a failed write can't be taken back; the log stops");
            return Err(Failure::Stopped);
        }
        self.allocated = self.end;
        self.sync()?;
        // The reserve went with it. Whether it can be had again decides whether the next trim works, and nothing else.
        let _ = self.allocate(self.end, RESERVE_BYTES);
        Ok(())
    }

    fn sync(&self) -> Result<(), Failure> {
        self.segment.file.sync().map_err(|error| self.sync_failed(self.segment.id, &error))
    }

    fn sync_failed(&self, id: SegmentId, error: &io::Error) -> Failure {
        self.shared.files.sync_failed(&id.to_string(), error);
        Failure::Stopped
    }

    /// Seals the active segment and begins the next one.
    fn roll(&mut self) -> Result<(), Failure> {
        let (runs, pieces) = self.shared.index().active.runs.finish();
        let footer = footer::encode(self.segment.seed, self.end, &runs, &pieces);
        let sealed_bytes = self.end + footer.len() as u64;
        self.allocate(sealed_bytes, 0).map_err(refused)?;
        let written = write_all(&*self.segment.file, self.end, &mut [IoSlice::new(&footer)])
            .and_then(|()| self.segment.file.set_len(sealed_bytes));
        if let Err(error) = written {
            self.cut_back()?;
            return Err(refused(error));
        }
        self.allocated = sealed_bytes;
        self.sync()?;
        let next = match self.begin_next() {
            Ok(next) => next,
            Err(Failure::Stopped) => return Err(Failure::Stopped),
            Err(failure) => {
                self.cut_back()?;
                return Err(failure);
            }
        };
        let options = &self.shared.options;
        self.shared.set_active(next.clone());
        {
            let mut index = self.shared.index_mut();
            if let Some(segment) = index.segments.get_mut(&self.segment.id.number) {
                segment.bytes = sealed_bytes;
            }
            index.add_segment(next.id, next.frames_start);
            index.active.number = next.id.number;
            index.active.runs = Runs::new(options.segment_bytes);
        }
        (self.end, self.allocated) = (next.frames_start, next.frames_start);
        self.segment = next;
        self.previous = Previous::default();
        self.shared.tidy.wake();
        Ok(())
    }

    fn begin_next(&self) -> Result<SegmentFile, Failure> {
        let (id, catalog) = {
            let mut index = self.shared.index_mut();
            let id = SegmentId { number: index.next_number, kind: Kind::Hot };
            index.next_number += 1;
            (id, index.catalog())
        };
        let files = &*self.shared.files;
        let begun = begin(files, id, self.shared.salt, self.shared.env.now(), &catalog);
        begun.map_err(|error| match error {
            super::segment::BeginError::Sync(error) => self.sync_failed(id, &error),
            super::segment::BeginError::Write(error) => {
                // A segment that began must not stand behind one that goes on.
                match files.remove(&id.to_string()).and_then(|()| files.sync_folder()) {
                    Ok(()) => refused(error),
                    Err(left) if left.kind() == io::ErrorKind::NotFound => refused(error),
                    Err(left) => {
                        tracing::error!(segment = %id, error = %left, "a segment that could not begin can't be removed; the log stops");
                        Failure::Stopped
                    }
                }
            }
        })
    }

    /// Says in the file that everything before is durable: it costs no sync, and tells a later flipped bit in the last group
    /// from a torn write.
    fn mark(&mut self) {
        let end = self.end + HEADER_BYTES as u64;
        if end > self.allocated || self.end == self.segment.frames_start {
            return;
        }
        let header = FrameHeader {
            kind: FrameKind::Durable,
            part: Part::Last,
            group: self.end as u32,
            log: self.previous.log,
            records: 0,
            length: 0,
            first: Default::default(),
            appended_at: self.shared.env.now(),
            payload_crc: crc32c::crc32c(&[]),
            previous: self.previous,
        };
        let bytes = header.encode(self.segment.seed, self.end);
        // Without it a little less is known after a crash; the next group is written over it or over what there is of it.
        let _ = write_all(&*self.segment.file, self.end, &mut [IoSlice::new(&bytes)]);
    }

    /// Gives space back that was taken ahead, when the engine closes.
    fn finish(mut self) {
        self.mark();
        let end = (self.end + HEADER_BYTES as u64).min(self.allocated).max(self.end);
        if let Err(error) = self.segment.file.set_len(end) {
            tracing::warn!(segment = %self.segment.id, %error, "space that was taken ahead is not given back");
        }
        let _ = self.sync();
    }

    /// Lets readers see a group that is durable.
    fn publish(&mut self, group: &mut Group, staged: &Bytes) {
        let mut index = self.shared.index_mut();
        group.create_logs(&mut index);
        let mut cache = self.shared.cache();
        for frame in &group.frames {
            match frame.header.kind {
                FrameKind::Trim => index.trim(frame.header.log, frame.header.first),
                FrameKind::Data => {
                    let Some(extent) = extent_of(&frame.header, &[]) else { continue };
                    index.add_frame(frame.header.log, frame.offset as u32, extent);
                    let payload = match frame.staged_at {
                        Some(at) => staged.slice(at..at + frame.payload.len()),
                        None => frame.payload.clone(),
                    };
                    let (first, records) = (frame.header.first, frame.header.records);
                    let appended_at = frame.header.appended_at;
                    cache.add(frame.header.log, StoredBlock { first, records, appended_at, payload });
                }
                _ => {}
            }
        }
        drop(cache);
        let number = self.segment.id.number;
        if let Some(segment) = index.segments.get_mut(&number) {
            segment.bytes = self.end;
        }
        for log in group.touched() {
            let state = index.log(log);
            state.watch.send_if_modified(|tail| std::mem::replace(tail, state.tail) != state.tail);
        }
    }
}

fn refused(error: io::Error) -> Failure {
    Failure::Refused(Arc::new(error))
}

/// Returns whether an error says that there is no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

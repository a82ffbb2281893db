//! Deleting dead segments, and copying what lives out of segments that are mostly dead.
//!
//! One thread beside the writer. A segment without a live record is deleted at once. Where the oldest records live on (a
//! log of long retention, or one that is idle) they would pin all that was written beside them: once segments that are more
//! than half dead hold enough dead bytes, their live frames go to a cold segment, and they are deleted. Each byte that is
//! copied frees at least one. Small cold segments of about one size are merged when there are many, so that their number
//! stays small and a byte is copied a few times at most.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use weir_types::SequenceNumber;

use super::cold::{Cold, ColdWriter};
use super::format::footer::Extent;
use super::format::{Kind, LogId};
use super::index::{Index, Segment, SegmentNumber};
use super::shared::Shared;
use super::walk::{Stop, Walk};
use super::writer::is_full;
use crate::TrimError;

/// Cold segments of about one size that are merged into one.
const MERGE_COUNT: usize = 8;

/// Segments that one step empties at most.
const VICTIMS_MAX: usize = 64;

#[derive(Debug, Default)]
struct State {
    work: bool,
    closed: bool,
    waiting: Vec<oneshot::Sender<Result<(), TrimError>>>,
}

/// What wakes the thread.
#[derive(Debug)]
pub(crate) struct TidyQueue {
    state: Mutex<State>,
    filled: Condvar,
}

impl TidyQueue {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), filled: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the thread look for work.
    pub(crate) fn wake(&self) {
        self.state().work = true;
        self.filled.notify_all();
    }

    /// Answers a trim that is durable, once the segments that it emptied are deleted.
    pub(crate) fn answer_when_deleted(&self, done: oneshot::Sender<Result<(), TrimError>>) {
        let mut state = self.state();
        if state.closed {
            drop(done.send(Ok(())));
            return;
        }
        state.waiting.push(done);
        state.work = true;
        drop(state);
        self.filled.notify_all();
    }

    /// Ends the thread after the deletion it is at.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn next(&self) -> Option<Vec<oneshot::Sender<Result<(), TrimError>>>> {
        let mut state = self.state();
        while !state.work && !state.closed {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.work {
            return None;
        }
        state.work = false;
        Some(std::mem::take(&mut state.waiting))
    }
}

/// Works until the engine closes.
pub(crate) fn run(shared: &Shared) {
    while let Some(waiting) = shared.tidy.next() {
        delete_dead(shared);
        for done in waiting {
            // The trim is durable whether or not the deletion was; the next opening deletes what is left.
            drop(done.send(Ok(())));
        }
        while !shared.tidy.is_closed() && copy_step(shared) {
            delete_dead(shared);
        }
    }
}

fn delete_dead(shared: &Shared) {
    let dead = {
        let mut index = shared.index_mut();
        let dead = index.dead();
        for id in &dead {
            index.segments.remove(&id.number);
        }
        dead
    };
    if dead.is_empty() {
        return;
    }
    for id in &dead {
        shared.sealed().remove(id.number);
        if let Err(error) = shared.files.remove(&id.to_string()) {
            tracing::warn!(segment = %id, %error, "a dead segment can't be deleted; the next start tries again");
        }
    }
    if let Err(error) = shared.files.sync_folder() {
        tracing::warn!(%error, "the deletion of dead segments may not last; the next start tries again");
    }
}

/// Live records of one log in one segment.
struct Job {
    log: LogId,
    segment: SegmentNumber,
    extent: Extent,
    head: SequenceNumber,
}

/// Empties some segments. Returns whether there may be more to do.
fn copy_step(shared: &Shared) -> bool {
    let (victims, jobs) = {
        let index = shared.index();
        let victims = victims(&index, shared.options.dead_bytes_max, shared.options.segment_bytes);
        let jobs = jobs(&index, &victims);
        (victims, jobs)
    };
    if victims.is_empty() {
        return false;
    }
    match copy(shared, &jobs) {
        Ok(cold) => {
            replace(shared, &victims, &jobs, &cold);
            true
        }
        Err(CopyError::Unreadable(number, error)) => {
            tracing::error!(segment = %shared.index().segment_id(number), %error, "a segment with live records is damaged and stays; run `weir log verify`");
            if let Some(segment) = shared.index_mut().segments.get_mut(&number) {
                segment.unreadable = true;
            }
            true
        }
        Err(CopyError::Closed) => false,
        Err(CopyError::Write(error)) => {
            if is_full(&error) {
                tracing::warn!("the disk is too full to copy live records out of old segments");
            } else {
                tracing::error!(%error, "live records can't be copied out of old segments");
            }
            false
        }
    }
}

/// Chooses segments to empty, the oldest first.
fn victims(index: &Index, dead_bytes_max: u64, segment_bytes: u64) -> Vec<SegmentNumber> {
    let sealed =
        index.segments.values().filter(|s| s.id.number != index.active.number && !s.unreadable && s.places > 0);
    let sealed: Vec<&Segment> = sealed.collect();
    let mostly_dead: Vec<&Segment> = sealed.iter().copied().filter(|segment| segment.is_mostly_dead()).collect();
    let dead: u64 = mostly_dead.iter().map(|segment| segment.bytes - segment.live.min(segment.bytes)).sum();
    if dead >= dead_bytes_max {
        let mut live = 0;
        let fits = |segment: &&&Segment| {
            live += segment.live;
            live <= segment_bytes
        };
        // The first fits in any case: it is less than half a segment.
        return mostly_dead.iter().take(VICTIMS_MAX).take_while(fits).map(|segment| segment.id.number).collect();
    }
    let cold = sealed.iter().filter(|segment| segment.id.kind == Kind::Cold && 2 * segment.live <= segment_bytes);
    let mut tiers: std::collections::BTreeMap<u32, Vec<SegmentNumber>> = std::collections::BTreeMap::new();
    for segment in cold {
        // Within a tier sizes differ by a factor of 8 at most.
        tiers.entry(segment.live.max(1).ilog2() / 3).or_default().push(segment.id.number);
    }
    tiers
        .into_values()
        .find(|tier| tier.len() >= MERGE_COUNT)
        .map(|mut tier| {
            tier.truncate(MERGE_COUNT);
            tier
        })
        .unwrap_or_default()
}

fn jobs(index: &Index, victims: &[SegmentNumber]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (log, state) in index.logs.iter().enumerate() {
        for place in state.places.iter().filter(|place| victims.contains(&place.segment)) {
            jobs.push(Job { log: LogId(log as u32), segment: place.segment, extent: place.extent, head: state.head });
        }
    }
    jobs
}

enum CopyError {
    /// Records in this segment don't read.
    Unreadable(SegmentNumber, io::Error),
    Write(io::Error),
    Closed,
}

fn copy(shared: &Shared, jobs: &[Job]) -> Result<Cold, CopyError> {
    let number = {
        let mut index = shared.index_mut();
        index.next_number += 1;
        index.next_number - 1
    };
    let (files, options) = (&*shared.files, &shared.options);
    let mut cold = ColdWriter::begin(files, number, shared.salt, shared.env.now(), options.segment_bytes)
        .map_err(CopyError::Write)?;
    for job in jobs {
        if let Err(error) = copy_job(shared, job, &mut cold) {
            cold.discard();
            return Err(error);
        }
    }
    cold.finish().map_err(CopyError::Write)
}

fn copy_job(shared: &Shared, job: &Job, cold: &mut ColdWriter<'_>) -> Result<(), CopyError> {
    let unreadable = |error| CopyError::Unreadable(job.segment, error);
    let sealed = shared.open_sealed(job.segment).map_err(unreadable)?;
    let first = job.extent.first.max(job.head);
    let runs = sealed.runs(job.log, first);
    let mut walk = Walk::new(&sealed.segment, job.log, runs, (first, job.extent.end), usize::MAX);
    loop {
        if shared.tidy.is_closed() {
            return Err(CopyError::Closed);
        }
        match walk.next() {
            Ok(None) => return Ok(()),
            Ok(Some((header, payload))) => cold.add(&header, &payload).map_err(CopyError::Write)?,
            // A loss is copied as one: it is reported until it is trimmed.
            Err(Stop::Lost { to, header, .. }) => {
                walk.skip_to(to);
                cold.add(&header, &to.0.to_le_bytes()).map_err(CopyError::Write)?;
            }
            Err(Stop::Damaged { from, to, offset }) => {
                let what = format!("records {from} to {to}, offset {offset}");
                return Err(unreadable(io::Error::other(what)));
            }
            Err(Stop::Io(error)) => return Err(unreadable(error)),
        }
    }
}

/// Lets readers see the copies instead of the originals.
fn replace(shared: &Shared, victims: &[SegmentNumber], jobs: &[Job], cold: &Cold) {
    let mut index = shared.index_mut();
    for job in jobs {
        index.remove_places(job.log, job.segment);
    }
    index.add_segment(cold.id, cold.bytes);
    for piece in &cold.pieces {
        index.add_place(piece.log, cold.id.number, piece.extent);
    }
    debug_assert!(victims.iter().all(|number| index.segments.get(number).is_none_or(|segment| segment.places == 0)));
}

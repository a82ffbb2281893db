//! What the engine knows about all logs and segments, in memory.
//!
//! Invariant: for every log the places cover `head..tail` without a gap, and only what is durable is in here. Per sealed
//! segment and log there is one place (56 bytes); the runs within a segment are read from its footer when needed.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::sync::watch;
use weir_types::{LogName, SequenceNumber, Timestamp};

use super::format::footer::{Extent, Run};
use super::format::header::CatalogEntry;
use super::format::{Kind, LogId, SegmentId};
use super::runs::Runs;
use crate::Bounds;

/// Consecutive records of a log in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub segment: SegmentNumber,
    pub extent: Extent,
    /// Bytes of frames that are not trimmed, estimated for a place that is trimmed in part.
    live: u32,
}

impl Place {
    /// Returns the bytes of its frames that are not trimmed.
    pub(crate) fn live_bytes(&self) -> u64 {
        u64::from(self.live)
    }
}

/// Segments are numbered in the order in which they were begun; hot and cold ones share the numbers.
pub(crate) type SegmentNumber = u64;

/// One log.
#[derive(Debug)]
pub(crate) struct LogState {
    pub name: LogName,
    pub head: SequenceNumber,
    pub tail: SequenceNumber,
    pub last_at: Timestamp,
    pub places: VecDeque<Place>,
    pub watch: watch::Sender<SequenceNumber>,
}

impl LogState {
    pub(crate) fn new(name: LogName, head: SequenceNumber, tail: SequenceNumber, last_at: Timestamp) -> Self {
        Self { name, head, tail, last_at, places: VecDeque::new(), watch: watch::Sender::new(tail) }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { head: self.head, tail: self.tail }
    }

    /// Returns the place that holds a record.
    pub(crate) fn place_of(&self, sequence: SequenceNumber) -> Option<&Place> {
        let index = self.places.partition_point(|place| place.extent.end <= sequence);
        self.places.get(index).filter(|place| place.extent.first <= sequence)
    }

    /// Returns the first place with a record of `time` or later.
    pub(crate) fn place_at(&self, time: Timestamp) -> Option<&Place> {
        self.places.get(self.places.partition_point(|place| place.extent.newest < time))
    }

    /// Returns the bytes of the payloads that are held, estimated for a place that is trimmed in part.
    pub(crate) fn payload_bytes(&self) -> u64 {
        self.places.iter().map(|place| live(&place.extent, place.extent.payload, self.head)).map(u64::from).sum()
    }
}

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub id: SegmentId,
    /// Bytes of the file, without space that is only taken ahead.
    pub bytes: u64,
    /// Bytes of frames that are not trimmed.
    pub live: u64,
    /// Bytes of frames with records, trimmed or not.
    pub data: u64,
    /// Places in it. A sealed segment without any is dead.
    pub places: u32,
    /// Its frames don't all read: it is never copied, and so never deleted before they are trimmed.
    pub unreadable: bool,
}

impl Segment {
    /// Returns whether more than half of it would be freed by copying what lives.
    pub(crate) fn is_mostly_dead(&self) -> bool {
        // A small cold segment is mostly header, and a copy of it would be too.
        let occupied = if self.id.kind == Kind::Cold { self.data } else { self.bytes };
        2 * self.live < occupied
    }
}

/// The segment that takes appends.
#[derive(Debug)]
pub(crate) struct Active {
    pub number: SegmentNumber,
    pub runs: Runs,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Index {
    pub logs: Vec<LogState>,
    pub by_name: HashMap<LogName, LogId>,
    pub segments: BTreeMap<SegmentNumber, Segment>,
    pub active: Active,
    pub next_number: SegmentNumber,
}

impl Index {
    pub(crate) fn new(active: SegmentNumber, segment_bytes: u64) -> Self {
        Self {
            logs: Vec::new(),
            by_name: HashMap::new(),
            segments: BTreeMap::new(),
            active: Active { number: active, runs: Runs::new(segment_bytes) },
            next_number: active + 1,
        }
    }

    /// Adds a log behind all others.
    pub(crate) fn create(&mut self, log: LogState) -> LogId {
        let id = LogId(self.logs.len() as u32);
        self.by_name.insert(log.name.clone(), id);
        self.logs.push(log);
        id
    }

    pub(crate) fn log(&self, log: LogId) -> &LogState {
        &self.logs[log.index()]
    }

    /// Adds a segment without records.
    pub(crate) fn add_segment(&mut self, id: SegmentId, bytes: u64) {
        self.segments.insert(id.number, Segment { id, bytes, live: 0, data: 0, places: 0, unreadable: false });
        self.next_number = self.next_number.max(id.number + 1);
    }

    /// Takes note of a frame at the end of the active segment.
    pub(crate) fn add_frame(&mut self, log: LogId, offset: u32, frame: Extent) {
        self.active.runs.add(log, offset, frame);
        let Some(segment) = self.segments.get_mut(&self.active.number) else { return };
        segment.live += u64::from(frame.bytes);
        segment.data += u64::from(frame.bytes);
        let state = &mut self.logs[log.index()];
        state.tail = frame.end;
        state.last_at = frame.newest;
        match state.places.back_mut() {
            Some(last) if last.segment == self.active.number => {
                last.extent = last.extent.then(&frame);
                last.live += frame.bytes;
            }
            _ => {
                segment.places += 1;
                state.places.push_back(Place { segment: self.active.number, extent: frame, live: frame.bytes });
            }
        }
    }

    /// Adds what a sealed segment holds of a log among its other places, unless it is all trimmed.
    pub(crate) fn add_place(&mut self, log: LogId, number: SegmentNumber, extent: Extent) {
        let state = &mut self.logs[log.index()];
        let Some(segment) = self.segments.get_mut(&number) else { return };
        segment.data += u64::from(extent.bytes);
        if extent.end <= state.head {
            return;
        }
        let place = Place { segment: number, extent, live: live(&extent, extent.bytes, state.head) };
        segment.places += 1;
        segment.live += u64::from(place.live);
        let index = state.places.partition_point(|other| other.extent.first < extent.first);
        state.places.insert(index, place);
    }

    /// Removes all places of a segment in one log.
    pub(crate) fn remove_places(&mut self, log: LogId, number: SegmentNumber) {
        let Some(segment) = self.segments.get_mut(&number) else { return };
        self.logs[log.index()].places.retain(|place| {
            let other = place.segment != number;
            if !other {
                segment.places -= 1;
                segment.live -= u64::from(place.live);
            }
            other
        });
    }

    /// Moves a log's head up.
    pub(crate) fn trim(&mut self, log: LogId, to: SequenceNumber) {
        let state = &mut self.logs[log.index()];
        state.head = state.head.max(to);
        while let Some(place) = state.places.front_mut() {
            let now = live(&place.extent, place.extent.bytes, state.head);
            let Some(segment) = self.segments.get_mut(&place.segment) else { break };
            // An estimate may also rise: a place that is trimmed in part still grows in the active segment.
            segment.live = segment.live + u64::from(now) - u64::from(place.live);
            place.live = now;
            if place.extent.end > state.head {
                break;
            }
            segment.places -= 1;
            state.places.pop_front();
        }
    }

    /// Returns the sealed segments that hold nothing any more.
    pub(crate) fn dead(&self) -> Vec<SegmentId> {
        let dead = |segment: &&Segment| segment.places == 0 && segment.id.number != self.active.number;
        self.segments.values().filter(dead).map(|segment| segment.id).collect()
    }

    /// Returns the runs of the active segment that hold a record and those behind it, `count` at most.
    pub(crate) fn active_runs(&self, log: LogId, from: SequenceNumber, count: usize) -> Vec<Run> {
        let runs = self.active.runs.of(log);
        let start = runs.partition_point(|run| run.extent.end <= from);
        runs[start..].iter().take(count).copied().collect()
    }

    /// Returns all logs as a segment's header lists them.
    pub(crate) fn catalog(&self) -> Vec<CatalogEntry> {
        let entry = |(index, log): (usize, &LogState)| CatalogEntry {
            id: LogId(index as u32),
            name: log.name.clone(),
            head: log.head,
            tail: log.tail,
            last_at: log.last_at,
        };
        self.logs.iter().enumerate().map(entry).collect()
    }

    /// Returns the bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// Returns the id of a segment.
    pub(crate) fn segment_id(&self, number: SegmentNumber) -> SegmentId {
        self.segments.get(&number).map_or(SegmentId { number, kind: Kind::Hot }, |segment| segment.id)
    }
}

/// Returns how many of `bytes` belong to records at or after `head`, as if all records were of one size.
fn live(extent: &Extent, bytes: u32, head: SequenceNumber) -> u32 {
    if head <= extent.first {
        return bytes;
    }
    let (left, all) = (extent.end.since(head), extent.end.since(extent.first).max(1));
    (u128::from(bytes) * u128::from(left) / u128::from(all)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_segment_costs_one_place_per_log_however_many_frames_it_holds() {
        const SEGMENT_BYTES: u64 = 1 << 20;
        let mut index = Index::new(1, SEGMENT_BYTES);
        for log in 0..3 {
            let name = format!("stream/s{log}/0").parse().unwrap();
            index.create(LogState::new(name, SequenceNumber(0), SequenceNumber(0), Timestamp(0)));
        }
        for number in 1..=20 {
            index.add_segment(SegmentId { number, kind: Kind::Hot }, SEGMENT_BYTES);
            index.active = Active { number, runs: Runs::new(SEGMENT_BYTES) };
            for frame in 0..(SEGMENT_BYTES / 264) as u32 {
                let log = LogId(frame % 3);
                let first = index.log(log).tail;
                let at = Timestamp(i64::from(frame));
                let extent =
                    Extent { first, end: first + 1, oldest: at, newest: at, bytes: 264, payload: 200, frames: 1 };
                index.add_frame(log, 8192 + frame * 264, extent);
            }
        }
        assert!(index.logs.iter().all(|log| log.places.len() == 20));
        assert!(size_of::<Place>() <= 64, "10 GB in segments of 64 MiB: under 10 kB per log");
        assert!(index.active.runs.finish().0.len() <= 1024);
        index.trim(LogId(0), index.log(LogId(0)).tail);
        assert!(index.log(LogId(0)).places.is_empty() && index.log(LogId(0)).payload_bytes() == 0);
        assert!(index.dead().is_empty(), "the other two logs live there");
    }
}

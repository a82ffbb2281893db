//! Where each log's frames lie in one segment, coalesced so that the size is bounded.
//!
//! Invariant: the runs of a log are in order and disjoint, and together name every frame that was added. A run may span
//! other logs' frames: the reader skips them. How far apart frames of one run may lie starts small and doubles whenever
//! there are too many runs, so that few logs are found at once and many logs still fit.

use std::collections::BTreeMap;

use super::format::LogId;
use super::format::footer::{Extent, Piece, Run};

/// A run is closed when its frames have this many bytes.
const RUN_BYTES: u32 = 64 << 10;

/// The first limit on foreign bytes between two frames of a run.
const GAP_BYTES: u32 = 16 << 10;

/// Runs that are held before the gaps are widened, at least.
const RUNS_MIN: usize = 1024;

/// A segment may have a run per this many bytes: an index of under 3 %.
const BYTES_PER_RUN: u64 = 2048;

/// The runs of all logs in a segment.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    logs: BTreeMap<LogId, Vec<Run>>,
    count: usize,
    count_max: usize,
    gap_max: u32,
}

impl Runs {
    /// Returns an empty index for a segment of about this size.
    pub(crate) fn new(segment_bytes: u64) -> Self {
        let count_max = RUNS_MIN.max((segment_bytes / BYTES_PER_RUN) as usize);
        Self { logs: BTreeMap::new(), count: 0, count_max, gap_max: GAP_BYTES }
    }

    /// Adds a frame that lies behind all that were added before.
    pub(crate) fn add(&mut self, log: LogId, offset: u32, frame: Extent) {
        let next = Run { offset, span: frame.bytes, extent: frame };
        let runs = self.logs.entry(log).or_default();
        if let Some(last) = runs.last_mut()
            && last.extent.bytes < RUN_BYTES
            && let Some(joined) = join(last, &next, self.gap_max)
        {
            *last = joined;
            return;
        }
        runs.push(next);
        self.count += 1;
        if self.count > self.count_max {
            self.coalesce();
        }
    }

    fn coalesce(&mut self) {
        while self.count > self.count_max / 2 && self.gap_max < u32::MAX {
            self.gap_max = self.gap_max.saturating_mul(2);
            self.join_all();
        }
        // Very many logs, or records that are no neighbours, can't be joined: don't try again for each frame.
        if self.count > self.count_max / 2 {
            self.count_max *= 2;
        }
    }

    fn join_all(&mut self) {
        for runs in self.logs.values_mut() {
            let mut kept: Vec<Run> = Vec::with_capacity(runs.len() / 2 + 1);
            for run in runs.drain(..) {
                match kept.last_mut() {
                    Some(last) if last.extent.bytes < RUN_BYTES => match join(last, &run, self.gap_max) {
                        Some(joined) => *last = joined,
                        None => kept.push(run),
                    },
                    _ => kept.push(run),
                }
            }
            *runs = kept;
        }
        self.count = self.logs.values().map(Vec::len).sum();
    }

    /// Returns a log's runs.
    pub(crate) fn of(&self, log: LogId) -> &[Run] {
        self.logs.get(&log).map_or(&[], Vec::as_slice)
    }

    /// Returns all runs by log and place, and the pieces that they make up.
    pub(crate) fn finish(&self) -> (Vec<(LogId, Run)>, Vec<Piece>) {
        let mut all = Vec::with_capacity(self.count);
        let mut pieces: Vec<Piece> = Vec::new();
        for (log, runs) in &self.logs {
            for run in runs {
                match pieces.last_mut() {
                    Some(last) if last.log == *log && last.extent.end == run.extent.first => {
                        last.run_count += 1;
                        last.extent = last.extent.then(&run.extent);
                    }
                    _ => {
                        pieces.push(Piece { log: *log, run_first: all.len() as u32, run_count: 1, extent: run.extent });
                    }
                }
                all.push((*log, *run));
            }
        }
        (all, pieces)
    }
}

impl Extent {
    /// Returns this and what follows it as one.
    pub(crate) fn then(&self, next: &Self) -> Self {
        Self {
            first: self.first,
            end: next.end,
            oldest: self.oldest,
            newest: next.newest,
            bytes: self.bytes + next.bytes,
            payload: self.payload + next.payload,
            frames: self.frames + next.frames,
        }
    }
}

fn join(last: &Run, next: &Run, gap_max: u32) -> Option<Run> {
    let gap = next.offset - (last.offset + last.span);
    if last.extent.end != next.extent.first || gap > gap_max {
        return None;
    }
    Some(Run {
        offset: last.offset,
        span: next.offset + next.span - last.offset,
        extent: last.extent.then(&next.extent),
    })
}

#[cfg(test)]
mod tests {
    use weir_types::{SequenceNumber, Timestamp};

    use super::*;

    fn frame(first: u64, bytes: u32) -> Extent {
        Extent {
            first: SequenceNumber(first),
            end: SequenceNumber(first + 1),
            oldest: Timestamp(first as i64),
            newest: Timestamp(first as i64),
            bytes,
            payload: bytes - 64,
            frames: 1,
        }
    }

    #[test]
    fn a_segment_of_single_small_records_has_a_run_per_64_kib() {
        let mut runs = Runs::new(64 << 20);
        let mut offset = 8192;
        while offset < 64 << 20 {
            runs.add(LogId(0), offset, frame(u64::from(offset), 264));
            runs.logs.get_mut(&LogId(0)).unwrap().last_mut().unwrap().extent.end =
                SequenceNumber(u64::from(offset) + 264);
            offset += 264;
        }
        assert!((900..1100).contains(&runs.count), "{}", runs.count);
    }

    #[test]
    fn a_thousand_interleaved_logs_keep_the_index_bounded_and_complete() {
        let mut runs = Runs::new(64 << 20);
        let frames = (64 << 20) / 264;
        for i in 0..frames {
            runs.add(LogId(i % 1000), 8192 + i * 264, frame(u64::from(i / 1000), 264));
        }
        let (all, pieces) = runs.finish();
        assert!(all.len() <= 32 << 10, "{} runs", all.len());
        assert_eq!(pieces.len(), 1000);
        assert_eq!(pieces.iter().map(|piece| u64::from(piece.extent.frames)).sum::<u64>(), u64::from(frames));
        for piece in &pieces {
            let own = &all[piece.run_first as usize..][..piece.run_count as usize];
            assert!(own.iter().all(|(log, _)| *log == piece.log));
            assert!(own.windows(2).all(|pair| pair[0].1.extent.end == pair[1].1.extent.first));
            assert!(own.windows(2).all(|pair| pair[0].1.offset + pair[0].1.span <= pair[1].1.offset));
        }
    }
}

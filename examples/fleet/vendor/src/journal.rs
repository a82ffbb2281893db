//! The vendor's own log: when which call came, and what was answered.
//!
//! In memory a call is a time, a hash of its path and query, and a status; the log in a file has the path itself. Memory is
//! bounded: behind [`CALLS_MAX`] calls are counted, and no more looked at, which [`Stats::left_out`] says.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::Level;

/// How many calls are held, at 24 bytes each.
const CALLS_MAX: usize = 8_000_000;

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// When it came, in nanoseconds since the vendor's start.
    pub at_ns: u64,
    /// A hash of its path and query.
    pub path: u64,
    /// What it was answered with; zero: not at all.
    pub status: u16,
    /// Whether the answer was sent as it should be, and not cut off.
    pub is_whole: bool,
}

impl Call {
    fn is_done(&self) -> bool {
        self.status == 200 && self.is_whole
    }
}

/// All calls so far.
#[derive(Debug, Default)]
pub struct Journal {
    calls: Vec<Call>,
    left_out: u64,
    file: Option<BufWriter<std::fs::File>>,
}

/// What the calls of a part of the journal show.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// How many came.
    pub calls: u64,
    /// How many were answered with each status; `0` is without an answer.
    pub by_status: BTreeMap<u16, u64>,
    /// Answers that were cut off.
    pub cut: u64,
    /// Calls for what had been answered before, with 200 and in full.
    pub repeated: u64,
    /// Paths that were answered with 200 and in full.
    pub paths: u64,
    /// From the first call to the last.
    pub seconds: f64,
    /// The most calls within any second that begins with a call.
    pub most_in_a_second: u64,
    /// The largest of `calls - rate * w` over all windows of any length `w`: the burst that these calls made use of.
    pub deepest: f64,
    /// Calls behind `CALLS_MAX`, which were counted only.
    pub left_out: u64,
    /// The index of the next call: where stats of what comes later begin.
    pub next: usize,
}

impl Journal {
    /// A journal that is written to a file as well.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn in_file(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Some(BufWriter::new(std::fs::File::create(path)?)), ..Self::default() })
    }

    /// Adds a call.
    ///
    /// # Errors
    /// It can't be written to the file.
    pub fn add(&mut self, at_ns: u64, path: &str, status: u16, is_whole: bool) -> io::Result<()> {
        if self.calls.len() < CALLS_MAX {
            let mut hasher = DefaultHasher::new();
            path.hash(&mut hasher);
            self.calls.push(Call { at_ns, path: hasher.finish(), status, is_whole });
        } else {
            self.left_out += 1;
        }
        match &mut self.file {
            Some(file) => writeln!(file, "{at_ns} {}{} {path}", status, if is_whole { "" } else { "!" }),
            None => Ok(()),
        }
    }

    /// Calls so far.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Writes what the file lacks.
    ///
    /// # Errors
    /// It can't be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }

    /// Forgets all calls; the file keeps them.
    pub fn clear(&mut self) {
        self.calls.clear();
        self.left_out = 0;
    }

    /// Looks at the calls from one on, as a limit of `rate` calls a second sees them.
    pub fn stats(&self, from: usize, rate: f64) -> Stats {
        let calls = self.calls.get(from..).unwrap_or_default();
        let mut stats = Stats { left_out: self.left_out, next: self.calls.len(), ..Stats::default() };
        stats.calls = calls.len() as u64;
        let mut level = Level::default();
        let mut in_a_second = 0;
        for (index, call) in calls.iter().enumerate() {
            *stats.by_status.entry(call.status).or_default() += 1;
            stats.cut += u64::from(!call.is_whole);
            stats.deepest = stats.deepest.max(level.count(call.at_ns, rate));
            while call.at_ns.saturating_sub(calls[in_a_second].at_ns) >= 1_000_000_000 {
                in_a_second += 1;
            }
            stats.most_in_a_second = stats.most_in_a_second.max((index + 1 - in_a_second) as u64);
        }
        if let (Some(first), Some(last)) = (calls.first(), calls.last()) {
            stats.seconds = last.at_ns.saturating_sub(first.at_ns) as f64 / 1e9;
        }
        let mut done: HashMap<u64, bool> = HashMap::new();
        for call in calls {
            let before = done.entry(call.path).or_default();
            stats.repeated += u64::from(*before);
            *before |= call.is_done();
        }
        stats.paths = done.values().filter(|done| **done).count() as u64;
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn only_what_was_answered_in_full_is_repeated() {
        let mut journal = Journal::default();
        for (path, status, is_whole) in [
            ("/a", 500, true),
            ("/a", 200, false),
            ("/a", 200, true),
            ("/b", 200, true),
            ("/b", 200, true),
            ("/b", 0, true),
        ] {
            journal.add(0, path, status, is_whole).unwrap();
        }
        let stats = journal.stats(0, 1.0);
        assert_eq!((stats.calls, stats.repeated, stats.paths, stats.cut), (6, 2, 2, 1));
        assert_eq!(stats.by_status, BTreeMap::from([(0, 1), (200, 4), (500, 1)]));
    }

    #[test]
    fn a_window_above_the_limit_shows_however_short_it_is() {
        let mut journal = Journal::default();
        // Ten calls a second on the whole; but five of them at once, in between.
        for call in 0..30 {
            journal.add(call * SECOND / 10, "/", 200, true).unwrap();
        }
        for _ in 0..5 {
            journal.add(3 * SECOND, "/", 200, true).unwrap();
        }
        let stats = journal.stats(0, 10.0);
        assert!((stats.deepest - 5.0).abs() < 1e-6, "{stats:?}");
        assert_eq!(stats.most_in_a_second, 14);
        assert!((journal.stats(0, 5.0).deepest - 19.5).abs() < 1.1, "{:?}", journal.stats(0, 5.0));
    }

    #[test]
    fn stats_of_a_part_forget_what_was_before() {
        let mut journal = Journal::default();
        journal.add(0, "/a", 200, true).unwrap();
        let next = journal.stats(0, 1.0).next;
        journal.add(1, "/a", 200, true).unwrap();
        let stats = journal.stats(next, 1.0);
        assert_eq!((stats.calls, stats.repeated, stats.deepest), (1, 0, 1.0));
    }
}

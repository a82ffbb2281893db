//! Merging sorted sources into one sequence of batches.
//!
//! ```text
//!   runs, from a key on ---+
//!                          +--> least key first --> rows that stay --> batches
//!   row groups in order ---+
//!     (each opened when the merge comes to its least key)
//! ```
//!
//! What is in memory is a block of each source that is open.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::sync::OwnedSemaphorePermit;

use super::CompactError;
use super::fetch::Fetch;
use super::input::{Decoder, Input, Rows};
use super::order::{Key, Keys, Order, ordinal};
use super::repeats::Removed;
use super::run::{Form, Run, gather};
use super::scratch::Scratch;

/// What merges read.
pub(crate) struct Around<'a> {
    pub(crate) order: &'a Order,
    pub(crate) form: &'a Form,
    pub(crate) scratch: &'a Scratch,
    pub(crate) removed: Option<&'a Removed>,
    /// Whether batches are handed on with their ordinals.
    pub(crate) keeps_ordinals: bool,
}

/// Row groups in order that are still to be opened, by their least keys.
pub(crate) struct Units<'a> {
    pub(crate) fetch: &'a Fetch,
    pub(crate) least: VecDeque<u128>,
    pub(crate) inputs: &'a [Input],
    pub(crate) decoder: Arc<Decoder>,
    pub(crate) block: u64,
}

/// A merge under way.
pub(crate) struct Merge<'a> {
    around: Around<'a>,
    units: Option<Units<'a>>,
    open: Vec<Open<'a>>,
    /// Indices of what is open, the least first: a heap.
    heap: Vec<usize>,
    batches: Vec<RecordBatch>,
    until: Option<Key>,
    rows: usize,
}

struct Open<'a> {
    source: Source<'a>,
    keys: Keys,
    /// The next row of the block.
    at: usize,
    /// The block's place in the merge's batches.
    batch: usize,
}

enum Source<'a> {
    Run { run: &'a Run, next: usize },
    Unit { rows: Rows, first: u64, _share: OwnedSemaphorePermit },
    Done,
}

impl Source<'_> {
    /// Reads the next block that has rows.
    fn load(&mut self, around: &Around<'_>) -> Result<Option<(RecordBatch, Keys)>, CompactError> {
        match self {
            Self::Run { run, next } => {
                if *next >= run.blocks() {
                    return Ok(None);
                }
                let batch = run.load(*next, around.scratch)?;
                *next += 1;
                let keys = around.form.keys(&batch, around.order)?;
                let batch = if around.keeps_ordinals { batch } else { around.form.without_ordinals(&batch)? };
                Ok(Some((batch, keys)))
            }
            Self::Unit { rows, first, .. } => {
                let Some(batch) = rows.next() else { return Ok(None) };
                let batch = batch?;
                let ordinals = *first..*first + batch.num_rows() as u64;
                *first = ordinals.end;
                let keys = around.order.keys(&batch, ordinals)?;
                Ok(Some((batch, keys)))
            }
            Self::Done => Ok(None),
        }
    }
}

impl<'a> Merge<'a> {
    /// Merges runs, from one key on and up to another, in batches of `rows` rows.
    pub(crate) fn of_runs(
        around: Around<'a>,
        runs: &'a [Run],
        from: Option<&Key>,
        until: Option<Key>,
        rows: usize,
    ) -> Result<Self, CompactError> {
        let mut merge = Self::new(around, None, until, rows);
        for run in runs {
            let next = from.map_or(0, |from| run.block_of(from));
            merge.begin(Source::Run { run, next }, from)?;
        }
        Ok(merge)
    }

    /// Merges row groups that are in order each.
    pub(crate) fn of_units(around: Around<'a>, units: Units<'a>, rows: usize) -> Self {
        Self::new(around, Some(units), None, rows)
    }

    fn new(around: Around<'a>, units: Option<Units<'a>>, until: Option<Key>, rows: usize) -> Self {
        Self { around, units, open: Vec::new(), heap: Vec::new(), batches: Vec::new(), until, rows: rows.max(1) }
    }

    /// Opens a source at its first row that is not below `from`.
    fn begin(&mut self, mut source: Source<'a>, from: Option<&Key>) -> Result<(), CompactError> {
        while let Some((batch, keys)) = source.load(&self.around)? {
            let at = from.map_or(0, |from| lower_bound(&keys, from));
            if at < keys.heads.len() {
                self.batches.push(batch);
                self.open.push(Open { source, keys, at, batch: self.batches.len() - 1 });
                self.heap.push(self.open.len() - 1);
                self.rise(self.heap.len() - 1);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Opens the row groups that the merge has come to.
    fn open_due(&mut self) -> Result<(), CompactError> {
        loop {
            let Some(units) = &mut self.units else { return Ok(()) };
            let Some(least) = units.least.front().copied() else { return Ok(()) };
            if self.heap.first().is_some_and(|top| self.open[*top].keys.heads[self.open[*top].at] < least) {
                return Ok(());
            }
            units.least.pop_front();
            let fetched = units.fetch.next().ok_or(CompactError::Stopped)??;
            let input = &units.inputs[fetched.unit.input];
            let rows = units.decoder.read(input, &fetched.unit, fetched.bytes, units.block)?;
            let source = Source::Unit { rows, first: fetched.unit.first, _share: fetched.share };
            self.begin(source, None)?;
        }
    }

    /// Returns the next batch; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, CompactError> {
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(self.rows);
        while places.len() < self.rows {
            self.open_due()?;
            let Some(top) = self.heap.first().copied() else { break };
            if let Some(until) = &self.until
                && self.open[top].keys.compare_key(self.open[top].at, until) != Ordering::Less
            {
                self.heap.clear();
                self.units = None;
                break;
            }
            self.take(top, &mut places)?;
        }
        if places.is_empty() {
            return Ok(None);
        }
        let sources: Vec<&RecordBatch> = self.batches.iter().collect();
        let batch = gather(&sources, &places)?;
        self.let_go();
        Ok(Some(batch))
    }

    /// Takes rows of the least source as long as it is that, and puts it where it belongs then.
    fn take(&mut self, top: usize, places: &mut Vec<(usize, usize)>) -> Result<(), CompactError> {
        let rival = self.heap[1..].iter().take(2).copied().min_by(|a, b| compare(&self.open, *a, *b));
        let due = self.units.as_ref().and_then(|units| units.least.front().copied());
        loop {
            let Open { keys, at, batch, .. } = &mut self.open[top];
            let head = keys.heads[*at];
            if self.around.removed.is_none_or(|removed| !removed.holds(ordinal(head))) {
                places.push((*batch, *at));
            }
            *at += 1;
            if *at == keys.heads.len() {
                return self.reload(top);
            }
            let is_full = places.len() == self.rows;
            let is_due = due.is_some_and(|due| self.open[top].keys.heads[self.open[top].at] >= due);
            let is_behind = rival.is_some_and(|rival| compare(&self.open, rival, top) == Ordering::Less);
            let is_over = || {
                let Open { keys, at, .. } = &self.open[top];
                self.until.as_ref().is_some_and(|until| keys.compare_key(*at, until) != Ordering::Less)
            };
            if is_full || is_due || is_behind || is_over() {
                self.sink(0);
                return Ok(());
            }
        }
    }

    fn reload(&mut self, top: usize) -> Result<(), CompactError> {
        loop {
            let Some((batch, keys)) = self.open[top].source.load(&self.around)? else {
                let last = self.heap.len() - 1;
                self.heap.swap(0, last);
                self.heap.pop();
                // Its share of what may be fetched must go now: others wait for it.
                self.open[top].source = Source::Done;
                break;
            };
            if keys.heads.is_empty() {
                continue;
            }
            self.batches.push(batch);
            let batch = self.batches.len() - 1;
            let open = &mut self.open[top];
            (open.keys, open.at, open.batch) = (keys, 0, batch);
            break;
        }
        if !self.heap.is_empty() {
            self.sink(0);
        }
        Ok(())
    }

    /// Drops the blocks that were used up.
    fn let_go(&mut self) {
        let mut kept = Vec::with_capacity(self.heap.len());
        let mut batches = Vec::with_capacity(self.heap.len());
        let mut open: Vec<Option<Open<'a>>> = std::mem::take(&mut self.open).into_iter().map(Some).collect();
        let heap = std::mem::take(&mut self.heap);
        for index in heap {
            let Some(mut one) = open[index].take() else { continue };
            batches.push(self.batches[one.batch].clone());
            one.batch = batches.len() - 1;
            kept.push(one);
        }
        // The heap's order stays, with indices that count up.
        self.heap = (0..kept.len()).collect();
        (self.open, self.batches) = (kept, batches);
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if compare(&self.open, self.heap[at], self.heap[parent]) != Ordering::Less {
                return;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let children = 2 * at + 1..(2 * at + 3).min(self.heap.len());
            let Some(least) = children.min_by(|a, b| compare(&self.open, self.heap[*a], self.heap[*b])) else { return };
            if compare(&self.open, self.heap[least], self.heap[at]) != Ordering::Less {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }
}

fn compare(open: &[Open<'_>], a: usize, b: usize) -> Ordering {
    let (a, b) = (&open[a], &open[b]);
    a.keys.compare(a.at, &b.keys, b.at)
}

fn lower_bound(keys: &Keys, from: &Key) -> usize {
    let (mut low, mut high) = (0, keys.heads.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        match keys.compare_key(middle, from) {
            Ordering::Less => low = middle + 1,
            _ => high = middle,
        }
    }
    low
}

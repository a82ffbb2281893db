//! What is counted of tasks and calls, and how counts add up.

use serde::{Deserialize, Serialize};

/// Classes of pages by their number: 0, 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 and later.
pub const PAGE_CLASSES: usize = 8;

/// Returns the class of a page's number, from zero.
pub fn page_class(page: u64) -> usize {
    match page {
        0..=3 => page as usize,
        4..=7 => 4,
        8..=15 => 5,
        16..=31 => 6,
        _ => 7,
    }
}

fn zero(count: &u64) -> bool {
    *count == 0
}

fn none(pages: &[Pages]) -> bool {
    pages.iter().all(|pages| *pages == Pages::default())
}

/// Calls of pages of one class that had items or none: how many, and after how many of them the list went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Pages {
    /// Calls.
    pub calls: u64,
    /// Those that led to a further page.
    pub went_on: u64,
}

impl From<(u64, u64)> for Pages {
    fn from((calls, went_on): (u64, u64)) -> Self {
        Self { calls, went_on }
    }
}

impl From<Pages> for (u64, u64) {
    fn from(pages: Pages) -> Self {
        (pages.calls, pages.went_on)
    }
}

/// What came of the tasks of one resource, of one tenant, or both.
///
/// A task is one call that is to be answered; the next page of a list is a task of its own. A task that is tried again is the
/// same task. So `made + further == done + dead + dropped + open`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counts {
    /// First pages: tasks made by a run's start, or by an item of the resource above.
    #[serde(rename = "m", skip_serializing_if = "zero")]
    pub made: u64,
    /// Further pages: tasks made by the page before.
    #[serde(rename = "f", skip_serializing_if = "zero")]
    pub further: u64,
    /// Tasks that ended with an answer that was taken.
    #[serde(rename = "d", skip_serializing_if = "zero")]
    pub done: u64,
    /// Tasks that became dead letters.
    #[serde(rename = "x", skip_serializing_if = "zero")]
    pub dead: u64,
    /// Tasks that were dropped because their run was cancelled.
    #[serde(rename = "o", skip_serializing_if = "zero")]
    pub dropped: u64,
    /// Calls that were answered, and whose answer was taken (or refused for good).
    #[serde(rename = "a", skip_serializing_if = "zero")]
    pub answered: u64,
    /// Calls that failed, whatever became of their task.
    #[serde(rename = "e", skip_serializing_if = "zero")]
    pub failed: u64,
    /// Calls that the vendor refused for their pace.
    #[serde(rename = "t", skip_serializing_if = "zero")]
    pub throttled: u64,
    /// Tasks that were sent back to be tried again, each time counted.
    #[serde(rename = "r", skip_serializing_if = "zero")]
    pub retried: u64,
    /// Items that came.
    #[serde(rename = "i", skip_serializing_if = "zero")]
    pub items: u64,
    /// Milliseconds from request to answer, of calls that were answered.
    #[serde(rename = "l", skip_serializing_if = "zero")]
    pub latency_ms: u64,
    /// Of the first pages that were made: those made by further pages of lists of the resource above.
    #[serde(rename = "mf", skip_serializing_if = "zero")]
    pub made_by_further: u64,
    /// Of the first pages that were made: those made by first pages of lists of the resource above that went on, which are
    /// full.
    #[serde(rename = "mg", skip_serializing_if = "zero")]
    pub made_by_full: u64,
    /// Sum over calls of the resource above of the square of how many of these tasks each made: what the spread of the
    /// fan-out is known from.
    #[serde(rename = "q", skip_serializing_if = "zero")]
    pub made_squares: u64,
    /// How lists go on, by class of page.
    #[serde(rename = "p", skip_serializing_if = "none")]
    pub pages: [Pages; PAGE_CLASSES],
}

impl Counts {
    /// Returns how many tasks there have been.
    pub fn tasks(&self) -> u64 {
        self.made + self.further
    }

    /// Returns how many tasks have ended.
    pub fn ended(&self) -> u64 {
        self.done + self.dead + self.dropped
    }

    /// Returns how many tasks have not ended.
    pub fn open(&self) -> u64 {
        self.tasks().saturating_sub(self.ended())
    }

    /// Returns how many calls were made.
    pub fn calls(&self) -> u64 {
        self.answered + self.failed + self.throttled
    }

    /// Returns how many tasks were called to their end: first pages, dead ones among them, and further pages.
    pub fn calls_by_page(&self) -> [u64; 2] {
        let further: u64 = self.pages[1..].iter().map(|pages| pages.calls).sum();
        [(self.done + self.dead).saturating_sub(further), further]
    }

    /// Returns how many first pages were made by first pages of the resource above (and by the run's start), and how many by
    /// further ones.
    pub fn made_by_page(&self) -> [u64; 2] {
        [self.made.saturating_sub(self.made_by_further), self.made_by_further]
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.made += other.made;
        self.further += other.further;
        self.done += other.done;
        self.dead += other.dead;
        self.dropped += other.dropped;
        self.answered += other.answered;
        self.failed += other.failed;
        self.throttled += other.throttled;
        self.retried += other.retried;
        self.items += other.items;
        self.latency_ms += other.latency_ms;
        self.made_by_further += other.made_by_further;
        self.made_by_full += other.made_by_full;
        self.made_squares = self.made_squares.saturating_add(other.made_squares);
        for (pages, more) in self.pages.iter_mut().zip(&other.pages) {
            pages.calls += more.calls;
            pages.went_on += more.went_on;
        }
    }
}

/// [`Counts`] as people read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Tasks that there have been so far.
    pub tasks: u64,
    /// Tasks that ended well.
    pub done: u64,
    /// Tasks that have not ended: under way, waiting, or between two attempts.
    pub waiting: u64,
    /// Tasks that became dead letters.
    pub failed: u64,
    /// Tasks that were dropped because the run was cancelled.
    pub dropped: u64,
    /// Items that came.
    pub items: u64,
    /// Calls that were made.
    pub calls: u64,
    /// Calls that the vendor refused for their pace.
    pub throttled: u64,
    /// Times that a task was sent back to be tried again.
    pub retried: u64,
}

impl Totals {
    /// Adds what was counted.
    pub(super) fn add(&mut self, counts: &Counts) {
        self.tasks += counts.tasks();
        self.done += counts.done;
        self.failed += counts.dead;
        self.dropped += counts.dropped;
        self.items += counts.items;
        self.calls += counts.calls();
        self.throttled += counts.throttled;
        self.retried += counts.retried;
        self.waiting = self.tasks.saturating_sub(self.done + self.failed + self.dropped);
    }
}

impl From<&Counts> for Totals {
    fn from(counts: &Counts) -> Self {
        let mut totals = Self::default();
        totals.add(counts);
        totals
    }
}

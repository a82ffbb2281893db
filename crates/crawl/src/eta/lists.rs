//! How lists go on: expected pages, from the share of lists that went on at each page.
//!
//! The share is taken page by page, as Kaplan and Meier ("Nonparametric Estimation from Incomplete Observations", 1958) take
//! survival: lists that have not ended count as far as they have come, so that it does not matter that short lists end first.

use crate::progress::{Counts, PAGE_CLASSES};

/// Pages of each class; the last one has no end.
const WIDTHS: [f64; PAGE_CLASSES] = [1.0, 1.0, 1.0, 1.0, 4.0, 8.0, 16.0, f64::INFINITY];
/// The largest share that is believed: a list of 10,000 pages.
const SHARE_MAX: f64 = 0.9999;
/// What an earlier run's share counts at most, in calls.
const PRIOR_CALLS_MAX: f64 = 30.0;

/// How the lists of one resource go on.
#[derive(Debug, Clone, Default)]
pub(super) struct Lists {
    /// The share of calls after which the list goes on, by class of page, and its variance.
    shares: [(f64, f64); PAGE_CLASSES],
    /// Expected calls of a list from a page of this class on, that page included.
    pub pages: [f64; PAGE_CLASSES],
    /// Tasks that are open, by class.
    pub open: [f64; PAGE_CLASSES],
}

/// What a class adds to the spread of a sum of calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// Calls of this class that are still to come.
    pub calls: f64,
    /// Expected calls that follow if the list goes on.
    pub behind: f64,
    /// The share's variance.
    pub variance: f64,
    /// The variance of one call's going on.
    pub single: f64,
}

impl Lists {
    pub fn of(counts: &Counts, prior: Option<&Counts>) -> Self {
        let mut lists = Self::default();
        for class in 0..PAGE_CLASSES {
            let pages = counts.pages[class];
            // Jeffreys' prior: half a call each way; an earlier run's calls count as theirs, up to a limit. Where the class
            // before never went on, nothing comes here.
            let (mut yes, mut no) = (0.5, 0.5);
            if let Some(before) = prior.map(|prior| prior.pages[class]).filter(|before| before.calls > 0) {
                let weight = PRIOR_CALLS_MAX.min(before.calls as f64) / before.calls as f64;
                yes = before.went_on as f64 * weight + 0.01;
                no = (before.calls - before.went_on) as f64 * weight + 0.01;
            }
            yes += pages.went_on as f64;
            no += pages.calls.saturating_sub(pages.went_on) as f64;
            let (share, calls) = ((yes / (yes + no)).min(SHARE_MAX), yes + no);
            lists.shares[class] = (share, share * (1.0 - share) / (calls + 1.0));
        }
        lists.expect();
        lists.place(counts);
        lists
    }

    /// Fills in expected pages, from the last class to the first. A class's call leads to one of its own class, or to the next.
    fn expect(&mut self) {
        let mut behind = 0.0;
        for class in (0..PAGE_CLASSES).rev() {
            let (share, _) = self.shares[class];
            let leaves = WIDTHS[class].recip();
            self.pages[class] = (1.0 + share * leaves * behind) / (1.0 - share * (1.0 - leaves));
            behind = self.pages[class];
        }
    }

    /// Finds at which pages the open tasks stand: those that a page led to, less those that were called. Their sum is exact.
    fn place(&mut self, counts: &Counts) {
        let mut came = counts.made as f64;
        let mut open = [0.0; PAGE_CLASSES];
        for class in 0..PAGE_CLASSES {
            let pages = counts.pages[class];
            // Of those that went on in a wide class, most stay in it.
            let stays = pages.went_on as f64 * (1.0 - WIDTHS[class].recip());
            open[class] = (came + stays - pages.calls as f64).max(0.0);
            came = pages.went_on as f64 - stays;
        }
        let (sum, exact) = (open.iter().sum::<f64>(), counts.open() as f64);
        if sum > 0.0 {
            open.iter_mut().for_each(|open| *open *= exact / sum);
        } else {
            open[0] = exact;
        }
        self.open = open;
    }

    /// Returns the expected calls of a whole list.
    pub fn whole(&self) -> f64 {
        self.pages[0]
    }

    /// Returns the expected calls of the open tasks, further pages included.
    pub fn open_calls(&self) -> f64 {
        self.open.iter().zip(&self.pages).map(|(open, pages)| open * pages).sum()
    }

    /// Returns, by class, what the open tasks and `more` whole lists add to the spread.
    pub fn spread(&self, more: f64) -> impl Iterator<Item = Share> + '_ {
        let mut inflow = more;
        (0..PAGE_CLASSES).map(move |class| {
            let (share, variance) = self.shares[class];
            let leaves = WIDTHS[class].recip();
            let calls = (self.open[class] + inflow) / (1.0 - share * (1.0 - leaves));
            inflow = calls * share * leaves;
            let next = self.pages.get(class + 1).copied().unwrap_or(0.0);
            let behind = self.pages[class] * (1.0 - leaves) + next * leaves;
            Share { calls, behind, variance, single: share * (1.0 - share) }
        })
    }
}

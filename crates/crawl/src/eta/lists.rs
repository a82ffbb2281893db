//! How lists go on: expected pages, from the share of lists that went on at each page.
//!
//! The share is taken page by page, as Kaplan and Meier ("Nonparametric Estimation from Incomplete Observations", 1958) take
//! survival: lists that have not ended count as far as they have come, so that it does not matter that short lists end first.

use super::fan::DRIFT;
use crate::progress::{Counts, PAGE_CLASSES, StepProgress};

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
    /// Calls that the shares rest on.
    seen: [f64; PAGE_CLASSES],
    /// Tasks that are open, by class.
    open: [f64; PAGE_CLASSES],
}

/// What pages are worth: calls, children's calls, or whatever is summed.
pub(super) type Worth = [f64; PAGE_CLASSES];

/// What a class adds to the spread of a sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// Calls of this class that are still to come.
    pub calls: f64,
    /// What follows if the list goes on.
    pub behind: f64,
    /// The share's variance.
    pub variance: f64,
    /// The variance of one call's going on.
    pub single: f64,
}

impl Lists {
    pub fn of(step: &StepProgress, prior: Option<&Counts>) -> Self {
        let counts = step.counts();
        let mut lists = Self::default();
        for class in 0..PAGE_CLASSES {
            let pages = counts.pages[class];
            // Before anything is seen: most lists have one page, and one that goes on may or may not go on again. One call's
            // worth of that; an earlier run's calls count as theirs, up to a limit.
            let (mut yes, mut no) = if class == 0 { (0.1, 0.9) } else { (0.5, 0.5) };
            if let Some(before) = prior.map(|prior| prior.pages[class]).filter(|before| before.calls > 0) {
                let weight = PRIOR_CALLS_MAX.min(before.calls as f64) / before.calls as f64;
                yes = before.went_on as f64 * weight + 0.01;
                no = before.calls.saturating_sub(before.went_on) as f64 * weight + 0.01;
            }
            yes += pages.went_on as f64;
            no += pages.calls.saturating_sub(pages.went_on) as f64;
            let (share, calls) = ((yes / (yes + no)).min(SHARE_MAX), yes + no);
            let alike = step.going()[class].design_effect(share * (1.0 - share));
            lists.seen[class] = calls;
            lists.shares[class] = (share, share * (1.0 - share) / (calls + 1.0) * alike);
        }
        lists.place(counts);
        lists
    }

    /// Finds at which pages the open tasks stand: those that a page led to, less those that were called. Their sum is exact.
    fn place(&mut self, counts: &Counts) {
        let mut came = counts.made as f64;
        for ((open, pages), width) in self.open.iter_mut().zip(counts.pages).zip(WIDTHS) {
            // Of those that went on in a wide class, most stay in it.
            let stays = pages.went_on as f64 * (1.0 - width.recip());
            *open = (came + stays - pages.calls as f64).max(0.0);
            came = pages.went_on as f64 - stays;
        }
        let (sum, exact) = (self.open.iter().sum::<f64>(), counts.open() as f64);
        if sum > 0.0 {
            self.open.iter_mut().for_each(|open| *open *= exact / sum);
        } else {
            self.open[0] = exact;
        }
    }

    /// Returns what a page and all behind it is worth, where a first page alone is worth `first` and a further one `further`.
    /// A class's call leads to one of its own class, or to the next.
    pub fn worth(&self, first: f64, further: f64) -> Worth {
        let mut worth = [0.0; PAGE_CLASSES];
        let mut next = 0.0;
        for class in (0..PAGE_CLASSES).rev() {
            let (share, _) = self.shares[class];
            let leaves = WIDTHS[class].recip();
            let own = if class == 0 { first } else { further };
            worth[class] = (own + share * leaves * next) / (1.0 - share * (1.0 - leaves));
            next = worth[class];
        }
        worth
    }

    /// Returns what the open tasks are worth.
    pub fn open_worth(&self, worth: &Worth) -> f64 {
        self.open.iter().zip(worth).map(|(open, worth)| open * worth).sum()
    }

    /// Returns how many first and further pages are to come, with `more` lists.
    pub fn to_come(&self, more: f64) -> [f64; 2] {
        let mut to_come = [0.0; 2];
        for (class, share) in self.spread(more, &[0.0; PAGE_CLASSES]).enumerate() {
            to_come[class.min(1)] += share.calls;
        }
        to_come
    }

    /// Returns, by class, what the open tasks and `more` whole lists add to the spread.
    pub fn spread(&self, more: f64, worth: &Worth) -> impl Iterator<Item = Share> {
        let mut inflow = more;
        (0..PAGE_CLASSES).map(move |class| {
            let (share, variance) = self.shares[class];
            let leaves = WIDTHS[class].recip();
            let calls = (self.open[class] + inflow) / (1.0 - share * (1.0 - leaves));
            inflow = calls * share * leaves;
            let next = worth.get(class + 1).copied().unwrap_or(0.0);
            let behind = worth[class] * (1.0 - leaves) + next * leaves;
            let single = share * (1.0 - share);
            let drift = DRIFT * calls / (self.seen[class] + calls);
            Share { calls, behind, variance: variance + single * drift * drift, single }
        })
    }
}

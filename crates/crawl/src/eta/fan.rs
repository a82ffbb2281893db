//! How many tasks each call of the resource above will make: from this run, and from the one before.
//!
//! First pages and further ones are told apart: further pages come later, and belong to long lists, whose pages are full. While
//! none has been seen, they are taken to be like first pages that went on.

use super::prior::Known;
use crate::progress::{Counts, StepProgress};

/// The spread between calls before they have shown it, in means: that of a vendor one of whose twenty things has ten times as
/// much below it as the others is 2.1.
const VAGUE_SPREAD: f64 = 2.1;
/// Calls that this counts as.
const VAGUE_CALLS: f64 = 5.0;

/// Full first pages that stand for further pages, until these show themselves.
const FULL_BORROWED: u64 = 4;

/// How far what is still to come may differ from what was seen, as a part of it, while nearly all is still to come: vendors list
/// similar things next to each other, and what is alike over a longer stretch than was seen does not show in it.
pub(super) const DRIFT: f64 = 0.2;

/// The mean of tasks made per call that is still to come.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its variance, what differs between the calls that are still to come included.
    pub variance: f64,
}

/// The means of first pages, and of further ones.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Fan {
    pub first: Mean,
    pub further: Mean,
}

/// What is known of the resource above.
#[derive(Debug, Clone, Copy)]
pub(super) struct Above<'a> {
    pub counts: &'a Counts,
    /// First and further pages that are still to come.
    pub to_come: [f64; 2],
    /// Tasks per first page and further page in an earlier run.
    pub earlier: [Option<Known>; 2],
}

/// Calls, tasks that they made, and how these vary.
#[derive(Debug, Clone, Copy)]
struct Shown {
    calls: f64,
    made: f64,
    /// The variance between calls.
    single: f64,
    /// The design effect.
    alike: f64,
    /// Student's variance, for few batches.
    student: f64,
}

impl Fan {
    /// Estimates the fan-out; none: nothing is known.
    pub fn of(step: &StepProgress, above: Above<'_>) -> Option<Self> {
        let [first, further] = shown(step, above.counts);
        let one = |shown: Option<Shown>, index: usize| {
            let to_come = above.to_come[index];
            let earlier = above.earlier[index].map(|known| match shown {
                Some(shown) if to_come > 0.0 => rest(known, shown, to_come),
                _ => Mean { mean: known.value, variance: known.variance },
            });
            match (shown.map(|shown| shown.mean(to_come)), earlier) {
                (Some(shown), Some(earlier)) => Some(both(shown, earlier)),
                (shown, earlier) => shown.or(earlier),
            }
        };
        let first = one(first, 0)?;
        Some(Self { first, further: one(further, 1).unwrap_or(first) })
    }
}

/// Returns what this run has shown of first and of further pages.
fn shown(step: &StepProgress, above: &Counts) -> [Option<Shown>; 2] {
    let counts = step.counts();
    let calls = (above.done + above.dead) as f64;
    if calls == 0.0 {
        return [None, None];
    }
    let mean = counts.made as f64 / calls;
    let vague = (mean.max(1.0) * VAGUE_SPREAD).powi(2) * VAGUE_CALLS;
    let off = (counts.made_squares as f64 - calls * mean * mean).max(0.0);
    let single = (off + vague) / (calls - 1.0 + VAGUE_CALLS);
    let of = |index: usize, calls: u64, made: u64| {
        let batches = &step.fans()[index];
        let degrees = (batches.batches() as f64 - 1.0).max(3.0);
        let (alike, student) = (batches.design_effect(single), degrees / (degrees - 2.0));
        (calls > 0).then_some(Shown { calls: calls as f64, made: made as f64, single, alike, student })
    };
    let ([first, further], [by_first, by_further]) = (above.calls_by_page(), counts.made_by_page());
    // Full first pages beside the further ones, as long as these are few.
    let full = above.pages[0].went_on;
    let borrowed = full.min(FULL_BORROWED);
    let like = counts.made_by_full as f64 * borrowed as f64 / full.max(1) as f64;
    [of(0, first, by_first), of(1, further + borrowed, by_further + like.round() as u64)]
}

impl Shown {
    fn mean(self, to_come: f64) -> Mean {
        let neighbours = self.single * self.alike;
        let seen = neighbours / self.calls * self.student;
        let unseen = if to_come > 0.0 { (neighbours / to_come).min(self.single) } else { 0.0 };
        let mean = self.made / self.calls;
        let drift = DRIFT * mean * to_come / (self.calls + to_come);
        Mean { mean, variance: seen + unseen + drift * drift }
    }
}

/// Returns what an earlier run's mean over all calls leaves for those that are still to come: the fewer are left, the less
/// it says.
fn rest(known: Known, shown: Shown, to_come: f64) -> Mean {
    let all = shown.calls + to_come;
    let mean = ((known.value * all - shown.made) / to_come).max(0.0);
    Mean { mean, variance: known.variance * (all / to_come).powi(2) }
}

/// Weighs two estimates by their variances, and widens the result where they contradict each other (the Birge ratio,
/// Physical Review 40, 1932, as the Particle Data Group uses it).
fn both(left: Mean, right: Mean) -> Mean {
    let (left_weight, right_weight) = (left.variance.max(1e-12).recip(), right.variance.max(1e-12).recip());
    let weights = left_weight + right_weight;
    let mean = (left.mean * left_weight + right.mean * right_weight) / weights;
    let contradiction = (left.mean - right.mean).powi(2) / (left.variance + right.variance).max(1e-12);
    Mean { mean, variance: weights.recip() * contradiction.max(1.0) }
}

//! How many tasks each call of the resource above will make: from this run, and from the one before.

use super::prior::Known;
use crate::progress::StepProgress;

/// Calls that a spread of the mean's own size counts as, before calls have shown the spread.
const VAGUE_CALLS: f64 = 2.0;
/// Batches from which their means say something.
const BATCHES_MIN: usize = 4;

/// The mean of tasks made per call that is still to come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fan {
    /// The mean.
    pub mean: f64,
    /// Its variance, what differs between the calls that are still to come included.
    pub variance: f64,
}

/// What this run has shown of a resource's fan-out.
#[derive(Debug, Clone, Copy)]
struct Shown {
    calls: f64,
    made: f64,
    /// Variance between calls.
    single: f64,
    /// By how much the mean's variance is larger than that of calls that have nothing to do with each other: Kish's design
    /// effect ("Survey Sampling", 1965).
    alike: f64,
    degrees: f64,
}

impl Shown {
    fn of(step: &StepProgress, calls: u64) -> Self {
        let (made, calls) = (step.counts().made as f64, calls as f64);
        let mean = made / calls;
        let squares = step.counts().made_squares as f64;
        let vague = mean.max(1.0).powi(2) * VAGUE_CALLS;
        let single = ((squares - calls * mean * mean).max(0.0) + vague) / (calls - 1.0 + VAGUE_CALLS);
        let batches: Vec<(f64, f64)> = step.fan().batches().map(|(calls, made)| (calls as f64, made as f64)).collect();
        let count = batches.len();
        let mut alike = 1.0;
        if count >= BATCHES_MIN {
            // The variance of a ratio of sums, from its batches.
            let all: f64 = batches.iter().map(|(calls, _)| calls).sum();
            let off: f64 = batches.iter().map(|(calls, made)| (made - mean * calls).powi(2)).sum();
            let variance = off / (all * all) * count as f64 / (count as f64 - 1.0);
            alike = (variance * all / single).max(1.0);
        }
        Self { calls, made, single, alike, degrees: (count as f64 - 1.0).max(3.0) }
    }
}

impl Fan {
    /// Estimates from `calls` of the resource above that have ended, and `to_come` that have not; none: nothing is known.
    pub fn of(step: &StepProgress, calls: u64, to_come: f64, prior: Option<Known>) -> Option<Self> {
        let shown = (calls > 0).then(|| Shown::of(step, calls));
        let earlier = prior.map(|known| match &shown {
            Some(shown) if to_come > 0.0 => rest(known, *shown, to_come),
            _ => Self { mean: known.value, variance: known.variance },
        });
        match (shown.map(|shown| Self::shown(shown, to_come)), earlier) {
            (Some(shown), Some(earlier)) => Some(both(shown, earlier)),
            (shown, earlier) => shown.or(earlier),
        }
    }

    fn shown(shown: Shown, to_come: f64) -> Self {
        let mean = shown.made / shown.calls;
        let neighbours = shown.single * shown.alike;
        // Few degrees of freedom: Student's variance.
        let student = shown.degrees / (shown.degrees - 2.0);
        let seen = neighbours / shown.calls * student;
        let unseen = if to_come > 0.0 { (neighbours / to_come).min(shown.single) } else { 0.0 };
        Self { mean, variance: seen + unseen }
    }
}

/// Returns what an earlier run's mean over all calls leaves for those that are still to come: the less are left, the less
/// it says.
fn rest(known: Known, shown: Shown, to_come: f64) -> Fan {
    let all = shown.calls + to_come;
    let mean = ((known.value * all - shown.made) / to_come).max(0.0);
    Fan { mean, variance: known.variance * (all / to_come).powi(2) }
}

/// Weighs two estimates by their variances, and widens the result where they contradict each other (the Birge ratio,
/// Physical Review 40, 1932, as the Particle Data Group uses it).
fn both(left: Fan, right: Fan) -> Fan {
    let (left_weight, right_weight) = (left.variance.max(1e-12).recip(), right.variance.max(1e-12).recip());
    let weights = left_weight + right_weight;
    let mean = (left.mean * left_weight + right.mean * right_weight) / weights;
    let contradiction = (left.mean - right.mean).powi(2) / (left.variance + right.variance).max(1e-12);
    Fan { mean, variance: weights.recip() * contradiction.max(1.0) }
}

//! How many calls are still to come: a branching process, level by level.
//!
//! With `open` tasks of each resource, `go` the share of lists that go on behind a page, and `fan` tasks of a child per call,
//! the worth of a page (calls: itself, what is below it, and what is behind it in its list) is, from the leaves up,
//!
//! ```text
//! worth(c) = 1 + sum over children d of fan(d) x worth(d) + go(c) x worth(next page of c)
//! calls    = sum over c of open(c) x worth(c)
//! variance = sum over c of (calls of c's parent to come x worth(c))^2 x var(fan(c))
//!                        + (calls of c to come x worth(next page of c))^2 x var(go(c))
//! ```
//!
//! The variance is the delta method's: each estimated number's variance times the square of what the sum gains by it. `go` is
//! by class of page, and `fan` by first or further page.

use super::fan::{Above, Fan};
use super::lists::{Lists, Worth};
use super::prior::Prior;
use crate::progress::{PAGE_CLASSES, RunProgress, StepProgress};
use crate::status::Expected;

/// Deviations that a range goes to each side: all estimates of a run from a tenth of its calls on are meant to hold its end, in
/// nine of ten runs; one estimate alone would do with 1.6.
const DEVIATIONS: f64 = 2.2;
/// The skewness of what one call leads to, over all levels: few calls lead to most.
const SKEWNESS: f64 = 10.0;

/// One resource.
#[derive(Debug)]
struct Step {
    resource: String,
    parent: Option<usize>,
    lists: Lists,
    fan: Fan,
    /// Lists that are still to be made.
    lists_to_come: f64,
    /// First and further pages that are still to be called, those that are open included.
    to_come: [f64; 2],
    /// Whether calls of the resource above are to come, and none has shown what they make.
    unseen: bool,
    tasks: u64,
    open: u64,
}

/// What is still to come of a run.
#[derive(Debug)]
pub(super) struct Remaining {
    steps: Vec<Step>,
    /// Calls that it rests on, those of an earlier run among them.
    seen: f64,
    /// Calls per task that ends: failures and throttled calls come on top.
    pub calls_per_task: f64,
}

/// A number that is about `mean`, at least `sure`, and may be off by `deviation`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct About {
    pub sure: f64,
    pub mean: f64,
    pub deviation: f64,
    /// Calls that it was seen from.
    pub seen: f64,
}

impl About {
    /// Returns the deviation of the logarithm, where the number is taken as log-normal: it is positive, and more likely far
    /// above its mean than far below.
    pub fn relative(self) -> f64 {
        if self.mean <= 0.0 {
            return 0.0;
        }
        (self.deviation / self.mean).powi(2).ln_1p().sqrt()
    }

    /// Returns its range.
    pub fn range(self) -> (f64, f64) {
        let relative = self.relative();
        let (low, high) = ((-DEVIATIONS * relative).exp(), (self.deviations_up() * relative).exp());
        ((self.mean * low).max(self.sure), (self.mean * high).max(self.sure))
    }

    /// Returns how many deviations a range goes up: few calls that were seen say little about the rare large ones (Cornish and
    /// Fisher's expansion of a quantile of a mean, "Moments and Cumulants in the Specification of Distributions", 1937).
    fn deviations_up(self) -> f64 {
        DEVIATIONS + SKEWNESS * (DEVIATIONS * DEVIATIONS - 1.0) / (6.0 * self.seen.max(1.0).sqrt())
    }
}

impl Remaining {
    pub fn of(run: &RunProgress, prior: &Prior<'_>) -> Self {
        let parent = |index: usize| {
            let name = run.steps()[index].parent()?;
            // Parents stand before children: what does not is a root.
            run.steps()[..index].iter().position(|step| step.resource() == name)
        };
        let mut steps = Vec::<Step>::with_capacity(run.steps().len());
        for (index, step) in run.steps().iter().enumerate() {
            let counts = step.counts();
            let lists = Lists::of(step, prior.counts(step.resource()));
            let (mut fan, mut lists_to_come, mut unseen) = (Fan::default(), 0.0, false);
            let parent = parent(index);
            if let Some((above, counts)) = parent.map(|parent| (&steps[parent], run.steps()[parent].counts())) {
                let earlier = prior.fan(&above.resource, step.resource());
                match Fan::of(step, Above { counts, to_come: above.to_come, earlier }) {
                    Some(found) => fan = found,
                    None => unseen = above.to_come[0] > 0.0,
                }
                unseen |= above.unseen;
                lists_to_come = above.to_come[0] * fan.first.mean + above.to_come[1] * fan.further.mean;
            }
            let to_come = lists.to_come(lists_to_come);
            let resource = step.resource().to_owned();
            let (tasks, open) = (counts.tasks(), counts.open());
            steps.push(Step { resource, parent, lists, fan, lists_to_come, to_come, unseen, tasks, open });
        }
        let earlier = prior.newest().into_iter().flat_map(|counts| counts.values());
        let all = run.steps().iter().map(StepProgress::counts).chain(earlier);
        let seen = all.map(|counts| (counts.done + counts.dead) as f64).sum();
        Self { steps, seen, calls_per_task: calls_per_task(run, prior) }
    }

    /// Returns the names of resources of which nothing is known, though calls of them may be to come.
    pub fn unseen(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|step| step.unseen).map(|step| step.resource.as_str())
    }

    /// Returns calls per task at least and at most, over so many tasks: failures come by chance.
    pub fn calls_per_task_range(&self, tasks: f64) -> (f64, f64) {
        let more = self.calls_per_task - 1.0;
        let off = DEVIATIONS * ((more + 1.0 / tasks.max(1.0)) / tasks.max(1.0)).sqrt();
        (1.0 + (more - off).max(0.0), self.calls_per_task + off)
    }

    /// Returns how many calls (as tasks that end) are to come in all.
    pub fn all(&self) -> About {
        self.weighed(&vec![1.0; self.steps.len()])
    }

    /// Returns how many tasks each resource will have had at the end of the run.
    pub fn expected(&self) -> Vec<(String, Expected)> {
        let mut weights = vec![0.0; self.steps.len()];
        let one = |(index, step): (usize, &Step)| {
            weights[index] = 1.0;
            let about = self.weighed(&weights);
            weights[index] = 0.0;
            let (min, max) = about.range();
            // What has ended stays; what is open is among what is to come.
            let before = (step.tasks - step.open) as f64;
            let expected = Expected {
                likely: (before + about.mean).round() as u64,
                min: (before + min).floor() as u64,
                max: (!step.unseen).then(|| (before + max).ceil() as u64),
            };
            (step.resource.clone(), expected)
        };
        self.steps.iter().enumerate().map(one).collect()
    }

    /// Returns the expected calls that follow from open tasks: `open` per step, in the run's order.
    pub fn of_open(&self, open: impl Iterator<Item = u64>) -> f64 {
        let worth = self.worth(&vec![1.0; self.steps.len()]);
        let one = |(index, open): (usize, u64)| {
            let (step, worth) = (&self.steps[index], &worth[index]);
            let each = if step.open > 0 { step.lists.open_worth(worth) / step.open as f64 } else { worth[0] };
            open as f64 * each
        };
        open.take(self.steps.len()).enumerate().map(one).sum()
    }

    /// Returns how many levels of calls have to follow each other until the last one: what no pace hastens.
    pub fn depth(&self) -> u32 {
        let mut depth = vec![1; self.steps.len()];
        for index in (0..self.steps.len()).rev() {
            if let Some(parent) = self.steps[index].parent {
                depth[parent] = depth[parent].max(depth[index] + 1);
            }
        }
        let open = self.steps.iter().zip(depth).filter(|(step, _)| step.open > 0);
        open.map(|(_, depth)| depth).max().unwrap_or(0)
    }

    /// Returns, by step, what its pages are worth, where a call of each step is worth its weight, and what it leads to.
    fn worth(&self, weights: &[f64]) -> Vec<Worth> {
        let mut own: Vec<[f64; 2]> = weights.iter().map(|weight| [*weight; 2]).collect();
        let mut worth = vec![[0.0; PAGE_CLASSES]; self.steps.len()];
        for index in (0..self.steps.len()).rev() {
            let step = &self.steps[index];
            worth[index] = step.lists.worth(own[index][0], own[index][1]);
            if let Some(parent) = step.parent {
                own[parent][0] += step.fan.first.mean * worth[index][0];
                own[parent][1] += step.fan.further.mean * worth[index][0];
            }
        }
        worth
    }

    fn weighed(&self, weights: &[f64]) -> About {
        let worth = self.worth(weights);
        let (mut sure, mut mean, mut variance) = (0.0, 0.0, 0.0);
        for (index, step) in self.steps.iter().enumerate() {
            let worth = &worth[index];
            sure += step.open as f64 * weights[index];
            mean += step.lists.open_worth(worth);
            if let Some([first, further]) = step.parent.map(|parent| self.steps[parent].to_come) {
                variance += (first * worth[0]).powi(2) * step.fan.first.variance;
                variance += (further * worth[0]).powi(2) * step.fan.further.variance;
            }
            for share in step.lists.spread(step.lists_to_come, worth) {
                let gain = share.calls * share.behind;
                variance += gain * gain * share.variance + share.calls * share.single * share.behind.powi(2);
            }
        }
        About { sure, mean, deviation: variance.sqrt(), seen: self.seen }
    }
}

/// Returns how many calls a task takes: those of this run, and as a start those of a hundred tasks of the one before.
fn calls_per_task(run: &RunProgress, prior: &Prior<'_>) -> f64 {
    const PRIOR_TASKS: f64 = 100.0;
    let earlier = prior.newest().map_or(1.0, |counts| {
        let calls: u64 = counts.values().map(|counts| counts.answered + counts.failed).sum();
        let ended: u64 = counts.values().map(|counts| counts.done + counts.dead).sum();
        calls as f64 / ended.max(1) as f64
    });
    let (mut calls, mut ended) = (earlier.max(1.0) * PRIOR_TASKS, PRIOR_TASKS);
    for step in run.steps() {
        let counts = step.counts();
        calls += (counts.answered + counts.failed) as f64;
        ended += (counts.done + counts.dead) as f64;
    }
    (calls / ended).max(1.0)
}

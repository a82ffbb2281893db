//! How many calls are still to come: a branching process, level by level.
//!
//! With `open` tasks of each resource, `pages` expected calls per list, and `fan` tasks per call of the resource above:
//!
//! ```text
//! calls to come of c   R(c) = open(c) x pages(c) + R(parent) x fan(c) x pages(c)
//! calls below one of c T(c) = 1 + sum over children d of fan(d) x pages(d) x T(d)
//! variance             sum over c of (R(parent) x pages(c) x T(c))^2 x var(fan(c))
//!                                  + the same for each share of lists that go on
//! ```
//!
//! The variance is the delta method's: each estimated number's variance times the square of what the sum gains by it.

use super::fan::Fan;
use super::lists::Lists;
use super::prior::Prior;
use crate::progress::RunProgress;
use crate::status::Expected;

/// Deviations that a range goes to each side: all estimates of a run from a tenth of its calls on are meant to hold its end,
/// in nine of ten runs, and one estimate alone would do with 1.6.
const DEVIATIONS: f64 = 2.2;

/// One resource.
#[derive(Debug)]
struct Step {
    resource: String,
    parent: Option<usize>,
    children: Vec<usize>,
    lists: Lists,
    fan: Fan,
    /// Calls that are still to come.
    to_come: f64,
    /// Whether calls of the resource above are to come, and none has shown what they make.
    unseen: bool,
    tasks: u64,
    open: u64,
    ended: u64,
}

/// What is still to come of a run.
#[derive(Debug)]
pub(super) struct Remaining {
    steps: Vec<Step>,
    /// Calls per task that ends: failures and throttled calls come on top.
    pub calls_per_task: f64,
}

/// A number that is about `mean`, at least `sure`, and may be off by `deviation`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct About {
    pub sure: f64,
    pub mean: f64,
    pub deviation: f64,
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
        let factor = (DEVIATIONS * self.relative()).exp();
        ((self.mean / factor).max(self.sure), (self.mean * factor).max(self.sure))
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
            let (counts, earlier) = (step.counts(), prior.counts(step.resource()));
            let lists = Lists::of(counts, earlier);
            let (mut fan, mut to_come, mut unseen) = (Fan::default(), lists.open_calls(), false);
            let parent = parent(index);
            if let Some(above) = parent.map(|parent| &steps[parent]) {
                let known = prior.fan(&above.resource, step.resource());
                match Fan::of(step, above.ended, above.to_come, known) {
                    Some(found) => fan = found,
                    None => unseen = above.to_come > 0.0 || above.unseen,
                }
                unseen |= above.unseen;
                to_come += above.to_come * fan.mean * lists.whole();
            }
            let ended = counts.done + counts.dead;
            let (tasks, open) = (counts.tasks(), counts.open());
            let resource = step.resource().to_owned();
            steps.push(Step {
                resource,
                parent,
                children: Vec::new(),
                lists,
                fan,
                to_come,
                unseen,
                tasks,
                open,
                ended,
            });
            if let Some(parent) = parent {
                steps[parent].children.push(index);
            }
        }
        Self { steps, calls_per_task: calls_per_task(run, prior) }
    }

    /// Returns the names of resources of which nothing is known, though calls of them may be to come.
    pub fn unseen(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|step| step.unseen).map(|step| step.resource.as_str())
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
    pub fn from_open(&self, open: impl Iterator<Item = u64>) -> f64 {
        let below = self.below(&vec![1.0; self.steps.len()]);
        let one = |(index, open): (usize, u64)| {
            let step = &self.steps[index];
            let pages = if step.open > 0 { step.lists.open_calls() / step.open as f64 } else { step.lists.whole() };
            open as f64 * pages * below[index]
        };
        open.take(self.steps.len()).enumerate().map(one).sum()
    }

    /// Returns how many levels of calls have to follow each other until the last one: what can't be hastened by any pace.
    pub fn depth(&self) -> u32 {
        let mut depth = vec![0; self.steps.len()];
        for (index, step) in self.steps.iter().enumerate().rev() {
            let below = step.children.iter().map(|child| depth[*child]).max().unwrap_or(0);
            depth[index] = 1 + below;
        }
        let open = self.steps.iter().zip(depth).filter(|(step, _)| step.open > 0);
        open.map(|(_, depth)| depth).max().unwrap_or(0)
    }

    /// Returns, by step, the weighed calls of one call and all below it.
    fn below(&self, weights: &[f64]) -> Vec<f64> {
        let mut below = weights.to_vec();
        for index in (0..self.steps.len()).rev() {
            let step = &self.steps[index];
            if let Some(parent) = step.parent {
                below[parent] += step.fan.mean * step.lists.whole() * below[index];
            }
        }
        below
    }

    fn weighed(&self, weights: &[f64]) -> About {
        let below = self.below(weights);
        let (mut sure, mut mean, mut variance) = (0.0, 0.0, 0.0);
        for (index, step) in self.steps.iter().enumerate() {
            sure += step.open as f64 * weights[index];
            mean += step.lists.open_calls() * below[index];
            let mut new = 0.0;
            if let Some(parent) = step.parent.map(|parent| &self.steps[parent]) {
                let gain = parent.to_come * step.lists.whole() * below[index];
                variance += gain * gain * step.fan.variance;
                new = parent.to_come * step.fan.mean;
            }
            for share in step.lists.spread(new) {
                let behind = share.behind * below[index];
                let gain = share.calls * behind;
                variance += gain * gain * share.variance + share.calls * share.single * behind * behind;
            }
        }
        About { sure, mean, deviation: variance.sqrt() }
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

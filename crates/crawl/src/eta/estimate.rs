//! The estimate of one run at one moment.

use weir_types::Timestamp;

use super::prior::Prior;
use super::remaining::{About, Remaining};
use super::supply::{Company, Supply, Vendor};
use super::tail::Tail;
use super::{Eta, words};
use crate::progress::RunProgress;
use crate::status::Expected;

/// How far a pace that is known may be off, to either side: bursts, and turns that nobody takes.
const PACE_ERROR: f64 = 0.03;
/// A tenant's weight that is used where a smaller one is given.
const WEIGHT_MIN: f64 = 1e-3;

/// How many calls are to come, and when the last one ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// When the run ends.
    pub eta: Eta,
    /// All tasks that each resource will have had at the end, in the run's order.
    pub steps: Vec<(String, Expected)>,
}

/// Estimates runs.
#[derive(Clone, Copy)]
pub struct Estimator<'a> {
    /// What earlier runs say.
    pub prior: &'a Prior<'a>,
    /// What the run gets of its vendor.
    pub supply: Supply<'a>,
    /// When it is asked.
    pub now: Timestamp,
}

/// Tasks that end: most likely, at least, at most.
#[derive(Debug, Clone, Copy)]
struct Tasks {
    mean: f64,
    low: f64,
    high: f64,
}

impl Tasks {
    fn of(about: About) -> Self {
        let (low, high) = about.range();
        Self { mean: about.mean, low, high }
    }
}

impl Estimator<'_> {
    /// Estimates a run.
    pub fn run(&self, run: &RunProgress) -> Estimate {
        let remaining = Remaining::of(run, self.prior);
        let eta = self.eta(run, &remaining, Tasks::of(remaining.all()), |tasks| tasks);
        Estimate { eta, steps: remaining.expected() }
    }

    /// Estimates tenants of a run, as named: when the last call of each ends, in the order asked. `weight` is a tenant's share.
    ///
    /// Tenants take turns by weight, so that one with `c` calls to come ends when of each other tenant as many have been made
    /// as its weight gives it meanwhile, and no more than it has: generalised processor sharing (Parekh and Gallager, 1993).
    pub fn tenants(&self, run: &RunProgress, names: &[&str], weight: impl Fn(&str) -> f64) -> Vec<Eta> {
        let remaining = Remaining::of(run, self.prior);
        let all = remaining.all();
        let weight = |name: &str| weight(name).max(WEIGHT_MIN);
        let to_come = |name: &str| run.tenants().get(name).map_or(0.0, |tenant| remaining.of_open(tenant.open()));
        let others: Vec<(&str, f64, f64)> = run
            .tenants()
            .keys()
            .map(|name| (name.as_str(), weight(name), to_come(name)))
            .filter(|(_, _, calls)| *calls > 0.0)
            .collect();
        let one = |name: &&str| {
            let (own, mean) = (weight(name), to_come(name));
            let sure = run.tenants().get(*name).map_or(0.0, |tenant| tenant.totals().waiting as f64);
            // As uncertain as the run as a whole, and more so the fewer they are.
            let new = (mean - sure).max(0.0);
            let deviation = if all.mean > 0.0 { mean * all.deviation / all.mean } else { 0.0 };
            let about = About { sure, mean, deviation: deviation.hypot(new.sqrt()), seen: all.seen };
            let until = |calls: f64| {
                let meanwhile = |(other, weight, theirs): &(&str, f64, f64)| {
                    if other == name { calls } else { theirs.min(calls * weight / own) }
                };
                if calls > 0.0 { others.iter().map(meanwhile).sum() } else { 0.0 }
            };
            self.eta(run, &remaining, Tasks::of(about), until)
        };
        names.iter().map(one).collect()
    }

    /// Returns when so many tasks have ended; `until` says how many tasks of the run end until then.
    fn eta(&self, run: &RunProgress, remaining: &Remaining, tasks: Tasks, until: impl Fn(f64) -> f64) -> Eta {
        let unseen: Vec<&str> = remaining.unseen().collect();
        let (few, many) = remaining.calls_per_task_range(tasks.mean);
        let turns =
            |tasks: f64, calls_per_task: f64| (until(tasks) - self.supply.in_flight as f64).max(0.0) * calls_per_task;
        let mean = turns(tasks.mean, remaining.calls_per_task);
        // Between so many calls there is one turn less.
        let (low, high) = ((turns(tasks.low, few) - 1.0).max(0.0), turns(tasks.high, many));
        let (mut likely, mut min, mut max) = self.takes(run, mean, low, high);
        let tail = Tail::of(run, remaining.depth(), self.supply, mean);
        likely += tail.likely;
        min *= 1.0 - PACE_ERROR;
        max = max * (1.0 + PACE_ERROR) + tail.max;
        let known = unseen.is_empty() && likely.is_finite();
        let up = self.supply.vendor == Vendor::Up;
        let bounded = known && max.is_finite() && up;
        let mut text = match known {
            true => words::about(likely, min, max.is_finite().then_some(max)),
            false => words::at_least(min, &unseen),
        };
        if !up {
            text.push_str(", from when the vendor is back");
        }
        Eta {
            seconds: known.then_some(likely),
            min_seconds: if min.is_finite() { min } else { f64::MAX },
            max_seconds: bounded.then_some(max),
            at: known.then(|| Timestamp(self.now.0.saturating_add((likely * 1_000.0) as i64))),
            calls: Expected {
                likely: (tasks.mean * remaining.calls_per_task).round() as u64,
                min: tasks.low.floor() as u64,
                max: unseen.is_empty().then(|| (tasks.high * many).ceil() as u64),
            },
            text,
        }
    }

    /// Returns the seconds that calls take: likely, at least, at most.
    fn takes(&self, run: &RunProgress, mean: f64, low: f64, high: f64) -> (f64, f64, f64) {
        let allowed = |calls: f64| self.supply.allowance.seconds_for(calls);
        let (likely, min, max) = (allowed(mean).likely, allowed(low).min, allowed(high).max);
        // What the budget allows and nobody delivers takes as long as it takes.
        let Some(pace) = run.delivered().pace() else {
            let nothing_limits = max == 0.0 && high > 0.0;
            return if nothing_limits { (f64::INFINITY, min, f64::INFINITY) } else { (likely, min, max) };
        };
        let off = 1.0 + 2.0 * pace.error;
        let delivered = |calls: f64| calls / pace.per_second;
        let min = match self.supply.company {
            Company::Alone => min.max(delivered(low) / off),
            // The others may end sooner, and leave their part.
            Company::Shared => min,
        };
        (likely.max(delivered(mean)), min, max.max(delivered(high) * off))
    }
}

//! The estimate of one run at one moment.

use weir_types::Timestamp;

use super::prior::Prior;
use super::remaining::Remaining;
use super::supply::Supply;
use super::{Eta, words};
use crate::progress::{RunProgress, TenantProgress};
use crate::status::Expected;

/// How far a pace that is known may be off, to either side: bursts, and turns that nobody takes.
const PACE_ERROR: f64 = 0.03;

/// Failures in a row that are reckoned with.
const CHAIN_MAX: i32 = 8;

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

impl<'a> Estimator<'a> {
    /// Estimates a run.
    pub fn run(&self, run: &RunProgress) -> Estimate {
        let remaining = Remaining::of(run, self.prior);
        let all = remaining.all();
        let (low, high) = all.range();
        let unseen: Vec<&str> = remaining.unseen().collect();
        let factor = remaining.calls_per_task;
        let calls = Expected {
            likely: (all.mean * factor).round() as u64,
            min: low.floor() as u64,
            max: unseen.is_empty().then(|| (high * factor).ceil() as u64),
        };
        let eta = self.eta(run, &remaining, all.mean, (low, high), &unseen, calls);
        Estimate { eta, steps: remaining.expected() }
    }

    fn eta(
        &self,
        run: &RunProgress,
        remaining: &Remaining,
        mean: f64,
        (low, high): (f64, f64),
        unseen: &[&str],
        calls: Expected,
    ) -> Eta {
        let turns = |tasks: f64, calls_per_task: f64| (tasks - self.supply.in_flight as f64).max(0.0) * calls_per_task;
        let (few, many) = remaining.calls_per_task_range(mean);
        let (mean, low, high) = (turns(mean, remaining.calls_per_task), turns(low, few), turns(high, many));
        // Between so many calls there is one turn less.
        let low = (low - 1.0).max(0.0);
        let allowed = |calls: f64| self.supply.allowance.seconds_for(calls);
        let (mut likely, mut min, mut max) = (allowed(mean).likely, allowed(low).min, allowed(high).max);
        // What the budget allows and nobody delivers takes as long as it takes.
        if let Some(pace) = run.delivered().pace() {
            let off = 1.0 + 2.0 * pace.error;
            likely = likely.max(mean / pace.per_second);
            min = min.max(low / pace.per_second / off);
            max = max.max(high / pace.per_second * off);
        }
        let tail = Tail::of(run, remaining, self.supply, mean);
        likely += tail.likely;
        min *= 1.0 - PACE_ERROR;
        max = max * (1.0 + PACE_ERROR) + tail.max;
        let known = unseen.is_empty() && likely.is_finite() && (likely > 0.0 || calls.likely == 0);
        let bounded = known && max.is_finite();
        let text = match (known, bounded) {
            (true, true) => words::about(likely, min, Some(max)),
            (true, false) => words::about(likely, min, None),
            (false, _) => words::at_least(min, unseen),
        };
        Eta {
            seconds: known.then_some(likely),
            min_seconds: min,
            max_seconds: bounded.then_some(max),
            at: known.then(|| Timestamp(self.now.0.saturating_add((likely * 1_000.0) as i64))),
            calls,
            text,
        }
    }

    /// Estimates one tenant of a run, from its own tasks that are open and its share of the rate.
    pub fn tenant(&self, run: &RunProgress, tenant: &TenantProgress, share: Supply<'a>) -> Eta {
        let remaining = Remaining::of(run, self.prior);
        let all = remaining.all();
        let mean = remaining.from_open(tenant.open());
        let sure = tenant.totals().waiting as f64;
        // A tenant's tasks are as uncertain as the run's, and more so the fewer they are.
        let relative =
            all.relative().hypot(if mean > 0.0 { ((mean - sure) / mean).max(0.0) / mean.sqrt() } else { 0.0 });
        let about = super::remaining::About { sure, mean, deviation: mean * (relative.powi(2).exp_m1()).sqrt() };
        let (low, high) = about.range();
        let unseen: Vec<&str> = remaining.unseen().collect();
        let factor = remaining.calls_per_task;
        let calls = Expected {
            likely: (mean * factor).round() as u64,
            min: low.floor() as u64,
            max: unseen.is_empty().then(|| (high * factor).ceil() as u64),
        };
        Self { supply: share, ..*self }.eta(run, &remaining, mean, (low, high), &unseen, calls)
    }
}

/// What comes behind the last call's turn: answers on their way, levels that follow each other, attempts that wait.
struct Tail {
    likely: f64,
    max: f64,
}

impl Tail {
    fn of(run: &RunProgress, remaining: &Remaining, supply: Supply<'_>, calls: f64) -> Self {
        let (mut answered, mut latency_ms, mut failed) = (0u64, 0u64, 0u64);
        for step in run.steps() {
            answered += step.counts().answered;
            latency_ms += step.counts().latency_ms;
            failed += step.counts().failed;
        }
        let latency = latency_ms as f64 / 1_000.0 / answered.max(1) as f64;
        let depth = f64::from(remaining.depth());
        if depth == 0.0 {
            return Self { likely: 0.0, max: 0.0 };
        }
        let share = (failed as f64 + 0.5) / ((answered + failed) as f64 + 1.0);
        let delay = supply.retry_delay.as_secs_f64();
        let rate = run.delivered().pace().map_or(1.0, |pace| pace.per_second);
        // Of the last calls, those within one delay before the end are not back in time if they fail.
        let last = (rate * delay).min(calls).max(1.0);
        let fails = 1.0 - (1.0 - share).powf(last);
        // A task that fails `times` in a row waits 1 + 2 + 4 ... delays; so many wait as come in that time. Those chains are
        // reckoned with of which one run in twenty has one at its end.
        let chains = (1..=CHAIN_MAX).filter(|times| {
            let waits = delay * (f64::from(*times).exp2() - 1.0);
            (rate * waits).max(1.0) * share.powi(*times) > 0.05
        });
        let times = f64::from(chains.last().unwrap_or(1));
        Self { likely: latency + fails * delay, max: latency * (depth + 2.0) * 2.0 + delay * (times.exp2() - 1.0) }
    }
}

//! What comes behind the last call's turn: answers on their way, levels that follow each other, attempts that wait.

use super::supply::Supply;
use crate::progress::RunProgress;

/// Failures in a row that are reckoned with.
const CHAIN_MAX: i32 = 8;
/// A chain of failures is reckoned with if more runs than this part of them end with one.
const CHAIN_CHANCE: f64 = 0.05;

/// Seconds behind the last call's turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tail {
    pub likely: f64,
    pub max: f64,
}

impl Tail {
    /// Returns the tail of a run in which so many calls are to come, on so many levels.
    pub fn of(run: &RunProgress, depth: u32, supply: Supply<'_>, calls: f64) -> Self {
        if depth == 0 {
            return Self { likely: 0.0, max: 0.0 };
        }
        let (mut answered, mut latency_ms, mut failed) = (0u64, 0u64, 0u64);
        for step in run.steps() {
            answered += step.counts().answered;
            latency_ms += step.counts().latency_ms;
            failed += step.counts().failed;
        }
        let latency = latency_ms as f64 / 1_000.0 / answered.max(1) as f64;
        let share = (failed as f64 + 0.5) / ((answered + failed) as f64 + 1.0);
        let delay = supply.retry_delay.as_secs_f64();
        let rate = run.delivered().pace().map_or(1.0, |pace| pace.per_second);
        // Of the last calls, those within one delay before the end are not back in time if they fail.
        let last = (rate * delay).min(calls).max(1.0);
        let fails = 1.0 - (1.0 - share).powf(last);
        // A task that fails `times` in a row waits 1 + 2 + 4 ... delays, and as many may as come in that time.
        let waits = |times: i32| delay * (f64::from(times).exp2() - 1.0);
        let chain = |times: &i32| (rate * waits(*times)).max(1.0) * share.powi(*times) > CHAIN_CHANCE;
        let times = (1..=CHAIN_MAX).filter(chain).max().unwrap_or(1);
        // The levels' calls follow each other, and a slow answer takes twice as long as most.
        let answers = latency * (f64::from(depth) + 2.0) * 2.0;
        Self { likely: latency + fails * delay, max: answers + waits(times) }
    }
}

//! What a function has done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::environment::{Outcome, Ran};

/// What a function has done since its host began, and does now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Invocations that run.
    pub running: usize,
    /// Environments that wait for one.
    pub idle: usize,
    /// Environments that come up.
    pub starting: usize,
    /// Invocations that have their turn and wait for an environment.
    pub waiting: usize,
    /// Invocations that ran to their end.
    pub invocations: u64,
    /// Of those, how many failed.
    pub errors: u64,
    /// Of those, how many reached their timeout.
    pub timeouts: u64,
    /// Invocations that were refused for want of concurrency.
    pub throttles: u64,
    /// Environments that came up.
    pub cold_starts: u64,
    /// The sum of all durations.
    pub duration: Duration,
    /// The sum of the time in which environments came up.
    pub init_duration: Duration,
    /// The sum of billed milliseconds.
    pub billed_ms: u64,
    /// The sum of billed milliseconds times memory, in megabyte-milliseconds: what AWS bills by.
    pub billed_mb_ms: u64,
}

/// The same, as it is counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    running: AtomicU64,
    invocations: AtomicU64,
    errors: AtomicU64,
    timeouts: AtomicU64,
    throttles: AtomicU64,
    duration_us: AtomicU64,
    billed_ms: AtomicU64,
    billed_mb_ms: AtomicU64,
}

fn add(to: &AtomicU64, number: u64) {
    to.fetch_add(number, Ordering::Relaxed);
}

/// Returns a span in whole milliseconds, rounded up, as AWS bills.
pub(crate) fn billed_ms(span: Duration) -> u64 {
    u64::try_from(span.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

impl Counts {
    pub fn throttled(&self) {
        add(&self.throttles, 1);
    }

    pub fn begun(&self) {
        add(&self.running, 1);
    }

    pub fn finished(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn ran(&self, ran: &Ran, memory_bytes: u64) {
        add(&self.invocations, 1);
        add(&self.errors, u64::from(!matches!(ran.outcome, Outcome::Response(_))));
        add(&self.timeouts, u64::from(matches!(ran.outcome, Outcome::TimedOut)));
        add(&self.duration_us, u64::try_from(ran.duration.as_micros()).unwrap_or(u64::MAX));
        let billed = billed_ms(ran.duration);
        add(&self.billed_ms, billed);
        add(&self.billed_mb_ms, billed.saturating_mul(memory_bytes >> 20));
    }

    pub fn stats(&self) -> Stats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            running: usize::try_from(read(&self.running)).unwrap_or(usize::MAX),
            invocations: read(&self.invocations),
            errors: read(&self.errors),
            timeouts: read(&self.timeouts),
            throttles: read(&self.throttles),
            duration: Duration::from_micros(read(&self.duration_us)),
            billed_ms: read(&self.billed_ms),
            billed_mb_ms: read(&self.billed_mb_ms),
            ..Stats::default()
        }
    }
}

//! A token bucket in integers: the generic cell rate algorithm (ITU-T I.371).
//!
//! Invariant: in any window of length `w` at most `burst + w / interval` calls are taken, and the interval is rounded up: never more than
//! the rate. Nothing is gained by waiting beyond the burst, so that a stalled process has no bunch to send.

use std::time::Duration;

use crate::Rate;

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Calls at a rate.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Nanoseconds from call to call.
    interval: u64,
    /// How far ahead of an even pace calls may be.
    slack: u64,
    /// When the next call is due at an even pace.
    due: u64,
}

impl Bucket {
    /// A bucket that is empty at `now` and holds `burst` calls.
    pub fn empty(rate: Rate, burst: u64, now: Duration) -> Self {
        let interval = nanos(rate.per).div_ceil(rate.calls.max(1)).max(1);
        let slack = interval.saturating_mul(burst.max(1) - 1);
        Self { interval, slack, due: nanos(now).saturating_add(interval).saturating_add(slack) }
    }

    /// When a call may be taken; now or in the past: at once.
    pub fn ready(&self) -> Duration {
        Duration::from_nanos(self.due.saturating_sub(self.slack))
    }

    /// Takes a call, for which it must be [`Bucket::ready`].
    pub fn take(&mut self, now: Duration) {
        debug_assert!(self.ready() <= now, "calls are taken when they may be");
        self.due = self.due.max(nanos(now)).saturating_add(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_holds_more_than_burst_and_rate(
            calls in 1..2_000u64, per_ms in 1..100_000u64, burst in 1..50u64,
            gaps in prop::collection::vec(0..3_000u64, 1..200), start in 0..1_000_000u64,
        ) {
            let per = Duration::from_millis(per_ms);
            let mut bucket = Bucket::empty(Rate { calls, per }, burst, Duration::from_micros(start));
            let (mut now, mut sent) = (start, Vec::new());
            for gap in gaps {
                now += gap;
                while bucket.ready() <= Duration::from_micros(now) {
                    bucket.take(Duration::from_micros(now));
                    sent.push(now);
                }
            }
            for (first, from) in sent.iter().enumerate() {
                for (last, to) in sent.iter().enumerate().skip(first) {
                    let allowed = burst as f64 + calls as f64 * (to - from) as f64 / (per_ms as f64 * 1e3);
                    prop_assert!((last - first + 1) as f64 <= allowed + 1e-6);
                }
                let allowed = calls as f64 * (from - start) as f64 / (per_ms as f64 * 1e3);
                prop_assert!((first + 1) as f64 <= allowed + 1e-6, "it begins empty");
            }
        }
    }
}

//! The limit: a token bucket, and the same bucket over times that have passed.
//!
//! A bucket of `burst` that fills with `rate` a second lets at most `burst + rate * w` calls into any window of length `w`,
//! and no other rule lets in more that keeps to this. So a client kept to a limit in all windows if and only if
//! the level of such a bucket never rose above its burst, which one pass over the calls shows.

/// How full a bucket is: calls that came in and have not run out yet.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Level {
    calls: f64,
    at_ns: u64,
}

impl Level {
    /// Lets run out what has by then.
    fn at(self, now_ns: u64, rate: f64) -> Self {
        let passed = now_ns.saturating_sub(self.at_ns) as f64 / 1e9;
        Self { calls: (self.calls - rate * passed).max(0.0), at_ns: self.at_ns.max(now_ns) }
    }

    /// Counts a call that came at a time, whether there was room or not, and returns how full it is with it.
    pub fn count(&mut self, now_ns: u64, rate: f64) -> f64 {
        *self = self.at(now_ns, rate);
        self.calls += 1.0;
        self.calls
    }
}

/// A token bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    level: Level,
}

impl Bucket {
    /// One that is full of tokens. `rate` is in calls a second; zero is no limit.
    pub fn new(rate: f64, burst: f64) -> Self {
        Self { rate, burst: burst.max(1.0), level: Level::default() }
    }

    /// Another limit from now on; what was used stays used.
    pub fn change(&mut self, now_ns: u64, rate: f64, burst: f64) {
        self.level = self.level.at(now_ns, self.rate);
        self.rate = rate;
        self.burst = burst.max(1.0);
    }

    /// Takes a token, or says in how many seconds there is one. A call that is refused takes none.
    ///
    /// # Errors
    /// The seconds until a call has room.
    pub fn take(&mut self, now_ns: u64) -> Result<(), f64> {
        if self.rate <= 0.0 {
            return Ok(());
        }
        let level = self.level.at(now_ns, self.rate);
        let over = level.calls + 1.0 - self.burst;
        // A billionth of a call is what rounding may do.
        if over > 1e-9 {
            return Err(over / self.rate);
        }
        self.level = Level { calls: level.calls + 1.0, ..level };
        Ok(())
    }

    /// Calls a second; zero is no limit.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The most calls at once.
    pub fn burst(&self) -> f64 {
        self.burst
    }

    /// Calls that have room now.
    pub fn remaining(&self, now_ns: u64) -> f64 {
        (self.burst - self.level.at(now_ns, self.rate).calls).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// The largest of `calls - rate * w` over all windows, from its definition.
    fn worst_window(times: &[u64], rate: f64) -> f64 {
        let mut worst = 0.0_f64;
        for (from, first) in times.iter().enumerate() {
            for (calls, last) in times[from..].iter().enumerate() {
                worst = worst.max((calls + 1) as f64 - rate * (last - first) as f64 / 1e9);
            }
        }
        worst
    }

    fn times() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(0..SECOND / 10, 1..60).prop_map(|gaps| {
            let mut now = 0;
            gaps.iter()
                .map(|gap| {
                    now += gap;
                    now
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_level_is_the_worst_of_all_windows(times in times(), rate in 1.0..200.0_f64) {
            let mut level = Level::default();
            let deepest = times.iter().map(|now| level.count(*now, rate)).fold(0.0, f64::max);
            prop_assert!((deepest - worst_window(&times, rate)).abs() < 1e-6);
        }

        #[test]
        fn what_is_let_in_is_within_the_limit_in_every_window(times in times(), rate in 1.0..200.0_f64, burst in 1.0..20.0_f64) {
            let mut bucket = Bucket::new(rate, burst);
            let taken: Vec<u64> = times.iter().copied().filter(|now| bucket.take(*now).is_ok()).collect();
            prop_assert!(worst_window(&taken, rate) <= burst + 1e-6);
        }

        #[test]
        fn whoever_waits_as_long_as_told_is_let_in(times in times(), rate in 1.0..200.0_f64) {
            let mut bucket = Bucket::new(rate, 3.0);
            for now in times {
                if let Err(seconds) = bucket.take(now) {
                    let later = now + (seconds * 1e9).ceil() as u64 + 1;
                    prop_assert!(bucket.clone().take(later).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_burst_is_let_in_at_once_and_then_one_by_one() {
        let mut bucket = Bucket::new(10.0, 3.0);
        assert_eq!((0..5).filter(|_| bucket.take(0).is_ok()).count(), 3);
        assert_eq!(bucket.take(0), Err(0.1));
        assert_eq!(bucket.take(SECOND / 10), Ok(()));
        assert!(bucket.take(SECOND / 10).is_err());
    }

    #[test]
    fn a_change_forgets_nothing() {
        let mut bucket = Bucket::new(10.0, 2.0);
        assert!(bucket.take(0).is_ok() && bucket.take(0).is_ok());
        bucket.change(0, 1.0, 2.0);
        assert_eq!(bucket.take(0), Err(1.0));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut bucket = Bucket::new(0.0, 1.0);
        assert!((0..1_000).all(|_| bucket.take(0).is_ok()));
    }
}

//! How many calls may be under way: fewer at once when answers take much longer than they used to, more again one by one.
//!
//! Compared are geometric means, of the last few dozen answers and of the last thousand or so: a few slow answers move neither much.
//! More calls under way than usual may take longer in proportion: that is our doing, and what the settings allow. What stays slow
//! becomes the usual after some time.

use std::time::Duration;

/// Weights of one answer in the two means.
const SHORT: f64 = 1.0 / 24.0;
const LONG: f64 = 1.0 / 1024.0;
/// Answers that must be known before anything is lowered.
const KNOWN_MIN: u32 = 100;
/// Slower than this many times the usual, and than this at all, lowers.
const SLOWER: f64 = 2.5;
const SLOW: Duration = Duration::from_millis(100);
/// Within this many times the usual, more is allowed again.
const CALM: f64 = 1.5;
/// One lowering, and the least share of the maximum.
const LOWER: f64 = 0.7;
const SHARE_MIN: f64 = 0.125;
/// Lowerings are this far apart at least: an answer's time, or this.
const APART: Duration = Duration::from_millis(500);

/// How many calls may be under way, and why.
#[derive(Debug)]
pub struct Latency {
    calls_max: u32,
    calls: f64,
    short: f64,
    long: f64,
    crowd_short: f64,
    crowd_long: f64,
    known: u32,
    lowered: Option<Duration>,
}

impl Latency {
    /// Nothing known yet, so many calls at most.
    pub fn new(calls_max: u32) -> Self {
        let calls_max = calls_max.max(1);
        let calls = f64::from(calls_max);
        Self { calls_max, calls, short: 0.0, long: 0.0, crowd_short: 1.0, crowd_long: 1.0, known: 0, lowered: None }
    }

    /// Calls that may be under way at once.
    pub fn calls(&self) -> u32 {
        self.calls as u32
    }

    /// The typical time of the last answers.
    pub fn typical(&self) -> Option<Duration> {
        (self.known > 0).then(|| Duration::from_secs_f64(self.short.exp().min(1e6)))
    }

    /// Takes note of an answer, while `in_flight` calls were under way with it.
    pub fn answered(&mut self, now: Duration, latency: Duration, in_flight: u32) {
        let log = latency.as_secs_f64().clamp(1e-6, 1e6).ln();
        let crowd = f64::from(in_flight.max(1));
        if self.known == 0 {
            (self.short, self.long, self.crowd_short, self.crowd_long) = (log, log, crowd, crowd);
        }
        self.known = self.known.saturating_add(1);
        // Means of all that is known, until that is as many answers as they are to hold.
        let weight = |least: f64| least.max(1.0 / f64::from(self.known));
        self.short += (log - self.short) * weight(SHORT);
        self.long += (log - self.long) * weight(LONG);
        self.crowd_short += (crowd - self.crowd_short) * weight(SHORT);
        self.crowd_long += (crowd - self.crowd_long) * weight(LONG);
        let ours = (self.crowd_short / self.crowd_long).max(1.0);
        let slower = (self.short - self.long).exp() / ours;
        if slower > SLOWER && self.short.exp() > SLOW.as_secs_f64() && self.known >= KNOWN_MIN {
            self.lower(now, in_flight);
        } else if slower < CALM {
            self.calls = (self.calls + 1.0 / self.calls).min(f64::from(self.calls_max));
        }
    }

    fn lower(&mut self, now: Duration, in_flight: u32) {
        let apart = APART.max(Duration::from_secs_f64(self.short.exp().min(60.0)));
        if self.lowered.is_some_and(|last| now < last + apart) {
            return;
        }
        self.lowered = Some(now);
        let least = (f64::from(self.calls_max) * SHARE_MIN).max(1.0);
        self.calls = (self.calls.min(f64::from(in_flight.max(1))) * LOWER).max(least).min(self.calls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn run(latency: &mut Latency, from: Duration, answers: u32, each: Duration, in_flight: u32) -> Duration {
        for answer in 0..answers {
            latency.answered(from + MS * 10 * answer, each, in_flight);
        }
        from + MS * 10 * answers
    }

    #[test]
    fn rising_latency_lowers_at_once_and_calm_brings_it_back() {
        let mut latency = Latency::new(64);
        let now = run(&mut latency, MS, 2_000, 60 * MS, 40);
        assert_eq!(latency.calls(), 64);
        let now = run(&mut latency, now, 60, 2_000 * MS, 40);
        assert!(latency.calls() < 40, "{} calls", latency.calls());
        let now = run(&mut latency, now, 300, 2_000 * MS, 20);
        assert!((8..20).contains(&latency.calls()), "{} calls", latency.calls());
        run(&mut latency, now, 6_000, 60 * MS, 20);
        assert_eq!(latency.calls(), 64);
    }

    #[test]
    fn what_more_calls_of_ours_cause_lowers_nothing() {
        let mut latency = Latency::new(64);
        let now = run(&mut latency, MS, 2_000, 100 * MS, 8);
        run(&mut latency, now, 500, 700 * MS, 56);
        assert_eq!(latency.calls(), 64);
    }

    #[test]
    fn a_few_slow_answers_lower_nothing() {
        let mut latency = Latency::new(64);
        for answer in 0..5_000 {
            let each = if answer % 50 == 0 { 5_000 } else { 60 };
            latency.answered(MS * answer, each * MS, 40);
        }
        assert_eq!(latency.calls(), 64);
    }
}

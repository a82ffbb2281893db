//! The breaker: calls stop while the vendor is down, and single ones ask whether it is back.
//!
//! ```text
//!          5 failures in a row, or 12 of 20           a probe is answered
//! closed ------------------------------------> open ----------------------> recovering --> closed
//!                                               ^ |  probes: 1 s, 2 s ... 30 s     |
//!                                               +-+--------- 3 failures in a row --+
//! ```
//!
//! Invariant: while it is open there is one call at most that was let go since. Three failures of a hundred at random are five in a row
//! once in forty million calls.

use std::time::Duration;

use crate::{BreakerState, Outcome};

/// Failures in a row that open it.
const IN_A_ROW: u32 = 5;
/// Failures in a row that open it again while it recovers.
const IN_A_ROW_AGAIN: u32 = 3;
/// The last calls that are looked at, and how many failures among them open it.
const LAST_CALLS: u32 = 20;
const FAILURES_OF_LAST: u32 = 12;
/// From the opening to the first probe, and the longest between two.
const PROBE_FIRST: Duration = Duration::from_secs(1);
const PROBE_LAST: Duration = Duration::from_secs(30);
/// For how long failures are the vendor's. A task on which it always fails looks like an outage when no other task is left.
pub const OUTAGE_MAX: Duration = Duration::from_secs(6 * 3600);
/// A recovery begins with this part of the pace, which doubles in each step.
const RECOVERY_PART: f64 = 1.0 / 16.0;
const RECOVERY_STEP: Duration = Duration::from_millis(500);
/// After so long it is over, however few calls there were.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// Calls under way at once when a recovery begins; each answer allows one more.
const RECOVERY_CALLS: u32 = 2;

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    Open { probe_at: Duration, interval: Duration, probe: Option<u64>, since: Duration },
    Recovering { since: Duration, calls: u32, interval: Duration, down_since: Duration },
}

/// Whether the vendor is up, as far as its last answers show.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// The last calls, a set bit for each failure.
    last: u32,
    known: u32,
    in_a_row: u32,
}

impl Breaker {
    /// One that lets calls through.
    pub fn closed() -> Self {
        Self { state: State::Closed, last: 0, known: 0, in_a_row: 0 }
    }

    /// Until when there is no call; in the past: until the probe that is under way has ended.
    pub fn poll(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Open { probe_at, probe: Some(_), .. } => Some(probe_at.min(now)),
            State::Open { probe_at, probe: None, .. } => (probe_at > now).then_some(probe_at),
            State::Closed | State::Recovering { .. } => None,
        }
    }

    /// How many calls may be under way while it recovers.
    pub fn calls_max(&self) -> u32 {
        match self.state {
            State::Recovering { calls, .. } => calls,
            State::Closed | State::Open { .. } => u32::MAX,
        }
    }

    /// The part of the pace that is allowed while it recovers; 1 otherwise.
    pub fn part(&self, now: Duration) -> f64 {
        match self.state {
            State::Recovering { since, .. } => {
                let steps = now.saturating_sub(since).as_secs_f64() / RECOVERY_STEP.as_secs_f64();
                (RECOVERY_PART * steps.exp2()).min(1.0)
            }
            State::Closed | State::Open { .. } => 1.0,
        }
    }

    /// Takes note of a call that is let go.
    pub fn take(&mut self, number: u64) {
        if let State::Open { probe, .. } = &mut self.state {
            *probe = Some(number);
        }
    }

    /// Takes note of a call's end, and says whether the vendor is down.
    pub fn end(&mut self, now: Duration, number: u64, outcome: Outcome, calls_max: u32) -> bool {
        match outcome {
            Outcome::Failed => self.failed(now, number),
            Outcome::Answered | Outcome::Throttled => {
                self.answered(now, number, calls_max);
                false
            }
            Outcome::Unknown => {
                if let State::Open { probe, probe_at, .. } = &mut self.state
                    && *probe == Some(number)
                {
                    *probe = None;
                    *probe_at = now + PROBE_FIRST;
                }
                false
            }
        }
    }

    fn count(&mut self, failed: u32) {
        self.last = (self.last << 1 | failed) & ((1 << LAST_CALLS) - 1);
        self.known = (self.known + 1).min(LAST_CALLS);
        self.in_a_row = if failed == 1 { self.in_a_row + 1 } else { 0 };
    }

    fn failed(&mut self, now: Duration, number: u64) -> bool {
        self.count(1);
        match &mut self.state {
            State::Closed => {
                let most = self.known == LAST_CALLS && self.last.count_ones() >= FAILURES_OF_LAST;
                if self.in_a_row < IN_A_ROW && !most {
                    return false;
                }
                self.open(now, PROBE_FIRST, now);
                true
            }
            State::Open { probe_at, interval, probe, since } => {
                if *probe == Some(number) {
                    *interval = (*interval * 2).min(PROBE_LAST);
                    *probe_at = now + *interval;
                    *probe = None;
                }
                now.saturating_sub(*since) < OUTAGE_MAX
            }
            State::Recovering { interval, down_since, .. } => {
                let (interval, down_since) = (*interval, *down_since);
                if self.in_a_row < IN_A_ROW_AGAIN {
                    return false;
                }
                self.open(now, interval, down_since);
                now.saturating_sub(down_since) < OUTAGE_MAX
            }
        }
    }

    fn open(&mut self, now: Duration, interval: Duration, since: Duration) {
        self.state = State::Open { probe_at: now + interval, interval, probe: None, since };
    }

    fn answered(&mut self, now: Duration, number: u64, calls_max: u32) {
        self.count(0);
        match &mut self.state {
            State::Closed => {}
            State::Open { interval, probe, since, probe_at } => {
                if *probe == Some(number) {
                    let (interval, down_since) = (*interval, *since);
                    (self.last, self.known) = (0, 0);
                    self.state = State::Recovering { since: now, calls: RECOVERY_CALLS, interval, down_since };
                } else {
                    // An answer to a call from before: worth asking at once.
                    *probe_at = (*probe_at).min(now);
                }
            }
            State::Recovering { calls, since, .. } => {
                *calls = calls.saturating_add(1);
                let enough = *calls >= calls_max || now.saturating_sub(*since) > RECOVERY_MAX;
                if enough && self.part(now) >= 1.0 {
                    self.state = State::Closed;
                }
            }
        }
    }

    /// What a status shows.
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Recovering { .. } => BreakerState::Recovering,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ends(breaker: &mut Breaker, now: Duration, outcomes: &[(u64, Outcome)]) -> Vec<bool> {
        outcomes.iter().map(|(number, outcome)| breaker.end(now, *number, *outcome, 64)).collect()
    }

    #[test]
    fn opens_after_five_failures_in_a_row_and_probes_ever_more_rarely() {
        let mut breaker = Breaker::closed();
        let down = ends(&mut breaker, MS, &[(1, Outcome::Failed); 5]);
        assert_eq!(down, [false, false, false, false, true]);
        assert!(ends(&mut breaker, MS, &[(6, Outcome::Failed)])[0], "what was under way fails for the same reason");
        let (mut now, mut waits) = (MS, Vec::new());
        for number in 10..17 {
            let at = breaker.poll(now).unwrap();
            waits.push((at - now).as_secs());
            now = at;
            assert_eq!(breaker.poll(now), None);
            breaker.take(number);
            assert_eq!(breaker.poll(now), Some(now), "one probe at a time");
            assert!(breaker.end(now, number, Outcome::Failed, 64));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn comes_back_slowly_after_an_answer_and_opens_again_soon() {
        let mut breaker = Breaker::closed();
        ends(&mut breaker, MS, &[(1, Outcome::Failed); 5]);
        let now = breaker.poll(MS).unwrap();
        breaker.take(9);
        ends(&mut breaker, now, &[(9, Outcome::Answered)]);
        assert_eq!((breaker.state(), breaker.calls_max()), (BreakerState::Recovering, RECOVERY_CALLS));
        assert!(breaker.part(now) < 0.1 && breaker.part(now + 2000 * MS) >= 1.0);
        let mut again = Breaker { ..breaker };
        assert!(ends(&mut again, now, &[(1, Outcome::Failed); 3])[2]);
        assert_eq!(again.state(), BreakerState::Open);
        ends(&mut breaker, now + 2000 * MS, &[(10, Outcome::Answered); 64]);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn failures_on_one_task_for_ever_are_not_an_outage_for_ever() {
        let mut breaker = Breaker::closed();
        ends(&mut breaker, MS, &[(1, Outcome::Failed); 5]);
        assert!(breaker.end(OUTAGE_MAX, 2, Outcome::Failed, 64));
        assert!(!breaker.end(OUTAGE_MAX + MS, 2, Outcome::Failed, 64));
    }

    #[test]
    fn three_percent_of_failures_never_open_it() {
        let random = weir_env::Random::seeded(11);
        let mut breaker = Breaker::closed();
        for number in 0..1_000_000 {
            let outcome = if random.next() % 100 < 3 { Outcome::Failed } else { Outcome::Answered };
            assert!(!breaker.end(MS, number, outcome, 64), "call {number}, seed 11");
        }
    }
}

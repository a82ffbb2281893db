//! How fast a run may go: all its workers take from one allowance.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weir_env::Env;

use super::rate::Rate;

/// What one turn takes at most, in time: a rate is kept in steps that somebody who watches does not see.
const STEP: Duration = Duration::from_millis(250);

/// The allowance of a run.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the next records are due, by the clock that never goes back.
    next_at: Mutex<Duration>,
}

impl Pace {
    /// Returns how many records one turn may take.
    pub fn turn(rate: Option<Rate>) -> u64 {
        rate.map_or(u64::MAX, |rate| rate.count_in(STEP))
    }

    /// Notes that records are taken, and returns how long to wait before: what was not used in a pause is not made up for.
    pub fn take(&self, env: &Env, rate: Option<Rate>, records: u64) -> Duration {
        let Some(rate) = rate else { return Duration::ZERO };
        let now = env.elapsed();
        let mut next_at = self.next_at.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (*next_at).max(now);
        *next_at = at + rate.time_of(records);
        at.saturating_sub(now)
    }

    /// Begins anew, since the rate is another now.
    pub fn forget(&self) {
        *self.next_at.lock().unwrap_or_else(PoisonError::into_inner) = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use weir_env::ManualClock;
    use weir_types::Timestamp;

    use super::*;

    #[test]
    fn records_are_due_at_the_rate_and_a_pause_is_not_made_up_for() {
        let clock = ManualClock::at(Timestamp(0));
        let env = Env::seeded(clock.clone(), 1);
        let pace = Pace::default();
        let rate: Option<Rate> = Some("100/s".parse().unwrap());
        assert_eq!(Pace::turn(rate), 25);
        assert_eq!(pace.take(&env, rate, 25), Duration::ZERO);
        assert_eq!(pace.take(&env, rate, 25), Duration::from_millis(250));
        assert_eq!(pace.take(&env, rate, 25), Duration::from_millis(500));
        clock.advance(Duration::from_secs(60));
        assert_eq!(pace.take(&env, rate, 25), Duration::ZERO);
        assert_eq!(pace.take(&env, rate, 25), Duration::from_millis(250));
        assert_eq!(pace.take(&env, None, u64::MAX), Duration::ZERO);
    }
}

//! A pace that changes while it is used: what was learned, what headers say, and how fast a vendor comes back.

use std::time::Duration;

/// How late a call may be and still be made up for. Timers are a millisecond coarse, and a busy machine is later; a vendor without
/// any burst sees calls this much closer together at most.
const SLACK: Duration = Duration::from_millis(3);

/// Calls at an even pace, each at its own.
#[derive(Debug)]
pub struct Soft {
    /// Until when time has been spent.
    spent: Duration,
}

impl Soft {
    /// A pace that begins now.
    pub fn new(now: Duration) -> Self {
        Self { spent: now }
    }

    /// When the next call may go, at so many calls a second.
    pub fn ready(&self, pace: f64) -> Duration {
        match Duration::try_from_secs_f64(1.0 / pace) {
            Ok(interval) => self.spent.saturating_add(interval),
            Err(_) => Duration::MAX,
        }
    }

    /// Takes a call.
    pub fn take(&mut self, now: Duration, pace: f64) {
        self.spent = self.ready(pace).max(now.saturating_sub(SLACK)).min(now);
    }
}

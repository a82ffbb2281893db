//! How long so many calls take.

use std::time::Duration;

/// A number, and between what it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Between {
    /// Most likely.
    pub likely: f64,
    /// At least.
    pub min: f64,
    /// At most.
    pub max: f64,
}

impl Between {
    /// Returns a number that is known.
    pub fn exactly(number: f64) -> Self {
        Self { likely: number, min: number, max: number }
    }
}

/// What allows calls: a budget, with its quotas and windows, or a plain rate.
pub trait Allowance {
    /// Returns how many seconds so many calls take, from now; infinite where it never allows so many.
    fn seconds_for(&self, calls: f64) -> Between;
}

/// Calls per second.
impl Allowance for Between {
    fn seconds_for(&self, calls: f64) -> Between {
        Between { likely: calls / self.likely, min: calls / self.max, max: calls / self.min }
    }
}

/// No limit: only what was delivered says how long calls take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlimited;

impl Allowance for Unlimited {
    fn seconds_for(&self, _: f64) -> Between {
        Between::exactly(0.0)
    }
}

/// What a run gets of its vendor.
#[derive(Clone, Copy)]
pub struct Supply<'a> {
    /// What its share of the budget allows.
    pub allowance: &'a dyn Allowance,
    /// How long a task that failed waits before it is tried again, the first time. It doubles each time.
    pub retry_delay: Duration,
    /// Calls that are under way: they have had their turn.
    pub in_flight: u64,
}

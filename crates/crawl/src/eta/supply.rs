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

impl Allowance for weir_budget::Budget {
    fn seconds_for(&self, calls: f64) -> Between {
        let weir_budget::Estimate { likely, least, most } = self.time_for(calls.ceil().max(0.0) as u64);
        let seconds = |span: Duration| {
            if span >= weir_budget::Estimate::MAX { f64::INFINITY } else { span.as_secs_f64() }
        };
        Between { likely: seconds(likely), min: seconds(least), max: seconds(most) }
    }
}

/// What a run gets of its vendor.
#[derive(Clone, Copy)]
pub struct Supply<'a> {
    /// What the budget allows.
    pub allowance: &'a dyn Allowance,
    /// How long a task that failed waits before it is tried again, the first time. It doubles each time.
    pub retry_delay: Duration,
    /// Calls that are under way: they have had their turn.
    pub in_flight: u64,
    /// Whether others call for the same account now.
    pub company: Company,
    /// Whether the vendor answers.
    pub vendor: Vendor,
}

/// Whether a vendor answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Vendor {
    /// It does.
    #[default]
    Up,
    /// The breaker is open: nobody knows for how long, so that there is no bound to any time.
    Down,
}

/// Whether others call for the same account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Company {
    /// Nobody does: what was delivered is what there is.
    #[default]
    Alone,
    /// Others do, and may end sooner.
    Shared,
}

//! What an answer, or the lack of one, says about the vendor.

use std::time::Duration;

/// What became of a call, as far as the budget is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The vendor answered, whatever it thought of the request: 2xx, 3xx, and 4xx that are not about pace.
    Answered,
    /// It refused for its pace: 429, and 503 with Retry-After.
    Throttled,
    /// It failed: no connection, no answer in time, 5xx, an answer cut off.
    Failed,
    /// The call was given up before it was sent, or by whoever asked: nothing is learned.
    Unknown,
}

/// What a vendor's headers say about its limits, already turned into spans from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitHeaders {
    /// Calls of a window.
    pub limit: Option<u64>,
    /// The window's length, where it is said.
    pub window: Option<Duration>,
    /// Calls that are left of it.
    pub remaining: Option<u64>,
    /// When it begins anew.
    pub reset: Option<Duration>,
}

/// What a call's end says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// What became of it.
    pub outcome: Outcome,
    /// From the last byte sent to the first byte of the answer; none without an answer.
    pub latency: Option<Duration>,
    /// `Retry-After`, from now.
    pub retry_after: Option<Duration>,
    /// What its headers say.
    pub limits: Option<LimitHeaders>,
}

impl Signal {
    /// An outcome of which nothing else is known.
    pub fn of(outcome: Outcome) -> Self {
        Self { outcome, latency: None, retry_after: None, limits: None }
    }
}

/// What the budget makes of a call's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The vendor is down as far as can be known: a failure of this call is the vendor's, and uses up no attempt of its task.
    ///
    /// Never for a call that was answered. No longer after [`OUTAGE_MAX`](crate::OUTAGE_MAX) without an answer: a task on which a vendor always fails looks like
    /// a vendor that is down when no other task is left, and must come to an end.
    pub vendor_down: bool,
}

//! What a budget shows of itself: the pace in force and where it comes from, who waits, and for what.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_types::Timestamp;

/// Flows that a status lists; the ones with the most waiting calls.
pub const FLOWS_SHOWN_MAX: usize = 50;

/// Why the next call is not made now. Times are the wall clock's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Wait {
    /// It is not made to wait: nobody asks, or the next one goes now.
    Nothing,
    /// A configured rate.
    Budget {
        /// When the next call goes.
        until: Timestamp,
    },
    /// The vendor's limit: learned from refusals, from headers, or a `Retry-After`.
    VendorLimit {
        /// When the next call goes.
        until: Timestamp,
    },
    /// The vendor is down.
    Breaker {
        /// When the next single call asks; in the past: it is under way.
        probe_at: Timestamp,
    },
    /// As many calls as may be are under way.
    Concurrency,
    /// A quota is used up.
    Quota {
        /// When its next period begins.
        until: Timestamp,
    },
    /// No calls at these hours.
    Window {
        /// When they end.
        opens_at: Timestamp,
    },
}

/// What sets the pace in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaceSource {
    /// Nothing does.
    Unlimited,
    /// The rates of the settings.
    Configured,
    /// What the vendor refused, or has not refused so far.
    Learned,
    /// What the vendor's headers say.
    Headers,
    /// Going up again after an outage.
    Recovering,
}

/// Whether calls go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// They do.
    Closed,
    /// The vendor is down: only single probes.
    Open,
    /// It answered a probe, and calls become more.
    Recovering,
}

/// A quota's present period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaStatus {
    /// Such as `day Europe/Berlin`.
    pub quota: String,
    /// Calls per period.
    pub calls: u64,
    /// Calls that were made, and those that a crash may have cost.
    pub used: u64,
    /// Calls that are left.
    pub left: u64,
    /// When the next period begins.
    pub until: Timestamp,
}

/// A flow with calls that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowStatus {
    /// Its names, the crawl's or function's first.
    pub path: Vec<String>,
    /// Calls that wait.
    pub waiting: u64,
}

/// A budget as it is at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Calls a second that are allowed now; none: no limit.
    pub pace: Option<f64>,
    /// Where that comes from.
    pub pace_source: PaceSource,
    /// Calls a second that the settings allow now; none: no limit.
    pub configured: Option<f64>,
    /// Calls a second at which the vendor refused last.
    pub refused_at: Option<f64>,
    /// How many calls may come at once.
    pub burst: u64,
    /// Calls that may be under way at once, now.
    pub concurrency: u32,
    /// Calls under way.
    pub in_flight: u32,
    /// Calls that wait.
    pub waiting: u64,
    /// The flows with the most waiting calls, [`FLOWS_SHOWN_MAX`] at most.
    pub flows: Vec<FlowStatus>,
    /// Calls a second that were answered in the last seconds.
    pub delivered: f64,
    /// Typical milliseconds from request to answer, of late.
    pub latency_ms: Option<f64>,
    /// Calls answered since the start.
    pub answered: u64,
    /// Calls refused for their pace since the start.
    pub throttled: u64,
    /// Calls that failed since the start.
    pub failed: u64,
    /// Whether calls go through.
    pub breaker: BreakerState,
    /// Until when the vendor said to wait.
    pub blocked_until: Option<Timestamp>,
    /// The quotas' present periods.
    pub quotas: Vec<QuotaStatus>,
    /// Why the next call waits.
    pub wait: Wait,
}

/// How long calls would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// At what is known now. [`Estimate::MAX`] if it would take longer, or never come to an end.
    pub likely: Duration,
    /// If all goes well.
    pub least: Duration,
    /// If the vendor allows less than it seems.
    pub most: Duration,
}

impl Estimate {
    /// The longest time that is told: ten years.
    pub const MAX: Duration = Duration::from_secs(10 * 366 * 86_400);
}

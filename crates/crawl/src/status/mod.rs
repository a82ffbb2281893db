//! How far a crawl is, when it ends, and why it waits: the types of `weir crawl status --json` and `GET /v1/crawls/NAME`.
//!
//! ```text
//! Runs (a machine) --+
//! Progress (a fold) -+--> RunStatus --> JSON, lines of text, a progress display
//! Estimate, budget --+
//! ```
//!
//! Times are milliseconds since 1970; spans are seconds. A field that has nothing to say is left out or null. Whoever runs
//! crawls fills these; nothing here is computed twice.

mod render;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_types::Timestamp;

pub use crate::eta::Eta;
pub use crate::progress::Totals;
use crate::runs::{Run, State};
pub use render::{render, span_in_words};

/// Tenants that one status lists; the rest is [`RunStatus::other_tenants`].
pub const TENANTS_SHOWN_MAX: usize = 100;

/// A crawl: what is under way, what is next, and what was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrawlStatus {
    /// Its name.
    pub crawl: String,
    /// The account that it calls.
    pub api: String,
    /// Why it can't run, in words that name the next step; none: it can.
    pub trouble: Option<String>,
    /// The run that is under way, paused or being cancelled.
    pub current: Option<RunStatus>,
    /// The run that waits for its end.
    pub queued: Option<Run>,
    /// The newest run that is over.
    pub last: Option<Run>,
    /// When the schedule starts the next one.
    pub next_at: Option<Timestamp>,
    /// Starts that were left out because a run was under way, since the crawl was first seen.
    pub skipped: u64,
    /// Fields that items had since the start of the node and that the pinned schema lacks, by resource, with the number of
    /// items that had them. They are left out of the rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub new_fields: BTreeMap<String, BTreeMap<String, u64>>,
}

/// A run, with its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// The crawl's name.
    pub crawl: String,
    /// The run's number.
    pub run: u64,
    /// How it stands.
    pub state: State,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When it began; none: it waits.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Why it failed or was cancelled, in words.
    pub reason: Option<String>,
    /// All of its steps together.
    #[serde(flatten)]
    pub totals: Totals,
    /// Calls that are under way now.
    pub in_flight: u64,
    /// Calls in a second, over the last seconds.
    pub rate: f64,
    /// When it ends.
    pub eta: Option<Eta>,
    /// Its resources, parents before children.
    pub steps: Vec<StepStatus>,
    /// How many tenants are counted apart; 0 without tenants.
    pub tenant_count: u64,
    /// Those that wait the most, at most [`TENANTS_SHOWN_MAX`].
    pub tenants: Vec<TenantStatus>,
    /// All others together, those that are not counted apart among them.
    pub other_tenants: Option<Totals>,
    /// Why its tasks wait, the reason of the most first.
    #[serde(rename = "waits_for")]
    pub waiting: Vec<Waiting>,
}

/// One resource of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    /// The resource's name.
    pub resource: String,
    /// The resource whose items it hangs below.
    pub parent: Option<String>,
    /// What came of its tasks.
    #[serde(flatten)]
    pub totals: Totals,
    /// Calls that are under way now.
    pub in_flight: u64,
    /// All tasks that it will have had at the end of the run; none: not known yet.
    pub expected: Option<Expected>,
    /// Calls in a second, over the last seconds.
    pub rate: f64,
    /// Why its tasks wait.
    #[serde(rename = "waits_for")]
    pub waiting: Vec<Waiting>,
}

/// One tenant of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantStatus {
    /// Its name.
    pub tenant: String,
    /// What came of its tasks.
    #[serde(flatten)]
    pub totals: Totals,
    /// Calls that are under way now.
    pub in_flight: u64,
    /// Calls in a second, over the last seconds.
    pub rate: f64,
    /// When its last task ends.
    pub eta: Option<Eta>,
    /// Why its tasks wait.
    #[serde(rename = "waits_for")]
    pub waiting: Vec<Waiting>,
}

/// How many there will be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Most likely.
    pub likely: u64,
    /// At least.
    pub min: u64,
    /// At most; none: no bound is known.
    pub max: Option<u64>,
}

/// Tasks that wait, and for what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// For what.
    pub why: Why,
    /// How many.
    pub tasks: u64,
    /// Until when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What a task may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its turn within the configured rate.
    Budget,
    /// The vendor: it said to wait (Retry-After, its headers), or the pace that was learned from it.
    VendorLimit,
    /// The vendor to come back: the breaker is open.
    Breaker,
    /// A call that is under way to end.
    Concurrency,
    /// The next period of a quota.
    Quota,
    /// A window of time in which calls are allowed.
    Window,
    /// Its next attempt, after a failure.
    RetryDelay,
    /// Somebody to resume the run.
    Paused,
    /// A run before it to end.
    Run,
    /// A worker to take it: it has just been made.
    Worker,
}

impl Why {
    /// Returns it in words, as in `3 tasks wait for ...`.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Budget => "the budget's rate",
            Self::VendorLimit => "the vendor's limit",
            Self::Breaker => "the vendor to come back",
            Self::Concurrency => "calls under way",
            Self::Quota => "the quota",
            Self::Window => "the time window",
            Self::RetryDelay => "their next attempt",
            Self::Paused => "the run to be resumed",
            Self::Run => "the run before",
            Self::Worker => "a worker",
        }
    }
}

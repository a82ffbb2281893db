//! One run: who asked for it, how it stands, and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_types::Timestamp;

use crate::progress::Counts;

/// Largest values that were seen: by resource, then by tenant (empty without tenants).
pub type Cursors = BTreeMap<String, BTreeMap<String, Value>>;

/// Who asked for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Somebody.
    Hand,
    /// The crawl's schedule, at this time of it.
    Schedule(Timestamp),
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for the run before it.
    Waiting,
    /// It is under way.
    Running,
    /// It waits until somebody resumes it.
    Paused,
    /// It is being ended: what is under way ends, what waits is dropped.
    Cancelling,
    /// All of its tasks have ended, in rows or in dead letters.
    Complete,
    /// It was ended.
    Cancelled,
    /// It could not go on.
    Failed,
}

impl State {
    /// Tells whether nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Complete | Self::Cancelled | Self::Failed)
    }

    /// Tells whether it holds the crawl: running, paused, or being cancelled.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Cancelling)
    }

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its number; rises per crawl, and is never used again.
    pub number: u64,
    /// Who asked for it.
    pub by: By,
    /// Values for `{params.NAME}` that are not the plan's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The tenants that are meant; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// What its start was called by whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// How it stands.
    pub state: State,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// Since when it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// How long it was paused until it was last resumed, in milliseconds.
    #[serde(default)]
    pub paused_ms: u64,
    /// When it was over.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// Why it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where its incremental resources begin: the cursors of the run before it, as of its beginning. Only while it is not over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub starts: Cursors,
    /// What came of it, by resource, once it is over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, Counts>,
}

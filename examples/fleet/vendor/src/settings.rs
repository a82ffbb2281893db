//! What the vendor is like, and what may be changed while it runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Faults, Shape};

/// How `Retry-After` is written, RFC 9110 section 10.2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum RetryAfter {
    /// In seconds, rounded up.
    #[default]
    Seconds,
    /// As a date, rounded up.
    Date,
    /// Left out.
    None,
}

/// Which headers tell of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Headers {
    /// None does.
    #[default]
    None,
    /// `RateLimit` and `RateLimit-Policy`, as structured fields (draft-ietf-httpapi-ratelimit-headers-08 and later).
    Draft,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset` (in seconds from now).
    X,
}

/// How the vendor is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OutageKind {
    /// Connections are refused, and those that are open end.
    #[default]
    Refuse,
    /// Connections are accepted, and end without an answer.
    Close,
    /// Every call is answered with 503, without `Retry-After`.
    Unavailable,
}

/// What a vendor is like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens for calls.
    pub listen: SocketAddr,
    /// Where `/_vendor/` is served as well, also while the vendor is away.
    pub control: SocketAddr,
    /// What it has.
    pub shape: Shape,
    /// Calls a second; zero is no limit.
    pub rate: f64,
    /// The most calls at once.
    pub burst: f64,
    /// How `Retry-After` is written.
    pub retry_after: RetryAfter,
    /// Which headers tell of the limit.
    pub headers: Headers,
    /// How often what goes wrong.
    pub faults: Faults,
    /// How long a slow answer takes.
    pub slow: Duration,
    /// How long every answer takes.
    pub latency: Duration,
    /// From how many calls under way on latency grows with their number; none: it doesn't.
    pub capacity: Option<u32>,
    /// The first outage begins so long after the first call.
    pub outage_after: Duration,
    /// How long it lasts; zero is none.
    pub outage: Duration,
    /// How the vendor is away.
    pub outage_kind: OutageKind,
    /// The bearer token that it takes; empty: any, or none.
    pub token: String,
    /// The secret that `/oauth/token` wants, of any client.
    pub client_secret: String,
    /// How long a token of `/oauth/token` holds.
    pub token_for: Duration,
    /// Where calls are written, a line each: nanoseconds, status, path.
    pub log: Option<PathBuf>,
}

/// What is changed while it runs; what is left out stays.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Calls a second; zero is no limit.
    pub rate: Option<f64>,
    /// The most calls at once.
    pub burst: Option<f64>,
    /// Share of 500 and 502.
    pub errors: Option<f64>,
    /// Share of answers that are cut off.
    pub cut: Option<f64>,
    /// Share of slow answers.
    pub slow: Option<f64>,
    /// How long every answer takes, in milliseconds.
    pub latency_ms: Option<u64>,
}

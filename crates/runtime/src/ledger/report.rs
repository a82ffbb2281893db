//! What the ledger answers with.

use serde::{Serialize, Serializer};
use weir_ledger::{Balance, Finding, Incident, Line};
use weir_types::Timestamp;

/// How deep a look goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Books against each other, and against the Delta log.
    #[default]
    Books,
    /// Files, archives and dead letters too; what is wrong is named.
    Files,
}

/// A look at the ledger.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerReport {
    /// When.
    #[serde(serialize_with = "time")]
    pub at: Timestamp,
    /// Whether everything balances.
    pub balanced: bool,
    /// Whether files were read.
    pub verified: bool,
    /// Per hop, name and hour.
    pub lines: Vec<Line>,
    /// What does not agree.
    pub findings: Vec<Finding>,
    /// What was noticed, and nobody has looked at.
    pub incidents: Vec<Incident>,
    /// What could not be looked at, and why.
    pub unchecked: Vec<String>,
}

impl LedgerReport {
    pub(super) fn new(at: Timestamp, depth: Depth, balance: Balance, unchecked: Vec<String>) -> Self {
        let Balance { lines, findings, incidents } = balance;
        let balanced = findings.is_empty() && incidents.is_empty();
        Self { at, balanced, verified: depth == Depth::Files, lines, findings, incidents, unchecked }
    }
}

/// What a check that weir makes by itself came to.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Checked {
    /// When.
    #[serde(serialize_with = "time")]
    pub at: Timestamp,
    /// Findings.
    pub findings: u64,
    /// Incidents that nobody has looked at.
    pub incidents: u64,
    /// The first of them, in words.
    pub first: Option<String>,
}

impl Checked {
    pub(super) fn of(report: &LedgerReport) -> Self {
        let first = report.findings.first().map(|finding| finding.what.clone());
        let first = first.or_else(|| report.incidents.first().map(|incident| incident.what.clone()));
        Self {
            at: report.at,
            findings: report.findings.len() as u64,
            incidents: report.incidents.len() as u64,
            first: first.or_else(|| report.unchecked.first().cloned()),
        }
    }
}

fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

//! When a run ends: how many calls are still to come, and how long they take.
//!
//! ```text
//! this run's counts ---+
//! the runs before -----+--> calls to come, with a spread --+
//!                                                          +--> Eta: likely, at least, at most, in words
//! what the budget allows, what was delivered --------------+
//! ```
//!
//! Refuses to guess: while calls of a resource may come of which neither this run nor an earlier one has shown any, there is
//! no end, only an "at least". What nobody can know (an outage that comes, a limit that will change) is not in the range.
//! `docs/decisions/0023-eta.md` has the formulas, their sources, and what they were measured on.

mod dry_run;
mod estimate;
mod fan;
mod lists;
mod prior;
mod remaining;
mod supply;
mod tail;
#[cfg(test)]
mod tests;
mod words;

use serde::{Deserialize, Serialize};
use weir_types::Timestamp;

pub use dry_run::{Plan, PlannedStep, RestsOn, dry_run};
pub use estimate::{Estimate, Estimator};
pub use prior::Prior;
pub use supply::{Allowance, Between, Company, Supply, Unlimited, Vendor};

use crate::status::Expected;

/// When something ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Eta {
    /// Seconds from now, most likely; none: not known yet.
    pub seconds: Option<f64>,
    /// Seconds from now, at least.
    pub min_seconds: f64,
    /// Seconds from now, at most; none: no bound is known yet.
    pub max_seconds: Option<f64>,
    /// When that is, most likely.
    pub at: Option<Timestamp>,
    /// Calls that are still to come, those that will have to be made again included.
    pub calls: Expected,
    /// The same in words: `about 4 min (3 to 6)`, `` at least 10 min: `readings` was not seen yet ``.
    pub text: String,
}

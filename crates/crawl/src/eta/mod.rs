//! When a run ends: how many calls are still to come, and how long they take.

use serde::{Deserialize, Serialize};
use weir_types::Timestamp;

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
    /// Calls that are still to come.
    pub calls: Expected,
    /// The same in words: `about 4 min (3 to 6)`, `at least 10 min: readings was not seen yet`.
    pub text: String,
}

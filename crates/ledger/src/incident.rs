//! Incidents: what was noticed once and would not show in the books a second time.

use serde::{Deserialize, Serialize};
use weir_types::{Hour, Timestamp};

use crate::balance::Hop;

/// Incidents that are kept. When more come, the oldest go.
pub const INCIDENTS_MAX: usize = 1000;

/// Something that happened behind weir's back, or while no books were kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number, from 1.
    pub number: u64,
    /// When it was noticed.
    pub at: Timestamp,
    /// At which hop.
    pub hop: Hop,
    /// The stream's or table's name.
    pub name: String,
    /// What happened, in words.
    pub what: String,
    /// The first and the last hour of arrival of the records that it is about, if that is known.
    pub hours: Option<(Hour, Hour)>,
    /// What the person who looked at it wrote; none: nobody did.
    pub accepted: Option<String>,
}

//! Which hours and hops a balance is about.

use weir_types::Hour;

use super::line::Hop;
use crate::incident::Incident;

/// Which hours and hops a balance is about. By default all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The first hour.
    pub since: Option<Hour>,
    /// The first hour that is not meant any more.
    pub until: Option<Hour>,
    /// The hop.
    pub hop: Option<Hop>,
    /// The stream, function or table.
    pub name: Option<String>,
}

impl Choice {
    /// Tells whether a hop of this name is meant.
    pub fn takes(&self, hop: Hop, name: &str) -> bool {
        self.hop.is_none_or(|chosen| chosen == hop) && self.name.as_deref().is_none_or(|chosen| chosen == name)
    }

    /// Tells whether an hour is meant.
    pub fn takes_hour(&self, hour: Hour) -> bool {
        self.since.is_none_or(|since| hour >= since) && self.until.is_none_or(|until| hour < until)
    }

    pub(crate) fn takes_incident(&self, incident: &Incident) -> bool {
        let noticed = Hour::of(incident.at);
        let (first, last) = incident.hours.unwrap_or((noticed, noticed));
        // An incident is about its hours, and of the hour in which it was noticed.
        let until = self.until.is_none_or(|until| first < until || noticed < until);
        let since = self.since.is_none_or(|since| last >= since || noticed >= since);
        self.takes(incident.hop, &incident.name) && since && until
    }
}

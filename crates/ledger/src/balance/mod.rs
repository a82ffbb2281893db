//! Whether the books agree with each other and with what is there.

mod archives;
mod choice;
mod doors;
mod finding;
mod functions;
mod line;
mod live;
mod streams;
mod tables;

pub use choice::Choice;
pub use finding::{Fault, Finding, IDS_NAMED_MAX, NamedId, Wrong};
pub use line::{Hop, Line};
pub use live::{ArchivedHour, Live, LiveTable, PartitionKey};

use crate::incident::Incident;
use crate::ledger::Ledger;

/// What a look at the books gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Balance {
    /// Per hop, name and hour, in this order.
    pub lines: Vec<Line>,
    /// What does not agree.
    pub findings: Vec<Finding>,
    /// What was noticed and that nobody has looked at yet.
    pub incidents: Vec<Incident>,
}

impl Balance {
    /// Tells whether everything agrees.
    pub fn is_even(&self) -> bool {
        self.findings.is_empty() && self.incidents.is_empty()
    }
}

/// Compares the books of the hours and hops that are chosen.
///
/// `live` must have been taken before the ledger was read, or from it: what is in the books is never behind what is there
/// then, and what is there is never taken for lost.
pub fn balance(ledger: &Ledger, live: &Live, choice: &Choice) -> Balance {
    let mut balance = Balance::default();
    doors::add(ledger, choice, &mut balance);
    streams::add(ledger, live, choice, &mut balance);
    functions::add(ledger, choice, &mut balance);
    tables::add(ledger, live, choice, &mut balance);
    archives::add(ledger, live, choice, &mut balance);
    let open =
        ledger.incidents.iter().filter(|incident| incident.accepted.is_none() && choice.takes_incident(incident));
    balance.incidents = open.cloned().collect();
    balance
}

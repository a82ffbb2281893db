//! What a call's end tells the budget.

use weir_budget::{Outcome, Signal, read_headers};
use weir_types::Timestamp;

use super::Plan;
use crate::{Answer, Failure, Read, TransportError};

impl Plan {
    /// Returns what an answer says about the vendor's pace; `now` is the wall clock's.
    pub fn signal(&self, read: &Read, answer: &Answer, now: Timestamp) -> Signal {
        let headers = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let said = read_headers(headers, now);
        let outcome = match read {
            Read::Throttled(_) => Outcome::Throttled,
            Read::Data(_) | Read::Ignored { .. } => Outcome::Answered,
            Read::Retry(Failure::NotJson { .. } | Failure::Disguised { .. }) => Outcome::Failed,
            Read::Retry(_) | Read::Dead(_) if answer.status >= 500 => Outcome::Failed,
            Read::Retry(_) | Read::Dead(_) => Outcome::Answered,
        };
        Signal { outcome, latency: Some(answer.latency), retry_after: said.retry_after, limits: said.limits }
    }

    /// Returns what it says about the vendor that there is no answer.
    pub fn signal_of_error(&self, error: &TransportError) -> Signal {
        Signal::of(match error {
            TransportError::Connect { .. } | TransportError::Timeout { .. } | TransportError::CutOff { .. } => {
                Outcome::Failed
            }
            // Who gives the vendor's tokens is down, and so is the vendor: its breaker keeps tasks from dying of it.
            TransportError::Token { passing: true, .. } => Outcome::Failed,
            // It answered, and at length.
            TransportError::TooLarge { .. } => Outcome::Answered,
            // The call was not made.
            TransportError::Token { .. } | TransportError::NotRecorded { .. } => Outcome::Unknown,
        })
    }
}

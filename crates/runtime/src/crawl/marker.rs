//! Markers: where a run begins and ends among what a crawl has made.
//!
//! ```text
//! started 7 | item item item ... item | ended 7 complete | started 8 | ...
//! ```
//!
//! Invariants: one run of a crawl is under way at a time, so that what stands between the two markers of a run is that run's;
//! the end is appended after everything that the run has made, and is durable before the run counts as ended.

use serde::{Deserialize, Serialize};

/// The key of markers among a crawl's records. Items have their resource's name, which has no such character.
pub(crate) const RUN_KEY: &[u8] = b"\0run";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// Nothing is left to be called.
    Complete,
    /// Somebody, another run or its timeout has ended it.
    Cancelled,
    /// It could not be worked off.
    Failed,
}

/// What a marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// What follows is of the run.
    Started,
    /// Nothing of the run follows.
    Ended(End),
}

/// A marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The run's number; numbers of a crawl rise.
    pub run: u64,
    pub mark: Mark,
}

/// As it is stored: `{"run": 7, "started": true}` or `{"run": 7, "ended": "complete"}`.
#[derive(Serialize, Deserialize)]
struct Stored {
    run: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    started: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<End>,
}

impl Marker {
    /// Writes it, as the body of a record with [`RUN_KEY`].
    pub fn encode(&self) -> Vec<u8> {
        let (started, ended) = match self.mark {
            Mark::Started => (true, None),
            Mark::Ended(end) => (false, Some(end)),
        };
        serde_json::to_vec(&Stored { run: self.run, started, ended }).expect("numbers and words serialise")
    }

    /// Reads what [`Self::encode`] wrote; the error says in words what is wrong.
    pub fn decode(body: &[u8]) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mark = match (stored.started, stored.ended) {
            (true, None) => Mark::Started,
            (false, Some(end)) => Mark::Ended(end),
            _ => return Err(format!("the marker of run {} says neither that it started nor how it ended", stored.run)),
        };
        Ok(Self { run: stored.run, mark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_read_back_and_what_is_none_is_refused() {
        let ends = [End::Complete, End::Cancelled, End::Failed].map(Mark::Ended);
        for mark in ends.into_iter().chain([Mark::Started]) {
            let marker = Marker { run: 7, mark };
            assert_eq!(Marker::decode(&marker.encode()), Ok(marker));
        }
        assert_eq!(Marker { run: 7, mark: Mark::Started }.encode(), br#"{"run":7,"started":true}"#);
        let complete = Marker { run: 7, mark: Mark::Ended(End::Complete) };
        assert_eq!(complete.encode(), br#"{"run":7,"ended":"complete"}"#);
        assert!(Marker::decode(br#"{"run":7}"#).is_err());
        assert!(Marker::decode(b"7").is_err());
    }
}

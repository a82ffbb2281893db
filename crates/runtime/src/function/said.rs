//! What an outbox says to the ledger: what was done since the ledger last took it over.
//!
//! ```text
//! batch done --> open (number n), in the outbox's own append --picked--> frozen (n), open (n + 1) --taken--> gone
//! ```
//!
//! Invariant: what is picked under a number is what the last durable append has under it, and never changes afterwards. So the
//! ledger takes each number once, and a start knows by the ledger's number what it has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_ledger::{FunctionCounts, Reached};
use weir_types::Hour;

/// What was done under one number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub number: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hours: BTreeMap<Hour, FunctionCounts>,
    /// Records that were gone before they could be read: first and end of each range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<(u64, u64)>,
    /// How far the outbox has come with it, once it is picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
}

impl Said {
    fn is_empty(&self) -> bool {
        self.hours.is_empty() && self.lost.is_empty()
    }
}

/// What the ledger has not taken yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saying {
    open: Said,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frozen: Option<Said>,
}

impl Saying {
    /// Forgets what the ledger has.
    pub fn meet(&mut self, taken: u64) {
        self.frozen.take_if(|frozen| frozen.number <= taken);
        if self.open.number <= taken {
            self.open = Said { number: taken + 1, ..Said::default() };
        }
    }

    /// Notes what was done.
    pub fn add(&mut self, counts: &[(Hour, FunctionCounts)]) {
        for (hour, counts) in counts {
            self.open.hours.entry(*hour).or_default().merge(counts);
        }
    }

    /// Notes records that were gone.
    pub fn lose(&mut self, from: u64, to: u64) {
        if from < to {
            self.open.lost.push((from, to));
        }
    }

    /// Returns what the ledger is to take next. To be called only while what is here, and how far the outbox has come, is
    /// durable.
    pub fn pick(&mut self, reached: &Reached) -> Option<Said> {
        if self.frozen.is_none() && !self.open.is_empty() {
            let next = Said { number: self.open.number + 1, ..Said::default() };
            let said = std::mem::replace(&mut self.open, next);
            self.frozen = Some(Said { reached: Some(reached.clone()), ..said });
        }
        self.frozen.clone()
    }

    /// The ledger has taken a number.
    pub fn taken(&mut self, number: u64) {
        self.frozen.take_if(|frozen| frozen.number <= number);
    }
}

/// An outbox as the ledger sees it: as of its last durable append.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    pub saying: Saying,
    pub reached: Reached,
    /// Where the source was begun.
    pub since: u64,
    /// What the places are of; none of outboxes without a source.
    pub source: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(hour: i64) -> Vec<(Hour, FunctionCounts)> {
        vec![(Hour(hour), FunctionCounts { letters: 1, ..FunctionCounts::default() })]
    }

    #[test]
    fn each_number_is_taken_once_over_any_crash() {
        let mut saying = Saying::default();
        saying.meet(0);
        saying.add(&one(1));
        let durable = saying.clone();
        let first = saying.pick(&Reached::default()).unwrap();
        assert_eq!((first.number, first.hours.len()), (1, 1));
        // The same again, until it is taken; what comes meanwhile has the next number.
        saying.add(&one(2));
        assert_eq!(saying.pick(&Reached::default()), Some(first.clone()));
        // A crash before the next append, after the ledger took it: nothing is said twice.
        let mut again = durable.clone();
        again.meet(1);
        assert_eq!(again.pick(&Reached::default()), None);
        // A crash before the ledger took it: said once more, under the same number.
        let mut again = durable;
        again.meet(0);
        assert_eq!(again.pick(&Reached::default()), Some(first));
        saying.taken(1);
        let second = saying.pick(&Reached::default()).unwrap();
        assert_eq!((second.number, second.hours.keys().next()), (2, Some(&Hour(2))));
        saying.meet(2);
        assert_eq!(saying.pick(&Reached::default()), None);
    }
}

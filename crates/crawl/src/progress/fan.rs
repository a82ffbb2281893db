//! How many tasks the calls of a resource make, in batches of consecutive calls.
//!
//! Vendors list similar things next to each other, so that neighbours are alike and a plain standard error is too small.
//! Means of batches of consecutive calls show that: their spread holds what neighbours share (the method of batch means, with
//! batches that double when there are too many, as in Fishman and Yarberry, "An implementation of the batch means method",
//! INFORMS Journal on Computing 9(3), 1997).

use serde::{Deserialize, Serialize};

/// Batches that are kept; at so many, neighbours are joined.
const BATCHES_MAX: usize = 32;

/// Calls of the resource above, and the tasks that they made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
struct Batch {
    calls: u64,
    made: u64,
}

impl From<(u64, u64)> for Batch {
    fn from((calls, made): (u64, u64)) -> Self {
        Self { calls, made }
    }
}

impl From<Batch> for (u64, u64) {
    fn from(batch: Batch) -> Self {
        (batch.calls, batch.made)
    }
}

/// Batches of consecutive calls, in constant memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fan {
    /// Calls that a batch has at least.
    #[serde(rename = "n")]
    size: u64,
    #[serde(rename = "b")]
    full: Vec<Batch>,
    #[serde(rename = "o")]
    open: Batch,
}

impl Fan {
    /// Adds calls that follow those before, and what they made.
    pub fn add(&mut self, calls: u64, made: u64) {
        if calls == 0 && made == 0 {
            return;
        }
        self.open.calls += calls;
        self.open.made += made;
        if self.open.calls == 0 || self.open.calls < self.size {
            return;
        }
        self.full.push(std::mem::take(&mut self.open));
        if self.full.len() == BATCHES_MAX {
            self.full = self
                .full
                .chunks(2)
                .map(|pair| Batch {
                    calls: pair.iter().map(|batch| batch.calls).sum(),
                    made: pair.iter().map(|batch| batch.made).sum(),
                })
                .collect();
            self.size = self.full.iter().map(|batch| batch.calls).min().unwrap_or(1).max(self.size);
        }
    }

    /// Returns calls and tasks made of each batch, the oldest first; the open one is left out.
    pub fn batches(&self) -> impl Iterator<Item = (u64, u64)> + Clone {
        self.full.iter().map(|batch| (batch.calls, batch.made))
    }
}

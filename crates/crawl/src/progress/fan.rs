//! How many tasks calls make, in batches of consecutive calls.
//!
//! Vendors list similar things next to each other, so that neighbours are alike and a plain standard error is too small.
//! Means of batches of consecutive calls show that: their spread holds what neighbours share (the method of batch means, with
//! batches that double when there are too many, as in Fishman and Yarberry, "An implementation of the batch means method",
//! INFORMS Journal on Computing 9(3), 1997).

use serde::{Deserialize, Serialize};

/// Batches that are kept; at so many, neighbours are joined.
const BATCHES_MAX: usize = 32;
/// Batches from which their means say something.
const BATCHES_MIN: usize = 4;
/// The largest correlation of neighbouring batches that is believed.
const CORRELATION_MAX: f64 = 0.8;

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

    /// Returns how many batches are full.
    pub fn batches(&self) -> usize {
        self.full.len()
    }

    /// Returns by how much the variance of the mean per call is larger than if calls had nothing to do with each other, where one
    /// call alone varies by `single`: Kish's design effect ("Survey Sampling", 1965), at least 1.
    ///
    /// The mean's variance is that of a ratio of sums, from its batches. With less than four it says nothing, and is 1.
    pub fn design_effect(&self, single: f64) -> f64 {
        let count = self.full.len() as f64;
        let calls: f64 = self.full.iter().map(|batch| batch.calls as f64).sum();
        let made: f64 = self.full.iter().map(|batch| batch.made as f64).sum();
        if self.full.len() < BATCHES_MIN || calls == 0.0 || single <= 0.0 {
            return 1.0;
        }
        let mean = made / calls;
        let off: Vec<f64> = self.full.iter().map(|batch| batch.made as f64 - mean * batch.calls as f64).collect();
        let squares: f64 = off.iter().map(|off| off * off).sum();
        let variance = squares / (calls * calls) * count / (count - 1.0);
        // Neighbouring batches that are alike still: their correlation, with its bias in short series taken out (Kendall, "Note
        // on bias in the estimation of autocorrelation", Biometrika 41, 1954), and what it does to the variance of a mean.
        let products: f64 = off.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let shown = if squares > 0.0 { products / squares } else { 0.0 };
        let correlation = (shown + (1.0 + 4.0 * shown) / count).clamp(0.0, CORRELATION_MAX);
        let lasting = (1.0 + correlation) / (1.0 - correlation);
        (variance * lasting * calls / single).max(1.0)
    }
}

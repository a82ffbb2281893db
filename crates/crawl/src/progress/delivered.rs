//! How fast calls have come while the vendor answered: what an estimate of the time is checked against.
//!
//! A slot holds at least [`SLOT_CALLS`] calls and [`SLOT_MS`]; the last [`SLOTS`] are kept. Slots in which most calls failed
//! say nothing about the pace and are left out, and the median of the others does not mind a pause that lies in one of them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use weir_types::Timestamp;

use super::counts::Counts;

const SLOT_MS: u64 = 1_000;
const SLOT_CALLS: u64 = 20;
const SLOTS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    #[serde(rename = "m")]
    ms: u64,
    #[serde(rename = "c")]
    calls: u64,
}

/// Rates of the last slots, in constant memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Delivered {
    #[serde(rename = "f")]
    from: Option<Timestamp>,
    #[serde(rename = "c")]
    calls: u64,
    #[serde(rename = "e")]
    failed: u64,
    #[serde(rename = "s")]
    slots: VecDeque<Slot>,
}

/// A rate in calls per second, and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The median of the slots.
    pub per_second: f64,
    /// The standard error of that, as a part of it.
    pub error: f64,
}

impl Delivered {
    /// Adds calls that ended at a time.
    pub fn add(&mut self, at: Timestamp, counts: &Counts) {
        let Some(from) = self.from else {
            // The calls of the first moment took an unknown time.
            self.from = Some(at);
            return;
        };
        self.calls += counts.calls();
        self.failed += counts.failed + counts.throttled;
        let ms = u64::try_from(at.since(from).as_millis()).unwrap_or(u64::MAX);
        if ms < SLOT_MS || self.calls < SLOT_CALLS {
            return;
        }
        if self.failed * 2 < self.calls {
            self.slots.push_back(Slot { ms, calls: self.calls });
        }
        if self.slots.len() > SLOTS {
            self.slots.pop_front();
        }
        (self.from, self.calls, self.failed) = (Some(at), 0, 0);
    }

    /// Returns how fast calls came; none: too few did.
    pub fn pace(&self) -> Option<Pace> {
        let mut rates: Vec<f64> = self.slots.iter().map(|slot| slot.calls as f64 * 1_000.0 / slot.ms as f64).collect();
        if rates.len() < 3 {
            return None;
        }
        let per_second = median(&mut rates);
        let mut off: Vec<f64> = rates.iter().map(|rate| (rate - per_second).abs()).collect();
        // The median absolute deviation, times 1.4826, is a standard deviation where errors are normal; a median's own
        // error is 1.2533 times the mean's.
        let deviation = median(&mut off) * 1.4826;
        let error = 1.2533 * deviation / (rates.len() as f64).sqrt() / per_second;
        Some(Pace { per_second, error })
    }
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() % 2 {
        1 => numbers[middle],
        _ => f64::midpoint(numbers[middle - 1], numbers[middle]),
    }
}

//! How many calls came in the last seconds.

use serde::{Deserialize, Serialize};
use weir_types::Timestamp;

/// Over which span a rate is looked at, in milliseconds: what is older counts ever less (an exponential window).
const WINDOW_MS: f64 = 10_000.0;

/// A rate over the last seconds, in constant memory.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Recent {
    /// When it was first added to.
    #[serde(rename = "f")]
    first: Option<Timestamp>,
    #[serde(rename = "l")]
    last: Timestamp,
    /// What was added, faded as of `last`.
    #[serde(rename = "s", with = "bits")]
    sum: f64,
}

impl Recent {
    /// Adds so many at a time. Times that go back are taken as the last one.
    pub fn add(&mut self, at: Timestamp, count: u64) {
        let at = self.first.map_or(at, |_| at.max(self.last));
        self.first.get_or_insert(at);
        self.sum = self.faded(at) + count as f64;
        self.last = at;
    }

    fn faded(&self, now: Timestamp) -> f64 {
        self.sum * (-(now.since(self.last).as_millis() as f64) / WINDOW_MS).exp()
    }

    /// Returns how many came per second, lately.
    pub fn per_second(&self, now: Timestamp) -> f64 {
        let Some(first) = self.first else { return 0.0 };
        // A window that has not been looked at whole is as long as it was.
        let seen = (now.since(first).as_millis() as f64).max(1_000.0);
        let window = WINDOW_MS * (1.0 - (-seen / WINDOW_MS).exp());
        self.faded(now) / window * 1_000.0
    }
}

/// Numbers as their bits: JSON's decimal form would not come back the same everywhere.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        number.to_bits().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

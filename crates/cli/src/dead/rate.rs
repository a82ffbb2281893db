//! A rate as users write it: `50/s`, `600/m`, `10/h`.

use std::time::Duration;

/// How many in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

/// The time between two calls that is worth a call.
const CALL_EVERY: Duration = Duration::from_millis(500);

impl Rate {
    /// Reads a rate.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is not a rate: write a number and a time, such as 50/s, 600/m or 10/h");
        let (count, per) = text.split_once('/').ok_or_else(refused)?;
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(refused)?;
        let seconds = match per.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(refused()),
        };
        Ok(Self { count, per: Duration::from_secs(seconds) })
    }

    /// Returns how many one call may take, at most `most`.
    pub fn batch(self, most: usize) -> usize {
        let count = CALL_EVERY.as_secs_f64() * f64::from(self.count) / self.per.as_secs_f64();
        (count as usize).clamp(1, most)
    }

    /// Returns the time that so many take.
    pub fn time_of(self, count: u64) -> Duration {
        self.per.mul_f64(count as f64 / f64::from(self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_cut_into_calls() {
        let rate = Rate::parse("50/s").unwrap();
        assert_eq!((rate.batch(500), rate.time_of(25)), (25, Duration::from_millis(500)));
        assert_eq!(Rate::parse("100000/s").unwrap().batch(500), 500);
        let slow = Rate::parse("10/h").unwrap();
        assert_eq!((slow.batch(500), slow.time_of(1)), (1, Duration::from_secs(360)));
        for text in ["", "50", "50/d", "0/s", "-1/s", "1.5/s", "/s"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }
}

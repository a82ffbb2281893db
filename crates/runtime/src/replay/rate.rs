//! A rate as users write it: `50/s`, `600/m`, `10/h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    count: u32,
    per: Per,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
}

impl Per {
    fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a rate: write a number and a time, such as 50/s, 600/m or 10/h")]
pub struct RateError {
    text: String,
}

impl Rate {
    /// Returns the time that so many take.
    pub fn time_of(self, count: u64) -> Duration {
        Duration::from_secs_f64(count as f64 * self.per.seconds() as f64 / f64::from(self.count))
    }

    /// Returns how many come in a time, at least one.
    pub fn count_in(self, time: Duration) -> u64 {
        ((time.as_secs_f64() * self.per_second()) as u64).max(1)
    }

    /// Returns how many that are in a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / self.per.seconds() as f64
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Per::Second => 's',
            Per::Minute => 'm',
            Per::Hour => 'h',
        };
        write!(f, "{}/{per}", self.count)
    }
}

impl FromStr for Rate {
    type Err = RateError;
    fn from_str(text: &str) -> Result<Self, RateError> {
        let refused = || RateError { text: text.to_owned() };
        let (count, per) = text.split_once('/').ok_or_else(refused)?;
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(refused)?;
        let per = match per.trim() {
            "s" => Per::Second,
            "m" => Per::Minute,
            "h" => Per::Hour,
            _ => return Err(refused()),
        };
        Ok(Self { count, per })
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;
    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_back_and_tell_times() {
        for text in ["50/s", "600/m", "10/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        let rate: Rate = "600/m".parse().unwrap();
        assert_eq!((rate.time_of(5), rate.count_in(Duration::from_secs(3))), (Duration::from_millis(500), 30));
        assert_eq!("1/h".parse::<Rate>().unwrap().count_in(Duration::from_secs(1)), 1);
        for text in ["", "50", "50/d", "0/s", "-1/s", "1.5/s", "/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}

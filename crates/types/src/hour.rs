//! An hour of arrival, in UTC: what accounts and archives are kept by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::civil::{civil_from_days, days_from_civil};

const HOUR_MS: i64 = 3_600_000;

/// Whole hours since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hour(pub i64);

/// A text that is not an hour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an hour: write it like `2026-11-26T10`")]
pub struct HourError {
    text: String,
}

impl Hour {
    /// Returns the hour that a time is in.
    ///
    /// ```
    /// use weir_types::{Hour, Timestamp};
    ///
    /// assert_eq!(Hour::of(Timestamp(-1)), Hour(-1));
    /// assert_eq!(Hour::of(Timestamp(3_600_000)).to_string(), "1970-01-01T01");
    /// ```
    pub fn of(time: Timestamp) -> Self {
        Self(time.0.div_euclid(HOUR_MS))
    }

    /// Returns when it begins.
    pub fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(HOUR_MS))
    }

    /// Returns when it is over: the start of the next.
    pub fn end(self) -> Timestamp {
        Timestamp(self.0.saturating_add(1).saturating_mul(HOUR_MS))
    }
}

/// Prints `2026-11-26T10`; outside of the years 0 to 9999, the bare number of hours.
impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(24));
        if !(0..=9999).contains(&year) {
            return write!(f, "{}h", self.0);
        }
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}", self.0.rem_euclid(24))
    }
}

impl FromStr for Hour {
    type Err = HourError;
    fn from_str(text: &str) -> Result<Self, HourError> {
        let error = || HourError { text: text.to_owned() };
        let (date, hour) = text.split_once('T').ok_or_else(error)?;
        let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>());
        let mut next = || parts.next().and_then(Result::ok);
        let (Some(year), Some(month), Some(day), Ok(hour)) = (next(), next(), next(), hour.parse::<i64>()) else {
            return Err(error());
        };
        if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(error());
        }
        let days = days_from_civil(year, month, day);
        let parsed = Self(days * 24 + hour);
        // What does not print as it was written has a month or a day that there is not.
        if parsed.to_string() == text { Ok(parsed) } else { Err(error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn reads_back_what_it_writes(hour in -17_000_000i64..70_000_000) {
            proptest::prop_assert_eq!(Hour(hour).to_string().parse(), Ok(Hour(hour)));
        }
    }

    #[test]
    fn refuses_what_is_no_hour() {
        for text in
            ["", "2026-11-26", "2026-11-26T24", "2026-13-01T00", "2026-02-30T00", "2026-1-1T1", "9999999-01-01T00"]
        {
            assert!(text.parse::<Hour>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_hour_begins_where_the_one_before_ends() {
        assert_eq!(Hour(5).start(), Hour(4).end());
        assert_eq!(Hour::of(Hour(5).end().before(std::time::Duration::from_millis(1))), Hour(5));
    }
}

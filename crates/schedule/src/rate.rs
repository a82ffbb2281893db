//! `rate(value unit)`: every so many minutes, hours or days, counted from an anchor.
//!
//! An hour is 60 minutes and a day 24 hours, whatever clocks do. The anchor is the first time; before it nothing fires.

use weir_types::Timestamp;

use crate::error::{Field, ParseError, Piece};

/// The longest period, in minutes: 100 years.
const MINUTES_MAX: u64 = 100 * 366 * 24 * 60;

const MINUTE_MS: i64 = 60_000;

/// The units, one and many, in minutes.
const UNITS: [(&str, &str, u64); 3] = [("minute", "minutes", 1), ("hour", "hours", 60), ("day", "days", 24 * 60)];

/// A period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    period_ms: i64,
}

impl Rate {
    /// Reads what stands within the parentheses.
    pub(crate) fn parse(inner: Piece<'_>) -> Result<Self, ParseError> {
        let words = inner.words();
        let [value, unit] = words[..] else {
            return Err(ParseError::FieldCount {
                text: inner.text.to_owned(),
                found: words.len(),
                form: "rate(value unit)",
                wanted: 2,
                hint: short_form(inner.part),
            });
        };
        let number: u64 = value.part.parse().map_err(|_| value.refuse(Field::Value, None))?;
        let known = UNITS.iter().find(|(one, many, _)| [*one, *many].contains(&unit.part));
        let Some((one, many, minutes)) = known else {
            let hint = match unit.part {
                "second" | "seconds" => Some("the finest is a minute".to_owned()),
                other => weir_types::nearest(other, UNITS.iter().flat_map(|(one, many, _)| [*one, *many]))
                    .map(|unit| format!("did you mean `{unit}`?")),
            };
            return Err(unit.refuse(Field::Unit, hint));
        };
        // EventBridge refuses `1 minutes` and `5 minute`, so a text that passes here passes there.
        let right = if number == 1 { one } else { many };
        if unit.part != *right {
            return Err(unit.refuse(Field::Unit, Some(format!("write rate({number} {right})"))));
        }
        let minutes = number.checked_mul(*minutes).filter(|minutes| (1..=MINUTES_MAX).contains(minutes));
        let minutes = minutes.and_then(|minutes| i64::try_from(minutes).ok());
        Ok(Self { period_ms: minutes.ok_or_else(|| value.refuse(Field::Value, None))? * MINUTE_MS })
    }

    pub(crate) fn next_after(self, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
        if after < anchor {
            return Some(anchor);
        }
        let periods = after.0.checked_sub(anchor.0)? / self.period_ms;
        let next = periods.checked_add(1)?.checked_mul(self.period_ms)?.checked_add(anchor.0)?;
        Some(Timestamp(next))
    }

    /// Returns the last time up to `now`.
    pub(crate) fn latest(self, anchor: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let since = now.0.checked_sub(anchor.0).filter(|since| *since >= 0)?;
        Some(Timestamp(now.0 - since % self.period_ms))
    }

    /// Counts the times after `last`, up to `now`.
    pub(crate) fn count(self, anchor: Timestamp, last: Timestamp, now: Timestamp) -> u64 {
        let (Some(first), Some(latest)) = (self.next_after(anchor, last), self.latest(anchor, now)) else { return 0 };
        match latest.0.checked_sub(first.0) {
            Some(span) if span >= 0 => span.unsigned_abs() / self.period_ms.unsigned_abs() + 1,
            _ => 0,
        }
    }
}

/// `5m`, and what it is in the long form.
pub(crate) fn short_form(text: &str) -> Option<String> {
    let span = weir_types::span::parse(text.trim()).ok()?;
    let minutes =
        Some(span.as_secs() / 60).filter(|minutes| *minutes > 0 && span.as_millis() == u128::from(minutes * 60_000))?;
    let (one, many, unit) = UNITS.iter().rev().find(|(_, _, unit)| minutes.is_multiple_of(*unit))?;
    let number = minutes / unit;
    Some(format!("did you mean rate({number} {})?", if number == 1 { one } else { many }))
}

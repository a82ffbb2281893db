//! `cron(minutes hours day-of-month month day-of-week year)`: the times that fit all fields.
//!
//! Each field is a set of bits, and a month's days are computed once per month, so that finding a time touches only
//! what fits: years, then months, then days, hours and minutes, each from the lowest bit on.
//!
//! Local times of a zone are mapped to their first instant, and left out if they have none. First instants ascend with
//! local times, as long as a zone does not put its clocks forward and back over one time, which none does.

mod days;
mod fields;

use std::ops::ControlFlow;

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use chrono_tz::Tz;
use weir_types::Timestamp;

use crate::error::{Field, ParseError, Piece};
use crate::{unix, zone};
use days::Days;

/// The years of the form.
pub(crate) const YEARS: (u32, u32) = (1970, 2199);

/// How far back clocks are ever put: over the date line, and an hour more.
const BACK_MAX: TimeDelta = TimeDelta::hours(25);

/// The fields, as sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
    years: Vec<u16>,
}

impl Cron {
    /// Reads what stands within the parentheses.
    pub(crate) fn parse(inner: Piece<'_>) -> Result<Self, ParseError> {
        let words = inner.words();
        let [minutes, hours, month_day, month, week_day, year] = words[..] else {
            let parts: Vec<&str> = words.iter().map(|word| word.part).collect();
            return Err(ParseError::FieldCount {
                text: inner.text.to_owned(),
                found: words.len(),
                form: "cron(minutes hours day-of-month month day-of-week year)",
                wanted: 6,
                hint: unix::hint(&parts),
            });
        };
        let years = fields::set(year, Field::Year, YEARS)?;
        Ok(Self {
            minutes: fields::bits(minutes, Field::Minutes, (0, 59))?,
            hours: fields::bits(hours, Field::Hours, (0, 23))?,
            months: fields::bits(month, Field::Month, (1, 12))?,
            days: Days::parse(month_day, week_day)?,
            years: years.into_iter().filter_map(|year| u16::try_from(year).ok()).collect(),
        })
    }

    /// Returns the first time later than `after`.
    pub(crate) fn next_after(&self, zone: Tz, after: Timestamp) -> Option<Timestamp> {
        let (first, last) = bounds()?;
        let from = match zone::local(zone, after) {
            Some(local) => local.max(first),
            None if after.0 < 0 => first,
            None => return None,
        };
        self.find(from, last, Way::Up, |local| zone::first(zone, local).filter(|time| *time > after))
    }

    /// Returns the last time that is not later than `now`.
    pub(crate) fn latest(&self, zone: Tz, now: Timestamp) -> Option<Timestamp> {
        let (first, last) = bounds()?;
        let from = match zone::local(zone, now) {
            // While an hour repeats, times that the clocks have yet to show again are over.
            Some(local) => local.checked_add_signed(BACK_MAX)?.min(last),
            None if now.0 < 0 => return None,
            None => last,
        };
        self.find(first, from, Way::Down, |local| zone::first(zone, local).filter(|time| *time <= now))
    }

    /// Returns the first thing that `accept` makes of a fitting local time from `low` to `high`.
    fn find<T>(
        &self,
        low: NaiveDateTime,
        high: NaiveDateTime,
        way: Way,
        mut accept: impl FnMut(NaiveDateTime) -> Option<T>,
    ) -> Option<T> {
        let low = low.with_second(0)?.with_nanosecond(0)?;
        let visit = |date: NaiveDate| {
            let first_hour = if date == low.date() { low.hour() } else { 0 };
            for hour in way.over(self.hours & (u64::MAX << first_hour)) {
                let first_minute = if (date, hour) == (low.date(), low.hour()) { low.minute() } else { 0 };
                for minute in way.over(self.minutes & (u64::MAX << first_minute)) {
                    let local = date.and_hms_opt(hour, minute, 0).filter(|local| *local <= high);
                    if let Some(found) = local.and_then(&mut accept) {
                        return ControlFlow::Break(found);
                    }
                }
            }
            ControlFlow::Continue(())
        };
        self.dates(low.date(), high.date(), way, visit)
    }

    /// Visits the fitting dates from `low` to `high`.
    fn dates<T>(
        &self,
        low: NaiveDate,
        high: NaiveDate,
        way: Way,
        mut visit: impl FnMut(NaiveDate) -> ControlFlow<T>,
    ) -> Option<T> {
        for year in way.sorted(&self.years).filter(|year| (low.year()..=high.year()).contains(year)) {
            for month in way.over(self.months) {
                if (year, month) < (low.year(), low.month()) || (year, month) > (high.year(), high.month()) {
                    continue;
                }
                for day in way.over(self.days.of(year, month)) {
                    let Some(date) = NaiveDate::from_ymd_opt(year, month, day) else { continue };
                    if date < low || date > high {
                        continue;
                    }
                    if let ControlFlow::Break(found) = visit(date) {
                        return Some(found);
                    }
                }
            }
        }
        None
    }
}

/// The first and the last minute of the form's years.
fn bounds() -> Option<(NaiveDateTime, NaiveDateTime)> {
    let year = |year: u32| i32::try_from(year).ok();
    let first = NaiveDate::from_ymd_opt(year(YEARS.0)?, 1, 1)?.and_hms_opt(0, 0, 0)?;
    let last = NaiveDate::from_ymd_opt(year(YEARS.1)?, 12, 31)?.and_hms_opt(23, 59, 0)?;
    Some((first, last))
}

/// Towards later or earlier times.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Way {
    /// The numbers of the bits that are set.
    fn over(self, bits: u64) -> impl Iterator<Item = u32> {
        let mut left = bits;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let bit = match self {
                Self::Up => left.trailing_zeros(),
                Self::Down => 63 - left.leading_zeros(),
            };
            left &= !(1 << bit);
            Some(bit)
        })
    }

    /// Ascending years, this way.
    fn sorted(self, years: &[u16]) -> impl Iterator<Item = i32> {
        let count = years.len();
        (0..count).map(move |at| i32::from(years[if self == Self::Up { at } else { count - 1 - at }]))
    }
}

#[cfg(test)]
mod tests;

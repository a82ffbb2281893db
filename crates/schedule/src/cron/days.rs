//! The two day fields, of which one is `?`: which days of a month fit.
//!
//! | day of month | |
//! | --- | --- |
//! | `L` | the last day |
//! | `L-3` | three days before it |
//! | `15W` | the weekday (Monday to Friday) nearest to the 15th, within the month; none in a month without that day |
//! | `LW` | the last weekday |
//!
//! | day of week | |
//! | --- | --- |
//! | `L` | the last day of the week: Saturday |
//! | `6L` | the last Friday |
//! | `3#2` | the second Tuesday; the only item then |
//!
//! `LW` and `L-3` are Quartz's, from which the form comes.

use chrono::{Datelike, NaiveDate};

use super::fields;
use crate::error::{Field, ParseError, Piece};

const MONTH: (u32, u32) = (1, 31);
const WEEK: (u32, u32) = (1, 7);
const SUNDAY: u32 = 1;
const SATURDAY: u32 = 7;

/// The days that fit. Sets are bits by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Days {
    OfMonth {
        days: u64,
        /// By days before the last.
        last: u64,
        /// By the day to which the weekday is nearest.
        nearest: u64,
        last_weekday: bool,
    },
    OfWeek {
        days: u64,
        /// By day of the week.
        last: u64,
        /// Day of the week, and which of the month.
        nth: Option<(u32, u32)>,
    },
}

impl Days {
    pub(super) fn parse(month_day: Piece<'_>, week_day: Piece<'_>) -> Result<Self, ParseError> {
        match (month_day.part, week_day.part) {
            ("?", "?") => Err(week_day.refuse(Field::DayOfWeek, Some("only one day field may be `?`".to_owned()))),
            (_, "?") => of_month(month_day),
            ("?", _) => of_week(week_day),
            ("*", _) => Err(month_day.refuse(Field::DayOfMonth, Some("write `?` here".to_owned()))),
            _ => Err(week_day.refuse(Field::DayOfWeek, Some("one of the two day fields must be `?`".to_owned()))),
        }
    }

    /// Returns the days of the month that fit, as bits.
    pub(super) fn of(&self, year: i32, month: u32) -> u64 {
        let Some(calendar) = Month::new(year, month) else { return 0 };
        let mut out = 0;
        match self {
            Self::OfMonth { days, last, nearest, last_weekday } => {
                out |= days & calendar.all();
                for before in ones(*last).filter(|before| *before < calendar.length) {
                    out |= 1 << (calendar.length - before);
                }
                for day in ones(*nearest).filter(|day| *day <= calendar.length) {
                    out |= 1 << calendar.nearest_weekday(day);
                }
                if *last_weekday {
                    out |= 1 << calendar.nearest_weekday_before(calendar.length);
                }
            }
            Self::OfWeek { days, last, nth } => {
                for day in 1..=calendar.length {
                    let week_day = calendar.week_day(day);
                    let in_last_week = day + 7 > calendar.length;
                    let is_nth = *nth == Some((week_day, day.div_ceil(7)));
                    if days >> week_day & 1 == 1 || (in_last_week && last >> week_day & 1 == 1) || is_nth {
                        out |= 1 << day;
                    }
                }
            }
        }
        out
    }
}

fn ones(bits: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| bits >> bit & 1 == 1)
}

/// A month of the calendar.
struct Month {
    length: u32,
    /// The day of the week of the 1st, 1 for Sunday.
    first: u32,
}

impl Month {
    fn new(year: i32, month: u32) -> Option<Self> {
        let first = NaiveDate::from_ymd_opt(year, month, 1)?;
        Some(Self {
            length: u32::from(first.num_days_in_month()),
            first: first.weekday().num_days_from_sunday() + SUNDAY,
        })
    }

    fn all(&self) -> u64 {
        (1..=self.length).fold(0, |bits, day| bits | 1 << day)
    }

    fn week_day(&self, day: u32) -> u32 {
        (self.first - SUNDAY + day - 1) % 7 + SUNDAY
    }

    /// Friday for a Saturday and Monday for a Sunday, but never out of the month.
    fn nearest_weekday(&self, day: u32) -> u32 {
        match self.week_day(day) {
            SATURDAY if day == 1 => day + 2,
            SATURDAY => day - 1,
            SUNDAY if day == self.length => day - 2,
            SUNDAY => day + 1,
            _ => day,
        }
    }

    fn nearest_weekday_before(&self, day: u32) -> u32 {
        match self.week_day(day) {
            SATURDAY => day - 1,
            SUNDAY => day - 2,
            _ => day,
        }
    }
}

fn of_month(piece: Piece<'_>) -> Result<Days, ParseError> {
    let field = Field::DayOfMonth;
    let (mut days, mut last, mut nearest, mut last_weekday) = (0, 0, 0, false);
    for item in piece.split(|character| character == ',') {
        let upper = item.part.to_ascii_uppercase();
        if upper == "LW" {
            last_weekday = true;
        } else if upper == "L" {
            last |= 1;
        } else if let Some(before) = upper.strip_prefix("L-") {
            let before = fields::number(before).filter(|before| (1..=30).contains(before));
            let hint = || Some("L-1 to L-30".to_owned());
            last |= 1 << before.ok_or_else(|| item.refuse(field, hint()))?;
        } else if upper.ends_with('W') {
            nearest |= 1 << fields::value(item.at(0, item.part.len() - 1), field, MONTH)?;
        } else {
            days |= fields::bits(item, field, MONTH)?;
        }
    }
    Ok(Days::OfMonth { days, last, nearest, last_weekday })
}

fn of_week(piece: Piece<'_>) -> Result<Days, ParseError> {
    let field = Field::DayOfWeek;
    if piece.part.contains('#') {
        return nth(piece);
    }
    let (mut days, mut last) = (0, 0);
    for item in piece.split(|character| character == ',') {
        let upper = item.part.to_ascii_uppercase();
        if upper == "L" {
            days |= 1 << SATURDAY;
        } else if upper.ends_with('L') {
            last |= 1 << fields::value(item.at(0, item.part.len() - 1), field, WEEK)?;
        } else {
            days |= fields::bits(item, field, WEEK)?;
        }
    }
    Ok(Days::OfWeek { days, last, nth: None })
}

fn nth(piece: Piece<'_>) -> Result<Days, ParseError> {
    let field = Field::DayOfWeek;
    let only = || Some("with `#` it is the only item, such as 3#2 for the second Tuesday".to_owned());
    let Some((day, nth)) = piece.split_once('#').filter(|_| !piece.part.contains(',')) else {
        return Err(piece.refuse(field, only()));
    };
    let day = fields::value(day, field, WEEK)?;
    let which = fields::number(nth.part).filter(|which| (1..=5).contains(which));
    let which = which.ok_or_else(|| nth.refuse(field, Some("after `#` stands 1 to 5".to_owned())))?;
    Ok(Days::OfWeek { days: 0, last: 0, nth: Some((day, which)) })
}

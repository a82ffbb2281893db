//! A schedule: an expression, its zone and its anchor.

use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use weir_types::Timestamp;

use crate::cron::Cron;
use crate::error::{ParseError, Piece};
use crate::rate::{self, Rate};
use crate::{at, unix, zone};

/// An expression in bytes: EventBridge Scheduler's limit.
pub const TEXT_BYTES_MAX: usize = 256;

/// When something runs.
///
/// Its text, in serde and [`fmt::Display`], is the expression as it was written, followed by the zone if one was given:
/// `cron(0 2 * * ? *) Europe/Berlin`. The anchor is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: String,
    form: Form,
    zone: Option<Tz>,
    anchor: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Cron(Box<Cron>),
    Rate(Rate),
    At(Timestamp),
}

impl Schedule {
    /// Reads `cron(...)`, `rate(...)` or `at(...)`. Without a zone, times are UTC.
    ///
    /// # Errors
    /// If it is none of these, never comes, or the zone is unknown.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, ParseError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ParseError::TooLong { bytes: text.len() });
        }
        let zone = zone.map(zone::parse).transpose()?;
        let text = text.trim();
        let form = form(text, zone.unwrap_or(Tz::UTC))?;
        let schedule = Self { text: text.to_owned(), form, zone, anchor: Timestamp(0) };
        if schedule.next_after(Timestamp(i64::MIN)).is_none() {
            return Err(ParseError::Never { text: schedule.text });
        }
        Ok(schedule)
    }

    /// Counts a `rate` from `anchor`, which is its first time; without, from 1970. Other forms don't change.
    #[must_use]
    pub fn anchored(self, anchor: Timestamp) -> Self {
        Self { anchor, ..self }
    }

    /// Returns the expression alone.
    pub fn expression(&self) -> &str {
        &self.text
    }

    /// Returns the zone that was given.
    pub fn zone(&self) -> Option<&'static str> {
        self.zone.map(Tz::name)
    }

    /// Returns the first time later than `after`.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.form {
            Form::Cron(cron) => cron.next_after(self.tz(), after),
            Form::Rate(rate) => rate.next_after(self.anchor, after),
            Form::At(time) => Some(*time).filter(|time| *time > after),
        }
    }

    /// Returns the last time that is not later than `now`.
    pub(crate) fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.form {
            Form::Cron(cron) => cron.latest(self.tz(), now),
            Form::Rate(rate) => rate.latest(self.anchor, now),
            Form::At(time) => Some(*time).filter(|time| *time <= now),
        }
    }

    /// Counts the times later than `last` up to `now`. Those of a `cron` are counted up to `max`.
    pub(crate) fn count(&self, last: Timestamp, now: Timestamp, max: u64) -> u64 {
        match &self.form {
            Form::Rate(rate) => rate.count(self.anchor, last, now),
            Form::At(time) => u64::from(*time > last && *time <= now),
            Form::Cron(_) => {
                let mut at = last;
                for count in 0..max {
                    match self.next_after(at).filter(|next| *next <= now) {
                        Some(next) => at = next,
                        None => return count,
                    }
                }
                max
            }
        }
    }

    fn tz(&self) -> Tz {
        self.zone.unwrap_or(Tz::UTC)
    }
}

fn form(text: &str, zone: Tz) -> Result<Form, ParseError> {
    let Some((name, inner)) = parentheses(text) else {
        let hint = unix::bare(text).or_else(|| rate::short_form(text));
        return Err(ParseError::Form { text: text.to_owned(), hint });
    };
    match name {
        "cron" => Ok(Form::Cron(Box::new(Cron::parse(inner)?))),
        "rate" => Ok(Form::Rate(Rate::parse(inner)?)),
        "at" => {
            let missing = || ParseError::NoSuchTime { text: text.to_owned(), zone: zone.name().to_owned() };
            Ok(Form::At(zone::first(zone, at::parse(inner)?).ok_or_else(missing)?))
        }
        other => {
            let known = weir_types::nearest(other, ["cron", "rate", "at"]);
            Err(ParseError::Form {
                text: text.to_owned(),
                hint: known.map(|known| format!("did you mean {known}({})?", inner.part)),
            })
        }
    }
}

/// Splits `name(inner)`.
fn parentheses(text: &str) -> Option<(&str, Piece<'_>)> {
    let inner = text.strip_suffix(')')?;
    let open = inner.find('(')?;
    let start = open + 1;
    Some((&text[..open], Piece { text, part: &inner[start..], start }))
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.zone() {
            Some(zone) => write!(f, " {zone}"),
            None => Ok(()),
        }
    }
}

/// Reads what [`fmt::Display`] writes.
impl FromStr for Schedule {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (expression, zone) = match text.rfind(')') {
            Some(end) => (&text[..=end], text[end + 1..].trim()),
            None => (text, ""),
        };
        Self::parse(expression, Some(zone).filter(|zone| !zone.is_empty()))
    }
}

impl TryFrom<String> for Schedule {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.to_string()
    }
}

#[cfg(test)]
mod tests;

//! Why a text is no schedule: the place, what stands there, what may stand there, and what was probably meant.

use std::fmt;

use crate::schedule::TEXT_BYTES_MAX;

/// A part of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The first field of `cron()`.
    Minutes,
    /// The second.
    Hours,
    /// The third.
    DayOfMonth,
    /// The fourth.
    Month,
    /// The fifth.
    DayOfWeek,
    /// The sixth.
    Year,
    /// The number of `rate()`.
    Value,
    /// The unit of `rate()`.
    Unit,
    /// The date and time of `at()`.
    DateTime,
}

impl Field {
    /// What may stand in the field, in words.
    pub const fn allowed(self) -> &'static str {
        match self {
            Self::Minutes => "0-59 with , - * /",
            Self::Hours => "0-23 with , - * /",
            Self::DayOfMonth => "1-31 with , - * / or L, LW, L-3, 15W, or ? if the day of the week is given",
            Self::Month => "1-12 or JAN-DEC with , - * /",
            Self::DayOfWeek => {
                "1-7 or SUN-SAT (1 is SUN) with , - * / or L, 6L, 3#2, or ? if the day of the month is given"
            }
            Self::Year => "1970-2199 with , - * /",
            Self::Value => "a whole number from 1, for at most 100 years",
            Self::Unit => "minute, minutes, hour, hours, day or days",
            Self::DateTime => "a date and a time such as 2026-01-31T12:00:00, without a zone",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
            Self::Year => "year",
            Self::Value => "value",
            Self::Unit => "unit",
            Self::DateTime => "date and time",
        })
    }
}

/// A text that is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Over the limit.
    #[error("a schedule has {bytes} bytes, and may have {TEXT_BYTES_MAX}")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// None of the three forms.
    #[error(
        "`{text}` is no schedule: write cron(minutes hours day-of-month month day-of-week year), rate(5 minutes) or at(2026-01-31T12:00:00){}",
        meant(hint)
    )]
    Form {
        /// The text.
        text: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// Not as many fields as the form has.
    #[error("`{text}` has {found} fields, and {form} has {wanted}{}", meant(hint))]
    FieldCount {
        /// The text.
        text: String,
        /// How many there are.
        found: usize,
        /// `cron()` or `rate()`, with the names of its fields.
        form: &'static str,
        /// How many there must be.
        wanted: usize,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// A field that can't be understood.
    #[error("`{text}`: the {field} at character {at} is `{found}`; allowed is {}{}", field.allowed(), meant(hint))]
    Field {
        /// The text.
        text: String,
        /// The field.
        field: Field,
        /// The place of what was found, in characters from 1.
        at: usize,
        /// What was found.
        found: String,
        /// What was probably meant, or why it is refused.
        hint: Option<String>,
    },
    /// A schedule without a single time.
    #[error("`{text}` never comes: no month of its years has such a day and time")]
    Never {
        /// The text.
        text: String,
    },
    /// An `at()` within the hour that the clocks leave out.
    #[error("`{text}` does not exist in {zone}: the clocks are put forward over it")]
    NoSuchTime {
        /// The text.
        text: String,
        /// The zone.
        zone: String,
    },
    /// Not a zone of the IANA database.
    #[error("`{zone}` is no time zone: write an IANA name such as Europe/Berlin or UTC{}", meant(hint))]
    Zone {
        /// The name.
        zone: String,
        /// What was probably meant.
        hint: Option<String>,
    },
}

impl ParseError {
    /// Returns where in the text, without the space around it, the fault is: the first character, from 0, and how many.
    pub fn position(&self) -> Option<(usize, usize)> {
        match self {
            Self::Field { at, found, .. } => Some((at - 1, found.chars().count())),
            _ => None,
        }
    }
}

fn meant(hint: &Option<String>) -> String {
    hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"))
}

/// A piece of a text and its place, so that an error can point at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    /// All of the text.
    pub(crate) text: &'a str,
    /// The piece, which lies within it.
    pub(crate) part: &'a str,
    /// The piece's first byte.
    pub(crate) start: usize,
}

impl<'a> Piece<'a> {
    /// Returns the part that begins `skip` bytes into this one.
    pub(crate) fn at(self, skip: usize, len: usize) -> Self {
        Self { part: &self.part[skip..skip + len], start: self.start + skip, ..self }
    }

    /// Splits at each character of which `separates` is true.
    pub(crate) fn split(self, separates: impl Fn(char) -> bool) -> Vec<Self> {
        let mut pieces = Vec::new();
        let mut from = 0;
        for (at, character) in self.part.char_indices().filter(|(_, character)| separates(*character)) {
            pieces.push(self.at(from, at - from));
            from = at + character.len_utf8();
        }
        pieces.push(self.at(from, self.part.len() - from));
        pieces
    }

    /// Splits into what white space separates.
    pub(crate) fn words(self) -> Vec<Self> {
        let mut words = self.split(char::is_whitespace);
        words.retain(|word| !word.part.is_empty());
        words
    }

    /// Splits in two at the first `separator`.
    pub(crate) fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let at = self.part.find(separator)?;
        let after = at + separator.len_utf8();
        Some((self.at(0, at), self.at(after, self.part.len() - after)))
    }

    /// Says that the piece can't be understood.
    pub(crate) fn refuse(self, field: Field, hint: Option<String>) -> ParseError {
        ParseError::Field {
            text: self.text.to_owned(),
            field,
            at: self.text[..self.start].chars().count() + 1,
            found: self.part.to_owned(),
            hint,
        }
    }
}

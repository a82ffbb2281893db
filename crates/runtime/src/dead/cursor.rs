//! Where a page of letters ended, and where the next goes on.
//!
//! Letters are ordered by the time of their last failure, then by their place, then by id. Invariant: a redrive that goes on
//! at a cursor looks at no letter twice, and at none that failed after it began: what fails again is not sent on and on.

use std::fmt;
use std::str::FromStr;

use weir_types::Timestamp;

use super::filter::{moment, quoted};
use super::rows::LetterRow;

/// A place among letters. As text it is opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Letters that failed later are not meant.
    pub(super) until: Timestamp,
    failed_at: Timestamp,
    /// -1 where there is none.
    sequence: i64,
    id: String,
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`after` is not the `next` of an answer")]
pub struct CursorError;

/// Which way letters are gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

impl Order {
    /// Writes the end of a query of letters `m`.
    pub fn by(self) -> &'static str {
        match self {
            Self::OldestFirst => "order by m.failed_at, coalesce(m.sequence, -1), m.id",
            Self::NewestFirst => "order by m.failed_at desc, coalesce(m.sequence, -1) desc, m.id desc",
        }
    }
}

impl Cursor {
    /// Behind a letter.
    pub(super) fn behind(letter: &LetterRow, until: Timestamp) -> Self {
        let sequence = letter.sequence.map_or(-1, |sequence| sequence.0 as i64);
        Self { until, failed_at: letter.failed_at, sequence, id: letter.id.clone() }
    }

    /// Writes the condition that a letter `m` comes behind this place.
    pub(super) fn condition(&self, order: Order) -> String {
        let than = match order {
            Order::OldestFirst => ">",
            Order::NewestFirst => "<",
        };
        let (failed_at, sequence, id) = (moment(self.failed_at), self.sequence, quoted(&self.id));
        format!(
            "(m.failed_at {than} {failed_at} or (m.failed_at = {failed_at} and (coalesce(m.sequence, -1) {than} {sequence} \
             or (coalesce(m.sequence, -1) = {sequence} and m.id {than} {id}))))"
        )
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}~{}~{}", self.until.0, self.failed_at.0, self.sequence, self.id)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.splitn(4, '~');
        let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok()).ok_or(CursorError);
        let (until, failed_at, sequence) = (Timestamp(number()?), Timestamp(number()?), number()?);
        let id = parts.next().filter(|id| !id.is_empty()).ok_or(CursorError)?.to_owned();
        Ok(Self { until, failed_at, sequence, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let id = "queue/a~b@3>function/c'".to_owned();
        let cursor = Cursor { until: Timestamp(-3), failed_at: Timestamp(17), sequence: -1, id };
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        assert!(cursor.condition(Order::OldestFirst).ends_with("m.id > 'queue/a~b@3>function/c'''))))"));
        for text in ["", "1~2~3~", "1~2~x~id", "1~2"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}

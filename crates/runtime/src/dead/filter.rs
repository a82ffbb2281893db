//! Which letters are meant: a condition in SQL, and shorthands for the common ones, all of which must hold.
//!
//! Invariant: what a user writes is either a value in quotes or one whole expression in brackets, so that a filter can
//! choose among the letters and do nothing else.

use std::fmt::Write;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use weir_query::{Engine, Predicate, QueryError};
use weir_types::{Timestamp, span};

use super::{ACTIONS, DEAD_LETTERS};

/// Ids of one filter.
const IDS_MAX: usize = 500;
/// The longest value of a shorthand, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// What may have been decided about a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Nothing.
    #[default]
    Open,
    /// It was sent on.
    Redriven,
    /// It was given up for good.
    Dropped,
    /// Whatever it was.
    Any,
}

impl State {
    /// The names, as users write them.
    pub const NAMES: [&str; 4] = ["open", "redriven", "dropped", "any"];

    /// Reads a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "open" => Self::Open,
            "redriven" => Self::Redriven,
            "dropped" => Self::Dropped,
            "any" => Self::Any,
            _ => return None,
        })
    }

    fn condition(self) -> &'static str {
        match self {
            Self::Open => "a.id is null",
            Self::Redriven => "a.action = 'redriven'",
            Self::Dropped => "a.action = 'dropped'",
            Self::Any => "true",
        }
    }
}

/// Which letters are meant. What is not said holds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// A condition in SQL over the columns of `dead_letters`.
    pub predicate: Option<String>,
    /// The cause, such as `function_failed`.
    pub cause: Option<String>,
    /// The target, such as `table/flights`.
    pub target: Option<String>,
    /// The source, such as `stream/flights/0`; also without the shard.
    pub source: Option<String>,
    /// The earliest time of the last failure: RFC 3339, or how long ago, such as `2h`.
    pub since: Option<String>,
    /// The latest time of the last failure, alike.
    pub until: Option<String>,
    /// The letters themselves.
    pub ids: Vec<String>,
    /// What was decided about them.
    pub state: State,
}

/// A filter that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The condition is no expression.
    #[error("the condition is not one SQL expression")]
    Predicate(#[source] QueryError),
    /// A time that is none.
    #[error("`{what}` is `{text}`: write a time such as 2026-01-31T12:00:00Z, or how long ago it was, such as 2h")]
    Time {
        /// Which.
        what: &'static str,
        /// As written.
        text: String,
    },
    /// A value that is too long to be one.
    #[error("`{what}` has {bytes} bytes, and may have {VALUE_BYTES_MAX}")]
    TooLong {
        /// Which.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// Too many ids.
    #[error("{found} ids are named, and {IDS_MAX} may be; use a condition")]
    TooManyIds {
        /// How many.
        found: usize,
    },
}

/// Puts a value in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Writes a time as SQL.
pub(super) fn moment(time: Timestamp) -> String {
    format!("to_timestamp_millis({})", time.0)
}

/// Reads a time, or how long ago it was.
pub(crate) fn time(what: &'static str, text: &str, now: Timestamp) -> Result<Timestamp, FilterError> {
    let text = text.trim();
    if let Ok(ago) = span::parse(text) {
        return Ok(now.before(ago));
    }
    // A date alone would be read as its first moment, which is right for `since` and a surprise for `until`.
    let parsed = text.contains(':').then(|| string_to_timestamp_nanos(text).ok()).flatten();
    let shown = || text.chars().take(80).collect();
    parsed.map(|ns| Timestamp(ns.div_euclid(1_000_000))).ok_or_else(|| FilterError::Time { what, text: shown() })
}

impl Filter {
    /// Says whether it leaves out no letter that is open.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Makes the SQL that begins a query: the letters as `matching`, by everything but what was decided.
    pub(super) fn matching(&self, engine: &Engine, now: Timestamp) -> Result<String, FilterError> {
        let predicate: Option<Predicate> =
            self.predicate.as_deref().map(|text| engine.predicate(text)).transpose().map_err(FilterError::Predicate)?;
        let mut sql = format!("with matching as (select * from {DEAD_LETTERS} where (");
        // On lines of its own: a comment ends with its line, and an error's place is that in the condition.
        match predicate {
            Some(predicate) => sql.push_str(&format!("\n{predicate}\n)")),
            None => sql.push_str("true)"),
        }
        let equal = [("cause", &self.cause), ("target", &self.target)];
        for (column, value) in equal.into_iter().filter_map(|(column, value)| Some((column, value.as_deref()?))) {
            check_length(column, value)?;
            add(&mut sql, format_args!("{column} = {}", quoted(value)));
        }
        if let Some(source) = &self.source {
            check_length("source", source)?;
            let (source, shards) = (quoted(source), quoted(&format!("{source}/")));
            add(&mut sql, format_args!("(source = {source} or starts_with(source, {shards}))"));
        }
        if let Some(since) = &self.since {
            add(&mut sql, format_args!("failed_at >= {}", moment(time("since", since, now)?)));
        }
        if let Some(until) = &self.until {
            add(&mut sql, format_args!("failed_at <= {}", moment(time("until", until, now)?)));
        }
        if !self.ids.is_empty() {
            add(&mut sql, format_args!("id in ({})", ids(&self.ids)?));
        }
        sql.push(')');
        Ok(sql)
    }

    /// Makes a query of letters: `columns` of a letter `m` and what was decided about it `a`.
    pub(super) fn select(&self, engine: &Engine, now: Timestamp, columns: &str) -> Result<String, FilterError> {
        let matching = self.matching(engine, now)?;
        let state = self.state.condition();
        Ok(format!("{matching}\nselect {columns} from matching m left join {ACTIONS} a on a.id = m.id where {state}"))
    }
}

fn add(sql: &mut String, condition: std::fmt::Arguments<'_>) {
    write!(sql, " and {condition}").expect("a text takes text");
}

fn check_length(what: &'static str, value: &str) -> Result<(), FilterError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(FilterError::TooLong { what, bytes: value.len() });
    }
    Ok(())
}

/// Writes ids as a list of SQL.
pub(super) fn ids(ids: &[String]) -> Result<String, FilterError> {
    if ids.len() > IDS_MAX {
        return Err(FilterError::TooManyIds { found: ids.len() });
    }
    let quoted = ids.iter().map(|id| check_length("id", id).map(|()| quoted(id)));
    Ok(quoted.collect::<Result<Vec<_>, _>>()?.join(", "))
}

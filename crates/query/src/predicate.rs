//! A condition on rows that comes from a user and is put into a query of weir's own.
//!
//! Invariant: the text of a [`Predicate`] is one whole expression, so that in brackets, on lines of its own, it can't end
//! the brackets, begin another statement, or comment out what follows.

use std::fmt;

use weir_function::SqlError;

use crate::engine::{Engine, SQL_BYTES_MAX, refuse_chains};
use crate::error::QueryError;

/// One SQL expression, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate(String);

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Engine {
    /// Reads a condition: one expression and nothing behind it. Whether its columns are there is told by the query.
    ///
    /// # Errors
    /// [`QueryError::Sql`].
    pub fn predicate(&self, text: &str) -> Result<Predicate, QueryError> {
        let refused = |message: String, hint: Option<&str>| {
            QueryError::Sql(SqlError { message, at: None, hint: hint.map(str::to_owned) })
        };
        // A quarter of a query's: the rest is for what it is put into.
        let bytes_max = SQL_BYTES_MAX / 4;
        if text.len() > bytes_max {
            return Err(refused(format!("the condition has {} bytes, and may have {bytes_max}", text.len()), None));
        }
        if text.trim().is_empty() {
            let hint = "write an expression, such as `cause = 'malformed'`";
            return Err(refused("the condition is empty".to_owned(), Some(hint)));
        }
        refuse_chains(text)?;
        let state = self.state();
        let dialect = state.config().options().sql_parser.dialect;
        let parsed = state
            .sql_to_expr_with_alias(text, &dialect)
            .map_err(|error| QueryError::Sql(SqlError::from_datafusion(text, &error)))?;
        if parsed.alias.is_some() {
            return Err(refused("a condition has no name: leave out what follows `as`".to_owned(), None));
        }
        Ok(Predicate(text.to_owned()))
    }
}

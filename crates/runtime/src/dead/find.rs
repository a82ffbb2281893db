//! Listing letters, newest first.

use serde::Serialize;
use weir_query::QueryError;
use weir_types::Timestamp;

use super::cursor::{Cursor, Order};
use super::filter::{Filter, FilterError};
use super::rows::{self, LetterRow};
use crate::node::Node;
use crate::query::QueryFailed;

/// Letters of one page.
pub const LETTERS_LISTED_MAX: usize = 1000;

/// What was decided about a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// `redriven` or `dropped`.
    pub action: String,
    /// When.
    #[serde(serialize_with = "time")]
    pub at: Timestamp,
    /// By which run.
    pub run: String,
    /// Where it was sent.
    pub target: Option<String>,
}

fn time<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// A page of letters.
#[derive(Debug, Clone)]
pub struct FoundLetters {
    /// The letters, the one that failed last first.
    pub letters: Vec<LetterRow>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// Why letters were not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The query.
    #[error(transparent)]
    Query(#[from] QueryFailed),
    /// A table of weir's own has not the columns that it should have.
    #[error("the table of dead letters has no column `{name}` of the type that it should have")]
    Column {
        /// The column.
        name: &'static str,
    },
}

impl From<QueryError> for FindError {
    fn from(error: QueryError) -> Self {
        Self::Query(QueryFailed::Query(error))
    }
}

impl Node {
    /// Lists letters that pass a filter, the one that failed last first: up to `limit`, at most [`LETTERS_LISTED_MAX`].
    /// Sees every letter that was durable before it began.
    ///
    /// # Errors
    /// See [`FindError`].
    pub async fn letters(
        &self,
        filter: &Filter,
        limit: usize,
        after: Option<&Cursor>,
    ) -> Result<FoundLetters, FindError> {
        let limit = limit.clamp(1, LETTERS_LISTED_MAX);
        let mut letters = self.find(filter, after, Order::NewestFirst, limit + 1).await?;
        let next = (letters.len() > limit).then(|| {
            letters.truncate(limit);
            Cursor::behind(&letters[limit - 1], self.env().now())
        });
        Ok(FoundLetters { letters, next })
    }

    pub(super) async fn find(
        &self,
        filter: &Filter,
        after: Option<&Cursor>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<LetterRow>, FindError> {
        let mut sql = filter.select(&self.queries, self.env().now(), LetterRow::COLUMNS)?;
        if let Some(after) = after {
            sql.push_str(&format!(" and {}", after.condition(order)));
        }
        if let Some(after) = after.filter(|_| order == Order::OldestFirst) {
            sql.push_str(&format!(" and m.failed_at <= {}", super::filter::moment(after.until)));
        }
        sql.push_str(&format!(" {} limit {limit}", order.by()));
        let mut letters = Vec::new();
        for batch in self.ask(&sql).await? {
            letters.extend(rows::read(&batch)?);
        }
        Ok(letters)
    }

    /// Asks one of weir's own queries, which has a user's condition on its second line and the following.
    pub(super) async fn ask(&self, sql: &str) -> Result<Vec<arrow::array::RecordBatch>, FindError> {
        let answer = self.query(sql).await.map_err(in_condition)?;
        Ok(answer.collect().await?)
    }
}

/// Turns a place in the whole query into that in the condition.
fn in_condition(mut failed: QueryFailed) -> QueryFailed {
    if let QueryFailed::Query(QueryError::Sql(error)) = &mut failed {
        error.at = error.at.and_then(|(line, column)| Some((line.checked_sub(1).filter(|line| *line > 0)?, column)));
    }
    failed
}

//! A query's rows as they come, within its limits.

use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use weir_env::Env;

use crate::engine::Limits;
use crate::error::QueryError;

/// The rows of one query. Dropping it ends the query.
pub struct Answer {
    env: Env,
    limits: Limits,
    started: Duration,
    rows: u64,
    stream: SendableRecordBatchStream,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} rows so far)", self.rows)
    }
}

impl Answer {
    pub(crate) fn new(env: Env, limits: Limits, started: Duration, stream: SendableRecordBatchStream) -> Self {
        Self { env, limits, started, rows: 0, stream }
    }

    /// Returns the columns.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// Returns how much of its time the query has left.
    pub fn left(&self) -> Duration {
        self.limits.time.saturating_sub(self.env.elapsed().saturating_sub(self.started))
    }

    /// Returns the next rows, `None` after the last.
    ///
    /// # Errors
    /// See [`QueryError`]. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        let batch = match self.env.within(self.left(), self.stream.next()).await {
            None => return Some(Err(QueryError::Time { limit: self.limits.time })),
            Some(None) => return None,
            Some(Some(Err(error))) => return Some(Err(QueryError::running(&error, self.limits.memory))),
            Some(Some(Ok(batch))) => batch,
        };
        self.rows += batch.num_rows() as u64;
        if self.rows > self.limits.rows {
            return Some(Err(QueryError::Rows { limit: self.limits.rows }));
        }
        Some(Ok(batch))
    }

    /// Returns all rows.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>, QueryError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

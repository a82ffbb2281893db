//! Computing one partition: the query over the files that feed it, streamed into the rollup's table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use weir_config::RollupScope;
use weir_function::Lookups;
use weir_query::{Answer, File, QueryError, Source};
use weir_table::{CommitError, Committed, ReplaceError};

use super::Parts;
use super::stale::{self, Basis, Key, Wanted};
use crate::lookups::Current;

/// Why a partition was not computed. It is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum ComputeError {
    /// The query failed before its first row.
    #[error("run the query over partition {partition}")]
    Query {
        partition: String,
        #[source]
        source: QueryError,
    },
    /// The rows could not be had, or stored.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

impl ComputeError {
    /// Whether another process writes the table.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Replace(ReplaceError::Commit(CommitError::Fenced { .. })))
    }
}

/// What was found at one look: what partitions should be made of, and the lookups that this is about.
pub(super) struct Look {
    lookups: Arc<Lookups>,
    wanted: Wanted,
    /// The partitions that are not what the query would give, each with what it should be made of, the newest first.
    pub stale: Vec<(Key, u64)>,
}

impl Parts {
    /// Looks what is stale.
    pub(super) fn look(&self) -> Look {
        let Current { lookups, versions } = self.lookups.now();
        let digests = self.planned.reads().iter().filter_map(|name| Some((name.as_str(), versions.get(name)?.digest)));
        let source = (&self.source.name, self.source.table.identity());
        let basis = Basis::new((&self.plan.sql, &self.planned.output()), source, digests);
        let (source, own, positions) =
            (self.source.table.partitions(), self.table.partitions(), self.table.positions());
        let wanted = Wanted::look(&self.shape, basis, (&source, &own), &positions);
        Look { lookups, stale: wanted.stale(&positions), wanted }
    }

    /// Computes a partition, and replaces its rows and its positions.
    ///
    /// It takes what is committed now, which may be newer than what made it stale.
    // Boxed, since the compiler can't see through the streams below that it is `Send`.
    pub(super) fn compute<'a>(
        &'a self,
        look: &'a Look,
        key: Key,
    ) -> BoxFuture<'a, Result<Option<Committed>, ComputeError>> {
        self.compute_one(look, key).boxed()
    }

    async fn compute_one(&self, look: &Look, key: Key) -> Result<Option<Committed>, ComputeError> {
        // The positions were taken before the files are: see the invariant of `stale`.
        let Some(positions) = look.wanted.positions_of(key) else { return Ok(None) };
        let source = self.files_of(key);
        let (day, hour) = key;
        if source.files.is_empty() && self.plan.scope != RollupScope::Whole {
            let none = stream::empty::<Result<RecordBatch, QueryError>>().boxed();
            return Ok(Some(self.table.replace_partition(day, hour, none, &positions).await?));
        }
        let failed = |source| ComputeError::Query { partition: stale::name(key), source };
        let parsed = self.queries.parse(&self.plan.sql).map_err(failed)?;
        let mut sources = vec![(self.source.name.to_string(), source)];
        for name in self.planned.reads() {
            let rows = look.lookups.get(name).filter(|rows| !rows.is_empty());
            if let Some(rows) = rows {
                sources.push((name.to_string(), Source::rows(rows[0].schema(), rows.to_vec())));
            }
        }
        let answer = self.queries.run(parsed, sources, Vec::new()).await.map_err(failed)?;
        Ok(Some(self.table.replace_partition(day, hour, self.rows(answer), &positions).await?))
    }

    /// Returns the source as it is committed, with the files that feed a partition.
    fn files_of(&self, key: Key) -> Source {
        let view = self.source.table.view();
        let files = view.files.iter().filter(|file| self.shape.feeds(file.place, key));
        Source {
            columns: columns(&view.schema, &self.plan.source_columns),
            partition_columns: Vec::new(),
            store: Some(self.source.store.clone()),
            files: files
                .map(|file| File { path: file.location.to_string(), size: file.size, partition: Vec::new() })
                .collect(),
            rows: Vec::new(),
        }
    }

    fn rows(&self, answer: Answer) -> BoxStream<'_, Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>>> {
        let rows = stream::unfold(Some(answer), |answer| async {
            let mut answer = answer?;
            match answer.next().await? {
                Ok(batch) => Some((Ok(batch), Some(answer))),
                Err(error) => Some((Err(error), None)),
            }
        });
        rows.map(|batch| Ok(self.planned.to_output(&batch?)?)).boxed()
    }
}

/// Returns those of a table's columns that the query was planned for, as the table stores them now.
pub(super) fn columns(stored: &Schema, planned: &[String]) -> SchemaRef {
    let fields = stored.fields().iter().filter(|field| planned.contains(field.name()));
    Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
}

//! Queries over the node's tables and lookups.
//!
//! A query sees every record that was acknowledged before it began: it notes where the shards end, waits until the
//! pipelines of its tables have come that far, and takes each table's files and buffered rows at one moment.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, FieldRef};
use object_store::ObjectStore;
use weir_query::{Answer, File, QueryError, ScalarValue as Scalar, Source};
use weir_table::{BUCKET_COLUMN, CommitError, DAY_COLUMN, HOUR_COLUMN, Table};
use weir_types::SequenceNumber;

use crate::node::Node;
use crate::pipeline::Pipeline;

/// Why a query was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryFailed {
    /// The query itself.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A system table could not be read.
    #[error(transparent)]
    System(#[from] crate::system::SystemTableError),
    /// Rows that take others' places could not be committed, and only committed ones show.
    #[error("commit what table `{table}` has replaced, so that the query sees it")]
    Commit {
        /// The table.
        table: String,
        /// Why.
        #[source]
        source: CommitError,
    },
    /// A table has not come as far as what was acknowledged.
    #[error(
        "table `{table}` is {behind} records behind what was acknowledged, and did not catch up within {}{}",
        weir_types::span::display(*.waited),
        trouble.as_ref().map(|what| format!(": {what}")).unwrap_or_default()
    )]
    Behind {
        /// The table.
        table: String,
        /// Records that are not in it.
        behind: u64,
        /// How long the query waited.
        waited: Duration,
        /// Why it stands still, if it does.
        trouble: Option<String>,
    },
}

impl Node {
    /// Answers a query.
    ///
    /// # Errors
    /// See [`QueryFailed`]; errors while it runs come from the answer.
    pub async fn query(&self, sql: &str) -> Result<Answer, QueryFailed> {
        let parsed = self.queries.parse(sql)?;
        let named: Vec<&str> = parsed.tables().collect();
        let wanted = |name: &str| parsed.reads_catalog() || named.contains(&name);
        let mut sources = Vec::new();
        for (name, pipeline) in self.pipelines() {
            if named.contains(&name.as_str()) {
                self.catch_up(name.as_str(), pipeline).await?;
            }
            sources.push((name.to_string(), source_of(pipeline.table(), pipeline.store())));
        }
        // A rollup is as it is committed.
        for (name, rollup) in self.rollups() {
            sources.push((name.to_string(), source_of(rollup.table(), rollup.store())));
        }
        // An unknown name is answered with the names there are.
        for (_, source) in sources.iter_mut().filter(|(name, _)| !wanted(name)) {
            source.files = Vec::new();
            source.rows = Vec::new();
        }
        for (name, rows) in self.lookups().current().iter() {
            if let Some(first) = rows.first() {
                sources.push((name.to_string(), Source::rows(first.schema(), rows.to_vec())));
            }
        }
        let system = self.system_tables(&parsed).await?;
        Ok(self.queries.run(parsed, sources, system).await?)
    }

    /// Waits until a table has all that is durable at this moment.
    pub(crate) async fn catch_up(&self, name: &str, pipeline: &Pipeline) -> Result<(), QueryFailed> {
        // What is held back belongs behind the run that is under way.
        let target = pipeline.sources().iter().map(|source| match pipeline.parts().holds_back(source) {
            true => SequenceNumber::ZERO,
            false => source.shard().bounds().tail,
        });
        let target: Vec<SequenceNumber> = target.collect();
        let mut applied = pipeline.applied();
        let reached = |applied: &Vec<SequenceNumber>| applied.iter().zip(&target).all(|(at, target)| at >= target);
        let waited = self.queries.limits().time;
        match self.env().within(waited, applied.wait_for(reached)).await {
            Some(Ok(_)) => {}
            _ => return Err(self.behind(name, pipeline)),
        }
        // Rows that take the place of committed ones show once they are committed.
        if pipeline.table().pending().hidden == 0 {
            return Ok(());
        }
        match self.env().within(waited, pipeline.table().commit()).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(source)) => Err(QueryFailed::Commit { table: name.to_owned(), source }),
            None => Err(self.behind(name, pipeline)),
        }
    }

    fn behind(&self, name: &str, pipeline: &Pipeline) -> QueryFailed {
        QueryFailed::Behind {
            table: name.to_owned(),
            behind: pipeline.behind(),
            waited: self.queries.limits().time,
            trouble: pipeline.trouble(),
        }
    }
}

fn source_of(table: &Table, store: &Arc<dyn ObjectStore>) -> Source {
    let view = table.view();
    let is_partition = |name: &str| [DAY_COLUMN, HOUR_COLUMN, BUCKET_COLUMN].contains(&name);
    let (partition, columns): (Vec<FieldRef>, Vec<FieldRef>) =
        view.schema.fields().iter().cloned().partition(|field| is_partition(field.name()));
    let files = view
        .files
        .iter()
        .map(|file| File {
            path: file.location.to_string(),
            size: file.size,
            partition: partition
                .iter()
                .map(|field| match field.name().as_str() {
                    DAY_COLUMN => Scalar::Date32(file.place.day),
                    HOUR_COLUMN => Scalar::Int32(file.place.hour.map(i32::from)),
                    _ => Scalar::Int32(i32::try_from(file.place.bucket).ok()),
                })
                .collect(),
        })
        .collect();
    debug_assert!(partition.iter().all(|field| matches!(field.data_type(), DataType::Date32 | DataType::Int32)));
    Source {
        columns: Arc::new(arrow::datatypes::Schema::new(columns)),
        partition_columns: partition,
        store: Some(store.clone()),
        files,
        rows: view.buffered,
    }
}

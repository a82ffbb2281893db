//! SQL over a batch, planned once and run for every batch.

pub(crate) mod error;
mod filter;
pub(crate) mod names;
mod origin;
pub(crate) mod purity;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use weir_types::LookupName;

use crate::columns::{describe, plain_schema, to_plain};
use crate::{Function, Lookups, RunError};

pub use error::SqlError;
pub use filter::{Filtered, filter};
pub use names::{INPUT, SQL_BYTES_MAX, reads};

/// What one run may return, in bytes of Arrow.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What one run may hold beside its input and output (hash tables of joins), in bytes.
const MEMORY_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Rows per batch between the plan's steps: above what a run is given, so that batches stay whole.
const BATCH_ROWS: usize = 65_536;

/// A query over `input` and lookups, parsed and planned.
pub struct SqlFunction {
    plan: Arc<dyn ExecutionPlan>,
    input: SchemaRef,
    lookups: BTreeMap<LookupName, SchemaRef>,
    output: SchemaRef,
    passed: BTreeMap<String, String>,
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
}

impl SqlFunction {
    /// Parses and plans `sql`, which reads the batch as [`INPUT`], and each lookup by its name.
    ///
    /// # Errors
    /// If it is not one query, names anything else, has a mistake, or gives rows for a record that depend on more than
    /// that record and the lookups.
    pub fn plan(sql: &str, input: SchemaRef, lookups: &BTreeMap<LookupName, SchemaRef>) -> Result<Self, SqlError> {
        let refused = |error: DataFusionError| SqlError::from_datafusion(sql, &error);
        let (statement, names) = names::parse(sql)?;
        names::check_known(sql, &names, lookups.keys())?;
        let lookups: BTreeMap<LookupName, SchemaRef> = lookups
            .iter()
            .filter(|(name, _)| names.contains(name.as_str()))
            .map(|(name, schema)| (name.clone(), Arc::clone(schema)))
            .collect();
        let runtime = runtime().map_err(refused)?;
        let state = session(Arc::clone(&runtime), (INPUT, &input), &lookups).map_err(refused)?;
        // Planning awaits nothing but our own table providers, which are ready at once.
        let logical = futures::executor::block_on(state.statement_to_plan(statement)).map_err(refused)?;
        purity::check(sql, &logical)?;
        let passed = origin::passed(&logical);
        let plan = futures::executor::block_on(state.create_physical_plan(&logical)).map_err(refused)?;
        // The logical names and types, and the physical nullability: the optimizer may rename what it merges.
        let output = plain_schema(&Schema::new(plan.schema().fields().clone()));
        Ok(Self { plan, input, lookups, output, passed, config: state.config().clone(), runtime })
    }

    /// Returns the columns of the rows that come out, in plain types (see the crate's `columns`).
    pub fn output(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// Returns, by the name of each output column that is a column of the input, unchanged, its name there.
    pub fn passed(&self) -> &BTreeMap<String, String> {
        &self.passed
    }

    /// Returns the lookups that the query reads.
    pub fn reads(&self) -> impl Iterator<Item = &LookupName> {
        self.lookups.keys()
    }

    /// Runs the query over a batch. The order of rows is the same each time, and not that of the records: a join gives
    /// those without a match last.
    ///
    /// The work is done on the calling task, without yielding for long: at most one batch's.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn run(&self, input: RecordBatch, lookups: &Lookups) -> Result<Vec<RecordBatch>, RunError> {
        let rows = self.rows(input, lookups)?;
        let config = self.config.clone().with_extension(Arc::new(source::Rows(rows)));
        let context = TaskContext::default().with_session_config(config).with_runtime(Arc::clone(&self.runtime));
        let evaluate = |error| RunError::Evaluate(Box::new(error));
        // Joins keep their hash table in the plan: each run needs a fresh copy of the nodes.
        let plan = reset_plan_states(Arc::clone(&self.plan)).map_err(evaluate)?;
        let mut stream = execute_stream(plan, Arc::new(context)).map_err(evaluate)?;
        let mut output = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = stream.next().await {
            let batch = to_plain(&batch.map_err(evaluate)?, &self.output).map_err(|error| evaluate(error.into()))?;
            bytes += bytes_of(&batch);
            if bytes > OUTPUT_BYTES_MAX {
                return Err(RunError::TooLarge { bytes_max: OUTPUT_BYTES_MAX });
            }
            if batch.num_rows() > 0 {
                output.push(batch);
            }
        }
        Ok(output)
    }

    fn rows(&self, input: RecordBatch, lookups: &Lookups) -> Result<BTreeMap<String, Arc<Vec<RecordBatch>>>, RunError> {
        if !same_columns(&input.schema(), &self.input) {
            return Err(RunError::Input { found: describe(&input.schema()), planned: describe(&self.input) });
        }
        let mut rows = BTreeMap::from([(INPUT.to_owned(), Arc::new(vec![input]))]);
        for (name, planned) in &self.lookups {
            let loaded = lookups.get(name).ok_or_else(|| RunError::LookupMissing { name: name.clone() })?;
            if let Some(changed) = loaded.iter().find(|batch| !same_columns(&batch.schema(), planned)) {
                let (found, planned) = (describe(&changed.schema()), describe(planned));
                return Err(RunError::LookupChanged { name: name.clone(), found, planned });
            }
            rows.insert(name.as_str().to_owned(), Arc::clone(loaded));
        }
        Ok(rows)
    }
}

impl Function for SqlFunction {
    fn output(&self) -> SchemaRef {
        SqlFunction::output(self)
    }

    fn run<'a>(
        &'a self,
        input: RecordBatch,
        lookups: &'a Lookups,
    ) -> BoxFuture<'a, Result<Vec<RecordBatch>, RunError>> {
        SqlFunction::run(self, input, lookups).boxed()
    }
}

impl fmt::Debug for SqlFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlFunction({})", describe(&self.output))
    }
}

pub(crate) fn runtime() -> Result<Arc<RuntimeEnv>, DataFusionError> {
    RuntimeEnvBuilder::new()
        .with_memory_limit(MEMORY_BYTES_MAX, 1.0)
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()
}

/// Returns what plans a query over lookups and one more table, given by name and columns.
pub(crate) fn session(
    runtime: Arc<RuntimeEnv>,
    (input_name, input): (&str, &SchemaRef),
    lookups: &BTreeMap<LookupName, SchemaRef>,
) -> Result<SessionState, DataFusionError> {
    let mut config =
        SessionConfig::new().with_target_partitions(1).with_batch_size(BATCH_ROWS).with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    // Plans are run again and again, which dynamic filters do not allow.
    options.set("datafusion.optimizer.enable_dynamic_filter_pushdown", "false")?;
    let state = SessionStateBuilder::new_with_default_features().with_config(config).with_runtime_env(runtime).build();
    let context = SessionContext::new_with_state(state);
    let register = |name: &str, schema: &SchemaRef, rows_expected| {
        let table = source::Table { name: name.to_owned(), schema: Arc::clone(schema), rows_expected };
        context.register_table(datafusion::common::TableReference::bare(name), Arc::new(table)).map(|_| ())
    };
    register(input_name, input, 1_000_000)?;
    for (name, schema) in lookups {
        register(name.as_str(), schema, 1000)?;
    }
    Ok(context.state())
}

/// Tells whether batches of `found` can stand where `planned` is expected: names and types alike, nulls only where
/// planned.
fn same_columns(found: &Schema, planned: &Schema) -> bool {
    found.fields().len() == planned.fields().len()
        && found.fields().iter().zip(planned.fields()).all(|(found, planned)| {
            found.name() == planned.name()
                && found.data_type() == planned.data_type()
                && (planned.is_nullable() || !found.is_nullable())
        })
}

fn bytes_of(batch: &RecordBatch) -> usize {
    // An array whose size is unknown counts as nothing: there is none among the plain types.
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

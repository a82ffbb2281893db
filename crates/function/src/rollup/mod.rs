//! SQL over a table, for a table that is made of it: a rollup.
//!
//! ```text
//!   source's partitions  --[query over these files alone]-->  one partition of the rollup
//! ```
//!
//! Invariant: what [`Rollup::by_partition`] lets pass gives for each partition of the rollup the same rows, whether the query
//! sees the whole source or only the partitions that [`Derivation`] maps there. It follows the event time through the
//! query's plan, and refuses what it can't follow. [`Rollup::plan`] refuses what no partitioning could make right: rows that
//! depend on the clock, on chance, or on the order in which files are read.
//!
//! Running the query is `weir-query`'s.

mod derive;
mod order;
mod partition;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use weir_types::LookupName;

pub use self::derive::{DAY_US, Derivation, HOUR_US, Step};
use crate::SqlError;
use crate::columns::{describe, plain_schema, to_plain};
use crate::sql::error::list;
use crate::sql::{names, purity};

const ROLE: names::Role = names::Role {
    noun: "a rollup",
    example: "write a query over a table, such as `select date_trunc('hour', at) as hour, count(*) as events from events \
              group by 1`",
    tables: "tables of a rollup have plain names: one table's, and lookups'",
};

/// Returns the names of the tables and lookups that `sql` reads.
///
/// # Errors
/// If it is not one query.
pub fn reads(sql: &str) -> Result<BTreeSet<String>, SqlError> {
    Ok(names::parse_as(sql, &ROLE)?.1)
}

/// A query over one table and lookups, parsed and planned.
pub struct Rollup {
    sql: String,
    source: String,
    logical: LogicalPlan,
    output: SchemaRef,
    reads: Vec<LookupName>,
}

impl fmt::Debug for Rollup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rollup(of `{}`: {})", self.source, describe(&self.output))
    }
}

impl Rollup {
    /// Parses and plans `sql`, which reads the table `source` with these columns, and each lookup by its name.
    ///
    /// # Errors
    /// If it is not one query, doesn't read the table, names anything else, has a mistake, or its rows depend on more
    /// than those of the table and the lookups.
    pub fn plan(
        sql: &str,
        (source, columns): (&str, &SchemaRef),
        lookups: &BTreeMap<LookupName, SchemaRef>,
    ) -> Result<Self, SqlError> {
        let refused = |error: DataFusionError| SqlError::from_datafusion(sql, &error);
        let (statement, names) = names::parse_as(sql, &ROLE)?;
        let lookups: BTreeMap<LookupName, SchemaRef> = lookups
            .iter()
            .filter(|(name, _)| names.contains(name.as_str()) && name.as_str() != source)
            .map(|(name, schema)| (name.clone(), Arc::clone(schema)))
            .collect();
        if !names.contains(source) {
            return Err(SqlError::new(format!("the query does not read `{source}`")).hint(ROLE.example));
        }
        let unknown =
            names.iter().find(|name| *name != source && !lookups.keys().any(|lookup| lookup.as_str() == name.as_str()));
        if let Some(unknown) = unknown {
            let known = std::iter::once(source).chain(lookups.keys().map(LookupName::as_str));
            return Err(SqlError::new(format!("unknown table `{unknown}`"))
                .at_word(sql, &[unknown])
                .hint(format!("a rollup reads one table and lookups: {}", list(known))));
        }
        let state = crate::sql::session(crate::sql::runtime().map_err(refused)?, (source, columns), &lookups)
            .map_err(refused)?;
        // Planning awaits nothing but our own table providers, which are ready at once.
        let logical = futures::executor::block_on(state.statement_to_plan(statement)).map_err(refused)?;
        order::check(sql, &logical, source)?;
        let physical = futures::executor::block_on(state.create_physical_plan(&logical)).map_err(refused)?;
        let output = plain_schema(&Schema::new(physical.schema().fields().clone()));
        Ok(Self {
            sql: sql.to_owned(),
            source: source.to_owned(),
            logical,
            output,
            reads: lookups.into_keys().collect(),
        })
    }

    /// Returns the columns of the rows that come out, in plain types.
    pub fn output(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// Returns the lookups that the query reads.
    pub fn reads(&self) -> &[LookupName] {
        &self.reads
    }

    /// Brings rows that the query gave into [`Rollup::output`]'s types.
    ///
    /// # Errors
    /// If a value does not fit, or the batch is another query's.
    pub fn to_output(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if batch.num_columns() != self.output.fields().len() {
            let (found, planned) = (describe(&batch.schema()), describe(&self.output));
            return Err(ArrowError::SchemaError(format!("the query gave ({found}), and was planned for ({planned})")));
        }
        to_plain(batch, &self.output)
    }

    /// Follows the column of the output by which the rollup is partitioned back to the event time `time` of the source, so
    /// that a partition can be computed from the partitions of the source that feed it. The column comes with the width of
    /// a partition, [`HOUR_US`] or [`DAY_US`].
    ///
    /// # Errors
    /// If the column is not made of the event time by rounding, or rows could depend on other partitions.
    pub fn by_partition(&self, time: &str, partition: (&str, i64)) -> Result<Derivation, SqlError> {
        partition::follow(self, time, partition)
    }
}

fn reads_source(plan: &LogicalPlan, sql: &str, source: &str) -> Result<bool, SqlError> {
    purity::reads_table(plan, source).map_err(|error| SqlError::from_datafusion(sql, &error))
}

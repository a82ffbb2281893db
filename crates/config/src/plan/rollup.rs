//! Rollups: tables that are made of another table by SQL.

use weir_function::rollup::Derivation;
use weir_types::{LookupName, TableName};

/// A query whose rows a table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupPlan {
    /// The query, which [`weir_function::Rollup::plan`] took.
    pub sql: String,
    /// The table that it reads: one fed by a stream or function, or another rollup. There are no loops.
    pub source: TableName,
    /// The columns of it that the query may read: those that the plan gives it. A table may hold more from before.
    pub source_columns: Vec<String>,
    /// The lookups that it reads.
    pub reads: Vec<LookupName>,
    /// What is computed again when a part of the source has changed.
    pub scope: RollupScope,
}

/// How much of a rollup depends on a part of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollupScope {
    /// All of it.
    Whole,
    /// The one partition that this maps the part's partition to.
    Partition(Derivation),
}

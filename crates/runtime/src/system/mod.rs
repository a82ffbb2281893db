//! System tables: what weir knows of itself, as SQL. They lie in the schema `weir`, as `weir.partitions` does.
//!
//! A table is made when a query names it, from the node's state at that moment, and is small: a row per partition or
//! per hour, never per record. A new one is a module here and a line in [`ALL`].

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use weir_query::{Parsed, Source};

use crate::node::Node;
use crate::query::QueryFailed;

mod crawls;
mod ledger;
mod partitions;

/// A system table's rows, which take a while.
type Rows<'a> = BoxFuture<'a, Result<Vec<RecordBatch>, SystemTableError>>;

/// A system table.
pub(crate) struct SystemTable {
    /// Its name in the schema `weir`.
    pub name: &'static str,
    /// Its columns.
    pub columns: fn() -> SchemaRef,
    /// Its rows at this moment, in batches of its columns.
    pub rows: for<'a> fn(&'a Node, SchemaRef) -> Rows<'a>,
}

/// Why a system table could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read the system table `weir.{table}`")]
pub struct SystemTableError {
    /// Its name.
    pub table: &'static str,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

const ALL: &[SystemTable] = &[partitions::TABLE, ledger::TABLE, crawls::TABLE];

impl Node {
    /// Returns all system tables, with rows where the query reads them.
    pub(crate) async fn system_tables(&self, parsed: &Parsed) -> Result<Vec<(String, Source)>, QueryFailed> {
        let named: Vec<&str> = parsed.system_tables().collect();
        let mut tables = Vec::with_capacity(ALL.len());
        for table in ALL {
            let columns = (table.columns)();
            let rows = match named.contains(&table.name) {
                true => (table.rows)(self, columns.clone()).await?,
                false => Vec::new(),
            };
            tables.push((table.name.to_owned(), Source::rows(columns, rows)));
        }
        Ok(tables)
    }
}

/// Returns the one batch of a table whose rows are all at hand.
fn one_batch(
    table: &'static str,
    columns: SchemaRef,
    arrays: Vec<Arc<dyn arrow::array::Array>>,
) -> Result<Vec<RecordBatch>, SystemTableError> {
    let batch = RecordBatch::try_new(columns, arrays);
    Ok(vec![batch.map_err(|source| SystemTableError { table, source: source.into() })?])
}

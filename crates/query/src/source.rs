//! What a query reads: a table as of one moment.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use object_store::ObjectStore;

/// One Parquet file of a table.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path in the table's store.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// One value per partition column, in their order.
    pub partition: Vec<ScalarValue>,
}

/// A table as of one moment.
#[derive(Debug, Clone)]
pub struct Source {
    /// The columns that files hold. A file that lacks one (it was added later) reads as null there.
    pub columns: SchemaRef,
    /// The columns that files hold for all of their rows at once; they come behind the others.
    pub partition_columns: Vec<FieldRef>,
    /// Where the files are; `None` for rows in memory alone.
    pub store: Option<Arc<dyn ObjectStore>>,
    /// The files.
    pub files: Vec<File>,
    /// Rows that are in no file yet, with the partition columns.
    pub rows: Vec<RecordBatch>,
}

impl Source {
    /// Rows in memory.
    pub fn rows(columns: SchemaRef, rows: Vec<RecordBatch>) -> Self {
        Self { columns, partition_columns: Vec::new(), store: None, files: Vec::new(), rows }
    }

    fn schema(&self) -> SchemaRef {
        let mut fields: Vec<FieldRef> = self.columns.fields().iter().cloned().collect();
        fields.extend(self.partition_columns.iter().cloned());
        Arc::new(Schema::new(fields))
    }
}

/// A source as DataFusion sees it.
#[derive(Debug)]
pub(crate) struct Provider {
    source: Source,
    schema: SchemaRef,
    /// Under which the engine's environment knows the source's store.
    url: ObjectStoreUrl,
}

impl Provider {
    pub fn new(source: Source, url: ObjectStoreUrl) -> Self {
        Self { schema: source.schema(), source, url }
    }

    fn files(&self, state: &dyn Session, projection: Option<&Vec<usize>>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(store) = self.source.store.as_ref().filter(|_| !self.source.files.is_empty()) else {
            return Ok(None);
        };
        let table = TableSchema::builder(self.source.columns.clone())
            .with_table_partition_cols(self.source.partition_columns.clone())
            .build();
        let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
        let parquet = ParquetSource::new(table)
            .with_table_parquet_options(state.default_table_options().parquet)
            .with_pushdown_filters(true)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store.clone(), footers)));
        let files: Vec<PartitionedFile> = self
            .source
            .files
            .iter()
            .map(|file| {
                let mut scanned = PartitionedFile::new(file.path.clone(), file.size);
                scanned.partition_values.clone_from(&file.partition);
                scanned
            })
            .collect();
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(parquet))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(Some(DataSourceExec::from_data_source(config)))
    }
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters prune files and row groups, and are applied again above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut inputs = Vec::new();
        inputs.extend(self.files(state, projection)?);
        if !self.source.rows.is_empty() {
            let rows = std::slice::from_ref(&self.source.rows);
            let memory = MemorySourceConfig::try_new_exec(rows, self.schema.clone(), projection.cloned())?;
            inputs.push(memory as Arc<dyn ExecutionPlan>);
        }
        match inputs.len() {
            0 => {
                let schema = match projection {
                    Some(columns) => Arc::new(self.schema.project(columns)?),
                    None => self.schema.clone(),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            1 => Ok(inputs.remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }
}

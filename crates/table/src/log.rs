//! The Delta log of a table, through the Delta project's kernel.
//!
//! The kernel blocks; all of it runs on blocking threads here. Its own reads go through a small runtime of its own, so
//! that it works whatever runtime a caller has. Versions are put by [`PutIfAbsent`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, LazyLock, PoisonError};

use arrow::array::{Array, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use delta_kernel::engine::arrow_conversion::{TryFromArrow, TryFromKernel};
use delta_kernel::engine::arrow_data::{ArrowEngineData, EngineDataArrowExt};
use delta_kernel::expressions::ColumnName;
use delta_kernel::scan::{ScanMetadata, StatsOptions};
use delta_kernel::schema::{DataType as KernelType, StructField, StructType};
use delta_kernel::transaction::create_table::create_table;
use delta_kernel::transaction::data_layout::DataLayout;
use delta_kernel::transaction::{CommitResult, Transaction, UpdateTableOperation};
use delta_kernel::{FilteredEngineData, KernelError, Snapshot, SnapshotRef};
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder};
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::runtime::{Builder, Runtime};
use url::Url;
use weir_env::Env;

use crate::applications::{Applications, CHANGED_APP, COMMITS_APP, SEEN_APP, SOURCE_APP};
use crate::columns::Addition;
use crate::committer::{self, AttemptSlot, Found, PutIfAbsent};
use crate::file::DataFile;
use crate::metadata;
use crate::outcome::SourceId;
use crate::partition;
use crate::place::{BUCKET_COLUMN, DAY_COLUMN, HOUR_COLUMN, Layout};
use crate::scan::{ScanRows, long_of, struct_of, text_of};
use crate::statistics;
use crate::witness::PlaceChange;

/// What the log names as the writer.
const ENGINE_INFO: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));
/// What the name of a writer that is a weir begins with.
pub(crate) const ENGINE_NAME: &str = "weir/";
/// What the log calls a change of columns with all of its files.
pub(crate) const RESHAPE: &str = "REWRITE COLUMNS";

/// The kernel's own threads: few, since they only wait for the store.
const ENGINE_THREADS: usize = 2;

#[expect(clippy::expect_used, reason = "a process that can't start a thread can't serve anything")]
static ENGINE_RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(ENGINE_THREADS)
        .thread_name("weir-delta")
        .enable_all()
        .build()
        .expect("the Delta kernel's threads start")
});

/// A table's Delta log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Log {
    engine: Arc<DefaultEngine<TokioMultiThreadExecutor>>,
    store: Arc<dyn ObjectStore>,
    root: Url,
    folder: Path,
    env: Env,
    /// Held by a transaction while it runs, even if whoever asked for it is gone.
    running: Arc<tokio::sync::Mutex<()>>,
}

/// What a version holds.
pub(crate) struct Contents {
    pub(crate) version: u64,
    /// The columns without the partition columns.
    pub(crate) columns: SchemaRef,
    /// The partition columns' names, in the order of the schema.
    pub(crate) partition_columns: Vec<String>,
    pub(crate) files: Vec<DataFile>,
    pub(crate) positions: BTreeMap<SourceId, u64>,
    /// How many commits of rows there were.
    pub(crate) commits: u64,
    /// Per partition the number of the last commit of rows that changed its rows.
    pub(crate) changed: BTreeMap<partition::Key, u64>,
    /// The last version of ours; none if an older weir made it.
    pub(crate) seen: Option<u64>,
}

/// What files are described by.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) columns: SchemaRef,
    pub(crate) layout: Layout,
    pub(crate) event_time: Option<String>,
}

/// A file to add.
#[derive(Clone)]
pub(crate) struct Add {
    pub(crate) file: DataFile,
    pub(crate) statistics: statistics::Statistics,
}

/// What a transaction changes.
#[derive(Clone)]
pub(crate) enum Change {
    /// Rows and positions.
    Rows(Rows),
    /// Files for other files with the same rows.
    Replace { adds: Arc<Vec<Add>>, removes: HashSet<String> },
    /// Columns.
    Columns(Vec<Addition>),
    /// Columns, and all files for files in their form. `fills` says that rows have values that they had not.
    Reshape {
        adds: Arc<Vec<Add>>,
        removes: HashSet<String>,
        columns: SchemaRef,
        properties: Vec<(&'static str, String)>,
        fills: bool,
    },
}

/// What a commit of rows changes.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    pub(crate) adds: Arc<Vec<Add>>,
    /// The names of the files that it removes.
    pub(crate) removes: Arc<HashSet<String>>,
    /// Sources that it moves.
    pub(crate) positions: BTreeMap<SourceId, u64>,
    /// Its number.
    pub(crate) commits: u64,
    /// The partitions whose rows it changes.
    pub(crate) changed: BTreeSet<partition::Key>,
    /// What it changes in each place, for the witness.
    pub(crate) places: Arc<Vec<PlaceChange>>,
    /// Whether it stores the sealed buffer.
    pub(crate) is_buffer: bool,
}

/// How a transaction ended.
pub(crate) enum Outcome {
    Committed {
        snapshot: SnapshotRef,
        since_checkpoint: u64,
    },
    Conflict,
    /// It may have happened: see the attempt's slot.
    Failed(KernelError),
}

impl Log {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, root: Url, folder: Path, env: Env) -> Self {
        let executor = Arc::new(TokioMultiThreadExecutor::new(ENGINE_RUNTIME.handle().clone()));
        let engine = DefaultEngineBuilder::new(store.clone()).with_task_executor(executor).build();
        Self { engine: Arc::new(engine), store, root, folder, env, running: Arc::default() }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        let log = self.clone();
        let joined = tokio::task::spawn_blocking(move || work(&log)).await;
        joined.unwrap_or_else(|error| Err(KernelError::generic(format!("the Delta kernel stopped: {error}"))))
    }

    /// Returns the last version, or none if there is no table.
    pub(crate) async fn load(&self) -> Result<Option<SnapshotRef>, KernelError> {
        let mut listed = self.store.list(Some(&self.folder.clone().join("_delta_log")));
        match listed.next().await {
            None => return Ok(None),
            Some(Err(object_store::Error::NotFound { .. })) => return Ok(None),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(_)) => {}
        }
        drop(listed);
        self.blocking(|log| Snapshot::builder_for(&log.root).build(log.engine.as_ref()).map(Some)).await
    }

    /// Returns the last version, given an earlier one.
    pub(crate) async fn refresh(&self, snapshot: SnapshotRef) -> Result<SnapshotRef, KernelError> {
        self.blocking(|log| Snapshot::builder_from(snapshot).build(log.engine.as_ref())).await
    }

    /// Makes the table, or returns the one that another made meanwhile.
    pub(crate) async fn create(
        &self,
        columns: &SchemaRef,
        layout: Layout,
        properties: Vec<(&'static str, String)>,
    ) -> Result<SnapshotRef, KernelError> {
        let partition_fields = layout.fields();
        let fields: Vec<_> =
            columns.fields().iter().map(|field| field.as_ref().clone()).chain(partition_fields.clone()).collect();
        let schema = StructType::try_from_arrow(&Schema::new(fields))?;
        self.blocking(move |log| {
            let engine = log.engine.as_ref();
            let mut builder =
                create_table(&log.root, Arc::new(schema), ENGINE_INFO, false).with_table_properties(properties);
            if !partition_fields.is_empty() {
                builder = builder.with_data_layout(DataLayout::partitioned(partition_fields.iter().map(Field::name)));
            }
            let committer = log.committer(AttemptSlot::default());
            match builder.build(engine, committer) {
                Ok(transaction) => match transaction.commit(engine)? {
                    CommitResult::Committed(_) | CommitResult::Conflicted(_) => {}
                    CommitResult::Retryable(retryable) => return Err(retryable.error),
                },
                Err(KernelError::TableAlreadyExistsAtPath(_)) => {}
                Err(error) => return Err(error),
            }
            Snapshot::builder_for(&log.root).build(engine)
        })
        .await
    }

    fn committer(&self, attempt: AttemptSlot) -> Box<PutIfAbsent> {
        Box::new(PutIfAbsent {
            store: self.store.clone(),
            env: self.env.clone(),
            runtime: ENGINE_RUNTIME.handle().clone(),
            attempt,
            appended: Bytes::new(),
        })
    }

    /// Reads a version whole.
    pub(crate) async fn contents(
        &self,
        snapshot: SnapshotRef,
        layout: Layout,
        event_time: Option<String>,
    ) -> Result<Contents, KernelError> {
        self.blocking(move |log| log.read_contents(&snapshot, layout, event_time.as_deref())).await
    }

    fn read_contents(
        &self,
        snapshot: &SnapshotRef,
        layout: Layout,
        event_time: Option<&str>,
    ) -> Result<Contents, KernelError> {
        let mut files = Vec::new();
        for scanned in self.scan(snapshot)? {
            self.read_files(scanned?, layout, event_time, &mut files)?;
        }
        let Applications { positions, commits, changed, seen } = self.read_applications(snapshot)?;
        Ok(Contents {
            version: snapshot.version(),
            columns: Self::columns(snapshot)?,
            partition_columns: snapshot.table_configuration().metadata().partition_columns().to_vec(),
            files,
            positions,
            commits: commits.unwrap_or(0),
            changed,
            seen,
        })
    }

    fn scan(
        &self,
        snapshot: &SnapshotRef,
    ) -> Result<impl Iterator<Item = Result<ScanMetadata, KernelError>>, KernelError> {
        let scan =
            snapshot.clone().scan_builder().with_stats(StatsOptions::json_only()).without_row_transforms().build()?;
        scan.scan_metadata(self.engine.as_ref()).map(|found| found.collect::<Vec<_>>().into_iter())
    }

    fn read_files(
        &self,
        scanned: ScanMetadata,
        layout: Layout,
        event_time: Option<&str>,
        files: &mut Vec<DataFile>,
    ) -> Result<(), KernelError> {
        let (data, selected) = scanned.scan_files.into_parts();
        let batch = data.try_into_record_batch()?;
        let rows = ScanRows::of(&batch)?;
        for row in 0..batch.num_rows() {
            if !selected.get(row).copied().unwrap_or(true) {
                continue;
            }
            let path = rows.path.value(row).to_owned();
            if rows.deletion_vector.is_some_and(|vector| vector.is_valid(row)) {
                return Err(KernelError::unsupported(format!(
                    "file `{path}` has a deletion vector: rewrite it with its writer first"
                )));
            }
            let values = rows.partition_values(row);
            let place = layout.parse(|name| values.iter().find(|(key, _)| key == name)?.1.as_deref());
            let place = place
                .ok_or_else(|| KernelError::generic(format!("file `{path}` lies in no partition of this table")))?;
            let stats = rows.stats.filter(|stats| stats.is_valid(row)).map(|stats| stats.value(row));
            let (count, times) = stats.map_or((None, None), |stats| statistics::parse(stats, event_time));
            files.push(DataFile {
                location: self.location(&path)?,
                path,
                size: u64::try_from(rows.size.value(row)).unwrap_or(0),
                rows: count,
                place,
                times,
                modified: weir_types::Timestamp(rows.modified.value(row)),
            });
        }
        Ok(())
    }

    /// Returns the address of a folder below the table's.
    pub(crate) fn below(&self, folder: &str) -> Url {
        let mut root = self.root.clone();
        root.set_path(&format!("{}{folder}/", root.path()));
        root
    }

    /// Returns the table's folder, if it is a local one.
    pub(crate) fn local_folder(&self) -> Option<std::path::PathBuf> {
        (self.root.scheme() == "file").then(|| self.root.to_file_path().ok())?
    }

    /// Returns where in the store a path of the log is.
    pub(crate) fn location(&self, path: &str) -> Result<Path, KernelError> {
        let url = self.root.join(path).map_err(|error| KernelError::generic(format!("path `{path}`: {error}")))?;
        Ok(Path::from_url_path(url.path())?)
    }

    fn read_applications(&self, snapshot: &SnapshotRef) -> Result<Applications, KernelError> {
        let txn = StructType::try_new([
            StructField::nullable("appId", KernelType::STRING),
            StructField::nullable("version", KernelType::LONG),
        ])?;
        let schema = Arc::new(StructType::try_new([StructField::nullable("txn", txn)])?);
        let mut applications = Applications::default();
        for actions in snapshot.log_segment().read_actions(self.engine.as_ref(), schema)? {
            let batch = actions?.actions.try_into_record_batch()?;
            let txn = struct_of(&batch, "txn")?;
            let (apps, versions) = (text_of(txn, "appId")?, long_of(txn, "version")?);
            for row in (0..batch.num_rows()).filter(|row| txn.is_valid(*row) && apps.is_valid(*row)) {
                applications.take(apps.value(row), u64::try_from(versions.value(row)).unwrap_or(0));
            }
        }
        Ok(applications)
    }

    /// Returns the files that were removed after `since` (milliseconds since 1970), as far as the log remembers.
    pub(crate) async fn removed_since(&self, snapshot: SnapshotRef, since: i64) -> Result<HashSet<Path>, KernelError> {
        self.blocking(move |log| {
            let remove = StructType::try_new([
                StructField::nullable("path", KernelType::STRING),
                StructField::nullable("deletionTimestamp", KernelType::LONG),
            ])?;
            let schema = Arc::new(StructType::try_new([StructField::nullable("remove", remove)])?);
            let mut removed = HashSet::new();
            for actions in snapshot.log_segment().read_actions(log.engine.as_ref(), schema)? {
                let batch = actions?.actions.try_into_record_batch()?;
                let remove = struct_of(&batch, "remove")?;
                let (paths, times) = (text_of(remove, "path")?, long_of(remove, "deletionTimestamp")?);
                for row in (0..batch.num_rows()).filter(|row| remove.is_valid(*row) && paths.is_valid(*row)) {
                    if times.is_null(row) || times.value(row) > since {
                        removed.insert(log.location(paths.value(row))?);
                    }
                }
            }
            Ok(removed)
        })
        .await
    }

    /// Tries one transaction on top of a version. It runs to its end even if this future is dropped.
    pub(crate) async fn commit(
        &self,
        snapshot: SnapshotRef,
        change: Change,
        shape: Shape,
        attempt: AttemptSlot,
    ) -> Outcome {
        let running = self.running.clone().lock_owned().await;
        let work = move |log: &Self| {
            let _running = running;
            log.transact(snapshot, change, &shape, attempt)
        };
        self.blocking(work).await.unwrap_or_else(Outcome::Failed)
    }

    /// Finds out whether a transaction that is in flight happened, once it doesn't run any more.
    pub(crate) async fn find(&self, attempt: &AttemptSlot) -> Result<Found, KernelError> {
        let _idle = self.running.lock().await;
        let attempt = attempt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match attempt {
            None => Ok(Found::Absent),
            Some(attempt) => Ok(committer::find(self.store.as_ref(), &attempt).await?),
        }
    }

    /// Returns a version's columns without the partition columns.
    pub(crate) fn columns(snapshot: &SnapshotRef) -> Result<SchemaRef, KernelError> {
        let schema = Schema::try_from_kernel(snapshot.schema().as_ref())?;
        let partition_columns = snapshot.table_configuration().metadata().partition_columns();
        let columns = schema.fields().iter().filter(|field| !partition_columns.contains(field.name()));
        let columns = columns.map(|field| Field::new(field.name(), field.data_type().clone(), true));
        Ok(Arc::new(Schema::new(columns.collect::<Vec<_>>())))
    }

    fn transact(
        &self,
        snapshot: SnapshotRef,
        change: Change,
        shape: &Shape,
        attempt: AttemptSlot,
    ) -> Result<Outcome, KernelError> {
        let engine = self.engine.as_ref();
        let add = |adds: &[Add]| add_batch(adds, shape);
        let mut committer = self.committer(attempt);
        // The kernel does not know what is added to its commit: what it makes of it is not what was committed.
        let mut reload = false;
        let transaction = match change {
            Change::Rows(rows) => {
                let operation = UpdateTableOperation::StreamingUpdate;
                let mut builder = snapshot.clone().update_table(operation, ENGINE_INFO, true);
                builder = builder.with_transaction_id(COMMITS_APP, to_version(rows.commits)?);
                builder = builder.with_transaction_id(SEEN_APP, to_version(snapshot.version() + 1)?);
                for (source, position) in rows.positions {
                    builder = builder.with_transaction_id(format!("{SOURCE_APP}{source}"), to_version(position)?);
                }
                for key in rows.changed {
                    let app = format!("{CHANGED_APP}{}", partition::name(key));
                    builder = builder.with_transaction_id(app, to_version(rows.commits)?);
                }
                let mut transaction = builder.build(engine, committer)?;
                if !self.remove(&mut transaction, &snapshot, &rows.removes)? {
                    return Ok(Outcome::Conflict);
                }
                if !rows.adds.is_empty() {
                    transaction.add_files(Box::new(add(&rows.adds)?));
                }
                transaction
            }
            Change::Replace { adds, removes } => {
                let builder = snapshot.clone().update_table(UpdateTableOperation::Optimize, ENGINE_INFO, false);
                let builder = builder.with_transaction_id(SEEN_APP, to_version(snapshot.version() + 1)?);
                let mut transaction = builder.build(engine, committer)?;
                if !self.remove(&mut transaction, &snapshot, &removes)? {
                    return Ok(Outcome::Conflict);
                }
                transaction.add_files(Box::new(add(&adds)?));
                transaction
            }
            Change::Reshape { adds, removes, columns, properties, fills } => {
                committer.appended = metadata::action(&snapshot, &columns, &shape.layout.fields(), &properties)?;
                reload = true;
                let operation = UpdateTableOperation::Custom(RESHAPE.to_owned());
                let builder = snapshot.clone().update_table(operation, ENGINE_INFO, fills);
                let mut transaction = builder.build(engine, committer)?;
                if !self.remove(&mut transaction, &snapshot, &removes)? {
                    return Ok(Outcome::Conflict);
                }
                if !adds.is_empty() {
                    transaction.add_files(Box::new(add_batch(&adds, &Shape { columns, ..shape.clone() })?));
                }
                transaction
            }
            Change::Columns(additions) => {
                let mut builder = snapshot.update_table(UpdateTableOperation::AlterTable, ENGINE_INFO, false);
                for Addition { parent, field } in additions {
                    let field = StructField::try_from_arrow(field.as_ref())?;
                    builder = builder.add_column_at(ColumnName::new(parent), field);
                }
                builder.build(engine, committer)?
            }
        };
        match transaction.commit(engine)? {
            CommitResult::Committed(committed) => {
                let since_checkpoint = committed.post_commit_stats().commits_since_checkpoint;
                let snapshot = match committed.post_commit_snapshot() {
                    Some(snapshot) if !reload => snapshot.clone(),
                    _ => Snapshot::builder_for(&self.root).build(engine)?,
                };
                Ok(Outcome::Committed { snapshot, since_checkpoint })
            }
            CommitResult::Conflicted(_) => Ok(Outcome::Conflict),
            CommitResult::Retryable(retryable) => Err(retryable.error),
        }
    }

    /// Removes files; false if another writer removed some of them before.
    fn remove(
        &self,
        transaction: &mut Transaction,
        snapshot: &SnapshotRef,
        removes: &HashSet<String>,
    ) -> Result<bool, KernelError> {
        if removes.is_empty() {
            return Ok(true);
        }
        let mut missing = removes.len();
        for scanned in self.scan(snapshot)? {
            let (data, selected) = scanned?.scan_files.into_parts();
            let batch = data.try_into_record_batch()?;
            let rows = ScanRows::of(&batch)?;
            let chosen: Vec<bool> = (0..batch.num_rows())
                .map(|row| selected.get(row).copied().unwrap_or(true) && removes.contains(rows.path.value(row)))
                .collect();
            let count = chosen.iter().filter(|chosen| **chosen).count();
            missing = missing.saturating_sub(count);
            if count > 0 {
                transaction.remove_files(FilteredEngineData::try_new(Box::new(ArrowEngineData::new(batch)), chosen)?);
            }
        }
        Ok(missing == 0)
    }

    /// Writes a checkpoint of a version.
    pub(crate) async fn checkpoint(&self, snapshot: SnapshotRef) -> Result<SnapshotRef, KernelError> {
        self.blocking(move |log| snapshot.checkpoint(log.engine.as_ref(), None).map(|(_, snapshot)| snapshot)).await
    }
}

fn to_version(position: u64) -> Result<i64, KernelError> {
    i64::try_from(position)
        .map_err(|_| KernelError::generic(format!("position {position} is more than Delta can hold")))
}

/// Returns files as the kernel wants to be told of them: see `Transaction::add_files_schema`.
fn add_batch(adds: &[Add], shape: &Shape) -> Result<ArrowEngineData, KernelError> {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut partitions = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for add in adds {
        for (name, value) in shape.layout.values(add.file.place) {
            partitions.keys().append_value(name);
            partitions.values().append_option(value);
        }
        partitions.append(true)?;
    }
    let partitions = partitions.finish();
    let paths = StringArray::from_iter_values(adds.iter().map(|add| add.file.path.as_str()));
    let sizes = Int64Array::from_iter_values(adds.iter().map(|add| i64::try_from(add.file.size).unwrap_or(i64::MAX)));
    let modified = Int64Array::from_iter_values(adds.iter().map(|add| add.file.modified.0));
    let files: Vec<_> = adds.iter().map(|add| (add.file.rows.unwrap_or(0), &add.statistics)).collect();
    let stats = statistics::to_array(&shape.columns, shape.event_time.as_deref(), &files);
    let schema = Schema::new(vec![
        Field::new("path", arrow::datatypes::DataType::Utf8, false),
        Field::new("partitionValues", partitions.data_type().clone(), false),
        Field::new("size", arrow::datatypes::DataType::Int64, false),
        Field::new("modificationTime", arrow::datatypes::DataType::Int64, false),
        Field::new("stats", stats.data_type().clone(), true),
    ]);
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(paths), Arc::new(partitions), Arc::new(sizes), Arc::new(modified), Arc::new(stats)];
    Ok(ArrowEngineData::new(RecordBatch::try_new(Arc::new(schema), columns)?))
}

/// Whether a table's partition columns are those of a layout.
pub(crate) fn has_layout(columns: &[String], layout: Layout) -> bool {
    let wanted: Vec<_> = layout.fields().iter().map(|field| field.name().clone()).collect();
    columns == wanted
}

/// Names the settings that a list of partition columns stands for, for errors.
pub(crate) fn describe_partitioning(columns: &[String]) -> String {
    let has = |name: &str| columns.iter().any(|column| column == name);
    match (has(DAY_COLUMN), has(HOUR_COLUMN), has(BUCKET_COLUMN)) {
        (true, true, _) => "hour".to_owned(),
        (true, false, _) => "day".to_owned(),
        (false, false, true) => "none, with buckets".to_owned(),
        _ if columns.is_empty() => "none".to_owned(),
        _ => columns.join(", "),
    }
}

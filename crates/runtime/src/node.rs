//! A node: everything of one process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use tokio::task::JoinHandle;
use url::Url;
use weir_config::{Body, FunctionPlan, Plan, StreamPlan, TablePlan, TableSource, To};
use weir_env::Env;
use weir_function::{Function, LookupError, SqlError, SqlFunction};
use weir_log::local::Options as LogOptions;
use weir_log::{Engine, EngineError, LocalEngine};
use weir_machine::{OpenError as MachineError, Options as MachineOptions, Owner, Snapshots, SubmitError};
use weir_schema::registry::Outcome;
use weir_schema::{Compatibility, Registry, Schema, arrow_schema};
use weir_stream::{Checkpoints, OpenError as StreamError, Settings, Stream};
use weir_table::{LocalStore, OpenError as TableError, PartitionBy, Rule, Spec, Table};
use weir_types::{LogName, StreamName, SubjectName, TableName};

use crate::dead::{self, DEAD_LETTERS, DeadLetters};
use crate::door::Room;
use crate::folder::{Folder, FolderError};
use crate::lookups::LookupSet;
use crate::pipeline::{Parts, Pipeline, source_of};
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// How long dead letters are kept as records; their table keeps them on.
const DEAD_LETTERS_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Rows that make a commit worthwhile, in bytes of Arrow: one such lot is written while the next gathers.
const COMMIT_BYTES: u64 = 48 * 1024 * 1024;
/// Rows that a table may hold in memory before its pipeline waits.
const BUFFER_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// What a node may use.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The log engine's.
    pub log: LogOptions,
    /// The queries'.
    pub query: weir_query::Limits,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The log can't be opened.
    #[error(transparent)]
    Log(#[from] EngineError),
    /// A machine can't be opened.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A stream can't be opened.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A schema could not be registered.
    #[error("register the schema of stream `{stream}`")]
    Submit {
        /// The stream.
        stream: StreamName,
        /// The cause.
        #[source]
        source: SubmitError,
    },
    /// A schema contradicts the versions before it.
    #[error("the schema of stream `{stream}` is refused: {reason}")]
    Schema {
        /// The stream.
        stream: StreamName,
        /// Why, in words, with the field.
        reason: String,
    },
    /// The plan has fewer shards than the stream.
    #[error(
        "stream `{stream}` has {before} shards, and the plan says {shards}: shards can be added, and not be taken away"
    )]
    FewerShards {
        /// The stream.
        stream: StreamName,
        /// What the plan says.
        shards: u32,
        /// What there are.
        before: u32,
    },
    /// A lookup can't be read.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A function's SQL does not fit what it reads now.
    #[error("function `{function}`")]
    Function {
        /// The function.
        function: String,
        /// The cause.
        #[source]
        source: SqlError,
    },
    /// A table's location is no object store that weir knows.
    #[error("the location `{location}` of table `{table}`")]
    Location {
        /// The table.
        table: TableName,
        /// As written.
        location: Url,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
    /// A table can't be opened.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A table was fed from another data folder.
    #[error(
        "table `{table}` has read log `{log}` up to {read}, and the log of this data folder ends at {tail}: the table was fed \
         from another data folder; use that one, or give the table another location"
    )]
    AheadOfLog {
        /// The table.
        table: TableName,
        /// The shard's log.
        log: LogName,
        /// How far the table says that it has read.
        read: u64,
        /// Where the log ends.
        tail: weir_types::SequenceNumber,
    },
    /// The query engine can't be made.
    #[error("prepare for queries")]
    Query(#[from] weir_query::QueryError),
    /// The plan has what this version checks and does not run.
    #[error("{what} can be checked, and not yet run by this version: remove it for now")]
    NotYetRun {
        /// The kind and name.
        what: String,
    },
    /// A name of weir's own is taken by the plan.
    #[error("`{DEAD_LETTERS}` is a stream and a table of weir's own: name yours otherwise")]
    Reserved,
}

/// Why a node did not close cleanly. Nothing that was acknowledged is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The log could not be closed.
    #[error(transparent)]
    Log(#[from] EngineError),
}

/// Everything of one process. Dropping it without [`Node::close`] is like a crash: safe, and what follows is slower.
pub struct Node {
    env: Env,
    folder: Folder,
    engine: Arc<LocalEngine>,
    catalog: Catalog,
    streams: BTreeMap<StreamName, Arc<OpenStream>>,
    lookups: Arc<LookupSet>,
    pipelines: BTreeMap<TableName, Pipeline>,
    dead_letters: DeadLetters,
    room: Room,
    pub(crate) queries: weir_query::Engine,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.folder.root().display())
    }
}

impl Node {
    /// Opens the data folder and starts everything that the plan says.
    ///
    /// # Errors
    /// See [`StartError`]. What was started until then is ended.
    pub async fn start(plan: Plan, data: &Path, env: Env, options: Options) -> Result<Arc<Self>, StartError> {
        refuse_not_yet_run(&plan)?;
        let folder = Folder::open(data)?;
        let engine = Arc::new(LocalEngine::open(&folder.log(), options.log, env.clone())?);
        // Now that the folder is locked, nobody else spills there.
        folder.empty_spill()?;
        let snapshots = Snapshots::new(folder.snapshot_store()?, ObjectPath::default());
        let registry: Owner<Registry> = machine(&*engine, &snapshots, &env).await?;
        let checkpoints: Owner<Checkpoints> = machine(&*engine, &snapshots, &env).await?;
        let catalog = Catalog::new(registry);
        let opening = Opening { env: &env, engine: &*engine, snapshots: &snapshots, catalog: &catalog };

        let mut streams = BTreeMap::new();
        for stream in plan.streams.into_values() {
            streams.insert(stream.name.clone(), opening.stream(stream).await?);
        }
        let dead = opening.dead_letter_stream().await?;
        let dead_name = dead.stream.name().clone();
        if streams.insert(dead_name.clone(), dead.clone()).is_some() {
            return Err(StartError::Reserved);
        }
        let dead_letters = DeadLetters::new(env.clone(), dead.clone());
        let lookups = Arc::new(LookupSet::load(&env, &plan.lookups)?);

        let mut parts = Vec::new();
        for table in plan.tables.into_values() {
            parts.push(Planned::of_plan(table, &plan.functions, &streams, &lookups)?);
        }
        parts.push(Planned::of_dead_letters(dead)?);
        let opened = futures::future::try_join_all(parts.into_iter().map(|planned| {
            let (env, folder) = (env.clone(), folder.clone());
            async move {
                let (table, store) = planned.open(&folder, &env).await?;
                Ok::<_, StartError>((planned, table, store))
            }
        }))
        .await?;
        let mut pipelines = BTreeMap::new();
        for (planned, table, store) in opened {
            refuse_ahead_of_log(&planned, &table)?;
            let own = planned.spec.name.as_str() == DEAD_LETTERS;
            let parts = Parts {
                name: planned.spec.name.clone(),
                columns: planned.spec.columns.clone(),
                env: env.clone(),
                stream: planned.stream,
                function: planned.function,
                lookups: lookups.clone(),
                table: Arc::new(table),
                store,
                catalog: catalog.clone(),
                dead_letters: (!own).then(|| dead_letters.clone()),
                checkpoints: checkpoints.clone(),
                freshness: planned.spec.freshness,
                commit_bytes: planned.spec.commit_bytes,
                lost: AtomicU64::new(0),
            };
            pipelines.insert(planned.spec.name.clone(), Pipeline::start(parts));
        }
        let queries = weir_query::Engine::new(env.clone(), options.query, &folder.spill())?;
        let node = Arc::new(Self {
            room: Room::new(env.clone()),
            env,
            folder,
            engine,
            catalog,
            streams,
            lookups,
            pipelines,
            dead_letters,
            queries,
            tasks: Mutex::default(),
        });
        node.start_upkeep(plan.lookups);
        Ok(node)
    }

    /// Ends the pipelines, commits what was read, and closes the log.
    ///
    /// # Errors
    /// See [`CloseError`].
    pub async fn close(&self) -> Result<(), CloseError> {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        futures::future::join_all(self.pipelines.values().map(Pipeline::stop)).await;
        for stream in self.streams.values() {
            if let Err(error) = stream.stream.snapshot().await {
                tracing::warn!(stream = %stream.stream.name(), %error, "the next start reads the stream's end again");
            }
        }
        Ok(self.engine.close().await?)
    }

    /// Returns the node's clock and randomness.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Returns the data folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Returns the schemas.
    pub fn registry(&self) -> &Catalog {
        &self.catalog
    }

    pub(crate) fn engine(&self) -> &LocalEngine {
        &self.engine
    }

    pub(crate) fn stream(&self, name: &StreamName) -> Option<&Arc<OpenStream>> {
        self.streams.get(name)
    }

    pub(crate) fn streams(&self) -> &BTreeMap<StreamName, Arc<OpenStream>> {
        &self.streams
    }

    pub(crate) fn lookups(&self) -> &Arc<LookupSet> {
        &self.lookups
    }

    pub(crate) fn pipelines(&self) -> &BTreeMap<TableName, Pipeline> {
        &self.pipelines
    }

    pub(crate) fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    pub(crate) fn keep_task(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

/// What a node would pass over in silence is refused.
fn refuse_not_yet_run(plan: &Plan) -> Result<(), StartError> {
    let runs = |function: &FunctionPlan| {
        matches!(function.body, Body::Sql { .. })
            && function.outputs.iter().all(|output| matches!(output.to, To::Table(_)))
            && function.on_failure.is_none()
    };
    let what = None
        .or_else(|| plan.queues.keys().next().map(|name| format!("queue `{name}`")))
        .or_else(|| plan.schedules.keys().next().map(|name| format!("schedule `{name}`")))
        .or_else(|| plan.files.keys().next().map(|name| format!("files `{name}`")))
        .or_else(|| {
            let function = plan.functions.values().find(|function| !runs(function))?;
            Some(format!("function `{}`, which is a handler or writes to something else than tables,", function.name))
        });
    what.map_or(Ok(()), |what| Err(StartError::NotYetRun { what }))
}

/// A table that has read further than the log goes was fed from another data folder: records that come now would be taken
/// for those that it has.
fn refuse_ahead_of_log(planned: &Planned, table: &Table) -> Result<(), StartError> {
    let positions = table.positions();
    for shard in planned.stream.stream.shards() {
        let read = positions.get(&source_of(&planned.stream, shard.id())).copied().unwrap_or(0);
        let tail = shard.bounds().tail;
        if read > tail.0 {
            let log = shard.log().name().clone();
            return Err(StartError::AheadOfLog { table: planned.spec.name.clone(), log, read, tail });
        }
    }
    Ok(())
}

async fn machine<M: weir_machine::Machine>(
    engine: &dyn Engine,
    snapshots: &Snapshots,
    env: &Env,
) -> Result<Owner<M>, StartError> {
    let log = engine.log(&LogName::machine(M::NAME)).await?;
    Ok(Owner::open(log, snapshots.clone(), env.clone(), MachineOptions::default()).await?)
}

/// What opening a stream needs.
struct Opening<'a> {
    env: &'a Env,
    engine: &'a dyn Engine,
    snapshots: &'a Snapshots,
    catalog: &'a Catalog,
}

impl Opening<'_> {
    async fn stream(&self, plan: StreamPlan) -> Result<Arc<OpenStream>, StartError> {
        self.refuse_fewer_shards(&plan)?;
        let settings =
            Settings { shards: plan.shards, retention: plan.retention, retention_bytes: plan.retention_bytes };
        let stream =
            Stream::open(self.engine, self.snapshots.clone(), self.env.clone(), plan.name.clone(), settings).await?;
        self.register(&plan.name, &plan.schema, plan.compatibility).await?;
        Ok(Arc::new(OpenStream::new(stream, plan.schema, plan.key, plan.null_text)))
    }

    /// Records in a shard that the plan does not have any more would never be read.
    fn refuse_fewer_shards(&self, plan: &StreamPlan) -> Result<(), StartError> {
        let prefix = format!("stream/{}/", plan.name);
        let highest = self
            .engine
            .names()
            .iter()
            .filter_map(|name| name.as_str().strip_prefix(&prefix)?.parse::<u32>().ok())
            .max();
        match highest {
            Some(highest) if highest >= plan.shards => {
                Err(StartError::FewerShards { stream: plan.name.clone(), shards: plan.shards, before: highest + 1 })
            }
            _ => Ok(()),
        }
    }

    async fn dead_letter_stream(&self) -> Result<Arc<OpenStream>, StartError> {
        let name: StreamName = DEAD_LETTERS.parse().expect("the name follows the rule");
        let settings = Settings { shards: 1, retention: DEAD_LETTERS_RETENTION, retention_bytes: None };
        let stream =
            Stream::open(self.engine, self.snapshots.clone(), self.env.clone(), name.clone(), settings).await?;
        let schema = dead::schema();
        self.register(&name, &schema, None).await?;
        Ok(Arc::new(OpenStream::new(stream, schema, None, None)))
    }

    /// Registers a stream's schema as the next version of its subject, `NAME-value` as Confluent's clients call it.
    async fn register(
        &self,
        name: &StreamName,
        schema: &Schema,
        level: Option<Compatibility>,
    ) -> Result<(), StartError> {
        let submit = |source| StartError::Submit { stream: name.clone(), source };
        let refused = |reason: String| StartError::Schema { stream: name.clone(), reason };
        let subject: SubjectName = format!("{name}-value").parse().expect("a stream's name and a suffix are a subject");
        let known = self.catalog.read(|registry| {
            let latest = registry.latest(&subject).map(|version| version.schema.to_json() == schema.to_json());
            latest == Some(true) && level.is_none_or(|level| registry.compatibility(&subject) == level)
        });
        if known {
            return Ok(());
        }
        if let Some(level) = level {
            self.catalog.set_compatibility(Some(subject.clone()), level).await.map_err(submit)?;
        }
        match self.catalog.register(subject, schema.to_json().to_owned()).await.map_err(submit)? {
            Outcome::Registered { .. } | Outcome::Unchanged { .. } => Ok(()),
            Outcome::Incompatible { level, reasons } => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                Err(refused(format!("under {level} it contradicts the version before: {}", reasons.join("; "))))
            }
            Outcome::Invalid { error } => Err(refused(error.to_string())),
            other => Err(refused(format!("{other:?}"))),
        }
    }
}

/// A table of the plan with what feeds it, before it is opened.
struct Planned {
    spec: Spec,
    location: Option<Url>,
    stream: Arc<OpenStream>,
    function: Option<Arc<dyn Function>>,
}

impl Planned {
    fn of_plan(
        plan: TablePlan,
        functions: &BTreeMap<weir_types::FunctionName, FunctionPlan>,
        streams: &BTreeMap<StreamName, Arc<OpenStream>>,
        lookups: &LookupSet,
    ) -> Result<Self, StartError> {
        let stream = plan.stream.as_ref().and_then(|stream| streams.get(stream));
        let stream = stream.expect("the plan was checked: its tables are behind streams").clone();
        let mut columns = plan.columns;
        let function: Option<Arc<dyn Function>> = match &plan.source {
            TableSource::Stream(_) => None,
            TableSource::Function { function: name, output } => {
                let function = functions.get(name).expect("the plan was checked: its references lead somewhere");
                let output = function.outputs.iter().find(|known| known.name == *output);
                let sql = output.and_then(|output| output.sql.as_deref());
                let sql = sql.expect("the plan was checked: its tables are behind SQL");
                let input = arrow_schema(&stream.schema).expect("the plan was checked: its schemas have columns");
                let planned = SqlFunction::plan(sql, input, lookups.columns())
                    .map_err(|source| StartError::Function { function: name.to_string(), source })?;
                columns = planned.output();
                Some(Arc::new(planned))
            }
        };
        let rule = |rule| match rule {
            weir_config::Rule::Keep => Rule::Keep,
            weir_config::Rule::DeadLetter => Rule::DeadLetter,
        };
        let mut spec = Spec::new(plan.name, columns);
        spec.partition_by = match plan.partition_by {
            weir_config::PartitionBy::None => PartitionBy::None,
            weir_config::PartitionBy::Day(column) => PartitionBy::Day(column),
            weir_config::PartitionBy::Hour(column) => PartitionBy::Hour(column),
        };
        spec.buckets = plan.buckets;
        spec.unique_by = plan.unique_by;
        spec.lookback = plan.lookback;
        spec.late = rule(plan.late);
        spec.timeless = rule(plan.timeless);
        spec.freshness = plan.freshness;
        spec.commit_bytes = COMMIT_BYTES;
        spec.buffer_bytes_max = BUFFER_BYTES_MAX;
        if let Some(size) = plan.target_file_size {
            spec.target_file_bytes = size.0;
        }
        Ok(Self { spec, location: plan.location, stream, function })
    }

    fn of_dead_letters(stream: Arc<OpenStream>) -> Result<Self, StartError> {
        let columns =
            arrow_schema(&stream.schema).expect("the schema of dead letters is part of the program, and tested");
        let name = DEAD_LETTERS.parse().expect("the name follows the rule");
        let spec = Spec { unique_by: vec!["id".to_owned()], ..Spec::new(name, columns) };
        Ok(Self { spec, location: None, stream, function: None })
    }

    async fn open(&self, folder: &Folder, env: &Env) -> Result<(Table, Arc<dyn ObjectStore>), StartError> {
        let (store, root): (Arc<dyn ObjectStore>, Url) = match &self.location {
            Some(location) if location.scheme() != "file" => {
                let (store, _) = object_store::parse_url_opts(location, std::env::vars()).map_err(|source| {
                    StartError::Location { table: self.spec.name.clone(), location: location.clone(), source }
                })?;
                (Arc::from(store), location.clone())
            }
            location => {
                let path = match location {
                    Some(location) => std::path::PathBuf::from(location.path()),
                    None => folder.table(self.spec.name.as_str()),
                };
                std::fs::create_dir_all(&path).map_err(|source| FolderError::Io {
                    action: "make folder",
                    path: path.clone(),
                    source,
                })?;
                let root = Url::from_directory_path(&path).expect("the data folder's path is absolute");
                (Arc::new(LocalStore::new()), root)
            }
        };
        let table = Table::open(self.spec.clone(), store.clone(), root, env.clone()).await?;
        Ok((table, store))
    }
}

//! A node: everything of one process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::path::Path as ObjectPath;
use tokio::task::JoinHandle;
use url::Url;
use weir_budget::Budgets;
use weir_config::{Body, FunctionPlan, On, Plan, SchedulePlan, TableSource};
use weir_crawl::http::HttpError;
use weir_crawl::runs::Runs;
use weir_env::Env;
use weir_function::SqlError;
use weir_lambda::{Host, HostError, Options as HostOptions, Versions};
use weir_log::local::Options as LogOptions;
use weir_log::{Engine, EngineError, LocalEngine};
use weir_machine::{
    OpenError as MachineError, Options as MachineOptions, Owner, SnapshotError, Snapshots, SubmitError,
};
use weir_queue::Queues;
use weir_schema::Registry;
use weir_stream::{Checkpoints, OpenError as StreamError, Settings, Stream};
use weir_table::{OpenError as TableError, Table};
use weir_types::{
    ApiName, CrawlName, FilesName, FunctionName, LogName, QueueName, ScheduleName, SequenceNumber, StreamName,
    SubjectName, TableName,
};

use crate::archive::{self, Archives};
use crate::compaction::Compactions;
use crate::crawl::{self, Crawls, OpenCrawl, OpenCrawls, Transports};
use crate::dead::{self, ACTIONS, Actions, DEAD_LETTERS, DeadLetters};
use crate::door::Room;
use crate::files::{self, Files, OpenFiles};
use crate::folder::{Folder, FolderError};
use crate::function::{Around, Functions, OpenFunction, OutboxError, Scheduled, needs_outbox};
use crate::ledger::{BookError, Bookkeeper, Books, Count, Covered, Keeping};
use crate::lookups::{LookupError, LookupSet};
use crate::opening::{self, Opening};
use crate::pipeline::{Aside, GATHERED_FRESHNESS, Parts, Pipeline, Replayed};
use crate::replay::{Replaying, Replays};
use crate::rollup::{self, OpenRollup};
use crate::schemas::Catalog;
use crate::streams::OpenStream;
use crate::tables::{self, Feeds, Planned};

/// How long records are kept that are given to a table once more.
const REDRIVE_RETENTION: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

/// What a node may use.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The log engine's.
    pub log: LogOptions,
    /// The queries'.
    pub query: weir_query::Limits,
    /// The handlers'.
    pub handlers: Handlers,
    /// Whether books are kept.
    pub ledger: Keeping,
    /// What carries the calls of crawls.
    pub transports: Transports,
}

/// What running handlers needs of the process around.
#[derive(Debug, Clone, Default)]
pub struct Handlers {
    /// The command that runs [`weir_lambda::confine::main`]; empty: a plan with handlers does not start.
    pub launcher: Vec<std::ffi::OsString>,
    /// Where installed dependencies are kept over data folders; none: in the data folder.
    pub cache: Option<PathBuf>,
    /// The node's own address, which handlers find as `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
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
    #[error("register the schema of `{subject}`")]
    Submit {
        /// Its subject.
        subject: SubjectName,
        /// The cause.
        #[source]
        source: SubmitError,
    },
    /// A schema contradicts the versions before it.
    #[error("the schema of `{subject}` is refused: {reason}")]
    Schema {
        /// Its subject.
        subject: SubjectName,
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
    /// A lookup can't be read, and never was.
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
    /// An archive's location is no object store that weir knows.
    #[error("the archive_location `{location}` of stream `{stream}`")]
    ArchiveLocation {
        /// The stream.
        stream: StreamName,
        /// As written.
        location: Url,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
    /// A table can't be opened.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A table that took whole runs of a crawl is to take rows as they come.
    #[error(
        "table `{table}` took whole runs of its crawl, and can't take rows as they come: give the new table another name, or let \
         its resource replace, or be visible when complete, as before"
    )]
    TookWholeRuns {
        /// The table.
        table: TableName,
    },
    /// A table's folder can't be listed.
    #[error("look into the folder of table `{table}`")]
    Look {
        /// The table.
        table: TableName,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
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
    /// The queues can't be opened.
    #[error(transparent)]
    Queues(#[from] weir_queue::OpenError),
    /// A queue of the plan can't be made.
    #[error(transparent)]
    Queue(#[from] weir_queue::CreateError),
    /// A queue of the plan can't be changed.
    #[error(transparent)]
    ChangeQueue(#[from] weir_queue::ChangeError),
    /// Queues name each other as their dead-letter queues.
    #[error("queue `{queue}` is its own dead-letter queue, by way of others")]
    QueueLoop {
        /// One of them.
        queue: QueueName,
    },
    /// A place of files is no folder or object store that weir knows.
    #[error("the location `{location}` of files `{files}`")]
    FilesLocation {
        /// The block.
        files: FilesName,
        /// As written.
        location: Url,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
    /// A rollup's SQL does not fit what it reads now.
    #[error("the SQL of table `{table}`")]
    Rollup {
        /// The table.
        table: TableName,
        /// The cause.
        #[source]
        source: SqlError,
    },
    /// Rollups are made of each other.
    #[error("table `{table}` is made of itself, by way of others")]
    RollupLoop {
        /// One of them.
        table: TableName,
    },
    /// Handlers can't be run here.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A handler's code can't be used.
    #[error("deploy function `{function}`")]
    Deploy {
        /// The function.
        function: FunctionName,
        /// The cause.
        #[source]
        source: weir_lambda::DeployError,
    },
    /// What a function has done can't be read.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// A table's book can't be opened.
    #[error("open the book of table `{table}`")]
    Books {
        /// The table.
        table: String,
        /// The cause.
        #[source]
        source: BookError,
    },
    /// The ledger's books can't be opened.
    #[error("open the ledger's books")]
    OpenBooks {
        /// The cause.
        #[source]
        source: SubmitError,
    },
    /// A crawl's words are not understood any more.
    #[error("crawl `{crawl}`: {reason}")]
    Crawl {
        /// The crawl.
        crawl: CrawlName,
        /// What is wrong with it.
        reason: String,
    },
    /// How far a crawl is can't be read.
    #[error("read how far crawl `{crawl}` is")]
    CrawlProgress {
        /// The crawl.
        crawl: CrawlName,
        /// The cause.
        #[source]
        source: SnapshotError,
    },
    /// An account can't be called.
    #[error("open api `{api}`")]
    Api {
        /// The account.
        api: ApiName,
        /// The cause.
        #[source]
        source: HttpError,
    },
    /// A name of weir's own is taken by the plan.
    #[error("`{DEAD_LETTERS}` and `{ACTIONS}` are streams and tables of weir's own: name yours otherwise")]
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
    checkpoints: Owner<Checkpoints>,
    streams: BTreeMap<StreamName, Arc<OpenStream>>,
    queues: Arc<Queues>,
    lookups: Arc<LookupSet>,
    plans: BTreeMap<FunctionName, Arc<FunctionPlan>>,
    functions: Functions,
    crawls: Arc<Crawls>,
    files: Vec<OpenFiles>,
    /// Runs the handlers, if the plan has any. Their environments end with the node.
    host: Option<Arc<Host>>,
    versions: Owner<Versions>,
    pipelines: BTreeMap<TableName, Pipeline>,
    rollups: BTreeMap<TableName, OpenRollup>,
    archives: Archives,
    dead_letters: DeadLetters,
    actions: Actions,
    replaying: Replaying,
    room: Room,
    pub(crate) queries: weir_query::Engine,
    books: Arc<Books>,
    compactions: Compactions,
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
        let folder = Folder::open(data)?;
        let engine = Arc::new(LocalEngine::open(&folder.log(), options.log, env.clone())?);
        // Now that the folder is locked, nobody else spills there.
        folder.empty_spill()?;
        let snapshots = Snapshots::new(folder.snapshot_store()?, ObjectPath::default());
        let registry: Owner<Registry> = machine(&*engine, &snapshots, &env).await?;
        let checkpoints: Owner<Checkpoints> = machine(&*engine, &snapshots, &env).await?;
        let versions: Owner<Versions> = machine(&*engine, &snapshots, &env).await?;
        let taken: Owner<Files> = machine(&*engine, &snapshots, &env).await?;
        let replays: Owner<Replays> = machine(&*engine, &snapshots, &env).await?;
        let runs: Owner<Runs> = machine(&*engine, &snapshots, &env).await?;
        let budgets: Owner<Budgets> = machine(&*engine, &snapshots, &env).await?;
        let books = Books::new(env.clone(), machine(&*engine, &snapshots, &env).await?, options.ledger);
        let catalog = Catalog::new(registry);
        let opening = Opening { env: &env, engine: &*engine, snapshots: &snapshots, catalog: &catalog };

        let mut streams = BTreeMap::new();
        let times = plan.streams.values().filter_map(|stream| Some((stream.name.clone(), stream.time.clone()?)));
        let replaying = Replaying::new(replays, times.collect());
        let mut archives = Vec::new();
        for mut stream in plan.streams.into_values() {
            let (name, archive) = (stream.name.clone(), stream.archive.take());
            let open = opening.stream(stream).await?;
            archives.extend(archive.map(|archive| (open.stream.clone(), archive)));
            streams.insert(name, open);
        }
        let around = archive::Around { env: &env, folder: &folder, catalog: &catalog, checkpoints: &checkpoints };
        let archives = archive::plan(archives, &around)?;
        let planned_files = files::open(plan.files, &opening, &mut streams).await?;
        let dead = opening.own_stream(DEAD_LETTERS, dead::schema()).await?;
        let actions = opening.own_stream(ACTIONS, dead::actions_schema()).await?;
        for own in [&dead, &actions] {
            let taken = streams.insert(own.stream.name().clone(), own.clone()).is_some();
            if taken || plan.tables.keys().any(|table| table.as_str() == own.stream.name().as_str()) {
                return Err(StartError::Reserved);
            }
        }
        let dead_letters = DeadLetters::new(dead.clone());
        let queues = Queues::open(engine.clone(), snapshots.clone(), env.clone()).await?;
        opening::queues(&queues, plan.queues).await?;
        let kept = weir_lookup::Snapshots::new(folder.snapshot_store()?);
        let lookups = Arc::new(LookupSet::open(&env, kept, plan.lookups).await?);
        // Where nothing is hosted, nothing is looked at or said of what confines it.
        let hosts = plan.functions.values().any(|function| matches!(function.body, Body::Handler(_)));
        let host = match hosts {
            true => Some(Host::new(env.clone(), host_options(&folder, options.handlers))?),
            false => None,
        };
        let plans: BTreeMap<FunctionName, Arc<FunctionPlan>> =
            plan.functions.into_iter().map(|(name, plan)| (name, Arc::new(plan))).collect();
        let of_functions = Around {
            env: &env,
            engine: &*engine,
            snapshots: &snapshots,
            catalog: &catalog,
            checkpoints: &checkpoints,
            streams: &streams,
            queues: &queues,
            lookups: &lookups,
            dead_letters: &dead_letters,
            host: host.as_deref(),
            versions: &versions,
            books: &books,
        };
        let mut functions = Functions::new();
        for (name, plan) in plans.iter().filter(|(_, plan)| needs_outbox(plan)) {
            functions.insert(name.clone(), OpenFunction::open(plan.clone(), &of_functions).await?);
        }

        let apis = crawl::open_apis(plan.apis, budgets, &options.transports, &env).await?;
        let of_crawls = crawl::Around {
            env: &env,
            engine: &*engine,
            snapshots: &snapshots,
            catalog: &catalog,
            checkpoints: &checkpoints,
            streams: &streams,
            queues: &queues,
            dead_letters: &dead_letters,
            runs: &runs,
            apis: &apis,
        };
        let mut crawls = OpenCrawls::new();
        for (name, plan) in plan.crawls {
            crawls.insert(name, OpenCrawl::open(plan, &of_crawls).await?);
        }

        let feeds =
            Feeds { plans: &plans, functions: &functions, crawls: &crawls, streams: &streams, lookups: &lookups };
        let mut parts = Vec::new();
        let (rollups, tables): (Vec<_>, Vec<_>) =
            plan.tables.into_values().partition(|table| matches!(table.source, TableSource::Rollup(_)));
        for table in tables {
            let redrive = StreamName::of_redrive("table", table.name.as_str());
            let settings = Settings { shards: 1, retention: REDRIVE_RETENTION, retention_bytes: None };
            let redrive = Stream::open(&*engine, snapshots.clone(), env.clone(), redrive, settings).await?;
            parts.push(Planned::of_plan(table, redrive, &feeds)?);
        }
        parts.push(Planned::of_dead_letters(dead));
        parts.push(Planned::of_actions(actions.clone())?);
        let opened = futures::future::try_join_all(parts.into_iter().map(|planned| {
            let (env, folder, books) = (env.clone(), folder.clone(), books.clone());
            async move {
                let covered = Arc::new(Covered::default());
                let name = planned.spec.name.to_string();
                let witness = Arc::new(Bookkeeper::new(name.clone(), books.clone(), covered.clone()));
                let (table, store) = planned.open(&folder, &env, witness).await?;
                books.open_table(&table).await.map_err(|source| StartError::Books { table: name, source })?;
                let aside = open_aside(&planned, &table, &books).await?;
                Ok::<_, StartError>((planned, table, store, covered, aside))
            }
        }))
        .await?;
        let own_streams = functions.values().flat_map(|function| {
            let replay = function.replay.iter().flat_map(|replay| [&replay.feed, &replay.made]);
            std::iter::once(&function.stream).chain(&function.redrive).chain(replay)
        });
        let own_streams = own_streams.chain(crawls.values().map(|crawl| &crawl.stream));
        let of_tables = opened.iter().flat_map(|(planned, ..)| &planned.sources).map(|source| &source.stream);
        for stream in streams.values().map(|stream| &stream.stream).chain(own_streams).chain(of_tables) {
            for shard in stream.shards() {
                books.open_shard(shard).await.map_err(|source| StartError::OpenBooks { source })?;
            }
        }
        let mut pipelines = BTreeMap::new();
        for (planned, table, store, covered, aside) in opened {
            refuse_ahead_of_log(&planned, &table)?;
            if let Some(aside) = &aside {
                refuse_ahead_of_log(&planned, &aside.table)?;
            }
            let freshness = match aside {
                Some(_) => planned.spec.freshness.max(GATHERED_FRESHNESS),
                None => planned.spec.freshness,
            };
            let own = planned.spec.name.as_str() == DEAD_LETTERS;
            let parts = Parts {
                name: planned.spec.name.clone(),
                columns: planned.spec.columns.clone(),
                env: env.clone(),
                stream: planned.stream,
                sources: planned.sources,
                function: planned.function,
                lookups: lookups.clone(),
                table: Arc::new(table),
                aside,
                store,
                catalog: catalog.clone(),
                dead_letters: (!own).then(|| dead_letters.clone()),
                checkpoints: checkpoints.clone(),
                freshness,
                commit_bytes: planned.spec.commit_bytes,
                lost: AtomicU64::new(0),
                replayed: Replayed::default(),
                books: books.clone(),
                covered,
                #[cfg(test)]
                skip_page: std::sync::atomic::AtomicBool::new(false),
                #[cfg(test)]
                drop_row: std::sync::atomic::AtomicBool::new(false),
            };
            pipelines.insert(planned.spec.name.clone(), Pipeline::start(parts));
        }
        let queries = weir_query::Engine::new(env.clone(), options.query, &folder.spill())?;
        let around = rollup::Around { env: &env, folder: &folder, lookups: &lookups, queries: &queries, books: &books };
        let rollups = rollup::open(rollups, rollup::sources(&pipelines), &around).await?;
        let tables = pipelines.keys().chain(rollups.keys()).map(ToString::to_string);
        let aside = pipelines.values().filter_map(Pipeline::aside).map(|aside| aside.table.spec().name.to_string());
        let tables = tables.chain(aside).collect();
        books.close_others(&tables).await.map_err(|source| StartError::OpenBooks { source })?;
        for function in functions.values() {
            function.start(&of_functions).await?;
        }
        start_schedules(&env, &plan.schedules, &functions).await;
        for crawl in crawls.values() {
            crawl.start(&of_crawls).await?;
        }
        let crawls = Arc::new(Crawls::new(env.clone(), crawls, apis, runs));
        let around = files::Around {
            env: &env,
            owner: &taken,
            catalog: &catalog,
            dead_letters: &dead_letters,
            functions: &functions,
            queues: &queues,
        };
        let files = planned_files.into_iter().map(|planned| OpenFiles::start(planned, &around)).collect();
        let node = Arc::new(Self {
            room: Room::new(env.clone()),
            env,
            folder,
            engine,
            catalog,
            checkpoints,
            streams,
            queues,
            lookups,
            plans,
            functions,
            crawls,
            files,
            host,
            versions,
            pipelines,
            rollups,
            archives,
            dead_letters,
            actions: Actions::new(actions),
            replaying,
            queries,
            books,
            compactions: Compactions::default(),
            tasks: Mutex::default(),
        });
        node.start_parking();
        node.start_carrying();
        node.start_replaying();
        for archive in node.archives.values() {
            node.keep_task(tokio::spawn(archive.clone().run()));
        }
        node.start_upkeep();
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
        // What brings something in before what works it off.
        self.replaying.stop().await;
        futures::future::join_all(self.files.iter().map(OpenFiles::stop)).await;
        // Crawls and functions before tables: what they have made is in the tables' streams then.
        futures::future::join_all(self.crawls.open.values().map(|crawl| crawl.stop())).await;
        futures::future::join_all(self.functions.values().map(|function| function.stop())).await;
        if let Some(host) = &self.host {
            host.close().await;
        }
        crawl::close_apis(&self.crawls.apis).await;
        futures::future::join_all(self.pipelines.values().map(Pipeline::stop)).await;
        futures::future::join_all(self.rollups.values().map(OpenRollup::stop)).await;
        self.queues.close().await;
        if let Err(error) = self.book(Count::All).await {
            tracing::warn!(error = crate::pipeline::chain(&error), "the next start counts the streams' ends again");
        }
        for stream in self.all_streams() {
            if let Err(error) = stream.snapshot().await {
                tracing::warn!(stream = %stream.name(), %error, "the next start reads the stream's end again");
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

    /// Returns every stream of the node, weir's own included.
    pub(crate) fn all_streams(&self) -> Vec<Arc<Stream>> {
        let mut all: BTreeMap<StreamName, Arc<Stream>> =
            self.streams.values().map(|stream| (stream.stream.name().clone(), stream.stream.clone())).collect();
        let of_functions = self.functions.values();
        let of_functions = of_functions.flat_map(|function| {
            let replay = function.replay.iter().flat_map(|replay| [&replay.feed, &replay.made]);
            std::iter::once(&function.stream).chain(&function.redrive).chain(replay)
        });
        let of_tables = self.pipelines.values().flat_map(Pipeline::sources).map(|source| &source.stream);
        let of_crawls = self.crawls.open.values().map(|crawl| &crawl.stream);
        all.extend(
            of_functions.chain(of_crawls).chain(of_tables).map(|stream| (stream.name().clone(), stream.clone())),
        );
        all.into_values().collect()
    }

    /// Returns the queues.
    pub fn queues(&self) -> &Arc<Queues> {
        &self.queues
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    pub(crate) fn files(&self) -> &[OpenFiles] {
        &self.files
    }

    pub(crate) fn plans(&self) -> &BTreeMap<FunctionName, Arc<FunctionPlan>> {
        &self.plans
    }

    pub(crate) fn host(&self) -> Option<&Host> {
        self.host.as_deref()
    }

    pub(crate) fn versions(&self) -> &Owner<Versions> {
        &self.versions
    }

    /// Returns what the kernel enforces on handlers, and what it does not.
    pub fn confinement(&self) -> Vec<weir_lambda::Confinement> {
        self.host.as_ref().map(|host| host.confinement()).unwrap_or_default()
    }

    /// Returns the crawls, and the accounts that they call.
    pub fn crawls(&self) -> &Arc<Crawls> {
        &self.crawls
    }

    /// Returns how far the stream of a function or a crawl was carried on by its forwarder.
    pub(crate) fn forwarded(&self, consumer: &str, log: &LogName) -> SequenceNumber {
        self.checkpoints.read(|all| all.get(consumer, log)).map_or(SequenceNumber::ZERO, |at| at.next)
    }

    pub(crate) fn lookups(&self) -> &Arc<LookupSet> {
        &self.lookups
    }

    pub(crate) fn pipelines(&self) -> &BTreeMap<TableName, Pipeline> {
        &self.pipelines
    }

    pub(crate) fn rollups(&self) -> &BTreeMap<TableName, OpenRollup> {
        &self.rollups
    }

    /// Returns every table: those that pipelines fill, and rollups.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&TableName, &Arc<Table>)> {
        let filled = self.pipelines.iter().map(|(name, pipeline)| (name, pipeline.table()));
        filled.chain(self.rollups.iter().map(|(name, rollup)| (name, rollup.table())))
    }

    pub(crate) fn archives(&self) -> &Archives {
        &self.archives
    }

    pub(crate) fn compactions(&self) -> &Compactions {
        &self.compactions
    }

    pub(crate) fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }

    pub(crate) fn actions(&self) -> &Actions {
        &self.actions
    }

    pub(crate) fn replaying(&self) -> &Replaying {
        &self.replaying
    }

    pub(crate) fn checkpoints(&self) -> &Owner<Checkpoints> {
        &self.checkpoints
    }

    pub(crate) fn books(&self) -> &Arc<Books> {
        &self.books
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Ends what runs beside the flow, the carrier of redriven letters among it, as a crash would.
    #[cfg(test)]
    pub(crate) async fn abort_tasks(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
            // An error says that it was aborted.
            let _ = task.await;
        }
    }

    pub(crate) fn keep_task(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

/// Opens where a run's rows are gathered for a table that takes whole runs, and its book.
async fn open_aside(planned: &Planned, table: &Table, books: &Arc<Books>) -> Result<Option<Aside>, StartError> {
    let Some(whole) = planned.whole else {
        if planned.stream.stream.name().is_of_crawl() {
            tables::refuse_aside(table).await?;
        }
        return Ok(None);
    };
    let covered = Arc::new(Covered::default());
    let name = TableName::of_run(&planned.spec.name).to_string();
    let witness = Arc::new(Bookkeeper::new(name.clone(), books.clone(), covered.clone()));
    let aside = tables::open_aside(table, whole, witness).await?;
    books.open_table(&aside).await.map_err(|source| StartError::Books { table: name, source })?;
    Ok(Some(Aside::new(aside, whole, covered)))
}

fn host_options(folder: &Folder, handlers: Handlers) -> HostOptions {
    let own = folder.functions();
    let cache = handlers.cache.unwrap_or_else(|| own.join("cache"));
    HostOptions { endpoint: handlers.endpoint, ..HostOptions::new(own, cache, handlers.launcher) }
}

/// Starts each schedule for each function that is on it.
async fn start_schedules(env: &Env, schedules: &BTreeMap<ScheduleName, SchedulePlan>, functions: &Functions) {
    for function in functions.values() {
        let On::Schedule(name) = &function.plan.on else { continue };
        if let (Some(plan), Some(events)) = (schedules.get(name), &function.events) {
            function.run_on(Scheduled::new(env.clone(), plan, events.clone())).await;
        }
    }
}

/// A table that has read further than the log goes was fed from another data folder: records that come now would be taken
/// for those that it has.
fn refuse_ahead_of_log(planned: &Planned, table: &Table) -> Result<(), StartError> {
    let positions = table.positions();
    for source in &planned.sources {
        let shard = source.shard();
        let read = positions.get(&source.source()).copied().unwrap_or(0);
        let tail = shard.bounds().tail;
        if read > tail.0 {
            let log = shard.log().name().clone();
            return Err(StartError::AheadOfLog { table: planned.spec.name.clone(), log, read, tail });
        }
    }
    Ok(())
}

pub(crate) async fn machine<M: weir_machine::Machine>(
    engine: &dyn Engine,
    snapshots: &Snapshots,
    env: &Env,
) -> Result<Owner<M>, StartError> {
    let log = engine.log(&LogName::machine(M::NAME)).await?;
    Ok(Owner::open(log, snapshots.clone(), env.clone(), MachineOptions::default()).await?)
}

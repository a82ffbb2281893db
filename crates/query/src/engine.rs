//! Parsing, planning and running one query.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::MemorySchemaProvider;
use datafusion::common::TableReference;
use datafusion::execution::context::{SQLOptions, SessionConfig, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use weir_env::Env;
use weir_function::SqlError;
use weir_types::ByteSize;

use crate::answer::Answer;
use crate::error::QueryError;
use crate::source::{Provider, Source};

/// The longest SQL that is looked at, in bytes.
pub const SQL_BYTES_MAX: usize = 256 * 1024;

/// What queries may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// One query's time, from its start to its last row.
    pub time: Duration,
    /// Memory that all queries together use before they spill.
    pub memory: ByteSize,
    /// Disk that all queries together use when they spill.
    pub spill: ByteSize,
    /// Rows of one answer.
    pub rows: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            memory: ByteSize(128 * 1024 * 1024),
            spill: ByteSize(10_000_000_000),
            rows: 10_000_000,
        }
    }
}

/// The schema of the tables that say what weir itself does, such as `weir.partitions`.
pub const SYSTEM_SCHEMA: &str = "weir";

const CATALOG: &str = "weir";

/// Operators of one query. They nest as deep as there are of them, and so does the work on what is parsed.
pub const OPERATORS_MAX: usize = 1000;

/// Refuses chains such as `1+1+1+...` before they are parsed into a tree that is too deep for the stack.
pub(crate) fn refuse_chains(sql: &str) -> Result<(), QueryError> {
    // What is no SQL to its tokens is told by the parser.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let operators = tokens.iter().filter(|token| match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::JOIN
                | Keyword::IS
                | Keyword::LIKE
                | Keyword::BETWEEN
                | Keyword::CASE
        ),
        Token::Whitespace(_)
        | Token::Comma
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::RParen
        | Token::Period
        | Token::SemiColon
        | Token::EOF => false,
        _ => true,
    });
    let count = operators.count();
    if count > OPERATORS_MAX {
        let message = format!("the query has {count} operators and brackets, and may have {OPERATORS_MAX}");
        let hint = Some("long lists of values fit into `in (...)`".to_owned());
        return Err(QueryError::Sql(SqlError { message, at: None, hint }));
    }
    Ok(())
}

/// SQL that was read, and not planned yet.
#[derive(Debug)]
pub struct Parsed {
    sql: String,
    statement: Statement,
    tables: BTreeSet<String>,
    system: BTreeSet<String>,
    catalog: bool,
}

impl Parsed {
    /// Returns the names of the tables that it reads.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(String::as_str)
    }

    /// Returns the names of the system tables that it reads, without the schema: `partitions` for `weir.partitions`.
    pub fn system_tables(&self) -> impl Iterator<Item = &str> {
        self.system.iter().map(String::as_str)
    }

    /// Says whether it asks which tables there are, and so needs every source.
    pub fn reads_catalog(&self) -> bool {
        self.catalog
    }
}

/// Runs queries. One per process: the limits of memory and disk are shared by all of its queries.
pub struct Engine {
    env: Env,
    limits: Limits,
    runtime: Arc<RuntimeEnv>,
    config: SessionConfig,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({:?})", self.limits)
    }
}

impl Engine {
    /// Makes an engine that spills below `spill`, a folder of its own.
    ///
    /// # Errors
    /// If the folder can't be used.
    pub fn new(env: Env, limits: Limits, spill: &Path) -> Result<Self, QueryError> {
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![spill.to_owned()]))
            .with_max_temp_directory_size(limits.spill.0);
        let memory = usize::try_from(limits.memory.0).unwrap_or(usize::MAX);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(memory)))
            .with_disk_manager_builder(disk)
            .with_metadata_cache_limit(16 * 1024 * 1024)
            .build_arc()
            .map_err(|error| QueryError::running(&error, limits.memory))?;
        let mut config = SessionConfig::new()
            .with_information_schema(true)
            .with_default_catalog_and_schema(CATALOG, "public")
            .with_target_partitions(std::thread::available_parallelism().map_or(2, |cores| cores.get().min(8)));
        let options = config.options_mut();
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.schema_force_view_types = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        Ok(Self { env, limits, runtime, config })
    }

    /// Returns an engine with other limits of time and rows, which shares this one's memory and disk.
    #[must_use]
    pub fn within(&self, time: Duration, rows: u64) -> Self {
        let limits = Limits { time, rows, ..self.limits.clone() };
        Self { env: self.env.clone(), limits, runtime: self.runtime.clone(), config: self.config.clone() }
    }

    /// Returns the limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn state(&self) -> SessionState {
        SessionStateBuilder::new()
            .with_config(self.config.clone())
            .with_runtime_env(self.runtime.clone())
            .with_default_features()
            .build()
    }

    /// Reads SQL: one statement.
    ///
    /// # Errors
    /// [`QueryError::Sql`].
    pub fn parse(&self, sql: &str) -> Result<Parsed, QueryError> {
        if sql.len() > SQL_BYTES_MAX {
            let message = format!("the query has {} bytes, and may have {SQL_BYTES_MAX}", sql.len());
            return Err(QueryError::Sql(SqlError { message, at: None, hint: None }));
        }
        if sql.trim().is_empty() {
            return Err(QueryError::Sql(SqlError {
                message: "the query is empty".into(),
                at: None,
                hint: Some("write SQL, such as `select count(*) from flights`".into()),
            }));
        }
        refuse_chains(sql)?;
        let refused = |error| QueryError::Sql(SqlError::from_datafusion(sql, &error));
        let state = self.state();
        let dialect = state.config().options().sql_parser.dialect;
        let statement = state.sql_to_statement(sql, &dialect).map_err(refused)?;
        let references = state.resolve_table_references(&statement).map_err(refused)?;
        let catalog = references.iter().any(|table| table.schema() == Some("information_schema"));
        let (system, tables): (Vec<_>, Vec<_>) =
            references.iter().partition(|table| table.schema() == Some(SYSTEM_SCHEMA));
        let names = |tables: Vec<&TableReference>| tables.iter().map(|table| table.table().to_owned()).collect();
        Ok(Parsed { sql: sql.to_owned(), statement, tables: names(tables), system: names(system), catalog })
    }

    /// Plans and starts a query over `sources`, by name, and system tables, by their names in the schema `weir`.
    ///
    /// # Errors
    /// See [`QueryError`]; errors while it runs come from the answer.
    pub async fn run(
        &self,
        parsed: Parsed,
        sources: Vec<(String, Source)>,
        system: Vec<(String, Source)>,
    ) -> Result<Answer, QueryError> {
        let started = self.env.elapsed();
        let context = SessionContext::new_with_state(self.state());
        let running = |error| QueryError::running(&error, self.limits.memory);
        let catalog = context.catalog(CATALOG).expect("the catalog is part of the engine's own configuration");
        catalog.register_schema(SYSTEM_SCHEMA, Arc::new(MemorySchemaProvider::new())).map_err(running)?;
        let sources = sources.into_iter().map(|(name, source)| (TableReference::bare(name), source));
        let system = system.into_iter().map(|(name, source)| (TableReference::partial(SYSTEM_SCHEMA, name), source));
        let mut urls = Vec::new();
        for (name, source) in sources.chain(system) {
            let url = self.register_store(&source);
            context.register_table(name, Arc::new(Provider::new(source, url.clone()))).map_err(running)?;
            urls.push(url);
        }
        let Parsed { sql, statement, .. } = parsed;
        let refused = |error| QueryError::Sql(SqlError::from_datafusion(&sql, &error));
        let plan = context.state().statement_to_plan(statement).await.map_err(refused)?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)
            .map_err(|error| {
            let SqlError { message, .. } = SqlError::from_datafusion(&sql, &error);
            let hint = Some("queries only read: use select, show, describe or explain".to_owned());
            QueryError::Sql(SqlError { message, at: Some((1, 1)), hint })
        })?;
        let work = async {
            let plan = context.state().create_physical_plan(&plan).await.map_err(refused)?;
            execute_stream(plan, context.task_ctx()).map_err(running)
        };
        let stream =
            self.env.within(self.limits.time, work).await.ok_or(QueryError::Time { limit: self.limits.time })??;
        Ok(Answer::new(self.env.clone(), self.limits.clone(), started, stream))
    }

    /// Makes a source's store known to DataFusion, which names stores by URL: one per store, however often it is used.
    fn register_store(&self, source: &Source) -> ObjectStoreUrl {
        let Some(store) = &source.store else { return ObjectStoreUrl::local_filesystem() };
        let url = ObjectStoreUrl::parse(format!("weir://store-{:x}", Arc::as_ptr(store).cast::<()>() as usize))
            .expect("a scheme and a host are a URL");
        self.runtime.register_object_store(url.as_ref(), store.clone());
        url
    }
}

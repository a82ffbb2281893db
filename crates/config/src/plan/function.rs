//! Functions: what they run on, what they run, and where it goes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use weir_schema::Schema;
use weir_types::{
    ApiName, ByteSize, CrawlName, FilesName, FunctionName, LookupName, QueueName, ScheduleName, StreamName, TableName,
    Timestamp,
};

use super::RollupPlan;
use crate::Place;

/// A `function` block.
#[derive(Debug)]
pub struct FunctionPlan {
    /// The function's name.
    pub name: FunctionName,
    /// What it runs on.
    pub on: On,
    /// What it runs.
    pub body: Body,
    /// Where what it makes goes. SQL has one at least.
    pub outputs: Vec<OutputPlan>,
    /// The queue that is told of what was given up; none: the table `dead_letters` alone.
    pub on_failure: Option<QueueName>,
    /// How what arrives is put together. What SQL makes for tables follows their `freshness` instead.
    pub batch: BatchPlan,
    /// How often a failed run is repeated.
    pub retry: RetryPlan,
    /// The vendors' accounts that its handler may call.
    pub apis: Vec<ApiName>,
    /// Where the block is.
    pub place: Place,
}

/// What a function runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    /// A stream's records, or those that are read from files.
    Stream {
        /// The stream; weir's own for files ([`StreamName::of_files`]).
        stream: StreamName,
        /// Where it begins to read.
        start: Start,
    },
    /// A queue's messages. No other function is on this queue.
    Queue(QueueName),
    /// A schedule's times.
    Schedule(ScheduleName),
    /// Files as they arrive, by reference.
    Files(FilesName),
    /// Whoever invokes it over HTTP.
    Invocation,
}

/// Where a function begins to read a stream that it never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record that is kept.
    #[default]
    Oldest,
    /// Behind the newest record.
    Newest,
    /// At the first record that arrived at this time or later.
    Time(Timestamp),
}

/// What a function runs.
#[derive(Debug)]
pub enum Body {
    /// A query over a batch.
    Sql {
        /// The query, which [`weir_function::SqlFunction::plan`] took.
        sql: String,
        /// The lookups that it and its outputs' conditions read.
        reads: Vec<LookupName>,
        /// The columns of its rows.
        output: SchemaRef,
    },
    /// A Lambda handler.
    Handler(Box<HandlerPlan>),
}

/// A Lambda handler and the environment that it runs in.
#[derive(Debug)]
pub struct HandlerPlan {
    /// The folder of its code, which is there.
    pub code: PathBuf,
    /// The module and function, such as `score.handler`; none for [`RuntimePlan::Provided`].
    pub handler: Option<String>,
    /// What runs it.
    pub runtime: RuntimePlan,
    /// The memory that an environment may use.
    pub memory: ByteSize,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// The most environments that run at once, which no other function takes; zero: it is switched off; none: as many
    /// as the node allows.
    pub concurrency: Option<u32>,
    /// The size of an environment's temporary folder.
    pub temp: ByteSize,
    /// How long an idle environment is kept.
    pub keep_warm: Duration,
    /// Variables of its environment.
    pub environment: BTreeMap<String, EnvironmentValue>,
    /// What it may connect to.
    pub network: Network,
}

/// What runs a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimePlan {
    /// Python.
    Python,
    /// Node.js.
    Node,
    /// The executable `bootstrap` in the code's folder.
    Provided,
}

/// A value of a handler's environment.
#[derive(Clone, PartialEq, Eq)]
pub enum EnvironmentValue {
    /// As written.
    Plain(String),
    /// A secret, or a text with secrets in it.
    Secret {
        /// The secret's name; with several, all of them.
        name: String,
        /// The value, which is never shown.
        value: String,
    },
}

impl EnvironmentValue {
    /// Returns the value, secret or not.
    pub fn reveal(&self) -> &str {
        match self {
            Self::Plain(value) | Self::Secret { value, .. } => value,
        }
    }
}

/// Names a secret, and leaves out its value.
impl fmt::Debug for EnvironmentValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(value) => write!(f, "{value:?}"),
            Self::Secret { name, .. } => write!(f, "secret({name:?})"),
        }
    }
}

/// What a handler may connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// Anything.
    #[default]
    All,
    /// Nothing but weir's own runtime interface.
    None,
}

/// How what arrives is put together for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlan {
    /// The most records or messages of a run.
    pub size: u32,
    /// How long a batch that is not full waits for more.
    pub window: Duration,
    /// Runs at once for each shard of a stream; records of one key stay in order.
    pub parallel: u32,
    /// The most environments at once for a queue; none: as many as the function may have.
    pub concurrency: Option<u32>,
}

/// How often a failed run is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPlan {
    /// Runs after the first one that failed; none: until the record is too old, and for a queue until its own
    /// [`super::DeadLetterPlan::max_receives`].
    pub attempts: Option<u32>,
    /// How old a record or event may be to be run again; none: as long as it is kept.
    pub age: Option<Duration>,
    /// Whether a stream's failed batch is cut in two, to find the record that is at fault.
    pub bisect: bool,
}

/// Where some of what a function makes goes.
#[derive(Debug)]
pub struct OutputPlan {
    /// Its name among the function's; `default` for `to`.
    pub name: String,
    /// Where it goes.
    pub to: To,
    /// SQL functions: the query of this output, with its `where`.
    pub sql: Option<String>,
    /// The columns, where they are known: SQL's, those of a handler's `schema`, or those of the stream that a handler
    /// writes to.
    pub columns: Option<SchemaRef>,
    /// What records are encoded with: the target stream's schema, or for a table that a handler writes to, the one that
    /// was named.
    pub schema: Option<Schema>,
    /// Where it is written.
    pub place: Place,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// Records are appended.
    Stream(StreamName),
    /// Rows are committed.
    Table(TableName),
    /// Messages are sent.
    Queue(QueueName),
}

/// Where a table's rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableSource {
    /// A stream's records as they are, or those read from files ([`StreamName::of_files`]).
    Stream(StreamName),
    /// An output of a function.
    Function {
        /// The function.
        function: FunctionName,
        /// The name of its output.
        output: String,
    },
    /// The items of a crawl's resource.
    Crawl {
        /// The crawl.
        crawl: CrawlName,
        /// The resource.
        resource: String,
    },
    /// Another table.
    Rollup(RollupPlan),
}

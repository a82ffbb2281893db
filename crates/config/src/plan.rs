//! The checked plan: plain data that the runtime follows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use url::Url;
use weir_schema::{Compatibility, Schema};
use weir_types::{
    ApiName, ByteSize, CrawlName, FilesName, FunctionName, LookupName, QueueName, ScheduleName, StreamName, TableName,
};

use crate::{Diagnostic, Place};

mod archive;
mod arrival;
mod crawl;
mod function;
mod rollup;

pub use archive::ArchivePlan;
pub use arrival::{
    BadRows, DeadLetterPlan, FifoPlan, FilesContent, FilesFormat, FilesPlan, FilesStart, QueuePlan, SchedulePlan,
};
pub use crawl::{ApiPlan, CrawlOutputPlan, CrawlPlan, IfEmpty, Visible};
pub use function::{
    BatchPlan, Body, EnvironmentValue, FunctionPlan, HandlerPlan, Network, On, OutputPlan, RetryPlan, RuntimePlan,
    Start, TableSource, To,
};
pub use rollup::{RollupPlan, RollupScope};

/// Everything that a folder's configuration asks for.
#[derive(Debug)]
pub struct Plan {
    /// Streams by name.
    pub streams: BTreeMap<StreamName, StreamPlan>,
    /// Queues by the name that clients know them by.
    pub queues: BTreeMap<QueueName, QueuePlan>,
    /// Schedules by name.
    pub schedules: BTreeMap<ScheduleName, SchedulePlan>,
    /// Places where files arrive, by name.
    pub files: BTreeMap<FilesName, FilesPlan>,
    /// Lookups by name.
    pub lookups: BTreeMap<LookupName, LookupPlan>,
    /// Functions by name.
    pub functions: BTreeMap<FunctionName, FunctionPlan>,
    /// Vendors' accounts by name.
    pub apis: BTreeMap<ApiName, ApiPlan>,
    /// Crawls by name.
    pub crawls: BTreeMap<CrawlName, CrawlPlan>,
    /// Tables by name.
    pub tables: BTreeMap<TableName, TablePlan>,
    /// Variables by name.
    pub variables: BTreeMap<String, VariablePlan>,
    /// What may not be meant, in the order of places.
    pub warnings: Vec<Diagnostic>,
}

/// A `stream` block.
#[derive(Debug)]
pub struct StreamPlan {
    /// The stream's name.
    pub name: StreamName,
    /// What every record is checked against: a record's schema, which columns can hold.
    pub schema: Schema,
    /// Where the schema was read from.
    pub schema_path: PathBuf,
    /// The records' columns, as functions and tables see them.
    pub columns: SchemaRef,
    /// The field whose equal values keep records in order; none: records are spread evenly.
    pub key: Option<String>,
    /// The field of the event time.
    pub time: Option<String>,
    /// The fields by which a repeat is recognised; empty: repeats are not.
    pub id: Vec<String>,
    /// Shards, 1 to [`weir_types::limits::SHARDS_MAX`].
    pub shards: u32,
    /// How long records are kept.
    pub retention: Duration,
    /// How many bytes of records are kept at most.
    pub retention_bytes: Option<ByteSize>,
    /// The text that means null in CSV.
    pub null_text: Option<String>,
    /// What a new version of the schema must keep to; none: the registry's own setting.
    pub compatibility: Option<Compatibility>,
    /// How its records are kept as files; none: they are not.
    pub archive: Option<ArchivePlan>,
    /// Where the block is.
    pub place: Place,
}

/// A `lookup` block.
#[derive(Debug)]
pub struct LookupPlan {
    /// The lookup's name.
    pub name: LookupName,
    /// Where its rows are, and what they must be.
    pub spec: weir_lookup::Spec,
    /// When they are read again.
    pub refresh: RefreshPlan,
    /// The columns that it has now.
    pub columns: SchemaRef,
    /// Where the block is.
    pub place: Place,
}

/// When a lookup is read again.
#[derive(Debug, Clone)]
pub enum RefreshPlan {
    /// Only at the start, and when somebody asks for it.
    Never,
    /// So long after the last time.
    Every(Duration),
    /// When it is due.
    Schedule(weir_schedule::Schedule),
}

/// How a table is cut into partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionBy {
    /// It is not.
    None,
    /// By the UTC day of a column.
    Day(String),
    /// By the UTC hour of a column.
    Hour(String),
}

impl PartitionBy {
    /// Returns the column, if it is cut by one.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Day(column) | Self::Hour(column) => Some(column),
        }
    }
}

/// What becomes of a row that came late or has no event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// It is stored and counted.
    #[default]
    Keep,
    /// It is parked with its cause.
    DeadLetter,
}

/// What becomes of a table's files when its columns get other names, wider types, or defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Evolve {
    /// They are written anew.
    #[default]
    Rewrite,
    /// They stay as they are, and a change that needs more is refused.
    Append,
}

/// Which of the rows with one id stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// The first that came.
    #[default]
    First,
    /// The last.
    Last,
}

/// How a table's files are compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactionPlan {
    /// How often a partition that changed is rebuilt.
    pub every: Duration,
    /// The columns that rows are sorted by; none: they stay as they arrived.
    pub sort_by: Vec<String>,
    /// Which of the rows with one id stays.
    pub keep: Keep,
}

/// A `table` block.
#[derive(Debug)]
pub struct TablePlan {
    /// The table's name.
    pub name: TableName,
    /// Where its rows come from.
    pub source: TableSource,
    /// The stream whose records its rows are made of: its own source, or the one that its function is on. None behind
    /// a function on anything else, and of rollups.
    pub stream: Option<StreamName>,
    /// The columns of its rows, without those that partitions and buckets add.
    pub columns: SchemaRef,
    /// How it is cut into partitions.
    pub partition_by: PartitionBy,
    /// The column of the event time: what partitions are cut by, or else the stream's time if the rows have it.
    pub event_time: Option<String>,
    /// Buckets of a partition, by hash of the id.
    pub buckets: u32,
    /// How long after its end a partition may still change; none: without end.
    pub lookback: Option<Duration>,
    /// The columns by which a repeat is recognised; empty: repeats are kept.
    pub unique_by: Vec<String>,
    /// How long rows may wait for their commit.
    pub freshness: Duration,
    /// What becomes of rows older than the lookback.
    pub late: Rule,
    /// What becomes of rows without event time, or with an absurd one.
    pub timeless: Rule,
    /// Where the table is stored; none: in the data folder.
    pub location: Option<Url>,
    /// The size that merged files should have; none: the table's own default.
    pub target_file_size: Option<ByteSize>,
    /// How its files are compacted.
    pub compaction: CompactionPlan,
    /// What becomes of its files when its columns change.
    pub evolve: Evolve,
    /// When what a crawl's run brings is seen.
    pub visible: Visible,
    /// What a run that brought no row does to a table that runs replace.
    pub if_empty: IfEmpty,
    /// Tags by name.
    pub tags: BTreeMap<String, String>,
    /// Where the block is.
    pub place: Place,
}

/// A `variable` block.
#[derive(Debug)]
pub struct VariablePlan {
    /// The variable's name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where the block is.
    pub place: Place,
}

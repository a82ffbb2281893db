//! What a node says of itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;
use serde::Serialize;
use weir_config::{Body, LookupPlan, On};
use weir_lambda::Handler;
use weir_lookup::Version;
use weir_table::{Lifecycle, Table};
use weir_types::civil::civil_from_days;
use weir_types::{LookupName, SequenceNumber, ShardId, TableName, Timestamp};

use crate::archive::ArchiveStatus;
use crate::files::OpenFiles;
use crate::function::OpenFunction;
use crate::ledger::Checked;
use crate::lookups::{Freshness, RefreshFailed};
use crate::node::Node;
use crate::pipeline::Aside;
use crate::rollup::RollupStatus;

/// The state of a node.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// weir's version.
    pub version: &'static str,
    /// Where the node keeps its data.
    pub data: String,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Streams, by name.
    pub streams: Vec<StreamStatus>,
    /// Queues, by name; without weir's own.
    pub queues: Vec<QueueStatus>,
    /// Places where files arrive, by name.
    pub files: Vec<FilesStatus>,
    /// Functions that are more than the pipelines of their tables, by name.
    pub functions: Vec<FunctionStatus>,
    /// Why dead letters that were redriven do not get to their targets, if they do not.
    pub redrive_trouble: Option<String>,
    /// Lookups, by name.
    pub lookups: Vec<LookupStatus>,
    /// Crawls, by name.
    pub crawls: Vec<weir_crawl::status::CrawlStatus>,
    /// Tables, by name.
    pub tables: Vec<TableStatus>,
    /// Whether everything balances.
    pub ledger: LedgerStatus,
}

/// The state of the ledger.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerStatus {
    /// What the last comparison of the books came to; none was made yet in the first minute.
    pub books: Option<Checked>,
    /// What the last look into the files came to: once a day, and on request.
    pub files: Option<Checked>,
    /// Why nothing can be booked, if nothing can.
    pub trouble: Option<String>,
}

/// The state of a stream. Counts of the door are since the node was started.
#[derive(Debug, Clone, Serialize)]
pub struct StreamStatus {
    /// Its name.
    pub name: String,
    /// The fingerprint of its schema.
    pub schema: String,
    /// Records that it holds.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Records that came to the door, or that functions made.
    pub received: u64,
    /// Records that were stored.
    pub stored: u64,
    /// Records that an earlier try had stored.
    pub repeated: u64,
    /// Records that were refused.
    pub refused: u64,
    /// Records that became dead letters at the door.
    pub dead_lettered: u64,
    /// Its archive, if it has one.
    pub archive: Option<ArchiveStatus>,
    /// Its shards.
    pub shards: Vec<ShardStatus>,
}

/// The state of a shard.
#[derive(Debug, Clone, Serialize)]
pub struct ShardStatus {
    /// Its number.
    pub shard: ShardId,
    /// The oldest record's place.
    pub head: SequenceNumber,
    /// The next record's place.
    pub tail: SequenceNumber,
}

/// The state of a queue. Counts of what was done are since the node was started.
#[derive(Debug, Clone, Serialize)]
pub struct QueueStatus {
    /// Its name.
    pub name: String,
    /// Messages that can be received.
    pub ready: u64,
    /// Messages that are hidden by a lease.
    pub in_flight: u64,
    /// Messages whose delay is not over.
    pub delayed: u64,
    /// When the oldest of them was sent.
    pub oldest_sent_at: Option<Timestamp>,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages given out.
    pub received: u64,
    /// Messages deleted.
    pub deleted: u64,
    /// Messages given up.
    pub dead_lettered: u64,
    /// Messages that grew too old.
    pub expired: u64,
}

/// The state of a place where files arrive.
#[derive(Debug, Clone, Serialize)]
pub struct FilesStatus {
    /// Its name.
    pub name: String,
    /// Where the files are.
    pub location: String,
    /// What is made of them: `reference`, `csv`, `ndjson`, `avro` or `parquet`.
    pub content: &'static str,
    /// Files that were there at the last look, those that were taken included.
    pub seen: u64,
    /// Files that were handed on, ever.
    pub taken: u64,
    /// Files that could not be read, ever; each is a dead letter.
    pub failed: u64,
    /// Files that had not settled at the last look.
    pub waiting: u64,
    /// When the last look ended.
    pub last_look: Option<Timestamp>,
    /// Why it stands still, if it does.
    pub trouble: Option<String>,
}

/// The state of a function. Counts of what was done are since the node was started.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionStatus {
    /// Its name.
    pub name: String,
    /// What it is on, such as `stream/flights`.
    pub on: String,
    /// `sql` or `handler`.
    pub kind: &'static str,
    /// The version that runs, of a handler.
    pub version: Option<u64>,
    /// Records and messages that wait for it.
    pub behind: u64,
    /// Runs that succeeded, in part at least.
    pub runs: u64,
    /// Records and messages of these.
    pub items: u64,
    /// Runs that failed.
    pub failures: u64,
    /// Records that it made.
    pub made: u64,
    /// Records and messages that it gave up.
    pub dead_lettered: u64,
    /// Records that were gone before it had read them.
    pub lost: u64,
    /// Environments that run an invocation, of a handler.
    pub running: usize,
    /// Environments that are kept warm, of a handler.
    pub idle: usize,
    /// Environments that were started, of a handler.
    pub cold_starts: u64,
    /// Invocations that were refused for want of an environment, of a handler.
    pub throttles: u64,
    /// Why it stands still, if it does.
    pub trouble: Option<String>,
}

/// The state of a lookup.
#[derive(Debug, Clone, Serialize)]
pub struct LookupStatus {
    /// Its name.
    pub name: String,
    /// Where its rows come from; without a password.
    pub source: String,
    /// Its rows.
    pub rows: u64,
    /// What they take in memory.
    pub bytes: u64,
    /// Which rows they are: the number grows when they change, and the digest tells them from all others.
    pub version: Version,
    /// When these rows were read first.
    pub loaded_at: Timestamp,
    /// When the source had these rows last.
    pub confirmed_at: Timestamp,
    /// Seconds since then.
    pub age_seconds: u64,
    /// When it is read again.
    pub next_at: Option<Timestamp>,
    /// Readings that failed since the node was started.
    pub failures: u64,
    /// Why the last reading failed, if it did.
    pub failing: Option<String>,
    /// Columns of the source that a restart would bring.
    pub new_columns: Vec<String>,
}

/// The state of a table. Counts of rows taken are since the node was started.
#[derive(Debug, Clone, Serialize)]
pub struct TableStatus {
    /// Its name.
    pub name: String,
    /// The stream that feeds it; none of rollups.
    pub stream: Option<String>,
    /// What a rollup is made of, and how far it is.
    pub rollup: Option<RollupStatus>,
    /// The run whose rows are gathered, of tables that take whole runs of a crawl.
    pub run: Option<GatheredStatus>,
    /// The last Delta version.
    pub version: u64,
    /// Committed rows.
    pub rows: u64,
    /// Files that hold them.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Rows that wait for the next commit.
    pub pending: u64,
    /// Records of the stream that are not in the table.
    pub behind: u64,
    /// Rows taken.
    pub added: u64,
    /// Repeats dropped.
    pub repeats: u64,
    /// Rows that came later than the lookback.
    pub late: u64,
    /// Rows without a usable event time.
    pub timeless: u64,
    /// Rows handed to the dead letters by a rule.
    pub refused: u64,
    /// Records that were gone (trimmed, or lost to damage) before the table had read them.
    pub lost: u64,
    /// Why it stands still, if it does.
    pub trouble: Option<String>,
    /// Why its files are not compacted, if they are not.
    pub compaction_trouble: Option<String>,
    /// Partitions, the newest first, up to [`PARTITIONS_LISTED_MAX`]; `weir.partitions` has all.
    pub partitions: Vec<PartitionStatus>,
    /// How many partitions there are.
    pub partition_count: u64,
}

impl TableStatus {
    /// Returns what is known of the table itself.
    fn of(name: &TableName, table: &Table) -> Self {
        let stats = table.stats();
        let partitions = table.lifecycles();
        Self {
            name: name.to_string(),
            stream: None,
            rollup: None,
            run: None,
            version: stats.version,
            rows: stats.rows,
            files: stats.files,
            bytes: stats.bytes,
            pending: table.pending().rows,
            behind: 0,
            added: stats.added,
            repeats: stats.repeats,
            late: stats.late,
            timeless: stats.timeless,
            refused: stats.refused,
            lost: 0,
            trouble: None,
            compaction_trouble: None,
            partition_count: partitions.len() as u64,
            partitions: partitions.into_iter().rev().take(PARTITIONS_LISTED_MAX).map(PartitionStatus::of).collect(),
        }
    }
}

/// What of a run is gathered until it is complete. Readers don't see it.
#[derive(Debug, Clone, Serialize)]
pub struct GatheredStatus {
    /// The run that is under way, if one is.
    pub run: Option<u64>,
    /// Its rows that are committed aside, and those that wait for it.
    pub rows: u64,
    /// Files that hold them.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Items that were there already, by their key, since the node was started.
    pub repeats: u64,
    /// Why the last run did not change the table, if it did not.
    pub note: Option<String>,
}

impl GatheredStatus {
    fn of(aside: &Aside) -> Self {
        let stats = aside.table.stats();
        Self {
            run: aside.run(),
            rows: stats.rows + aside.table.pending().rows,
            files: stats.files,
            bytes: stats.bytes,
            repeats: stats.repeats,
            note: aside.note(),
        }
    }
}

/// Partitions of one table that the status lists.
pub const PARTITIONS_LISTED_MAX: usize = 20;

/// The state of a partition of a table.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionStatus {
    /// Its UTC day, `2013-01-01`; none in tables of one partition, and for rows without a usable event time.
    pub day: Option<String>,
    /// Days since 1970-01-01.
    #[serde(skip)]
    pub day_number: Option<i32>,
    /// Its hour, in tables by hour.
    pub hour: Option<u8>,
    /// Its files.
    pub files: u64,
    /// Those smaller than half of the target size.
    pub small_files: u64,
    /// Its committed rows; none if another writer's files don't say.
    pub rows: Option<u64>,
    /// Bytes of its files.
    pub bytes: u64,
    /// After which only rows later than the lookback change it; none without a lookback.
    pub final_after: Option<Timestamp>,
    /// Whether that has passed.
    pub is_final: bool,
    /// When rows last came into it.
    pub changed_at: Option<Timestamp>,
    /// When it was last compacted.
    pub compacted_at: Option<Timestamp>,
    /// Whether it has not changed since.
    pub is_compact: bool,
}

impl PartitionStatus {
    fn of(lifecycle: Lifecycle) -> Self {
        Self {
            day: lifecycle.day.map(|day| {
                let (year, month, day) = civil_from_days(day.into());
                format!("{year:04}-{month:02}-{day:02}")
            }),
            day_number: lifecycle.day,
            hour: lifecycle.hour,
            files: lifecycle.files,
            small_files: lifecycle.small_files,
            rows: lifecycle.rows,
            bytes: lifecycle.bytes,
            final_after: lifecycle.final_after,
            is_final: lifecycle.is_final,
            changed_at: lifecycle.changed_at,
            compacted_at: lifecycle.compacted_at,
            is_compact: lifecycle.is_compact,
        }
    }
}

impl OpenFunction {
    fn status(&self) -> FunctionStatus {
        let counts = self.counters.get();
        let stats = self.handler.as_ref().map(|handler| handler.stats()).unwrap_or_default();
        let live = |handler: &Arc<Handler>| handler.versions().into_iter().find(|version| version.live);
        FunctionStatus {
            name: self.plan.name.to_string(),
            on: match &self.plan.on {
                On::Stream { stream, .. } => format!("stream/{stream}"),
                On::Queue(queue) => format!("queue/{queue}"),
                On::Schedule(schedule) => format!("schedule/{schedule}"),
                On::Files(files) => format!("files/{files}"),
                On::Invocation => "invocation".to_owned(),
            },
            kind: match self.plan.body {
                Body::Sql { .. } => "sql",
                Body::Handler(_) => "handler",
            },
            version: self.handler.as_ref().and_then(live).map(|version| version.number),
            behind: self.behind(),
            runs: counts.runs,
            items: counts.items,
            failures: counts.failures,
            made: counts.made,
            dead_lettered: counts.dead_lettered,
            lost: counts.lost,
            running: stats.running,
            idle: stats.idle,
            cold_starts: stats.cold_starts,
            throttles: stats.throttles,
            trouble: self.trouble.get(),
        }
    }
}

impl LookupStatus {
    fn of(plan: &LookupPlan, fresh: Freshness, now: Timestamp) -> Self {
        Self {
            name: plan.name.to_string(),
            source: plan.spec.place(),
            rows: fresh.rows,
            bytes: fresh.bytes,
            version: fresh.version,
            loaded_at: fresh.loaded_at,
            confirmed_at: fresh.confirmed_at,
            age_seconds: now.since(fresh.confirmed_at).as_secs(),
            next_at: fresh.next_at,
            failures: fresh.failures,
            failing: fresh.failing,
            new_columns: fresh.new_columns,
        }
    }
}

impl Node {
    /// Reads a lookup again, now, and returns its state.
    ///
    /// # Errors
    /// See [`RefreshFailed`].
    pub async fn refresh_lookup(&self, name: &LookupName) -> Result<LookupStatus, RefreshFailed> {
        self.lookups().refresh(name).await?;
        self.lookup(name).map(|(status, _)| status).ok_or_else(|| RefreshFailed::Unknown { name: name.clone() })
    }

    /// Returns a lookup's state and columns.
    pub fn lookup(&self, name: &LookupName) -> Option<(LookupStatus, SchemaRef)> {
        let (plan, fresh) = self.lookups().freshness().find(|(plan, _)| plan.name == *name)?;
        Some((LookupStatus::of(plan, fresh, self.env().now()), plan.columns.clone()))
    }

    /// Returns the node's state at this moment.
    pub fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            data: self.folder().root().display().to_string(),
            log_bytes: weir_log::Engine::bytes(self.engine()),
            streams: self.stream_statuses(),
            queues: self.queue_statuses(),
            files: self.files().iter().map(OpenFiles::status).collect(),
            functions: self.functions().values().map(|function| function.status()).collect(),
            redrive_trouble: self.actions().trouble(),
            lookups: self.lookup_statuses(),
            crawls: self.crawls().list(),
            tables: self.table_statuses(),
            ledger: self.ledger_status(),
        }
    }

    fn ledger_status(&self) -> LedgerStatus {
        let (books, files) = self.ledger_checks();
        LedgerStatus { books, files, trouble: self.ledger_trouble() }
    }

    fn lookup_statuses(&self) -> Vec<LookupStatus> {
        let now = self.env().now();
        self.lookups().freshness().map(|(plan, fresh)| LookupStatus::of(plan, fresh, now)).collect()
    }

    fn stream_statuses(&self) -> Vec<StreamStatus> {
        self.streams()
            .iter()
            .map(|(name, stream)| {
                let shards: Vec<ShardStatus> = stream
                    .stream
                    .shards()
                    .iter()
                    .map(|shard| {
                        let bounds = shard.bounds();
                        ShardStatus { shard: shard.id(), head: bounds.head, tail: bounds.tail }
                    })
                    .collect();
                let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
                StreamStatus {
                    name: name.to_string(),
                    schema: stream.schema.fingerprint().to_string(),
                    records: shards.iter().map(|shard| shard.tail.since(shard.head)).sum(),
                    bytes: stream.stream.shards().iter().map(|shard| shard.log().bytes()).sum(),
                    received: count(&stream.counters.received),
                    stored: count(&stream.counters.stored),
                    repeated: count(&stream.counters.repeated),
                    refused: count(&stream.counters.refused),
                    dead_lettered: count(&stream.counters.dead_lettered),
                    archive: self.archives().get(name).map(|archive| archive.status()),
                    shards,
                }
            })
            .collect()
    }

    fn queue_statuses(&self) -> Vec<QueueStatus> {
        let queues = self.queues().list().into_iter().filter(|queue| !queue.name().is_internal());
        queues
            .map(|queue| {
                let stats = queue.stats();
                QueueStatus {
                    name: queue.name().to_string(),
                    ready: stats.ready,
                    in_flight: stats.in_flight,
                    delayed: stats.delayed,
                    oldest_sent_at: stats.oldest_sent_at,
                    bytes: stats.bytes,
                    sent: stats.sent,
                    received: stats.received,
                    deleted: stats.deleted,
                    dead_lettered: stats.dead_lettered,
                    expired: stats.expired,
                }
            })
            .collect()
    }

    fn table_statuses(&self) -> Vec<TableStatus> {
        let filled = self.pipelines().iter().map(|(name, pipeline)| TableStatus {
            stream: Some(pipeline.stream().stream.name().to_string()),
            behind: pipeline.behind(),
            lost: pipeline.lost(),
            trouble: pipeline.trouble(),
            run: pipeline.aside().map(GatheredStatus::of),
            ..TableStatus::of(name, pipeline.table())
        });
        let rollups = self.rollups().iter().map(|(name, rollup)| TableStatus {
            rollup: Some(rollup.status()),
            trouble: rollup.trouble(),
            ..TableStatus::of(name, rollup.table())
        });
        let mut all: Vec<TableStatus> = filled.chain(rollups).collect();
        for table in &mut all {
            table.compaction_trouble = self.compactions().trouble(&table.name);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Returns every partition of every table.
    pub(crate) fn partition_statuses(&self) -> Vec<(String, Vec<PartitionStatus>)> {
        let of = |table: &Table| table.lifecycles().into_iter().map(PartitionStatus::of).collect();
        self.tables().map(|(name, table)| (name.to_string(), of(table))).collect()
    }
}

//! From what is asked for to what is done: whose records, which of them, and where they go.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_config::{Body, FunctionPlan, On, To};
use weir_log::ReadError;
use weir_stream::{Start, Stream};
use weir_types::{FunctionName, SequenceNumber, ShardId, StreamName, TableName, Timestamp, nearest};

use super::ask::Ask;
use super::into_function::FunctionWay;
use super::into_table::TableWay;
use super::machine::{Origin, ShardRange, Task, Window};
use super::replaying::Way;
use super::source::{Archived, Source};
use super::target::Target;
use crate::dead::FilterError;
use crate::function::needs_outbox;
use crate::node::Node;
use crate::pipeline::Pipeline;
use crate::streams::OpenStream;

/// Why nothing can be replayed as it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nothing says whose records.
    #[error("say whose records: name a stream, a function, or a table")]
    NoSource,
    /// There is no such stream.
    #[error("there is no stream `{stream}`{}", meant(nearest))]
    NoStream {
        /// As asked for.
        stream: StreamName,
        /// One of a similar name.
        nearest: Option<String>,
    },
    /// There is no such function.
    #[error("there is no function `{function}`{}", meant(nearest))]
    NoFunction {
        /// As asked for.
        function: FunctionName,
        /// One of a similar name.
        nearest: Option<String>,
    },
    /// There is no such table.
    #[error("there is no table `{table}`{}", meant(nearest))]
    NoTable {
        /// As asked for.
        table: TableName,
        /// One of a similar name.
        nearest: Option<String>,
    },
    /// The function reads no stream.
    #[error("function `{function}` is on {on}: what came from there is not kept, and can't be replayed")]
    NotOnStream {
        /// The function.
        function: FunctionName,
        /// What it is on.
        on: String,
    },
    /// What is asked for does not read that stream.
    #[error("{target} reads stream `{reads}`, and not `{stream}`")]
    OtherStream {
        /// Which.
        target: Target,
        /// What it reads.
        reads: StreamName,
        /// What was asked for.
        stream: StreamName,
    },
    /// The table is another function's.
    #[error("table `{table}` is not fed by function `{function}`, but by {feeds}")]
    OtherFunction {
        /// The table.
        table: TableName,
        /// What was asked for.
        function: FunctionName,
        /// What feeds it.
        feeds: String,
    },
    /// A table that replayed rows don't come to.
    #[error("table `{table}` is fed by {feeds}, whose records are not kept: there is nothing to replay")]
    NotFed {
        /// The table.
        table: TableName,
        /// What feeds it.
        feeds: String,
    },
    /// A handler makes all its outputs, or none.
    #[error(
        "function `{function}` makes what goes to {others} along with the rows of table `{table}`, and can't make one without \
         the other: say --function {function} without --to"
    )]
    OtherOutputs {
        /// The function.
        function: FunctionName,
        /// The table.
        table: TableName,
        /// The other targets.
        others: String,
    },
    /// The stream goes nowhere.
    #[error("nothing reads stream `{stream}`: there is no table and no function to replay to")]
    NoTargets {
        /// The stream.
        stream: StreamName,
    },
    /// Rows could not be recognised.
    #[error(
        "table `{table}` knows no ids (`unique_by = []`), so that a replay would add every row once more; give the stream an \
         `id`, or say --append if that is meant"
    )]
    NoIds {
        /// The table.
        table: TableName,
    },
    /// A time that is none.
    #[error(transparent)]
    Time(#[from] FilterError),
    /// The window has no time in it.
    #[error("`since` ({since}) is not before `until` ({until})")]
    NoWindow {
        /// The first time.
        since: Timestamp,
        /// The first time behind.
        until: Timestamp,
    },
    /// The stream's records have no event time.
    #[error("stream `{stream}` has no `time`: give it one, or leave out --event-time and say when records arrived")]
    NoEventTime {
        /// The stream.
        stream: StreamName,
    },
    /// Records of the window are gone from the stream.
    #[error(
        "stream `{stream}` has records from {oldest} on, in shard {shard}: older ones were forgotten (its retention is {retention}){}",
        if *archived { "; its archive has them: say --from archive" } else { "; say --since with that time or later" }
    )]
    Trimmed {
        /// The stream.
        stream: StreamName,
        /// The shard.
        shard: ShardId,
        /// When the oldest record that is there arrived.
        oldest: Timestamp,
        /// How long records are kept.
        retention: String,
        /// Whether there is an archive.
        archived: bool,
    },
    /// The stream has no archive.
    #[error(
        "stream `{stream}` has no archive: add `archive = \"400d\"` to it for the future; what it has now is read with --from stream"
    )]
    NoArchive {
        /// The stream.
        stream: StreamName,
    },
    /// The stream's log does not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What there is could not be looked into.
    #[error("look into the records of stream `{stream}`")]
    Look {
        /// The stream.
        stream: StreamName,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The archive does not read.
    #[error("read the archive of stream `{stream}`")]
    Archive {
        /// The stream.
        stream: StreamName,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// What is done, and with what.
pub(super) struct Resolved {
    pub task: Task,
    pub source: Source,
    pub stream: Arc<OpenStream>,
    pub time: Option<String>,
}

/// Returns the ways to all that records can be replayed to.
pub(super) fn ways(node: &Node) -> BTreeMap<Target, Way> {
    let mut ways = BTreeMap::new();
    for (name, pipeline) in node.pipelines() {
        if matches!(feed(node, name), Feed::Straight(_) | Feed::Sql(..)) {
            ways.insert(Target::Table(name.clone()), Way::Table(way_into(pipeline)));
        }
    }
    for (name, function) in node.functions() {
        let stream = function.on_stream().and_then(|stream| node.stream(stream));
        let (Some(stream), true) = (stream, function.replay.is_some()) else { continue };
        let tables = node
            .pipelines()
            .iter()
            .filter(|(table, _)| matches!(feed(node, table), Feed::Handler(of) if of.name == *name));
        let way = FunctionWay {
            function: function.clone(),
            stream: stream.clone(),
            catalog: node.registry().clone(),
            checkpoints: node.checkpoints().clone(),
            tables: tables.map(|(_, pipeline)| way_into(pipeline)).collect(),
            behind: behind(node, &function.plan),
        };
        ways.insert(Target::Function(name.clone()), Way::Function(way));
    }
    ways
}

fn way_into(pipeline: &Pipeline) -> TableWay {
    TableWay { parts: pipeline.parts().clone(), work: pipeline.work(), commits: pipeline.commits() }
}

/// Returns the streams that a function writes to, each with the tables that read it.
fn behind(node: &Node, plan: &FunctionPlan) -> Vec<(Arc<Stream>, Vec<TableWay>)> {
    let streams = plan.outputs.iter().filter_map(|output| match &output.to {
        To::Stream(stream) => node.stream(stream),
        To::Table(_) | To::Queue(_) => None,
    });
    let reads = |stream: &StreamName| {
        let readers = node.pipelines().values();
        let readers = readers.filter(|pipeline| pipeline.sources().iter().any(|source| source.stream.name() == stream));
        readers.map(way_into).collect()
    };
    streams.map(|open| (open.stream.clone(), reads(open.stream.name()))).collect()
}

/// What feeds a table.
enum Feed<'a> {
    /// A stream.
    Straight(StreamName),
    /// SQL on a stream.
    Sql(&'a FunctionPlan, StreamName),
    /// A handler.
    Handler(&'a FunctionPlan),
    /// A crawl, whose stream keeps what it made until its targets have it.
    Crawl(StreamName),
    /// weir itself.
    Own,
}

fn feed<'a>(node: &'a Node, table: &TableName) -> Feed<'a> {
    let to = To::Table(table.clone());
    let function = node.plans().values().find(|plan| plan.outputs.iter().any(|output| output.to == to));
    let read = node.pipelines().get(table).map(|pipeline| pipeline.stream().stream.name().clone());
    match (function.map(|plan| (&**plan, &plan.body)), read) {
        (Some((plan, Body::Handler(_))), _) => Feed::Handler(plan),
        (Some((plan, Body::Sql { .. })), Some(stream)) => Feed::Sql(plan, stream),
        (None, Some(stream)) if stream.is_of_crawl() => Feed::Crawl(stream),
        (None, Some(stream)) if stream.as_str() != table.as_str() || !crate::dead::is_own(table.as_str()) => {
            Feed::Straight(stream)
        }
        _ => Feed::Own,
    }
}

fn on(plan: &FunctionPlan) -> String {
    match &plan.on {
        On::Stream { stream, .. } => format!("stream/{stream}"),
        On::Queue(queue) => format!("queue/{queue}"),
        On::Schedule(schedule) => format!("schedule/{schedule}"),
        On::Files(files) => format!("files/{files}"),
        On::Invocation => "calls over HTTP".to_owned(),
    }
}

/// Returns the stream that a function reads, if it reads one.
fn stream_of(node: &Node, plan: &FunctionPlan) -> Option<StreamName> {
    match &plan.on {
        On::Stream { stream, .. } => Some(stream.clone()),
        On::Files(files) if matches!(plan.body, Body::Sql { .. }) => {
            let stream = StreamName::of_files(files);
            node.stream(&stream).is_some().then_some(stream)
        }
        _ => None,
    }
}

impl Node {
    /// Finds out what an ask comes to.
    pub(super) async fn resolve(&self, ask: &Ask) -> Result<Resolved, ResolveError> {
        let function = match &ask.function {
            None => None,
            Some(name) => Some(self.plans().get(name).ok_or_else(|| ResolveError::NoFunction {
                function: name.clone(),
                nearest: nearest(name.as_str(), self.plans().keys().map(FunctionName::as_str)).map(str::to_owned),
            })?),
        };
        let (stream, targets) = self.targets(ask, function.map(|plan| &**plan))?;
        let open = self.stream(&stream).cloned().ok_or_else(|| self.no_stream(&stream))?;
        if targets.is_empty() {
            return Err(ResolveError::NoTargets { stream });
        }
        if !ask.append {
            self.refuse_without_ids(&targets)?;
        }
        let window = self.window(ask)?;
        let time = match window.event_time {
            false => None,
            true => {
                let time = self.replaying().times.get(&stream).cloned();
                Some(time.ok_or_else(|| ResolveError::NoEventTime { stream: stream.clone() })?)
            }
        };
        let archive = self.archives().get(&stream).cloned();
        let (source, ranges) = match ask.from {
            Origin::Stream => {
                let ranges = self.replay_ranges(&open, &window, archive.is_some()).await?;
                (Source::Stream(open.stream.clone()), ranges)
            }
            Origin::Archive => {
                let archive = archive.ok_or_else(|| ResolveError::NoArchive { stream: stream.clone() })?;
                let archive = Archived::new(archive, self.registry().clone(), &window);
                let ranges = archive.ranges().await;
                let ranges =
                    ranges.map_err(|error| ResolveError::Archive { stream: stream.clone(), source: error.into() })?;
                (Source::Archive(Arc::new(archive)), ranges)
            }
        };
        let id = ask.id.clone().unwrap_or_else(|| format!("replay-{:016x}", self.env().random()));
        let task = Task { id, stream, origin: ask.from, window, ranges, targets, append: ask.append };
        Ok(Resolved { task, source, stream: open, time })
    }

    fn no_stream(&self, stream: &StreamName) -> ResolveError {
        let known = self.streams().keys().filter(|name| !name.is_internal()).map(StreamName::as_str);
        ResolveError::NoStream { stream: stream.clone(), nearest: nearest(stream.as_str(), known).map(str::to_owned) }
    }

    /// Finds whose records are meant, and where they go.
    fn targets(&self, ask: &Ask, function: Option<&FunctionPlan>) -> Result<(StreamName, Vec<Target>), ResolveError> {
        if let Some(destination) = &ask.to {
            return self.to_table(ask, function, &destination.0);
        }
        if let Some(plan) = function {
            let stream = self.stream_read_by(plan)?;
            same_stream(ask, &stream, || Target::Function(plan.name.clone()))?;
            return Ok((stream, targets_of(plan)));
        }
        let stream = ask.stream.clone().ok_or(ResolveError::NoSource)?;
        if self.stream(&stream).is_none() {
            return Err(self.no_stream(&stream));
        }
        let mut targets = Vec::new();
        for table in self.pipelines().keys() {
            if matches!(feed(self, table), Feed::Straight(read) if read == stream) {
                targets.push(Target::Table(table.clone()));
            }
        }
        let plans = self.plans().values().filter(|plan| stream_of(self, plan).as_ref() == Some(&stream));
        targets.extend(plans.flat_map(|plan| targets_of(plan)));
        Ok((stream, targets))
    }

    fn stream_read_by(&self, plan: &FunctionPlan) -> Result<StreamName, ResolveError> {
        stream_of(self, plan).ok_or_else(|| ResolveError::NotOnStream { function: plan.name.clone(), on: on(plan) })
    }

    fn to_table(
        &self,
        ask: &Ask,
        function: Option<&FunctionPlan>,
        table: &TableName,
    ) -> Result<(StreamName, Vec<Target>), ResolveError> {
        if !self.pipelines().contains_key(table) {
            let known = self.pipelines().keys().map(TableName::as_str);
            let nearest = nearest(table.as_str(), known).map(str::to_owned);
            return Err(ResolveError::NoTable { table: table.clone(), nearest });
        }
        let other = |feeds: String| match function {
            Some(function) => {
                Err(ResolveError::OtherFunction { table: table.clone(), function: function.name.clone(), feeds })
            }
            None => Ok(()),
        };
        let is_it = |plan: &FunctionPlan| function.is_none_or(|function| function.name == plan.name);
        match feed(self, table) {
            Feed::Crawl(stream) => {
                let crawl = stream.as_str().trim_start_matches("_crawl-");
                Err(ResolveError::NotFed { table: table.clone(), feeds: format!("crawl `{crawl}`") })
            }
            Feed::Own => Err(ResolveError::NotFed { table: table.clone(), feeds: "weir itself".to_owned() }),
            Feed::Straight(stream) => {
                other(format!("stream `{stream}`"))?;
                same_stream(ask, &stream, || Target::Table(table.clone()))?;
                Ok((stream, vec![Target::Table(table.clone())]))
            }
            Feed::Sql(plan, stream) => {
                if !is_it(plan) {
                    other(format!("function `{}`", plan.name))?;
                }
                same_stream(ask, &stream, || Target::Table(table.clone()))?;
                Ok((stream, vec![Target::Table(table.clone())]))
            }
            Feed::Handler(plan) => {
                if !is_it(plan) {
                    other(format!("function `{}`", plan.name))?;
                }
                let others: Vec<String> = plan
                    .outputs
                    .iter()
                    .filter(|output| output.to != To::Table(table.clone()))
                    .map(|output| named(&output.to))
                    .collect();
                if !others.is_empty() {
                    let (function, others) = (plan.name.clone(), others.join(", "));
                    return Err(ResolveError::OtherOutputs { function, table: table.clone(), others });
                }
                let stream = self.stream_read_by(plan)?;
                same_stream(ask, &stream, || Target::Function(plan.name.clone()))?;
                Ok((stream, vec![Target::Function(plan.name.clone())]))
            }
        }
    }

    /// Refuses tables that can't recognise rows.
    fn refuse_without_ids(&self, targets: &[Target]) -> Result<(), ResolveError> {
        for (name, pipeline) in self.pipelines() {
            let is_target = match feed(self, name) {
                Feed::Straight(_) | Feed::Sql(..) => targets.contains(&Target::Table(name.clone())),
                Feed::Handler(plan) => targets.contains(&Target::Function(plan.name.clone())),
                Feed::Crawl(_) | Feed::Own => false,
            };
            if is_target && pipeline.table().spec().unique_by.is_empty() {
                return Err(ResolveError::NoIds { table: name.clone() });
            }
        }
        Ok(())
    }

    fn window(&self, ask: &Ask) -> Result<Window, ResolveError> {
        let now = self.env().now();
        let read = |what: &'static str, text: &Option<String>| {
            text.as_deref().map(|text| crate::dead::time(what, text, now)).transpose()
        };
        let (since, until) = (read("since", &ask.since)?, read("until", &ask.until)?);
        match (since, until) {
            (Some(since), Some(until)) if since >= until => Err(ResolveError::NoWindow { since, until }),
            _ => Ok(Window { since, until, event_time: ask.event_time }),
        }
    }

    /// Finds the records of a window in the stream itself.
    async fn replay_ranges(
        &self,
        open: &OpenStream,
        window: &Window,
        archived: bool,
    ) -> Result<Vec<ShardRange>, ResolveError> {
        let stream = &open.stream;
        let arrival = (!window.event_time).then_some(window);
        let mut ranges = Vec::new();
        for shard in stream.shards() {
            // First where it ends: what arrives from now on is not meant.
            let bounds = shard.bounds();
            let mut range = ShardRange { shard: shard.id(), from: bounds.head, to: bounds.tail };
            if let Some(since) = arrival.and_then(|window| window.since) {
                if let Some(oldest) = self.trimmed_since(open, shard, since).await? {
                    return Err(ResolveError::Trimmed {
                        stream: stream.name().clone(),
                        shard: shard.id(),
                        oldest,
                        retention: weir_types::span::display(stream.settings().retention),
                        archived,
                    });
                }
                range.from = shard.resolve(Start::Time(since)).await?.max(bounds.head);
            }
            if let Some(until) = arrival.and_then(|window| window.until) {
                range.to = shard.resolve(Start::Time(until)).await?.min(bounds.tail);
            }
            range.to = range.to.max(range.from);
            ranges.push(range);
        }
        Ok(ranges)
    }

    /// Returns when the oldest record of a shard arrived, if some that arrived since a time may have been forgotten.
    async fn trimmed_since(
        &self,
        open: &OpenStream,
        shard: &weir_stream::Shard,
        since: Timestamp,
    ) -> Result<Option<Timestamp>, ResolveError> {
        let bounds = shard.bounds();
        let settings = open.stream.settings();
        // What is younger than the retention was not forgotten by its age.
        let is_kept = since >= self.env().now().before(settings.retention) && settings.retention_bytes.is_none();
        if bounds.head == SequenceNumber::ZERO || is_kept {
            return Ok(None);
        }
        let page = match shard.read(bounds.head, 1).await {
            Ok(page) => page,
            // It was trimmed a moment ago, or is lost: what is there begins later still.
            Err(ReadError::Trimmed { .. } | ReadError::Lost { .. }) => return Ok(Some(self.env().now())),
            Err(error) => return Err(error.into()),
        };
        let oldest = page.records().filter_map(Result::ok).map(|record| record.arrived_at).next();
        let oldest = oldest.unwrap_or_else(|| self.env().now());
        Ok((since < oldest).then_some(oldest))
    }
}

fn same_stream(ask: &Ask, reads: &StreamName, target: impl Fn() -> Target) -> Result<(), ResolveError> {
    match &ask.stream {
        Some(stream) if stream != reads => {
            Err(ResolveError::OtherStream { target: target(), reads: reads.clone(), stream: stream.clone() })
        }
        _ => Ok(()),
    }
}

/// Returns what has to be given a function's records: its tables behind SQL, and itself if it is more than those.
fn targets_of(plan: &FunctionPlan) -> Vec<Target> {
    let tables = plan.outputs.iter().filter_map(|output| match &output.to {
        To::Table(table) if matches!(plan.body, Body::Sql { .. }) => Some(Target::Table(table.clone())),
        _ => None,
    });
    let itself =
        (needs_outbox(plan) && matches!(plan.on, On::Stream { .. })).then(|| Target::Function(plan.name.clone()));
    tables.chain(itself).collect()
}

fn named(to: &To) -> String {
    match to {
        To::Table(name) => format!("table/{name}"),
        To::Stream(name) => format!("stream/{name}"),
        To::Queue(name) => format!("queue/{name}"),
    }
}

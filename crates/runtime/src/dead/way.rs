//! Where a letter goes when it is redriven: back to what gave up on it, and to nobody else.
//!
//! ```text
//! target        | it is                            | and goes to
//! table/NAME    | a record, Avro                   | `_redrive-table-NAME`, which that table's pipeline alone reads
//! function/NAME | a record of a stream, Avro       | `_redrive-function-NAME`, which that function alone reads
//! function/NAME | a message (source queue/...)     | its queue
//! queue/NAME    | a message                        | its queue
//! crawl/NAME    | a task (source queue/...)        | the crawl's queue
//! crawl/NAME    | an item, JSON                    | nowhere: the vendor is asked for it again by the next run
//! stream/NAME   | messages that came to the door   | the stream, as if they came now
//! table/NAME    | a row that a rule refused, JSON  | nowhere: it is what was made of a record, and no record
//! files/NAME    | a file or a row of one           | nowhere: the file is what is taken again
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Weak};

use weir_queue::{Queue, Queues};
use weir_stream::Stream;
use weir_types::{FunctionName, NameError, QueueName, StreamName, TableName};

use super::letter::Cause;
use super::rows::LetterRow;
use crate::node::Node;
use crate::pipeline::Pipeline;
use crate::streams::OpenStream;

/// Where a letter goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Table(TableName),
    Function(FunctionName),
    Stream(StreamName),
    Queue(QueueName),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) => write!(f, "table/{name}"),
            Self::Function(name) => write!(f, "function/{name}"),
            Self::Stream(name) => write!(f, "stream/{name}"),
            Self::Queue(name) => write!(f, "queue/{name}"),
        }
    }
}

impl FromStr for Way {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |error: NameError| format!("`{text}`: {error}");
        let (kind, name) = text.split_once('/').ok_or_else(|| format!("`{text}` is no target"))?;
        match kind {
            "table" => name.parse().map(Self::Table).map_err(refused),
            "function" => name.parse().map(Self::Function).map_err(refused),
            "stream" => name.parse().map(Self::Stream).map_err(refused),
            "queue" => name.parse().map(Self::Queue).map_err(refused),
            _ => Err(format!("`{text}` is no target")),
        }
    }
}

/// What letters can go to: what the plan has now.
pub(super) struct Targets {
    tables: BTreeMap<TableName, Arc<Stream>>,
    functions: BTreeMap<FunctionName, Arc<Stream>>,
    streams: BTreeMap<StreamName, Arc<OpenStream>>,
    /// Weak: the queues hold the log's engine, and whoever drops the node means to end it.
    queues: Weak<Queues>,
}

/// A target that is there.
pub(super) enum Target {
    /// The stream of records that are given to one consumer alone.
    Given(Arc<Stream>),
    Stream(Arc<OpenStream>),
    Queue(Arc<Queue>),
}

/// Why a letter can't go there.
pub(super) enum NoTarget {
    /// The plan does not have it, in words.
    Gone(String),
    /// The node is ending.
    Closed,
}

impl Targets {
    pub fn of(node: &Node) -> Self {
        let given = |(name, pipeline): (&TableName, &Pipeline)| {
            let wanted = StreamName::of_redrive("table", name.as_str());
            let source = pipeline.sources().iter().find(|source| *source.stream.name() == wanted)?;
            Some((name.clone(), source.stream.clone()))
        };
        let functions = node.functions().iter();
        let functions = functions.filter_map(|(name, function)| Some((name.clone(), function.redrive.clone()?)));
        Self {
            tables: node.pipelines().iter().filter_map(given).collect(),
            functions: functions.collect(),
            streams: node.streams().iter().map(|(name, stream)| (name.clone(), stream.clone())).collect(),
            queues: Arc::downgrade(node.queues()),
        }
    }

    pub fn get(&self, way: &Way) -> Result<Target, NoTarget> {
        let gone = || NoTarget::Gone(format!("{way} is not in the plan any more"));
        match way {
            Way::Table(name) => self.tables.get(name).cloned().map(Target::Given).ok_or_else(gone),
            Way::Function(name) => self.functions.get(name).cloned().map(Target::Given).ok_or_else(|| {
                NoTarget::Gone(format!("no function `{name}` on a stream, with targets of its own, is in the plan"))
            }),
            Way::Stream(name) => self.streams.get(name).cloned().map(Target::Stream).ok_or_else(gone),
            Way::Queue(name) => {
                let queues = self.queues.upgrade().ok_or(NoTarget::Closed)?;
                queues.get(name).map(Target::Queue).ok_or_else(|| NoTarget::Gone(format!("there is no queue `{name}`")))
            }
        }
    }
}

/// Says where a letter goes; the error says in words why it can't.
pub(super) fn way_of(letter: &LetterRow) -> Result<Way, String> {
    if letter.cause == Cause::RefusedByTable.as_str() {
        let told =
            "it is a row that a rule of the table refused, and no record: change the rule and send the record again";
        return Err(told.to_owned());
    }
    if letter.target.starts_with("files/") {
        let told =
            "it is of a file that was read: mend the file and put it there again, which reads all of it once more";
        return Err(told.to_owned());
    }
    if letter.target.starts_with("crawl/") {
        if letter.source.starts_with("queue/") {
            return letter.source.parse();
        }
        let told = "it is of what an answer held: mend the crawl's schema or its resources, and the next run asks the vendor again";
        return Err(told.to_owned());
    }
    let way: Way = letter.target.parse()?;
    if matches!(way, Way::Function(_)) && letter.source.starts_with("queue/") {
        return letter.source.parse();
    }
    Ok(way)
}

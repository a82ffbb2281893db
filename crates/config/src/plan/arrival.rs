//! Where things arrive beside streams: queues, schedules, files.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;
use weir_schedule::{Missed, Schedule};
use weir_types::{ByteSize, FilesName, QueueName, ScheduleName};

use super::StreamPlan;
use crate::Place;

/// A `queue` block.
#[derive(Debug)]
pub struct QueuePlan {
    /// The name that clients know it by: a FIFO queue's ends with `.fifo`, which the block's name does not.
    pub name: QueueName,
    /// How long a message that was received is hidden from others, if the receiver says nothing else.
    pub visibility_timeout: Duration,
    /// How long a message that was sent is hidden at first, if the sender says nothing else.
    pub delay: Duration,
    /// How long a message is kept.
    pub retention: Duration,
    /// How long a receive waits for messages, if the receiver says nothing else.
    pub receive_wait: Duration,
    /// The largest message that is taken, attributes included.
    pub message_bytes_max: ByteSize,
    /// What makes it a FIFO queue; none: a standard queue.
    pub fifo: Option<FifoPlan>,
    /// What becomes of messages that were received too often; none: they come back until they are too old.
    pub dead_letter: Option<DeadLetterPlan>,
    /// Tags by name.
    pub tags: BTreeMap<String, String>,
    /// Where the block is.
    pub place: Place,
}

/// What a FIFO queue has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FifoPlan {
    /// Whether messages of one body are repeats, if their sender gives no deduplication id.
    pub content_deduplication: bool,
}

/// When a queue gives a message up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterPlan {
    /// How often a message is received before it is given up, 1 to 1000.
    pub max_receives: u32,
    /// The queue that takes it, of the same kind (FIFO or not); none: the table `dead_letters`.
    pub to: Option<QueueName>,
}

/// A `schedule` block.
#[derive(Debug)]
pub struct SchedulePlan {
    /// The schedule's name.
    pub name: ScheduleName,
    /// When it is due, in its time zone. A `rate` is not anchored.
    pub when: Schedule,
    /// What becomes of times that passed while nothing ran.
    pub missed: Missed,
    /// What its functions are given, as JSON; none: the event that EventBridge sends.
    pub input: Option<String>,
    /// Where the block is.
    pub place: Place,
}

/// A `files` block.
#[derive(Debug)]
pub struct FilesPlan {
    /// Its name.
    pub name: FilesName,
    /// The folder or prefix that files arrive under: `file`, or a scheme of object stores.
    pub location: Url,
    /// What a file's path below the location must match: `*` is any run of characters but `/`, `**` any run, `?` one
    /// character but `/`; everything else stands for itself. None: any file.
    pub pattern: Option<String>,
    /// What is made of a file.
    pub content: FilesContent,
    /// How often the location is looked at.
    pub every: Duration,
    /// How long a file must not have changed before it is taken.
    pub settle: Duration,
    /// Which files the first look takes.
    pub start: FilesStart,
    /// The queue whose messages say what is new there.
    pub notify: Option<QueueName>,
    /// Where the block is.
    pub place: Place,
}

/// What is made of a file.
#[derive(Debug)]
pub enum FilesContent {
    /// Functions are told of it, as S3 does.
    Reference,
    /// Its records are read into a stream of weir's own, which functions and tables are on.
    Records {
        /// What the files are.
        format: FilesFormat,
        /// What a row that can't be read does to its file.
        bad_rows: BadRows,
        /// The stream, named by [`weir_types::StreamName::of_files`]. It is not among [`crate::Plan::streams`].
        stream: Box<StreamPlan>,
    },
}

/// What a row that can't be read does to its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BadRows {
    /// The file is a dead letter, whole: none of its rows goes on.
    #[default]
    RefuseFile,
    /// The row is a dead letter, and the others go on.
    Skip,
}

/// How records stand in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesFormat {
    /// CSV, with the names of fields in the first line.
    Csv,
    /// One JSON value on each line.
    Ndjson,
    /// Avro container files.
    Avro,
    /// Parquet.
    Parquet,
}

/// Which files the first look takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FilesStart {
    /// All that are there.
    #[default]
    All,
    /// None: only what arrives later.
    New,
}

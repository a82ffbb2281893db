//! Names of things: one newtype per kind, one rule for all that users write.
//!
//! A user's name is 1 to [`NAME_BYTES_MAX`] bytes of `a-z A-Z 0-9 _ -`, and starts with a letter. (A leading
//! underscore is weir's own.)

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::NAME_BYTES_MAX;
use crate::sequence::ShardId;

/// A name that breaks the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing between the quotes.
    #[error("a name is empty")]
    Empty,
    /// Longer than the limit.
    #[error("the name `{name}` has {} bytes, and may have {bytes_max}", name.len())]
    TooLong {
        /// The name as written.
        name: String,
        /// The limit.
        bytes_max: usize,
    },
    /// A character that is not allowed there.
    #[error(
        "the name `{name}` has `{found}` at character {at}: letters, digits, `_` and `-` are allowed, a letter first"
    )]
    Character {
        /// The name as written.
        name: String,
        /// The first character that is refused.
        found: char,
        /// Its place, counted from 1.
        at: usize,
    },
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { name: text.to_owned(), bytes_max: NAME_BYTES_MAX });
    }
    for (index, found) in text.chars().enumerate() {
        let fits = found.is_ascii_alphabetic() || (index > 0 && (found.is_ascii_digit() || matches!(found, '_' | '-')));
        if !fits {
            return Err(NameError::Character { name: text.to_owned(), found, at: index + 1 });
        }
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name!(
    /// The name of a stream.
    StreamName
);
name!(
    /// The name of a table.
    TableName
);
name!(
    /// The name of a function.
    FunctionName
);
name!(
    /// The name of a lookup.
    LookupName
);
name!(
    /// The name of a schedule.
    ScheduleName
);
name!(
    /// The name of a place where files arrive.
    FilesName
);
name!(
    /// The name of a vendor's account that is called.
    ApiName
);
name!(
    /// The name of a crawl.
    CrawlName
);

impl TableName {
    /// Returns the table in which a run's rows are gathered before a table takes them over: weir's own, hence the underscore.
    pub fn of_run(table: &Self) -> Self {
        Self(format!("_run-{table}"))
    }
}

impl StreamName {
    /// Returns the stream that keeps what a function has made until its targets have taken it: weir's own, hence the
    /// underscore.
    pub fn of_function(function: &FunctionName) -> Self {
        Self(format!("_function-{function}"))
    }

    /// Returns the stream that keeps what a crawl's calls have made until its targets have taken it: weir's own, hence the
    /// underscore.
    pub fn of_crawl(crawl: &CrawlName) -> Self {
        Self(format!("_crawl-{crawl}"))
    }

    /// Tells whether the stream keeps what a crawl's calls have made.
    pub fn is_of_crawl(&self) -> bool {
        self.0.starts_with("_crawl-")
    }

    /// Returns the stream of the records that are read from arriving files: weir's own, hence the underscore.
    pub fn of_files(files: &FilesName) -> Self {
        Self(format!("_files-{files}"))
    }

    /// Returns the stream of the records that are given once more to one consumer alone, such as `function`, `score`.
    pub fn of_redrive(kind: &'static str, name: &str) -> Self {
        Self(format!("_redrive-{kind}-{name}"))
    }

    /// Returns the stream of the records that replays give to a function: weir's own, hence the underscore.
    pub fn of_replay(function: &FunctionName) -> Self {
        Self(format!("_replay-function-{function}"))
    }

    /// Returns the stream that keeps what a function has made of replayed records until its targets have taken it: weir's
    /// own, hence the underscore.
    pub fn of_replayed(function: &FunctionName) -> Self {
        Self(format!("_replayed-{function}"))
    }

    /// Tells whether the stream is one of weir's own.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with('_')
    }
}

/// The name of a queue: 1 to 80 letters, digits, `_` and `-`, as SQS has it; a FIFO queue's ends with `.fifo`, which counts.
/// A leading underscore is weir's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(String);

/// What a FIFO queue's name ends with.
pub const FIFO_SUFFIX: &str = ".fifo";
/// A queue's name, in bytes.
const QUEUE_NAME_BYTES_MAX: usize = 80;

impl QueueName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether the name is that of a FIFO queue.
    pub fn is_fifo(&self) -> bool {
        self.0.ends_with(FIFO_SUFFIX)
    }

    /// Returns the queue of a function's asynchronous invocations: weir's own, so that no user's queue meets it.
    pub fn of_function(function: &FunctionName) -> Self {
        Self(format!("_function-{function}"))
    }

    /// Returns the queue of a crawl's calls: weir's own, so that no user's queue meets it.
    pub fn of_crawl(crawl: &CrawlName) -> Self {
        Self(format!("_crawl-{crawl}"))
    }

    /// Tells whether the queue is one of weir's own.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with('_')
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for QueueName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        // What is longer than any name of weir's own is refused; so is a user's name that is longer than SQS allows.
        let internal = text.starts_with('_');
        let bytes_max = if internal { 2 * NAME_BYTES_MAX } else { QUEUE_NAME_BYTES_MAX };
        if text.len() > bytes_max {
            return Err(NameError::TooLong { name: text.to_owned(), bytes_max });
        }
        let stem = text.strip_suffix(FIFO_SUFFIX).unwrap_or(text);
        if stem.is_empty() {
            return Err(NameError::Empty);
        }
        match stem.chars().enumerate().find(|(_, found)| !(found.is_ascii_alphanumeric() || matches!(found, '_' | '-')))
        {
            Some((index, found)) => Err(NameError::Character { name: text.to_owned(), found, at: index + 1 }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for QueueName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<QueueName> for String {
    fn from(name: QueueName) -> String {
        name.0
    }
}

/// The name of a schema's subject in the registry: 1 to 255 bytes without control characters, as Confluent's registry
/// allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubjectName(String);

impl SubjectName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SubjectName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        printable(text, 255).map(Self)
    }
}

impl TryFrom<String> for SubjectName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<SubjectName> for String {
    fn from(name: SubjectName) -> String {
        name.0
    }
}

/// What a producer calls itself so that its retries are recognised: 1 to 128 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProducerId(String);

impl ProducerId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProducerId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        printable(text, NAME_BYTES_MAX).map(Self)
    }
}

impl TryFrom<String> for ProducerId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ProducerId> for String {
    fn from(id: ProducerId) -> String {
        id.0
    }
}

fn printable(text: &str, bytes_max: usize) -> Result<String, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > bytes_max {
        return Err(NameError::TooLong { name: text.to_owned(), bytes_max });
    }
    if let Some((index, found)) = text.chars().enumerate().find(|(_, found)| found.is_control()) {
        return Err(NameError::Character { name: text.escape_debug().to_string(), found, at: index + 1 });
    }
    Ok(text.to_owned())
}

/// The name of a log: a path whose first part says what kind of thing it belongs to, such as `stream/flights/0` or
/// `machine/schemas`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogName(String);

impl LogName {
    /// Returns the log of one shard of a stream.
    pub fn shard(stream: &StreamName, shard: ShardId) -> Self {
        Self(format!("stream/{stream}/{shard}"))
    }

    /// Returns the log of a queue.
    pub fn queue(queue: &QueueName) -> Self {
        Self(format!("queue/{queue}"))
    }

    /// Returns the log of a machine. `machine` is a constant of the code, not a user's text.
    pub fn machine(machine: &'static str) -> Self {
        Self(format!("machine/{machine}"))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LogName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        printable(text, 2 * NAME_BYTES_MAX).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_name_the_character_they_refuse() {
        assert_eq!(
            "fli ghts".parse::<StreamName>(),
            Err(NameError::Character { name: "fli ghts".into(), found: ' ', at: 4 })
        );
        assert_eq!("".parse::<TableName>(), Err(NameError::Empty));
        assert!("9lives".parse::<TableName>().is_err());
        assert!("_system".parse::<TableName>().is_err());
        assert!("a".repeat(NAME_BYTES_MAX + 1).parse::<TableName>().is_err());
        assert_eq!("orders-2_b".parse::<StreamName>().unwrap().as_str(), "orders-2_b");
    }

    #[test]
    fn queues_are_named_as_in_sqs() {
        let fifo: QueueName = "orders.fifo".parse().unwrap();
        assert!(fifo.is_fifo() && !fifo.is_internal());
        assert!("7-orders_b".parse::<QueueName>().unwrap().as_str() == "7-orders_b");
        assert!(".fifo".parse::<QueueName>().is_err());
        assert!("or.ders".parse::<QueueName>().is_err());
        assert!("a".repeat(81).parse::<QueueName>().is_err());
        let own = QueueName::of_function(&"score".parse().unwrap());
        assert!(own.is_internal());
        assert_eq!(own.as_str().parse::<QueueName>().unwrap(), own);
    }
}

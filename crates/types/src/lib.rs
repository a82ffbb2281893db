//! Names, identifiers, units and limits that every layer shares.
//!
//! Owns the newtypes and their text forms. Knows no async, no I/O, no clock, and no other crate of weir.
//!
//! ```
//! use weir_types::{LogName, StreamName, span};
//!
//! let stream: StreamName = "flights".parse().unwrap();
//! assert_eq!(LogName::shard(&stream, 1.into()).as_str(), "stream/flights/1");
//! assert_eq!(span::parse("7d").unwrap().as_secs(), 7 * 24 * 3600);
//! assert!("Flights!".parse::<StreamName>().is_err());
//! ```

pub mod civil;
pub mod fingerprint;
pub mod glob;
mod hour;
pub mod limits;
pub mod name;
mod nearest;
mod secret;
pub mod sequence;
pub mod size;
pub mod span;
pub mod tally;
pub mod timestamp;

pub use fingerprint::Fingerprint;
pub use glob::Glob;
pub use hour::{Hour, HourError};
pub use name::{
    ApiName, CrawlName, FIFO_SUFFIX, FilesName, FunctionName, LogName, LookupName, NameError, ProducerId, QueueName,
    ScheduleName, StreamName, SubjectName, TableName,
};
pub use nearest::nearest;
pub use secret::Secret;
pub use sequence::{SequenceNumber, ShardId};
pub use size::ByteSize;
pub use tally::Tally;
pub use timestamp::Timestamp;

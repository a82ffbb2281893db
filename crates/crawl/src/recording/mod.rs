//! Answers, stored as they come, and given again without a network.
//!
//! ```text
//! Recorder: request --inner transport--> answer --redacted--> FOLDER/answers.ndjson, a line each
//! Recorded: request --key--> the line --> answer
//! ```
//!
//! A request is known by its method, its URL with the query's pairs in order, and a hash of its body. The same request met again is given the
//! answers in the order in which they came, and the last one from then on. Transport errors are not recorded: the retry's answer is.
//!
//! Invariants: no request header is stored, no header of an answer that looks like a secret, no value of a parameter that does, and
//! no secret of the client's, wherever a vendor repeats it. A line that a kill tore is passed over with a warning. Memory holds an
//! index (32 bytes an answer), never bodies.

mod entry;
mod recorded;
mod recorder;
mod redaction;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use recorded::Recorded;
pub use recorder::Recorder;
pub use redaction::Redaction;

/// The file of a recording, in its folder.
pub const FILE: &str = "answers.ndjson";

/// Why a recording can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There are answers already.
    #[error("`{path}` holds a recording already: remove it, or name another folder")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is none.
    #[error("`{path}` is not there: record one first with `weir crawl record`")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{what} `{path}`")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

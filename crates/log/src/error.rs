//! What can go wrong, per operation.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use weir_types::{LogName, SequenceNumber};

/// Why an append was refused. Unless it says otherwise, nothing of the append is stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The condition does not hold: somebody else has appended. The caller is fenced, and reads before it tries again.
    #[error("log `{log}` ends at {tail}, and the append expected {expected}")]
    Conflict {
        /// The log.
        log: LogName,
        /// What the caller expected.
        expected: SequenceNumber,
        /// Where it ends.
        tail: SequenceNumber,
    },
    /// The queue in front of the writer is full. Nothing was taken; try again after a short wait.
    #[error("log `{log}` can't take more now: {queued} bytes wait to be written")]
    Busy {
        /// The log.
        log: LogName,
        /// Bytes that wait.
        queued: u64,
    },
    /// No space is left. The engine takes appends again by itself once there is.
    #[error("the disk that holds log `{log}` is full")]
    DiskFull {
        /// The log.
        log: LogName,
    },
    /// The append breaks a limit.
    #[error("an append to log `{log}` has {what}")]
    Limit {
        /// The log.
        log: LogName,
        /// Which limit, in words.
        what: String,
    },
    /// The engine is closed, or stopped after a failure that it can't judge.
    #[error("the log engine is closed")]
    Closed,
    /// The operating system refused the write; what had been durable still is.
    #[error("append to log `{log}`")]
    Io {
        /// The log.
        log: LogName,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
}

/// Why a read failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The records were trimmed.
    #[error("log `{log}` begins at {head}; {asked} was trimmed")]
    Trimmed {
        /// The log.
        log: LogName,
        /// What was asked for.
        asked: SequenceNumber,
        /// The first record that is still there.
        head: SequenceNumber,
    },
    /// Stored bytes do not match their checksum. What was stored is not returned, and never skipped in silence.
    #[error("log `{log}` is damaged at records {from} to {to} ({place}); `weir log repair` keeps what still reads")]
    Damaged {
        /// The log.
        log: LogName,
        /// First record that can't be read.
        from: SequenceNumber,
        /// The place after the last record that can't be read.
        to: SequenceNumber,
        /// Segment and offset.
        place: String,
    },
    /// These records were lost to damage, and a repair has recorded that. Reading may go on behind them; it says so until
    /// they are trimmed.
    #[error("records {from} to {to} of log `{log}` are lost: a repair could not read them")]
    Lost {
        /// The log.
        log: LogName,
        /// First record that is lost.
        from: SequenceNumber,
        /// The place after the last record that is lost.
        to: SequenceNumber,
    },
    /// The engine is closed.
    #[error("the log engine is closed")]
    Closed,
    /// The operating system refused the read.
    #[error("read log `{log}`")]
    Io {
        /// The log.
        log: LogName,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
}

/// Why a trim failed. The log is as it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TrimError {
    /// Trimming past the end.
    #[error("log `{log}` ends at {tail} and can't be trimmed to {asked}")]
    PastTail {
        /// The log.
        log: LogName,
        /// Where it was to begin.
        asked: SequenceNumber,
        /// Where it ends.
        tail: SequenceNumber,
    },
    /// The trim point could not be made durable.
    #[error("trim log")]
    Append(#[from] AppendError),
}

/// Why an engine could not be opened, or a log in it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Another process has the folder.
    #[error("the data folder `{path}` is in use by another process{}", owner.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The owner, when it left its number.
        owner: Option<u32>,
    },
    /// Acknowledged bytes do not read back. The text names segment, offset and sequence numbers.
    #[error("the log in `{path}` is damaged: {what}; `weir log repair` keeps every frame that still reads")]
    Damaged {
        /// The segment's file.
        path: PathBuf,
        /// Offset and sequence numbers, in words.
        what: String,
    },
    /// Written by a version that this one does not know.
    #[error("`{path}` has format version {found}; this weir reads up to {known}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// A new log would break a limit.
    #[error("the engine holds {logs_max} logs and can't take `{log}` as well")]
    TooManyLogs {
        /// The log that was to be made.
        log: LogName,
        /// The limit.
        logs_max: usize,
    },
    /// The settings contradict one another.
    #[error("the log's settings are wrong: {what}")]
    Options {
        /// Which, in words.
        what: String,
    },
    /// A log could not be made.
    #[error("create log")]
    Create(#[from] AppendError),
    /// The operating system refused.
    #[error("{action} `{path}`")]
    Io {
        /// What was tried, such as "open".
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The engine is closed.
    #[error("the log engine is closed")]
    Closed,
}

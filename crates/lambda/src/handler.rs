//! A deployed function.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use weir_machine::SubmitError;
use weir_types::{FunctionName, Timestamp};

use crate::{Answer, Invocation, InvokeError, Version, VersionError};

/// A deployed function.
#[derive(Debug)]
pub struct Handler {
    name: FunctionName,
    cursor: watch::Sender<Cursor>,
}

/// What a function has done since its host began, and does now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Invocations that run.
    pub running: usize,
    /// Environments that wait for one.
    pub idle: usize,
    /// Environments that come up.
    pub starting: usize,
    /// Invocations that wait for their turn or for an environment.
    pub waiting: usize,
    /// Invocations that ran.
    pub invocations: u64,
    /// Of those, how many failed.
    pub errors: u64,
    /// Of those, how many reached their timeout.
    pub timeouts: u64,
    /// Invocations that were refused for want of concurrency.
    pub throttles: u64,
    /// Environments that came up.
    pub cold_starts: u64,
    /// The sum of all durations.
    pub duration: Duration,
    /// The sum of the time in which environments came up.
    pub init_duration: Duration,
    /// The sum of billed milliseconds times memory, in byte-milliseconds.
    pub billed_byte_ms: u128,
}

/// Why versions could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It can't be so.
    #[error(transparent)]
    Refused(#[from] VersionError),
    /// It could not be stored.
    #[error("store the versions of function `{function}`")]
    Store {
        /// The function.
        function: FunctionName,
        /// The cause.
        #[source]
        source: SubmitError,
    },
    /// The version's files or dependencies are not there.
    #[error("version {version} of function `{function}` can't run: {what}")]
    Missing {
        /// The function.
        function: FunctionName,
        /// The version.
        version: u64,
        /// What is missing.
        what: String,
    },
}

/// A place in a function's log; later lines have greater ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor(pub u64);

/// Where a line of a log came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
    /// The host: START, END, REPORT, and what it has to say.
    Platform,
}

/// One line of a function's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read.
    pub time: Timestamp,
    /// The invocation that ran then.
    pub request_id: Option<String>,
    /// The version.
    pub version: u64,
    /// Where it came from.
    pub source: Source,
    /// The text, without its end of line.
    pub text: String,
    /// The place behind this line.
    pub next: Cursor,
}

/// Which lines of a log.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Only lines from this place on; `None`: the last ones.
    pub after: Option<Cursor>,
    /// Only lines of this invocation.
    pub request_id: Option<String>,
    /// How many at most.
    pub lines_max: usize,
}

/// A turn: a part of the concurrency, held until it is dropped or used up by [`Handler::invoke_in`].
#[derive(Debug)]
pub struct Slot(());

impl Handler {
    /// Returns the function's name.
    pub fn name(&self) -> &FunctionName {
        &self.name
    }

    /// Calls the function and waits for its answer.
    ///
    /// Dropping the future while it waits for a turn or an environment takes the invocation back; once the event is handed
    /// over the invocation runs to its end, as on AWS.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke(&self, invocation: Invocation) -> Result<Answer, InvokeError> {
        drop(invocation);
        Err(InvokeError::Closed { function: self.name.clone() })
    }

    /// Takes a turn if one is free, so that a trigger receives no more than can run.
    pub fn try_concurrency(&self) -> Option<Slot> {
        None
    }

    /// Calls the function within a turn that was taken before.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke_in(&self, slot: Slot, invocation: Invocation) -> Result<Answer, InvokeError> {
        drop((slot, invocation));
        Err(InvokeError::Closed { function: self.name.clone() })
    }

    /// Returns how many invocations may run at one time.
    pub fn concurrency_max(&self) -> usize {
        0
    }

    /// Returns the function's counts.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Returns the versions, oldest first.
    pub fn versions(&self) -> Vec<Version> {
        Vec::new()
    }

    /// Makes an older version live, the one before the live one if `to` is `None`, until other code is deployed; returns
    /// its number. Running invocations end on the version that they began with.
    ///
    /// # Errors
    /// See [`ChangeError`]; the live version stays then.
    pub async fn rollback(&self, to: Option<u64>) -> Result<u64, ChangeError> {
        Ok(to.unwrap_or_default())
    }

    /// Returns the aliases and the versions that they name.
    pub fn aliases(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    /// Lets an alias name a version.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn set_alias(&self, alias: &str, version: u64) -> Result<(), ChangeError> {
        let _ = (alias, version);
        Ok(())
    }

    /// Forgets an alias.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn remove_alias(&self, alias: &str) -> Result<(), ChangeError> {
        let _ = alias;
        Ok(())
    }

    /// Returns lines of the function's log, oldest first.
    ///
    /// # Errors
    /// If its files don't read.
    pub async fn logs(&self, query: LogQuery) -> Result<Vec<LogLine>, std::io::Error> {
        drop(query);
        Ok(Vec::new())
    }

    /// Returns a watch of the log's end, which wakes those who follow it.
    pub fn follow(&self) -> watch::Receiver<Cursor> {
        self.cursor.subscribe()
    }
}

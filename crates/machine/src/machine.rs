//! What a deterministic state machine must provide.

use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_types::{SequenceNumber, Timestamp};

/// Where and when a command stands in the log: the same on every node and at every replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The command's place.
    pub sequence: SequenceNumber,
    /// When the log took it. The only clock a machine may know.
    pub time: Timestamp,
}

/// State that is a pure function of the commands in its log.
///
/// `apply` must not read a clock, chance, or anything outside of `self` and its arguments; it must not fail: what can be
/// refused is an outcome like any other, and leaves the state as it was.
pub trait Machine: Default + Send + Sync + 'static {
    /// The last part of the log's name, `machine/NAME`.
    const NAME: &'static str;
    /// What is appended, as JSON. Old forms must stay readable.
    type Command: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What the caller learns.
    type Outcome: Send + 'static;

    /// Changes the state by one command.
    fn apply(&mut self, at: At, command: Self::Command) -> Self::Outcome;

    /// Writes the whole state, in a form with a version of its own.
    fn snapshot(&self) -> Vec<u8>;

    /// Reads what [`Machine::snapshot`] wrote.
    ///
    /// # Errors
    /// If the bytes are of an unknown version or don't parse.
    fn restore(bytes: &[u8]) -> Result<Self, RestoreError>;
}

/// A snapshot that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("a snapshot of machine `{machine}` can't be read: {reason}")]
pub struct RestoreError {
    /// The machine's name.
    pub machine: &'static str,
    /// Why, in words.
    pub reason: String,
}

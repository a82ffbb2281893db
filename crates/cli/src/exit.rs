//! Exit codes.

use std::process::ExitCode;

use crate::client::Unreachable;

/// What a command's exit code says. clap's own, for a wrong command line, is 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed; stderr says why.
    Failed = 1,
    /// The configuration has errors.
    Configuration = 3,
    /// No server answers.
    Unreachable = 4,
    /// Records were refused; the others were stored.
    Refused = 5,
    /// The log has damage, or an archive.
    Damaged = 6,
    /// The ledger does not balance.
    Unbalanced = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Returns the code that stands for an error.
pub fn of_error(error: &anyhow::Error) -> Exit {
    if error.chain().any(|cause| cause.is::<Unreachable>()) { Exit::Unreachable } else { Exit::Failed }
}

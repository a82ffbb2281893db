//! What the host tells the launcher, as JSON on its standard input: secrets are in it, so it is no argument.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A plan must fit a pipe, so that writing it never waits for its reader.
pub(crate) const PLAN_BYTES_MAX: usize = 60 * 1024;

/// How to confine, and what to become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The host's process: the launcher ends if it has another parent, since its own is dead then.
    pub parent: u32,
    /// The user and group to become; `None`: stay.
    pub user: Option<u32>,
    /// Limits of the kernel's.
    pub limits: Limits,
    /// Files and connections; `None`: no Landlock.
    pub files: Option<Files>,
    /// System calls.
    pub syscalls: Syscalls,
    /// The folder to begin in.
    pub folder: PathBuf,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
}

/// Resource limits; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub data_bytes: Option<u64>,
    pub file_bytes: Option<u64>,
    pub open_files: Option<u64>,
    pub tasks: Option<u64>,
}

/// What Landlock lets through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    /// Files and folders to read and execute.
    pub read: Vec<PathBuf>,
    /// Files and folders to read, write and execute.
    pub write: Vec<PathBuf>,
    /// TCP ports to connect to; `None`: all.
    pub ports: Option<Vec<u16>>,
}

/// Which system calls are refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Syscalls {
    /// None.
    #[default]
    All,
    /// The dangerous ones.
    Safe,
    /// The dangerous ones, and datagrams over IP.
    SafeWithoutDatagrams,
}

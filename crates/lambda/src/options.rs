//! Settings of a host.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// As whom handlers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Users {
    /// As root: each environment as a user of its own out of a range that nobody else uses, if the interpreter and the
    /// folders can be reached by such a user; else, and if the server is not root, as the server's user. The
    /// [confinement](crate::Host::confinement) tells which.
    Auto,
    /// As the server's user.
    Same,
    /// Each environment as a user of its own out of this range. A deployment that such a user can't reach fails.
    Range {
        /// The first user id; the group id is the same number.
        first: u32,
        /// How many.
        count: u32,
    },
}

/// Settings of a [`Host`](crate::Host).
#[derive(Debug, Clone)]
pub struct Options {
    /// Where versions, logs and temp folders are: `versions/`, `logs/`, `tmp/`. Made if missing.
    pub folder: PathBuf,
    /// Where installed dependencies and the embedded runtime clients are; may be shared by several hosts.
    pub cache: PathBuf,
    /// The command that runs [`confine::main`](crate::confine::main).
    pub launcher: Vec<OsString>,
    /// Invocations at one time, over all functions. Reserved concurrency is taken out of it.
    pub concurrency: usize,
    /// How long an invocation may wait for its turn before it is throttled.
    pub wait: Duration,
    /// Environments that may start at one time; zero: twice the machine's cores.
    pub starts_max: usize,
    /// As whom handlers run.
    pub users: Users,
    /// What handlers find as `AWS_REGION`.
    pub region: String,
    /// The account in function ARNs: twelve digits.
    pub account: String,
    /// What handlers find as `AWS_ENDPOINT_URL`, so that their AWS clients talk to this node.
    pub endpoint: Option<String>,
    /// The Python interpreter; `None`: the first `python3` in `PATH` that the handlers' user may run.
    pub python: Option<PathBuf>,
    /// The Node interpreter; `None`: the first `node` in `PATH` that the handlers' user may run.
    pub node: Option<PathBuf>,
}

impl Options {
    /// Sensible settings: 1000 invocations at one time, one second of waiting, as whom [`Users::Auto`] says.
    pub fn new(folder: PathBuf, cache: PathBuf, launcher: Vec<OsString>) -> Self {
        Self {
            folder,
            cache,
            launcher,
            concurrency: 1000,
            wait: Duration::from_secs(1),
            starts_max: 0,
            users: Users::Auto,
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            endpoint: None,
            python: None,
            node: None,
        }
    }
}

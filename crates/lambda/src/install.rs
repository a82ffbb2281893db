//! Installs dependencies (being written).

/// Why dependencies could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The installer could not be run.
    #[error("run `{command}`")]
    Run {
        /// The command.
        command: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The installer failed.
    #[error("`{command}` failed with {status}: {}", last_lines.join(" | "))]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: crate::ExitStatus,
        /// The last that it printed.
        last_lines: Vec<String>,
    },
    /// The installer took too long and was killed.
    #[error("`{command}` took more than {} s and was killed: {}", crate::limits::INSTALL_LIMIT.as_secs(), last_lines.join(" | "))]
    TimedOut {
        /// The command.
        command: String,
        /// The last that it printed.
        last_lines: Vec<String>,
    },
    /// A file or folder of the cache.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: std::path::PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// No interpreter.
    #[error("no `{program}` was found in PATH: install it, or set its path")]
    NoInterpreter {
        /// `python3`, `node` or `npm`.
        program: String,
    },
}

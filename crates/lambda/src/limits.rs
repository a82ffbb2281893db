//! Limits of functions and of what hosts them. AWS's own where AWS has one.

use std::time::Duration;

/// The payload of an invocation, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;
/// A client's context, in bytes.
pub const CLIENT_CONTEXT_BYTES_MAX: usize = 3583;
/// A response, in bytes: what AWS takes, the envelope of 100 bytes included.
pub const RESPONSE_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;
/// The body of an error that a runtime reports, in bytes; what is longer is cut.
pub const ERROR_BYTES_MAX: usize = 256 * 1024;
/// What is read of an oversize response after the limit, so that its sender lives to read the refusal.
pub const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a function may run.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);
/// The least memory that a function may have: an interpreter alone takes a third of it.
pub const MEMORY_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// How long a runtime may take until its first `next`, before it is tried again under the function's own timeout.
pub const INIT_LIMIT: Duration = Duration::from_secs(10);
/// Names and values of a function's environment, in bytes: the plan of a launch must fit a pipe.
pub const ENVIRONMENT_BYTES_MAX: usize = 32 * 1024;
/// A function's code, in bytes, dependencies that it brings along included.
pub const CODE_BYTES_MAX: u64 = 250 * 1024 * 1024;
/// Files and folders of a function's code.
pub const CODE_FILES_MAX: usize = 50_000;
/// Versions of one function that are kept; the oldest that no alias names goes first.
pub const VERSIONS_MAX: usize = 50;
/// Aliases of one function.
pub const ALIASES_MAX: usize = 20;
/// An alias, in bytes.
pub const ALIAS_BYTES_MAX: usize = 128;
/// Invocations that wait for one function's environments; the next one is throttled at once.
pub const WAITING_MAX: usize = 1000;
/// How long installing dependencies may take.
pub const INSTALL_LIMIT: Duration = Duration::from_secs(5 * 60);
/// Connections that one environment may hold to its Runtime API.
pub const CONNECTIONS_MAX: usize = 16;
/// The first delay after failed starts; each further failure doubles it.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest delay between two starts that fail.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// One line of a log, in bytes; what is longer is cut, and says so.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// What one invocation may print, in bytes; the rest is read, counted and dropped, and the log says so.
pub const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The last output that an answer carries, in bytes.
pub const TAIL_BYTES_MAX: usize = 4096;
/// Lines of the standard error that a crash carries.
pub const LAST_LINES_MAX: usize = 20;
/// One file of a function's log, in bytes.
pub const LOG_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Files of a function's log.
pub const LOG_FILES_MAX: usize = 4;
/// Entries of a temp folder that are looked at; a folder with more counts as full.
pub const TEMP_ENTRIES_MAX: usize = 20_000;
/// Processes and threads of one environment, where it has a user of its own: as AWS.
pub const TASKS_MAX: u64 = 1024;
/// Open files of one process: as AWS.
pub const OPEN_FILES_MAX: u64 = 1024;
/// How long running invocations may go on when the host closes.
pub const CLOSE_LIMIT: Duration = Duration::from_secs(10);

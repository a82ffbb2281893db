//! HTTP on one port: the native API under `/v1`, Lambda's way to invoke functions, the SQS wire API, readiness, and metrics.
//!
//! Handlers translate and nothing more: what they do is a method of [`weir_runtime::Node`], so that the CLI and tests can do
//! the same without HTTP. Every connection has limits: how many there are, how long a head may take, how long a body may
//! be silent.

mod apis;
mod archive;
mod body;
mod crawls;
mod dead_letters;
mod error;
mod files;
mod functions;
mod invoke;
mod ledger;
mod listen;
mod lookups;
mod metrics;
mod query;
mod queues;
mod records;
mod replays;
mod routes;
mod rows;
mod schemas;
mod status;
mod tables;

pub use crawls::{CancelRequest, RunRequest, StartOutcome, Started};
pub use dead_letters::{ActRequest, LetterQuery, View};
pub use error::{ErrorBody, ErrorCode, ErrorReply};
pub use ledger::{AcceptRequest, LedgerQuery};
pub use listen::{CONNECTIONS_MAX, GRACE, HEAD_TIMEOUT, ServeError, serve};
pub use query::QueryRequest;
pub use replays::RateRequest;
pub use rows::RowFormat;

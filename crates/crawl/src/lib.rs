//! Crawls: what to call, what an answer means, and how far a run has come.
//!
//! Knows no streams, queues, tables or HCL: it turns a task into a request, and an answer into items and further tasks.

pub mod eta;
pub mod http;
pub mod import;
mod incremental;
pub mod infer;
mod page;
mod path;
mod plan;
pub mod progress;
mod read;
pub mod recording;
mod run;
pub mod runs;
mod select;
pub mod spec;
pub mod status;
mod task;
mod template;
mod transport;

pub use plan::{Output, Plan, RequestError, RunError, SpecError, Step};
pub use read::{Failure, FieldProblem, Lost, PROBLEMS_MAX, Page, Problem, Read};
pub use run::RunValues;
pub use task::{PageState, Task};
pub use transport::{Answer, Method, Request, Transport, TransportError};

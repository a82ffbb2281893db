//! Crawls: what to call, what an answer means, and how far a run has come.
//!
//! Knows no streams, queues, tables or HCL: it turns a task into a request, and an answer into items and further tasks.

pub mod http;
pub mod import;
pub mod infer;
pub mod recording;
pub mod spec;
mod task;
mod transport;

pub use task::{PageState, Task};
pub use transport::{Answer, Method, Request, Transport, TransportError};

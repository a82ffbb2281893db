//! A crawl, compiled: tasks become requests, answers become items and further tasks.
//!
//!     let plan = Plan::compile(&client, &crawl)?;         // Result<Plan, Vec<SpecError>>
//!     plan.check(&run)?;                                  // Result<(), Vec<RunError>>
//!     let tasks: Vec<Task> = plan.roots(&run);
//!     let request = plan.request(&task, &run)?;           // RequestError: a dead letter
//!     let read: Read = match transport.call(request).await {
//!         Ok(answer) => plan.read(&task, &run, &answer),
//!         Err(error) => plan.failed(&error),
//!     };
//!     plan.signal(&read, &answer, now); plan.signal_of_error(&error)   // weir_budget::Signal
//!     plan.larger(resource, a, b)                         // the larger of two cursors, for the fold over pages
//!     plan.shape() -> &[Step]; plan.outputs() -> Vec<Output>

mod error;
mod shape;

pub use error::{RequestError, RunError, SpecError};
pub use shape::{Output, Step};

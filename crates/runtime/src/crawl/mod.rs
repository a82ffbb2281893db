//! Crawls that run: tasks in a queue, an outbox, and a fold over it (decision 0021).
//!
//! ```text
//! queue `_crawl-NAME` --[pull]--> [call]: permit, transport, reading --[sink]--> outbox `_crawl-NAME` --[forward]--> the queue,
//!      ^                                                                          |                      streams, dead letters
//!      +------------------------------------ tasks -------------------------------+--> pipelines of tables
//!                                                                                 +--> [fold] --> [keeper]: runs begin and end
//! ```
//!
//! | key in the stream  | what |
//! | --- | --- |
//! | a resource's name  | an item, Avro |
//! | `\0task`           | a task, for the queue |
//! | `\0count`          | what was counted, for the fold |
//! | `\0run`            | where a run begins and ends |
//! | `\0letter`         | a dead letter |
//! | `\0state`          | the outbox's own, last in each append |

mod api;
mod apis;
mod call;
mod crew;
mod estimate;
mod fold;
mod infer;
mod items;
mod keeper;
mod letters;
mod marker;
mod open;
mod pull;
mod schedule;
mod sink;
mod status;
mod task;

pub use self::api::{CallError, CrawlError, Crawls, RunAsk};
pub use self::apis::{MakeTransport, Transports};
pub(crate) use self::apis::{close as close_apis, open as open_apis};
pub use self::infer::{INFER_CALLS_MAX, InferError, Inferred, InferredSchema, infer};
pub(crate) use self::marker::{End, Mark, Marker, RUN_KEY};
pub(crate) use self::open::{Around, OpenCrawl, OpenCrawls, consumer};

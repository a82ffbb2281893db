//! Crawls that run: tasks in a queue, an outbox, and a fold over it (decision 0021).
//!
//! ```text
//! queue `_crawl-NAME` --lease--> call: permit, transport, reading --> outbox `_crawl-NAME` --[forward]--> the queue, streams,
//!      ^                                                                  |                              dead letters
//!      +------------------------------ tasks -----------------------------+--> pipelines of tables
//!                                                                         +--> progress
//! ```

#![expect(dead_code, unused_imports, reason = "the engine is put together step by step")]

mod items;
mod marker;
mod task;

pub(crate) use self::marker::{End, Mark, Marker, RUN_KEY};

//! Read-only SQL over tables: their committed files, joined with the rows that are not committed yet.
//!
//! ```text
//! Engine::parse(sql) --> which tables it names
//! Engine::run(parsed, sources, system tables) --> Answer: schema, and batches as they come
//! ```
//!
//! The caller gives each table as a [`Source`] that was taken at one moment, so that an answer is of one state of it. Every
//! query has limits on time, memory and rows; what does not fit in memory spills to disk. Invariant: nothing that a query
//! says changes anything.
//!
//! Knows DataFusion and Parquet. Knows no Delta, no streams, no HTTP.

mod answer;
mod engine;
mod error;
mod predicate;
mod source;

pub use answer::Answer;
pub use datafusion::common::ScalarValue;
pub use engine::{Engine, Limits, Parsed, SYSTEM_SCHEMA};
pub use error::QueryError;
pub use predicate::Predicate;
pub use source::{File, Source};

//! Durable, ordered logs: the one thing that weir makes durable, replicated and fenced.
//!
//! A [`Log`] is an append-only sequence of records, written in [`Block`]s; an [`Engine`] holds many of them. What the
//! records mean is the business of the layers above: to a log a block is bytes and a number of records.
//!
//!     append(blocks, condition) --> one group commit --> durable --> sequence numbers
//!     read(from) ------------------------------------------------> blocks, in order, without gaps
//!     trim(to) --------------------------------------------------> the disk has its space back
//!
//! Engines: [`memory`] for tests and simulation, [`local`], the embedded default. [`conformance`] is the one suite that
//! runs on all.

mod block;
mod error;
mod log;

pub use block::{Block, StoredBlock};
pub use error::{AppendError, EngineError, ReadError, TrimError};
pub use log::{Bounds, Condition, Engine, Log, ReadLimit};

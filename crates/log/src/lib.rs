//! Durable, ordered logs: the one thing that weir makes durable, replicated and fenced.
//!
//! A [`Log`] is an append-only sequence of records, written in [`Block`]s; an [`Engine`] holds many of them. What the
//! records mean is the business of the layers above: to a log a block is bytes and a number of records.
//!
//! ```text
//! append(blocks, condition) --> one group commit --> durable --> sequence numbers
//! read(from) ------------------------------------------------> blocks, in order, without gaps
//! trim(to) --------------------------------------------------> the disk has its space back
//! ```
//!
//! Engines: [`memory`] for tests and simulation, [`local`], the embedded default. [`conformance`] is the one suite that
//! runs on all.
//!
//! ```
//! use bytes::Bytes;
//! use weir_env::Env;
//! use weir_log::{Block, Condition, Engine, MemoryEngine, ReadLimit};
//! use weir_types::SequenceNumber;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let engine = MemoryEngine::new(Env::system());
//! let log = engine.log(&"stream/flights/0".parse().unwrap()).await.unwrap();
//! let block = Block { records: 2, payload: Bytes::from_static(b"two records") };
//! let first = log.append(vec![block], Condition::TailIs(SequenceNumber(0))).await.unwrap();
//! assert_eq!(log.bounds().tail, first + 2);
//! let blocks = log.read(first, ReadLimit { bytes_max: 1 << 20 }).await.unwrap();
//! assert_eq!(&blocks[0].payload[..], b"two records");
//! # });
//! ```

mod block;
pub mod conformance;
mod error;
mod limits;
pub mod local;
mod log;
pub mod memory;

pub use block::{Block, StoredBlock};
pub use error::{AppendError, EngineError, ReadError, TrimError};
pub use limits::{BLOCKS_MAX, LOGS_MAX, SPARE_RECORDS_MAX};
pub use local::LocalEngine;
pub use log::{Bounds, Condition, Engine, Log, ReadLimit};
pub use memory::MemoryEngine;

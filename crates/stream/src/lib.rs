//! Streams: ordered, durable records in shards, with retention and with producers that may retry.
//!
//! ```text
//! Writer --blocks per shard--> log of the shard --> Reader, from a Start
//!             |
//!             +-- Stamp (producer, number): a batch that was stored is not stored again
//! ```
//!
//! A record is the fingerprint of its schema and its Avro binary; the stream never looks inside. Invariants: records with
//! one partition key are in one shard, in the order of their batches; a batch is acknowledged only when all of its records
//! are durable; a stamped batch is stored once, however often it is sent.

mod block;
mod checkpoints;
mod digest;
mod lot;
mod producers;
mod reader;
mod retention;
mod route;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

pub use block::{BlockError, Record, Records};
pub use checkpoints::{Checkpoint, CheckpointCommand, Checkpoints, ConsumerName};
pub use digest::digest;
pub use lot::{Lot, SealedLot};
pub use producers::{ProducerError, Stamp};
pub use reader::{BlockHead, Page, Start};
pub use retention::RetainError;
pub use route::Route;
pub use stream::{OpenError, Settings, Shard, Stream};
pub use writer::{Receipt, WriteError, Writer};

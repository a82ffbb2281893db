//! The archive of a stream: its records as they arrived, in Avro container files by hour of arrival and shard.
//!
//! ```text
//! archive.json                                     whose archive this is
//! retained.json                                    the first hour that is kept
//! hour=2026-11-26T10/manifest.json                 the hour is closed: what each shard has in it
//!                    shard=0/FIRST.avro            records, from the one with sequence number FIRST on
//!                            FIRST-1.avro          those of a second schema
//!                            FIRST.json            the chunk is whole: its files, counts, sums, arrival times
//! ```
//!
//! Invariants: every object but `retained.json` is put if absent and never changed; a record is in one file, and in one alone,
//! at every moment, over crashes and lost replies; a chunk begins where the one before it in its shard ends; nothing is
//! added to a closed hour. [`Archive::written_to`] says what is durable here, and may be trimmed from the log.
//!
//! Knows object stores, container files and shards; knows no HTTP, no configuration and no tasks: whoever runs an archive
//! calls [`Archive::due`], [`Archive::advance`], [`Archive::close_hours`] and [`Archive::retain`] again and again, and may
//! die between any two steps of them.

mod archive;
mod chunk;
mod close;
mod due;
mod error;
pub mod limits;
mod manifest;
mod open;
mod place;
mod read;
mod retain;
mod runs;
mod spec;
mod store;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub use archive::{Archive, Stats, WentBack};
pub use due::Due;
pub use error::{CloseError, OpenError, ReadError, RetainError, StoreError, VerifyError, WriteError};
pub use manifest::{Chunk, HourManifest, HourSummary, Part, ShardHour, Totals};
pub use read::{ArchivedRecord, Damage, OnDamage, Page, Reader, Selection};
pub use retain::Expired;
pub use spec::Spec;
pub use verify::{Depth, Finding, Verdict};
pub use weir_schema::Codec;
pub use write::Written;

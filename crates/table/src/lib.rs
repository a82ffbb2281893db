//! Tables on Delta Lake: exactly-once commits, unique rows, merging and vacuum.
//!
//! A [`Table`] owns one folder of Parquet files and its Delta log. Rows are appended in Arrow batches together with how
//! far their sources were read; both become durable in one Delta transaction, so that a crash repeats nothing and loses
//! nothing.
//!
//! ```text
//!  batch --append--> [hash ids, route, drop repeats] --> buffer --commit--> Parquet files --> one Delta transaction
//!                          ^            ^                  |                                  (files + positions)
//!                          |            +---- ids in the buffer                                        |
//!                          +----- filters and id columns of the files <---------------------------------+
//! ```
//!
//! Invariants:
//! - At most one row per id in each (partition, bucket), over committed files and the buffer together.
//! - A file named by the Delta log is durable, whole, and never changed.
//! - The positions in a version of the table cover exactly the rows in its files.
//!
//! Knows Arrow, Parquet, Delta and object stores; knows nothing of streams, schemas of records, HTTP or HCL.
//!
//! ```
//! use std::sync::Arc;
//! use arrow::array::{Int64Array, RecordBatch, StringArray};
//! use arrow::datatypes::{DataType, Field, Schema};
//! use weir_env::Env;
//! use weir_table::{PartitionBy, SourceId, Spec, Table};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let columns = Arc::new(Schema::new(vec![
//!     Field::new("user", DataType::Utf8, false),
//!     Field::new("at", DataType::Int64, false), // milliseconds since 1970
//! ]));
//! let spec = Spec {
//!     partition_by: PartitionBy::Day("at".into()),
//!     unique_by: vec!["user".into(), "at".into()],
//!     ..Spec::new("clicks".parse().unwrap(), columns.clone())
//! };
//! let store = Arc::new(object_store::memory::InMemory::new());
//! let table = Table::open(spec, store, "memory:///clicks".parse().unwrap(), Env::system()).await.unwrap();
//!
//! let batch = RecordBatch::try_new(columns, vec![
//!     Arc::new(StringArray::from(vec!["ann", "bob", "ann"])),
//!     Arc::new(Int64Array::from(vec![1_357_000_000_000, 1_357_000_000_000, 1_357_000_000_000])),
//! ]).unwrap();
//! let source = SourceId::new("stream/clicks/0");
//! let appended = table.append(batch, &[(source.clone(), 3)]).await.unwrap();
//! assert_eq!((appended.added, appended.repeats), (2, 1));
//! table.commit().await.unwrap();
//! assert_eq!(table.positions()[&source], 3);
//! # });
//! ```

mod append;
mod applications;
mod aside;
mod audit;
mod buffer;
mod cache;
mod columns;
mod commit;
mod committer;
mod compact;
mod error;
mod evolution;
mod evolve;
mod file;
mod filter;
mod finality;
mod footer;
mod foreign;
mod generation;
mod grow;
mod id;
mod identify;
mod local;
mod log;
mod metadata;
mod open;
mod outcome;
mod output;
mod partition;
mod place;
mod reader;
mod replace;
mod replacing;
mod reshape;
mod rewrite;
mod route;
mod scan;
mod spec;
mod statistics;
mod table;
mod take_over;
mod time;
mod transact;
mod vacuum;
mod values;
mod witness;
mod writer;

pub use aside::ASIDE_FOLDER;
pub use audit::{Audit, FINDINGS_MAX, Finding, Known};
pub use compact::{Due, Work};
pub use error::{
    AppendError, AuditError, CommitError, CompactError, FileError, GrowError, OpenError, ReplaceError, ReshapeError,
    TakeOverError, VacuumError,
};
pub use evolution::{ColumnChange, ColumnPath, Evolution, Reshaping, Rewriting};
pub use file::DataFile;
pub use finality::Lifecycle;
pub use identify::Keys;
pub use local::LocalStore;
pub use outcome::{Appended, Committed, Compacted, Pending, Reason, Refused, SourceId, Stats, Vacuumed, View};
pub use partition::Partition;
pub use place::{BUCKET_COLUMN, DAY_COLUMN, HOUR_COLUMN, Place};
pub use spec::{Keep, PartitionBy, Rule, Spec, SpecError};
pub use table::Table;
pub use take_over::How;
pub use vacuum::KEEP_MAX;
pub use witness::{PlaceChange, Prepared, Witness, WitnessError};
pub use writer::writer_properties;

//! Reference data, read whole into immutable snapshots: CSV, NDJSON and Parquet from folders and object stores, and queries to
//! PostgreSQL, MySQL and MariaDB.
//!
//! ```text
//!     Spec --load--> Loaded { rows, digest, stamp } --Snapshots::keep--> NAME/VERSION.parquet
//!       \--columns-> names and types, without the rows          \--last--> after a restart with the source down
//! ```
//!
//! Invariant: what is loaded is the whole of the source as of one moment, within the limits of its [`Spec`], or an error
//! that names the place and the column. Values are stored without loss, or refused. A password is in no error, no
//! `Debug` and no `Display`.
//!
//! Knows Arrow, object stores, and the databases' protocols. Knows no functions, no HTTP server, no configuration's text.
//!
//! ```
//! use weir_env::Env;
//! use weir_lookup::{Files, Source, Spec, load};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("airlines.csv");
//! std::fs::write(&path, "carrier,name\nAA,American\nUA,United\n").unwrap();
//!
//! let spec = Spec::new("airlines".parse().unwrap(), Source::Files(Files::at_path(&path).unwrap()));
//! let loaded = load(&spec, None, &Env::system()).await.unwrap();
//! assert_eq!((loaded.rows, loaded.columns.field(1).name().as_str()), (2, "name"));
//! # });
//! ```

mod columns;
mod conform;
mod csv;
mod database;
mod digest;
mod error;
mod files;
mod key;
mod load;
mod mysql;
mod ndjson;
mod parquet;
mod postgres;
mod rows;
mod snapshot;
mod source;
mod tls;

pub use columns::{ColumnTypeError, column_type};
pub use csv::{CsvError, read_csv};
pub use database::{Database, DatabaseError, Engine, TlsMode};
pub use digest::Digest;
pub use error::LoadError;
pub use files::{Files, Format, LocationError, Stamp};
pub use load::{Loaded, columns, columns_blocking, load, unchanged};
pub use snapshot::{KeepError, Snapshot, Snapshots, Version};
pub use source::{
    BYTES_DEFAULT, BYTES_MAX, COLUMNS_MAX, Limits, Query, ROWS_DEFAULT, ROWS_MAX, Source, Spec, TIMEOUT_DEFAULT,
};

//! Why a lookup could not be read.

use std::io;
use std::time::Duration;

use arrow::error::ArrowError;

use crate::csv::CsvError;
use crate::database::DatabaseError;
use crate::files::LocationError;
use crate::source::COLUMNS_MAX;

/// A lookup that could not be read. What was read until then is dropped.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The location is no store that weir knows.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A file can't be read from the disk.
    #[error("read `{place}`")]
    Read {
        /// The file.
        place: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// An object can't be read from its store.
    #[error("read `{place}`")]
    Store {
        /// The object, or what was listed.
        place: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// There is no file.
    #[error("there are no files at `{place}`")]
    NoFiles {
        /// Where they were looked for.
        place: String,
    },
    /// There are too many files.
    #[error("there are more than {files_max} files at `{place}`")]
    TooManyFiles {
        /// Where they are.
        place: String,
        /// The most.
        files_max: usize,
    },
    /// The name's ending says no format, and nothing else does.
    #[error("`{place}` has none of the endings .csv, .ndjson, .jsonl and .parquet (and .gz or .zst behind them)")]
    Format {
        /// The file.
        place: String,
    },
    /// A packed file that can't be unpacked.
    #[error("unpack `{place}`")]
    Unpack {
        /// The file.
        place: String,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// Not the CSV that it should be.
    #[error("`{place}` is not a table in CSV")]
    Csv {
        /// The file.
        place: String,
        /// What is wrong, and where.
        #[source]
        source: CsvError,
    },
    /// Not the JSON that it should be.
    #[error("`{place}` is not a table in NDJSON: {reason}")]
    Json {
        /// The file.
        place: String,
        /// What is wrong, with the line.
        reason: String,
    },
    /// Not the Parquet that it should be.
    #[error("`{place}` is not a Parquet file that can be read")]
    Parquet {
        /// The file.
        place: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database did not answer as it should.
    #[error("ask `{place}`")]
    Database {
        /// The database, without a password.
        place: String,
        /// What went wrong.
        #[source]
        source: DatabaseError,
    },
    /// Files of one lookup that differ.
    #[error("`{place}` has other columns than the files before it: {difference}")]
    Differs {
        /// The file.
        place: String,
        /// The first difference.
        difference: String,
    },
    /// More columns than a lookup may have.
    #[error("`{place}` has {columns} columns, and a lookup may have {COLUMNS_MAX}")]
    TooWide {
        /// Where they are.
        place: String,
        /// How many there are.
        columns: usize,
    },
    /// Two columns of one name.
    #[error("`{place}` has column `{column}` twice: give one of the two another name")]
    Twice {
        /// Where they are.
        place: String,
        /// The name.
        column: String,
    },
    /// A column that was said to be there and is not.
    #[error("`{place}` has no column `{column}`")]
    NoColumn {
        /// The source.
        place: String,
        /// The column.
        column: String,
    },
    /// A column whose values do not fit the type that it must have.
    #[error("column `{column}` of `{place}` does not fit the type {wanted}: {reason}")]
    Misfit {
        /// The source.
        place: String,
        /// The column.
        column: String,
        /// The type it must have.
        wanted: String,
        /// The value, or the type, that does not fit.
        reason: String,
    },
    /// A key that is in several rows.
    #[error("`{place}` has the key {key} in more than one row")]
    RepeatedKey {
        /// The source.
        place: String,
        /// Column and value.
        key: String,
    },
    /// More rows than the lookup may have.
    #[error("`{place}` has more than {rows_max} rows, the lookup's `rows_max`")]
    TooManyRows {
        /// The source.
        place: String,
        /// The most.
        rows_max: u64,
    },
    /// More bytes than the lookup may have.
    #[error("`{place}` has more than {bytes_max} bytes, the lookup's `bytes_max`")]
    TooLarge {
        /// The source.
        place: String,
        /// The most.
        bytes_max: u64,
    },
    /// It took too long.
    #[error("`{place}` was not read within {}, the lookup's `timeout`", weir_types::span::display(*timeout))]
    Timeout {
        /// The source.
        place: String,
        /// How long it might take.
        timeout: Duration,
    },
    /// Arrow refused what was read.
    #[error("build the rows of `{place}`")]
    Build {
        /// The source.
        place: String,
        /// What it said.
        #[source]
        source: ArrowError,
    },
    /// The reading itself broke down.
    #[error("the reading of `{place}` was cut off")]
    CutOff {
        /// The source.
        place: String,
    },
}

//! What a lookup is read from, and within which limits.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use weir_types::LookupName;
use xxhash_rust::xxh3::Xxh3;

use crate::{Database, Digest, Files};

/// Rows of a lookup, where nothing else is said.
pub const ROWS_DEFAULT: u64 = 5_000_000;
/// Rows of a lookup, whatever is said.
pub const ROWS_MAX: u64 = 100_000_000;
/// Bytes of a lookup in memory, where nothing else is said.
pub const BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
/// Bytes of a lookup in memory, whatever is said.
pub const BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// How long reading the whole may take, where nothing else is said.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Columns of a lookup.
pub const COLUMNS_MAX: usize = 1024;

/// What bounds one reading of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows.
    pub rows_max: u64,
    /// Bytes: of the rows in memory, and of each file once it is unpacked.
    pub bytes_max: u64,
    /// How long the whole may take.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_max: ROWS_DEFAULT, bytes_max: BYTES_DEFAULT, timeout: TIMEOUT_DEFAULT }
    }
}

/// A lookup's source, and what its rows must be.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The lookup's name.
    pub name: LookupName,
    /// Where its rows are.
    pub source: Source,
    /// The columns that it must have, if they are said: those of the source by these names, in this order. None: as the
    /// source tells them.
    pub columns: Option<SchemaRef>,
    /// Columns whose values together are in one row alone; empty: not checked.
    pub key: Vec<String>,
    /// What bounds a reading.
    pub limits: Limits,
}

/// Where rows are.
#[derive(Debug, Clone)]
pub enum Source {
    /// In files.
    Files(Files),
    /// In a database, as the answer to a query.
    Query(Query),
}

/// A question to a database.
#[derive(Debug, Clone)]
pub struct Query {
    /// Whom it is asked.
    pub database: Database,
    /// One statement that reads.
    pub sql: String,
}

impl Spec {
    /// A lookup of all columns of a source, with the default limits.
    pub fn new(name: LookupName, source: Source) -> Self {
        Self { name, source, columns: None, key: Vec::new(), limits: Limits::default() }
    }

    /// Returns what tells this definition from others. A snapshot stands in for the source only under the same one.
    ///
    /// Where a database is, and who asks, is no part of it: a standby that takes over has the same data.
    pub(crate) fn definition(&self) -> Digest {
        let mut hash = Xxh3::new();
        let mut part = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        match &self.source {
            Source::Files(files) => {
                part("files");
                part(files.location.as_str());
                part(files.pattern.as_deref().unwrap_or_default());
                part(files.format.map_or("", |format| format.name()));
                part(files.null_text.as_deref().unwrap_or_default());
            }
            Source::Query(query) => {
                part(query.database.engine().name());
                part(query.database.name());
                part(&query.sql);
            }
        }
        for field in self.columns.iter().flat_map(|columns| columns.fields()) {
            part(field.name());
            part(&field.data_type().to_string());
        }
        self.key.iter().for_each(|column| part(column));
        Digest(hash.digest128())
    }

    /// Says where the rows come from, as errors and status do; without a password.
    pub fn place(&self) -> String {
        match &self.source {
            Source::Files(files) => files.to_string(),
            Source::Query(query) => query.database.to_string(),
        }
    }
}

//! How a table's columns follow those of its rows: what becomes of files when a schema changes.
//!
//! A table knows columns, and not where their rules come from. Whoever opens it says which names a column had before,
//! and what rows have in it that were stored before it was there. Paths name columns: `["address", "city"]`; `element`,
//! `key` and `value` stand for what lists and maps hold.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::ArrayRef;

/// A column's place, from the top.
pub type ColumnPath = Vec<String>;

/// Whether files may be written anew so that they follow a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rewriting {
    /// They are, when a change needs it.
    #[default]
    Allowed,
    /// A change that needs it is refused, and defaults are for new rows alone.
    Refused,
}

/// How a table's columns follow those of its rows.
#[derive(Debug, Clone, Default)]
pub struct Evolution {
    /// Whether files may be written anew.
    pub rewriting: Rewriting,
    /// The names that a column had before, newest first.
    pub renamed: BTreeMap<ColumnPath, Vec<String>>,
    /// What older rows have in a new column: an array of one value, of the column's type. Left out: null.
    pub filled: BTreeMap<ColumnPath, ArrayRef>,
}

/// One difference between the columns that a table has and those that it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnChange {
    /// A column that is new; older rows have null in it.
    Added {
        /// The column, with dots between nested names.
        column: String,
        /// Its type.
        is: String,
    },
    /// A column that is new; older rows get a value. Their files are rewritten.
    Filled {
        /// The column.
        column: String,
        /// Its type.
        is: String,
    },
    /// A column with another name. Files are rewritten.
    Renamed {
        /// The column as it was.
        from: String,
        /// As it will be.
        to: String,
    },
    /// A column of a wider type. Files are rewritten.
    Widened {
        /// The column.
        column: String,
        /// Its type as it was.
        from: String,
        /// As it will be.
        to: String,
    },
    /// A column that rows don't have any more. It stays, and is null in new rows.
    Kept {
        /// The column.
        column: String,
    },
}

impl ColumnChange {
    /// Whether files that are there have to be written anew.
    pub fn rewrites(&self) -> bool {
        matches!(self, Self::Filled { .. } | Self::Renamed { .. } | Self::Widened { .. })
    }
}

impl fmt::Display for ColumnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { column, is } => write!(f, "column `{column}` ({is}) is added: null in the rows so far"),
            Self::Filled { column, is } => {
                write!(f, "column `{column}` ({is}) is added: its default is put into the rows so far")
            }
            Self::Renamed { from, to } => write!(f, "column `{from}` is renamed to `{to}`"),
            Self::Widened { column, from, to } => write!(f, "column `{column}` becomes {to} instead of {from}"),
            Self::Kept { column } => {
                write!(f, "column `{column}` is in the rows no more: it stays, and is null from now on")
            }
        }
    }
}

/// What has to be done to files before a table takes rows again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reshaping {
    /// What changes.
    pub changes: Vec<ColumnChange>,
    /// Files that have to be written anew.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are done, in this process.
    pub done: u64,
}

impl fmt::Display for Reshaping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<String> =
            self.changes.iter().filter(|change| change.rewrites()).map(ToString::to_string).collect();
        write!(f, "{} of {} files are rewritten: {}", self.done, self.files, changes.join("; "))
    }
}

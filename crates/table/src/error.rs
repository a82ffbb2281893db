//! What can fail, per operation.

use std::error::Error;

use delta_kernel::KernelError;
use object_store::path::Path;
use weir_types::TableName;

use crate::outcome::SourceId;
use crate::spec::SpecError;

/// A data file that could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{verb} data file `{path}`")]
pub struct FileError {
    /// What was tried: `write` or `read`.
    pub verb: &'static str,
    /// The file.
    pub path: Path,
    /// Why it failed.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Why a table did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings are wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The schema can't become the wanted one.
    #[error(transparent)]
    Grow(#[from] GrowError),
    /// The table was made with other settings that can't change.
    #[error(
        "table `{table}` was made with {setting} = {has}, and can't change to {wants}: give the new table another name"
    )]
    Fixed {
        /// The table.
        table: TableName,
        /// The setting.
        setting: &'static str,
        /// What the table has.
        has: String,
        /// What was asked for.
        wants: String,
    },
    /// A Delta table that weir did not make, or that uses features that it doesn't know.
    #[error("the Delta table in `{root}` can't be table `{table}`: {reason}")]
    Foreign {
        /// The table.
        table: TableName,
        /// Its folder.
        root: String,
        /// Why.
        reason: String,
    },
    /// The folder's address can't be one.
    #[error("`{root}` can't hold table `{table}`: {reason}")]
    Root {
        /// The table.
        table: TableName,
        /// The address.
        root: String,
        /// Why.
        reason: String,
    },
    /// The folder can't be made.
    #[error("make the folder `{root}` for table `{table}`")]
    Folder {
        /// The table.
        table: TableName,
        /// The folder.
        root: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The Delta log can't be read or written.
    #[error("open the Delta log of table `{table}` in `{root}`")]
    Log {
        /// The table.
        table: TableName,
        /// Its folder.
        root: String,
        /// Why.
        #[source]
        source: Box<KernelError>,
    },
}

/// Why columns were not added.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// A column can't be stored.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A column would change its type.
    #[error(
        "column `{column}` of table `{table}` is {has}, and can't become {wants}: give the new column another name"
    )]
    Incompatible {
        /// The table.
        table: TableName,
        /// The column, with dots between nested names.
        column: String,
        /// Its type in the table.
        has: String,
        /// The type that was asked for.
        wants: String,
    },
    /// Another writer changed the table.
    #[error("another writer owns table `{table}` since version {version}")]
    Fenced {
        /// The table.
        table: TableName,
        /// The first foreign version.
        version: u64,
    },
    /// The Delta log can't be read or written.
    #[error("change the schema of table `{table}`")]
    Log {
        /// The table.
        table: TableName,
        /// Why.
        #[source]
        source: KernelError,
    },
}

/// Why a batch was not taken. The table is as it was, and the positions too.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The buffer has no room: commit, then append again.
    #[error("table `{table}` has {bytes} bytes in its buffer, and may have {bytes_max}: commit first")]
    Full {
        /// The table.
        table: TableName,
        /// What is buffered.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The batch has a column that the table has not: [`Table::grow`](crate::Table::grow) first.
    #[error("a batch for table `{table}` has the unknown column `{column}`")]
    UnknownColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// A column's values can't be stored as the table's type.
    #[error("column `{column}` of a batch for table `{table}` is {has}, and can't be stored as {wants}")]
    ColumnType {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// The batch's type.
        has: String,
        /// The table's type.
        wants: String,
    },
    /// A column's values don't fit the table's type.
    #[error("convert column `{column}` of a batch for table `{table}`")]
    Cast {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Why.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// A source went back, which would store rows twice in a table without ids.
    #[error("source `{source_id}` of table `{table}` was read up to {has}, and is given as {given}")]
    Backwards {
        /// The table.
        table: TableName,
        /// The source.
        source_id: SourceId,
        /// The table's position.
        has: u64,
        /// The position given.
        given: u64,
    },
    /// Repeats could not be looked for.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a commit did not happen, or is not known to have happened. The buffer is as it was; the next commit finds out.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another writer owns the table: step down, this table's buffer will never be committed.
    #[error("another writer owns table `{table}` since version {version}")]
    Fenced {
        /// The table.
        table: TableName,
        /// The first version that is not ours.
        version: u64,
    },
    /// A data file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Other writers were always faster.
    #[error("commit to table `{table}`: {attempts} versions were taken by other writers meanwhile")]
    Contended {
        /// The table.
        table: TableName,
        /// How often it was tried.
        attempts: u32,
    },
    /// The Delta log can't be read or written.
    #[error("commit to table `{table}`")]
    Log {
        /// The table.
        table: TableName,
        /// Why.
        #[source]
        source: KernelError,
    },
}

/// Why files were not compacted. The table's rows are as they were; it is due again.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The Delta log could not be changed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What does not fit in memory could not be spilled.
    #[error("compact table `{table}`: spill into `{folder}`; make room there, or raise the memory of compactions")]
    Scratch {
        /// The table.
        table: TableName,
        /// The folder.
        folder: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Rows could not be brought into form.
    #[error("bring rows into order")]
    Columns {
        /// Why.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// Files of other writers hold more rows than repeats can be looked for in.
    #[error(
        "a partition of table `{table}` has {rows} rows, and repeats can be removed from {rows_max} at most: give the          table more `buckets`, or partition it by hour"
    )]
    TooManyRows {
        /// The table.
        table: TableName,
        /// Its rows.
        rows: u64,
        /// The limit.
        rows_max: u64,
    },
    /// What was written is not what was read. Nothing was committed.
    #[error(
        "compacting table `{table}` made {has} rows of {wants}; the files were left as they are: this is a bug in weir"
    )]
    Count {
        /// The table.
        table: TableName,
        /// Rows that should have come out.
        wants: u64,
        /// Rows that did.
        has: u64,
    },
    /// A thread of it panicked.
    #[error("a thread that compacts table `{table}` ended")]
    Thread {
        /// The table.
        table: TableName,
        /// How.
        #[source]
        source: tokio::task::JoinError,
    },
    /// It was given up, since whoever asked for it is gone.
    #[error("the compaction was ended")]
    Stopped,
}

/// Why a vacuum stopped. What it deleted until then was dead.
#[derive(Debug, thiserror::Error)]
pub enum VacuumError {
    /// Files would have to be kept for longer than the log remembers them.
    #[error("replaced files of table `{table}` can't be kept for {}: at most 7d", weir_types::span::display(*keep))]
    Keep {
        /// The table.
        table: TableName,
        /// What was asked for.
        keep: std::time::Duration,
    },
    /// Another writer owns the table, or a commit's end is not known.
    #[error(transparent)]
    Commit(CommitError),
    /// The Delta log can't be read or written.
    #[error("read the Delta log of table `{table}`")]
    Log {
        /// The table.
        table: TableName,
        /// Why.
        #[source]
        source: KernelError,
    },
    /// The folder can't be listed, or a file can't be deleted.
    #[error("delete dead files of table `{table}`")]
    Store {
        /// The table.
        table: TableName,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

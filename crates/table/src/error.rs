//! What can fail, per operation.

use std::error::Error;

use delta_kernel::KernelError;
use object_store::path::Path;
use weir_types::TableName;

use crate::outcome::SourceId;
use crate::spec::SpecError;
use crate::witness::WitnessError;

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
    /// What other writers did since the last commit can't be noted.
    #[error("note in table `{table}` what other writers changed")]
    Note {
        /// The table.
        table: TableName,
        /// Why.
        #[source]
        source: Box<CommitError>,
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
    /// A column of the id would become something whose ids are others.
    #[error(
        "column `{column}` of table `{table}` is {has}, and can't become {wants}, since rows are unique by it: their ids \
         would be others. Give the new table another name, and replay into it"
    )]
    OfId {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Its type in the table.
        has: String,
        /// The type that was asked for.
        wants: String,
    },
    /// A change needs files to be written anew, which the table does not allow.
    #[error(
        "{change} in table `{table}`, for which its files have to be written anew: remove `evolve = \"append\"`, or give \
         the new column another name"
    )]
    NeedsRewriting {
        /// The table.
        table: TableName,
        /// The change, in words.
        change: String,
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

/// Why files were not written anew for new columns. Rows are as they were; the next call goes on.
#[derive(Debug, thiserror::Error)]
pub enum ReshapeError {
    /// A column can't be stored.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The columns that the table has by now can't become the wanted ones.
    #[error(transparent)]
    Grow(#[from] GrowError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The Delta log could not be changed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Other writers went on changing files.
    #[error("rewrite the files of table `{table}`: other writers changed them {rounds} times meanwhile")]
    Contended {
        /// The table.
        table: TableName,
        /// How often it was tried.
        rounds: u32,
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
    /// The files have to be written anew first: [`Table::reshape`](crate::Table::reshape).
    #[error("table `{table}` takes no rows yet: {reshaping}")]
    Reshaping {
        /// The table.
        table: TableName,
        /// What is to be done.
        reshaping: Box<crate::evolution::Reshaping>,
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
    /// The witness could not note it: see [`Witness`](crate::Witness).
    #[error("commit to table `{table}`")]
    Witness {
        /// The table.
        table: TableName,
        /// Why.
        #[source]
        source: WitnessError,
    },
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

/// Why a partition was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The table has no such partition: a day, and an hour of 0 to 23 if it is partitioned by hour, or neither.
    #[error("table `{table}` has no partition like {partition}")]
    NoSuchPartition {
        /// The table.
        table: TableName,
        /// What was asked for.
        partition: String,
    },
    /// A row's event time puts it into another partition.
    #[error("a row for partition {partition} of table `{table}` belongs to {belongs}")]
    Elsewhere {
        /// The table.
        table: TableName,
        /// The partition to replace.
        partition: String,
        /// The row's.
        belongs: String,
    },
    /// Two rows have one id.
    #[error("the rows for partition {partition} of table `{table}` have one id twice: group by all of {unique_by}")]
    Repeat {
        /// The table.
        table: TableName,
        /// The partition to replace.
        partition: String,
        /// The columns of the id.
        unique_by: String,
    },
    /// So many rows can't be told apart in memory.
    #[error(
        "the rows for partition {partition} of table `{table}` are more than {rows_max}: use smaller partitions, or \
         raise `buffer_bytes_max`"
    )]
    TooMany {
        /// The table.
        table: TableName,
        /// The partition to replace.
        partition: String,
        /// How many may be.
        rows_max: u64,
    },
    /// The rows could not be had.
    #[error("get the rows for partition {partition} of table `{table}`")]
    Rows {
        /// The table.
        table: TableName,
        /// The partition to replace.
        partition: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A batch is not in the table's form.
    #[error(transparent)]
    Batch(#[from] AppendError),
    /// A source went back.
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
    /// A data file could not be written or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The transaction failed, or is not known to have happened.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Why gathered rows were not taken over, or a table not cleared.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// There is nothing to take from.
    #[error("table `{table}` has no table aside that is open: open it first")]
    NoAside {
        /// The table.
        table: TableName,
    },
    /// Not all that was gathered is committed.
    #[error("rows that were gathered for table `{table}` are not committed: commit them first")]
    Uncommitted {
        /// The table.
        table: TableName,
    },
    /// Ids would have to be looked for in all that was gathered.
    #[error(
        "rows can't be added to table `{table}` all at once, since it is unique by id and has rows where they belong: take \
         them instead of what it has, or append them as they come"
    )]
    Unique {
        /// The table.
        table: TableName,
    },
    /// The gathered rows have a column that the table has not, or not like this.
    #[error("rows that were gathered for table `{table}` have column `{column}`, and the table has none like it")]
    Column {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// Files have to follow a change of columns first.
    #[error(transparent)]
    Batch(#[from] AppendError),
    /// A data file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The transaction failed, or is not known to have happened.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Why an audit came to no end.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder can't be listed, or a file of the log can't be read.
    #[error("list the files of table `{table}`")]
    Store {
        /// The table.
        table: TableName,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The Delta log can't be read.
    #[error("read the Delta log of table `{table}`")]
    Log {
        /// The table.
        table: TableName,
        /// Why.
        #[source]
        source: KernelError,
    },
    /// A data file can't be read now. One that is missing or damaged is a finding, and no error.
    #[error(transparent)]
    File(#[from] FileError),
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
    /// The ids of what was written are not those of what was read. Nothing was committed.
    #[error(
        "compacting table `{table}` made other ids than the files' own footers say they have; the files were left as they \
         are: `weir ledger` finds which one is damaged"
    )]
    Sum {
        /// The table.
        table: TableName,
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

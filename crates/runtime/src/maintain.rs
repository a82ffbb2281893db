//! Compaction and vacuum when somebody asks, rather than when they are due.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use weir_table::{CompactError, KEEP_MAX, Place, VacuumError, Vacuumed};
use weir_types::{TableName, span};

use crate::node::Node;

/// What a table's compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CompactedTable {
    /// Partitions and buckets that were rebuilt.
    pub places: u64,
    /// Files that were replaced.
    pub files_in: u64,
    /// Files that replace them.
    pub files_out: u64,
    /// Rows that were rewritten.
    pub rows: u64,
    /// Rows that were left out, since another has their id.
    pub removed: u64,
}

/// Why a table could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum MaintainError {
    /// There is no such table.
    #[error("there is no table `{table}`")]
    Unknown {
        /// As asked for.
        table: TableName,
    },
    /// Dead files can't be kept for so long.
    #[error("dead files are kept for {} at most, and not for {}", span::display(KEEP_MAX), span::display(*.keep))]
    Keep {
        /// As asked for.
        keep: Duration,
    },
    /// A partition could not be compacted. Those before it are.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// Not all dead files could be deleted.
    #[error(transparent)]
    Vacuum(#[from] VacuumError),
}

impl Node {
    /// Rebuilds every partition of a table that is not as compact as it gets, one after the other. A partition that a
    /// compaction works on already is left to it.
    ///
    /// # Errors
    /// See [`MaintainError`].
    pub async fn compact_table(&self, name: &TableName) -> Result<CompactedTable, MaintainError> {
        let table = self.maintained(name)?;
        let places: BTreeSet<Place> = table.view().files.iter().map(|file| file.place).collect();
        let mut all = CompactedTable::default();
        for place in places {
            let compacted = table.rebuild(place).await?;
            all.places += u64::from(compacted.files_in > 0);
            all.files_in += compacted.files_in;
            all.files_out += compacted.files_out;
            all.rows += compacted.rows;
            all.removed += compacted.removed;
        }
        Ok(all)
    }

    /// Deletes a table's files that no version younger than `keep` names.
    ///
    /// # Errors
    /// See [`MaintainError`].
    pub async fn vacuum_table(&self, name: &TableName, keep: Duration) -> Result<Vacuumed, MaintainError> {
        let table = self.maintained(name)?;
        if keep > KEEP_MAX {
            return Err(MaintainError::Keep { keep });
        }
        Ok(table.vacuum(keep).await?)
    }

    fn maintained(&self, name: &TableName) -> Result<std::sync::Arc<weir_table::Table>, MaintainError> {
        let found = self.tables().find(|(known, _)| *known == name);
        found.map(|(_, table)| table.clone()).ok_or_else(|| MaintainError::Unknown { table: name.clone() })
    }
}

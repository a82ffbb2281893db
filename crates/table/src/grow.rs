//! Growing: new columns, in one Delta version of their own.
//!
//! A schema only grows: columns are added, all nullable, at the top or within structs; none is removed, renamed, or
//! changes its type. Older files lack the new columns, which read as null.

use std::sync::{Mutex, PoisonError};

use arrow::datatypes::SchemaRef;

use crate::columns;
use crate::error::{CommitError, GrowError};
use crate::log::Change;
use crate::table::Table;

impl Table {
    /// Adds the columns that the table has not. Columns that it has beyond are kept.
    ///
    /// # Errors
    /// See [`GrowError`]. An incompatible change is refused whole, before anything is stored.
    pub async fn grow(&self, columns: SchemaRef) -> Result<(), GrowError> {
        let wants = columns::stored_schema(&self.spec.name, &columns)?;
        // The common case waits for nobody.
        if columns::additions(&self.spec.name, &self.columns(), &wants)?.is_empty() {
            return Ok(());
        }
        let mut writing = self.writing.lock().await;
        // Another writer may have added a column of this name meanwhile, with another type.
        let refused = Mutex::new(None);
        let grown =
            self.transact(&mut writing, |_| match columns::additions(&self.spec.name, &self.columns(), &wants) {
                Ok(additions) => (!additions.is_empty()).then_some(Change::Columns(additions)),
                Err(error) => {
                    *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    None
                }
            });
        let grown = grown.await;
        if let Some(error) = refused.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        match grown {
            Ok(_) => Ok(()),
            Err(CommitError::Fenced { table, version }) => Err(GrowError::Fenced { table, version }),
            Err(CommitError::Log { table, source }) => Err(GrowError::Log { table, source }),
            Err(error) => Err(GrowError::Log {
                table: self.spec.name.clone(),
                source: delta_kernel::KernelError::generic(error.to_string()),
            }),
        }
    }
}

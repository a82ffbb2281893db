//! A table aside: where rows are gathered that readers are to see all at once, or never.
//!
//! ```text
//!   TABLE/_delta_log/  part-a.parquet ...         what readers see
//!   TABLE/_run/_delta_log/  part-b.parquet ...    what is gathered, with how far its sources were read
//!
//!   append, commit ... --> aside --take_over: one transaction of the table--> named by the table where it lies
//!                            \--clear: one transaction of its own--> empty again
//! ```
//!
//! It is a table like any other, with a log of its own, made of the same columns, partitions, buckets and ids (under the
//! same key), so that its files are the table's as they are. It lies below the table's folder, so that every reader can be
//! given its files by a relative path: nothing is copied or moved. Its name begins with an underscore: readers of folders,
//! and other writers' vacuums, pass over such.
//!
//! Invariants: a file of the folder is never deleted while either log names it, or may be about to; only the table's own
//! vacuum deletes any, and only once this process has opened the table aside.

use std::sync::Arc;

use crate::error::OpenError;
use crate::open::NewKey;
use crate::spec::Spec;
use crate::table::Table;
use crate::witness::Witness;

/// The folder of the table aside, below the table's own.
pub const ASIDE_FOLDER: &str = "_run";

impl Table {
    /// Opens the table in which rows are gathered for this one, and makes it if it is new. Of `spec`, name, lookback, rules,
    /// times and limits count; columns, partitions, buckets and ids are this table's. A second call returns what the first has
    /// opened.
    ///
    /// Gathered rows come to this table by [`take_over`](Self::take_over) alone; its compactions leave them alone, and its
    /// [`vacuum`](Self::vacuum) looks after both.
    ///
    /// # Errors
    /// See [`OpenError`]; `Foreign` if it was made beside another table that was in this one's place.
    pub async fn open_aside(&self, spec: Spec, witness: Option<Arc<dyn Witness>>) -> Result<Arc<Self>, OpenError> {
        if let Some(aside) = self.aside.get() {
            return Ok(aside.clone());
        }
        let spec = Spec {
            columns: self.spec.columns.clone(),
            partition_by: self.spec.partition_by.clone(),
            buckets: self.spec.buckets,
            unique_by: self.spec.unique_by.clone(),
            evolution: self.spec.evolution.clone(),
            ..spec
        };
        let name = spec.name.clone();
        let root = self.log.below(ASIDE_FOLDER);
        let key = NewKey::Of(self.id_key);
        let aside = Self::open_with(spec, self.store.clone(), root.clone(), self.env.clone(), witness, key).await?;
        if aside.id_key != self.id_key {
            let reason = "it was made beside another table; delete the folder: its rows are of a run that is no more";
            return Err(OpenError::Foreign { table: name, root: root.to_string(), reason: reason.to_owned() });
        }
        Ok(self.aside.get_or_init(|| Arc::new(aside)).clone())
    }

    /// Returns the table in which rows are gathered for this one, if it is open.
    pub fn aside(&self) -> Option<&Arc<Self>> {
        self.aside.get()
    }

    /// Tells whether there is a table aside, open or not.
    ///
    /// # Errors
    /// If the store can't be listed.
    pub async fn has_aside(&self) -> Result<bool, object_store::Error> {
        use futures::StreamExt;
        let folder = self.folder.clone().join(ASIDE_FOLDER);
        match self.store.list(Some(&folder)).next().await {
            None | Some(Err(object_store::Error::NotFound { .. })) => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(error)) => Err(error),
        }
    }
}

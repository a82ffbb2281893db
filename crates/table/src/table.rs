//! The table: its parts, and the order in which they are locked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use object_store::ObjectStore;
use url::Url;
use weir_env::Env;

use crate::error::{AppendError, CommitError, GrowError, MergeError, OpenError, VacuumError};
use crate::outcome::{Appended, Committed, Merged, Pending, SourceId, Stats, Vacuumed, View};
use crate::spec::Spec;

/// A table, open for appending by this process alone. All operations may run at once.
#[derive(Debug)]
pub struct Table {}

impl Table {
    /// Opens a table, and makes it at once if it is new, so that readers find it before its first row.
    ///
    /// `root` is the table's folder; its path, without the leading `/`, is the path in `store`. (With
    /// `LocalFileSystem::new()` that is the absolute path of a `file:///` URL; with a bucket's store the key's prefix.) `store` must make
    /// what it stores durable before it returns: for local folders, [`LocalStore`](crate::LocalStore).
    ///
    /// New columns of `spec` are added to the table's schema; columns of the table that `spec` has not are kept.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(spec: Spec, store: Arc<dyn ObjectStore>, root: Url, env: Env) -> Result<Self, OpenError> {
        todo!()
    }
    /// Returns the settings.
    pub fn spec(&self) -> &Spec {
        todo!()
    }
    /// Returns the next sequence number to consume of each source, as of the last commit: where to resume after a crash.
    pub fn positions(&self) -> BTreeMap<SourceId, u64> {
        todo!()
    }
    /// Returns the columns as they are stored, without the partition columns.
    pub fn columns(&self) -> SchemaRef {
        todo!()
    }
    /// Takes a batch: drops repeats, buffers the rest, and moves the positions in memory to `seen`, all or nothing.
    ///
    /// `seen` names, per source, the next sequence number after the rows of this and all earlier batches. The batch may lack columns (they become null), and is converted where the table's type holds every
    /// value of the batch's. Nothing is durable before [`commit`](Self::commit). An append whose future is dropped has no effect.
    ///
    /// # Errors
    /// See [`AppendError`]. `Full` asks for a commit.
    pub async fn append(&self, batch: RecordBatch, seen: &[(SourceId, u64)]) -> Result<Appended, AppendError> {
        todo!()
    }
    /// Adds the columns that the table has not.
    ///
    /// # Errors
    /// See [`GrowError`]. An incompatible change is refused whole.
    pub async fn grow(&self, columns: SchemaRef) -> Result<(), GrowError> {
        todo!()
    }
    /// Makes the buffer and the positions durable in one transaction.
    ///
    /// # Errors
    /// See [`CommitError`]. After `Fenced` the table must be dropped; after others, another commit may be tried.
    pub async fn commit(&self) -> Result<Committed, CommitError> {
        todo!()
    }
    /// Returns what is in memory alone, for deciding when to commit.
    pub fn pending(&self) -> Pending {
        todo!()
    }
    /// Returns a consistent picture for queries.
    pub fn view(&self) -> View {
        todo!()
    }
    /// Merges small files of one place, if there are any worth it: bounded work per call; see [`Merged::more`].
    ///
    /// # Errors
    /// See [`MergeError`].
    pub async fn merge(&self) -> Result<Merged, MergeError> {
        todo!()
    }
    /// Deletes files that no version younger than `keep` names, old files of the Delta log, and what crashed commits left, all only if
    /// older than `keep`.
    ///
    /// # Errors
    /// See [`VacuumError`].
    pub async fn vacuum(&self, keep: Duration) -> Result<Vacuumed, VacuumError> {
        todo!()
    }
    /// Returns the counters.
    pub fn stats(&self) -> Stats {
        todo!()
    }
}

//! Where the objects of snapshots lie.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use weir_machine::{SnapshotError, Snapshots};
use weir_types::{QueueName, SequenceNumber};

/// How many snapshots stay.
const KEPT: usize = 2;

/// One queue's snapshots.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    store: Arc<dyn ObjectStore>,
    folder: Path,
}

fn index_name(at: SequenceNumber) -> String {
    format!("{:020}.index", at.0)
}

fn part_name(at: SequenceNumber, part: usize) -> String {
    format!("{:020}-{part:06}.part", at.0)
}

/// Returns the place that an object's name begins with.
fn place(name: &str) -> Option<SequenceNumber> {
    name.get(..20)?.parse().ok().map(SequenceNumber)
}

impl Store {
    pub(crate) fn new(snapshots: &Snapshots, queue: &QueueName, identity: u64) -> Self {
        let (store, root) = snapshots.place();
        let folder = root.clone().join("queue").join(queue.as_str()).join(format!("{identity:016x}"));
        Self { store: Arc::clone(store), folder }
    }

    async fn put(&self, name: String, object: Vec<u8>) -> Result<(), SnapshotError> {
        let path = self.folder.clone().join(name);
        let stored = self.store.put(&path, PutPayload::from(object)).await;
        stored.map(drop).map_err(|source| SnapshotError::Store { action: "write", path, source })
    }

    pub(crate) async fn put_part(&self, at: SequenceNumber, part: usize, object: Vec<u8>) -> Result<(), SnapshotError> {
        self.put(part_name(at, part), object).await
    }

    /// Stores the index, which makes the snapshot whole, and deletes all but the newest two. Returns the place from which the
    /// log must be kept for the older one.
    pub(crate) async fn put_index(&self, at: SequenceNumber, object: Vec<u8>) -> Result<SequenceNumber, SnapshotError> {
        self.put(index_name(at), object).await?;
        let names = self.list().await?;
        let kept: Vec<SequenceNumber> = indexes(&names).into_iter().take(KEPT).collect();
        for name in names {
            if place(&name).is_none_or(|at| !kept.contains(&at)) {
                self.delete(&name).await;
            }
        }
        Ok(kept.last().copied().unwrap_or(at))
    }

    /// A leftover costs space, no more: the next snapshot tries again.
    async fn delete(&self, name: &str) {
        let path = self.folder.clone().join(name);
        if let Err(error) = self.store.delete(&path).await {
            tracing::warn!(snapshot = %path, %error, "an old snapshot could not be deleted");
        }
    }

    /// Deletes all.
    pub(crate) async fn erase(&self) -> Result<(), SnapshotError> {
        for name in self.list().await? {
            let path = self.folder.clone().join(name);
            let deleted = self.store.delete(&path).await;
            deleted.map_err(|source| SnapshotError::Store { action: "delete", path, source })?;
        }
        Ok(())
    }

    /// Returns where there are whole snapshots, newest first.
    pub(crate) async fn places(&self) -> Result<Vec<SequenceNumber>, SnapshotError> {
        Ok(indexes(&self.list().await?))
    }

    pub(crate) async fn index(&self, at: SequenceNumber) -> Result<Bytes, SnapshotError> {
        self.get(index_name(at)).await
    }

    pub(crate) async fn part(&self, at: SequenceNumber, part: usize) -> Result<Bytes, SnapshotError> {
        self.get(part_name(at, part)).await
    }

    async fn get(&self, name: String) -> Result<Bytes, SnapshotError> {
        let path = self.folder.clone().join(name);
        let read = async { self.store.get(&path).await?.bytes().await };
        read.await.map_err(|source| SnapshotError::Store { action: "read", path: path.clone(), source })
    }

    async fn list(&self) -> Result<Vec<String>, SnapshotError> {
        let objects: Vec<_> = self
            .store
            .list(Some(&self.folder))
            .try_collect()
            .await
            .map_err(|source| SnapshotError::Store { action: "list", path: self.folder.clone(), source })?;
        Ok(objects.iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect())
    }
}

fn indexes(names: &[String]) -> Vec<SequenceNumber> {
    let mut found: Vec<SequenceNumber> =
        names.iter().filter(|name| name.ends_with(".index")).filter_map(|name| place(name)).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found
}

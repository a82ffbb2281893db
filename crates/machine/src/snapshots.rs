//! Snapshots as objects: `NAME/SEQUENCE.snap`, each whole or not there.
//!
//! An object is a header of 24 bytes (magic `WEIRSNAP`, format version, CRC-32C of the rest, sequence number; integers
//! little endian) and the state's own bytes. The newest that reads wins; the one before it is kept, and the log behind
//! that one too, so that a damaged newest snapshot costs a longer replay and nothing else.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use weir_types::SequenceNumber;

const MAGIC: &[u8; 8] = b"WEIRSNAP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
/// How many snapshots of one name stay.
const KEPT: usize = 2;

/// Where snapshots are kept.
#[derive(Clone, Debug)]
pub struct Snapshots {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

/// A snapshot store that does not answer, or refuses.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The object store failed.
    #[error("{action} snapshot `{path}`")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The object.
        path: Path,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
}

impl Snapshots {
    /// Keeps snapshots below `root` of `store`, which must make objects durable before `put` returns.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { store, root }
    }

    /// Returns the object store and the folder in it, for those that keep snapshots of their own form beside these.
    pub fn place(&self) -> (&Arc<dyn ObjectStore>, &Path) {
        (&self.store, &self.root)
    }

    /// Stores the state as of `next`, the place of the first command that it does not contain, and returns the place from
    /// which the log must be kept: that of the oldest snapshot that is kept.
    ///
    /// # Errors
    /// If the object store fails; earlier snapshots are untouched then.
    pub async fn put(&self, name: &str, next: SequenceNumber, state: &[u8]) -> Result<SequenceNumber, SnapshotError> {
        let path = self.path(name, next);
        let mut object = Vec::with_capacity(HEADER_BYTES + state.len());
        object.extend_from_slice(MAGIC);
        object.extend_from_slice(&VERSION.to_le_bytes());
        object.extend_from_slice(&[0; 4]);
        object.extend_from_slice(&next.0.to_le_bytes());
        object.extend_from_slice(state);
        let checksum = crc32c::crc32c(&object[16..]);
        object[12..16].copy_from_slice(&checksum.to_le_bytes());
        self.store.put(&path, PutPayload::from(object)).await.map_err(|source| SnapshotError::Store {
            action: "write",
            path: path.clone(),
            source,
        })?;
        let mut kept = self.list(name).await?;
        for old in kept.split_off(KEPT.min(kept.len())) {
            // A leftover costs space, no more: the next snapshot tries again.
            if let Err(error) = self.store.delete(&self.path(name, old)).await {
                tracing::warn!(snapshot = %self.path(name, old), %error, "an old snapshot could not be deleted");
            }
        }
        Ok(kept.last().copied().unwrap_or(next))
    }

    /// Returns the newest snapshot that reads, and the place of the first command that it does not contain.
    ///
    /// # Errors
    /// If the object store fails. Damaged snapshots are reported in the log, and passed over.
    pub async fn latest(&self, name: &str) -> Result<Option<(SequenceNumber, Bytes)>, SnapshotError> {
        for next in self.list(name).await? {
            let path = self.path(name, next);
            let read = async { self.store.get(&path).await?.bytes().await };
            let object =
                read.await.map_err(|source| SnapshotError::Store { action: "read", path: path.clone(), source })?;
            match check(&object, next) {
                Ok(()) => return Ok(Some((next, object.slice(HEADER_BYTES..)))),
                Err(reason) => tracing::error!(snapshot = %path, reason, "a snapshot is damaged; using the one before"),
            }
        }
        Ok(None)
    }

    /// Lists what is there, newest first.
    async fn list(&self, name: &str) -> Result<Vec<SequenceNumber>, SnapshotError> {
        let folder = self.folder(name);
        let objects: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|source| SnapshotError::Store { action: "list", path: folder, source })?;
        let mut found: Vec<SequenceNumber> = objects
            .iter()
            .filter_map(|object| object.location.filename()?.strip_suffix(".snap")?.parse().ok().map(SequenceNumber))
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    fn folder(&self, name: &str) -> Path {
        name.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    fn path(&self, name: &str, next: SequenceNumber) -> Path {
        self.folder(name).join(format!("{:020}.snap", next.0))
    }
}

fn check(object: &[u8], next: SequenceNumber) -> Result<(), &'static str> {
    let word = |at: usize| -> Option<[u8; 4]> { object.get(at..at + 4)?.try_into().ok() };
    if object.len() < HEADER_BYTES || &object[..8] != MAGIC {
        return Err("it is not a snapshot, or cut off");
    }
    if word(8).map(u32::from_le_bytes) != Some(VERSION) {
        return Err("it has a format version that this weir does not know");
    }
    if word(12).map(u32::from_le_bytes) != Some(crc32c::crc32c(&object[16..])) {
        return Err("its checksum does not match");
    }
    if object[16..24] != next.0.to_le_bytes() {
        return Err("its name and its content disagree");
    }
    Ok(())
}

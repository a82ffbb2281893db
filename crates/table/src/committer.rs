//! The last step of a transaction: one file, put if absent, under the next version's name.
//!
//! ```text
//!   put if absent --ok--------------------------------------> committed
//!        |  \--already exists, or an error--> read it back
//!        |                                      |-- our bytes --> committed (the reply was lost)
//!        |                                      |-- others' ----> conflict
//!        +----- again, at most 5 times <--------+-- absent
//! ```
//!
//! Every commit's bytes hold a random transaction id (from the kernel), so equal bytes are the same commit. What still
//! is not known after the last attempt is left in an [`AttemptSlot`], for the next transaction to find out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use delta_kernel::committer::{CommitMetadata, CommitResponse, Committer, PublishMetadata};
use delta_kernel::engine::to_json_bytes;
use delta_kernel::{Engine, FileMeta, FilteredEngineData, KernelError, KernelResult, KernelResultIterator};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use tokio::runtime::Handle;
use weir_env::Env;

/// Attempts to put one version.
const ATTEMPTS_MAX: u32 = 5;
/// The wait before the second attempt; it doubles.
const BACKOFF: Duration = Duration::from_millis(50);

/// A commit that was tried.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) path: Path,
    pub(crate) bytes: Bytes,
}

/// Where an attempt is noted before it is made.
pub(crate) type AttemptSlot = Arc<Mutex<Option<Attempt>>>;

/// What became of a commit's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Ours,
    Others,
    Absent,
}

/// Reads back what stands under a version's name.
pub(crate) async fn find(store: &dyn ObjectStore, attempt: &Attempt) -> Result<Found, object_store::Error> {
    match store.get(&attempt.path).await {
        Err(object_store::Error::NotFound { .. }) => Ok(Found::Absent),
        Err(error) => Err(error),
        Ok(found) if found.meta.size != attempt.bytes.len() as u64 => Ok(Found::Others),
        Ok(found) => Ok(if found.bytes().await? == attempt.bytes { Found::Ours } else { Found::Others }),
    }
}

/// Puts versions into an object store.
pub(crate) struct PutIfAbsent {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) env: Env,
    pub(crate) runtime: Handle,
    pub(crate) attempt: AttemptSlot,
    /// Actions behind the kernel's, as lines of JSON.
    pub(crate) appended: Bytes,
}

impl PutIfAbsent {
    async fn put(&self, attempt: &Attempt) -> Result<Found, object_store::Error> {
        let mut backoff = BACKOFF;
        let mut tried = 0;
        loop {
            tried += 1;
            let put = self.store.put_opts(&attempt.path, attempt.bytes.clone().into(), PutMode::Create.into()).await;
            let Err(error) = put else { return Ok(Found::Ours) };
            match find(self.store.as_ref(), attempt).await {
                Ok(found @ (Found::Ours | Found::Others)) => return Ok(found),
                Ok(Found::Absent) | Err(_) if tried < ATTEMPTS_MAX => {
                    tracing::warn!(path = %attempt.path, %error, tried, "a commit was not taken; trying again");
                }
                Ok(Found::Absent) | Err(_) => return Err(error),
            }
            self.env.sleep(self.env.jitter(backoff)).await;
            backoff *= 2;
        }
    }
}

impl Committer for PutIfAbsent {
    fn commit(
        &self,
        _: &dyn Engine,
        actions: KernelResultIterator<'_, FilteredEngineData>,
        commit: CommitMetadata,
    ) -> KernelResult<CommitResponse> {
        let url = commit.published_commit_path()?;
        let mut bytes = to_json_bytes(actions)?;
        bytes.extend_from_slice(&self.appended);
        let bytes = Bytes::from(bytes);
        let size = bytes.len() as u64;
        let attempt = Attempt { path: Path::from_url_path(url.path())?, bytes };
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt.clone());
        match self.runtime.block_on(self.put(&attempt)) {
            Ok(Found::Ours) => {
                let file_meta = FileMeta::new(url, commit.in_commit_timestamp(), size);
                Ok(CommitResponse::Committed { file_meta })
            }
            Ok(Found::Others | Found::Absent) => Ok(CommitResponse::Conflict { version: commit.version() }),
            Err(error) => Err(KernelError::ObjectStore(error)),
        }
    }

    fn is_catalog_committer(&self) -> bool {
        false
    }

    fn publish(&self, _: &dyn Engine, publish: PublishMetadata) -> KernelResult<()> {
        if publish.commits_to_publish().is_empty() {
            return Ok(());
        }
        Err(KernelError::generic("a table of files has no catalog to publish from"))
    }
}

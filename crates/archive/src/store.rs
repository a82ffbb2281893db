//! The object store as the archive uses it: below one root, each call within a bound of time.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use weir_env::Env;
use weir_types::Hour;

use crate::error::StoreError;
use crate::limits::{MANIFEST_BYTES_MAX, PATIENCE};
use crate::place;

/// What became of an object that is put if absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    Done,
    /// There is one already: an earlier try's, or another's.
    Taken,
}

/// A folder of an object store. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    inner: Arc<dyn ObjectStore>,
    pub root: Path,
    env: Env,
}

impl Store {
    pub fn new(inner: Arc<dyn ObjectStore>, root: Path, env: Env) -> Self {
        Self { inner, root, env }
    }

    async fn call<T>(
        &self,
        action: &'static str,
        path: &Path,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        let failed = |source| StoreError { action, path: path.clone(), source };
        match self.env.within(PATIENCE, work).await {
            Some(result) => result.map_err(failed),
            None => {
                let source = format!("no answer within {} s", PATIENCE.as_secs()).into();
                Err(failed(object_store::Error::Generic { store: "archive", source }))
            }
        }
    }

    /// Puts an object unless there is one of its name. After an error it may be there all the same.
    pub async fn put_once(&self, path: &Path, payload: PutPayload) -> Result<Put, StoreError> {
        let put = self.inner.put_opts(path, payload, PutMode::Create.into());
        match self.call("write", path, put).await {
            Ok(_) => Ok(Put::Done),
            Err(StoreError { source: object_store::Error::AlreadyExists { .. }, .. }) => Ok(Put::Taken),
            Err(error) => Err(error),
        }
    }

    pub async fn overwrite(&self, path: &Path, payload: PutPayload) -> Result<(), StoreError> {
        self.call("write", path, self.inner.put(path, payload)).await.map(drop)
    }

    /// Returns a small object; none if there is none.
    pub async fn get(&self, path: &Path) -> Result<Option<Bytes>, StoreError> {
        let get = async {
            let found = self.inner.get(path).await?;
            if found.meta.size > MANIFEST_BYTES_MAX {
                let source = format!("it has {} bytes, and {MANIFEST_BYTES_MAX} are allowed", found.meta.size).into();
                return Err(object_store::Error::Generic { store: "archive", source });
            }
            found.bytes().await
        };
        found(self.call("read", path, get).await)
    }

    pub async fn get_range(&self, path: &Path, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        self.call("read", path, self.inner.get_range(path, range)).await
    }

    /// Returns an object's bytes in number; none if there is none.
    pub async fn size(&self, path: &Path) -> Result<Option<u64>, StoreError> {
        Ok(found(self.call("look at", path, self.inner.head(path)).await)?.map(|meta| meta.size))
    }

    /// Returns the hours that have a folder, in order.
    pub async fn hours(&self) -> Result<Vec<Hour>, StoreError> {
        let listed = self.call("list", &self.root, self.inner.list_with_delimiter(Some(&self.root))).await;
        let mut hours: Vec<Hour> = found(listed)?
            .map(|listed| listed.common_prefixes.iter().filter_map(place::hour_of).collect())
            .unwrap_or_default();
        hours.sort_unstable();
        Ok(hours)
    }

    /// Returns what is in an hour's folder, in the order of names.
    pub async fn list(&self, hour: Hour) -> Result<Vec<ObjectMeta>, StoreError> {
        let folder = place::hour(&self.root, hour);
        let listing = self.inner.list(Some(&folder)).try_collect::<Vec<_>>();
        let mut objects = found(self.call("list", &folder, listing).await)?.unwrap_or_default();
        objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(objects)
    }

    /// Deletes an object; one that is gone already is no error.
    pub async fn delete(&self, path: &Path) -> Result<(), StoreError> {
        found(self.call("delete", path, self.inner.delete(path)).await).map(drop)
    }
}

/// Turns "there is none" into none.
fn found<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError { source: object_store::Error::NotFound { .. }, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

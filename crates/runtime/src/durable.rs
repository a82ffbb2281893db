//! The local file system as an object store whose objects are durable when `put` returns.
//!
//! `object_store`'s own writes a staging file and renames it without a sync: after a power cut the name may be there and
//! the bytes not, or neither. Here the bytes are synced before they get their name, and the folder after, up to the first
//! folder that was there before. Reads, lists and deletes are those of [`LocalFileSystem`], which takes no notice of staging
//! files (their names end in `#` and a number).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

const STORE: &str = "DurableFileSystem";

/// A local file system whose writes are durable.
#[derive(Debug, Clone)]
pub(crate) struct DurableFileSystem {
    inner: Arc<LocalFileSystem>,
    /// Distinguishes staging files of this process; others can't be here, the data folder is locked.
    staged: Arc<AtomicU64>,
}

impl std::fmt::Display for DurableFileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{STORE}({})", self.inner)
    }
}

impl DurableFileSystem {
    /// Paths are below `/`.
    pub fn of_machine() -> Self {
        Self::over(LocalFileSystem::new())
    }

    /// Paths are below `folder`, which must exist.
    pub fn below(folder: &FilePath) -> Result<Self> {
        Ok(Self::over(LocalFileSystem::new_with_prefix(folder)?))
    }

    fn over(inner: LocalFileSystem) -> Self {
        Self { inner: Arc::new(inner), staged: Arc::default() }
    }

    fn stage(&self, location: &Path) -> Result<Staged> {
        let target = self.inner.path_to_filesystem(location)?;
        let mut path = target.clone().into_os_string();
        path.push(format!("#{}", self.staged.fetch_add(1, Ordering::Relaxed)));
        Ok(Staged { target, path: path.into(), location: location.to_string() })
    }
}

/// Where bytes are until they have their name.
#[derive(Debug, Clone)]
struct Staged {
    target: PathBuf,
    path: PathBuf,
    location: String,
}

impl Staged {
    fn failed(&self, source: io::Error) -> Error {
        match source.kind() {
            ErrorKind::AlreadyExists => Error::AlreadyExists { path: self.location.clone(), source: Box::new(source) },
            ErrorKind::NotFound => Error::NotFound { path: self.location.clone(), source: Box::new(source) },
            _ => Error::Generic { store: STORE, source: Box::new(source) },
        }
    }

    fn create(&self) -> io::Result<File> {
        let create = || OpenOptions::new().write(true).create(true).truncate(true).open(&self.path);
        match create() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_folders_durably(self.folder())?;
                create()
            }
            result => result,
        }
    }

    fn folder(&self) -> &FilePath {
        self.target.parent().unwrap_or(FilePath::new("/"))
    }

    /// Syncs the bytes, gives them their name, and syncs that.
    fn publish(&self, file: File, create: bool) -> io::Result<()> {
        file.sync_all()?;
        drop(file);
        if create {
            let linked = std::fs::hard_link(&self.path, &self.target);
            std::fs::remove_file(&self.path)?;
            linked?;
        } else {
            std::fs::rename(&self.path, &self.target)?;
        }
        File::open(self.folder())?.sync_all()
    }

    fn write(&self, payload: &PutPayload, create: bool) -> io::Result<()> {
        let written = (|| {
            let mut file = self.create()?;
            for part in payload {
                file.write_all(part)?;
            }
            self.publish(file, create)
        })();
        if written.is_err() {
            // What is left of it is no object, and the space is wanted.
            let _ = std::fs::remove_file(&self.path);
        }
        written
    }
}

fn make_folders_durably(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folders_durably(parent)?;
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(source) => Err(Error::JoinError { source }),
    }
}

#[async_trait]
impl ObjectStore for DurableFileSystem {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let create = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "`put_opts` with mode `PutMode::Update`".into(),
                    implementer: STORE.into(),
                });
            }
        };
        let staged = self.stage(location)?;
        blocking(move || staged.write(&payload, create).map_err(|error| staged.failed(error))).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let staged = self.stage(location)?;
        let opened = staged.clone();
        let file = blocking(move || opened.create().map_err(|error| opened.failed(error))).await?;
        Ok(Box::new(Upload { staged, file: Some(Arc::new(file)), offset: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let source = self.inner.path_to_filesystem(from)?;
        let staged = self.stage(to)?;
        let create = matches!(options.mode, CopyMode::Create);
        blocking(move || {
            let copied = (|| {
                let mut from = File::open(&source)?;
                let mut file = staged.create()?;
                io::copy(&mut from, &mut file)?;
                staged.publish(file, create)
            })();
            copied.map_err(|error| {
                let _ = std::fs::remove_file(&staged.path);
                staged.failed(error)
            })
        })
        .await
    }
}

/// An object that comes in parts.
#[derive(Debug)]
struct Upload {
    staged: Staged,
    file: Option<Arc<File>>,
    offset: u64,
}

impl Upload {
    fn ended(&self) -> Error {
        let source = io::Error::other(format!("the upload of `{}` has ended", self.staged.location));
        Error::Generic { store: STORE, source: Box::new(source) }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let offset = self.offset;
        self.offset += payload.content_length() as u64;
        let Some(file) = self.file.clone() else {
            let error = self.ended();
            return Box::pin(async move { Err(error) });
        };
        let staged = self.staged.clone();
        Box::pin(blocking(move || {
            let mut at = offset;
            for part in &payload {
                std::os::unix::fs::FileExt::write_all_at(&*file, part, at).map_err(|error| staged.failed(error))?;
                at += part.len() as u64;
            }
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let file = self.file.take().ok_or_else(|| self.ended())?;
        let staged = self.staged.clone();
        blocking(move || {
            // Parts hold the file as long as they are written; by contract they are when this is called.
            let file = Arc::try_unwrap(file).or_else(|shared| shared.try_clone());
            file.and_then(|file| staged.publish(file, false)).map_err(|error| staged.failed(error))
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.file = None;
        let staged = self.staged.clone();
        blocking(move || std::fs::remove_file(&staged.path).map_err(|error| staged.failed(error))).await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn objects_are_whole_and_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableFileSystem::below(folder.path()).unwrap();
        let path = Path::from("a/b/c.json");
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&path, "one".into(), create.clone()).await.unwrap();
        let refused = store.put_opts(&path, "two".into(), create).await.unwrap_err();
        assert!(matches!(refused, Error::AlreadyExists { .. }), "{refused}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&path, "three".into()).await.unwrap();
        store.copy_if_not_exists(&path, &Path::from("a/d")).await.unwrap();
        assert!(store.copy_if_not_exists(&path, &Path::from("a/d")).await.is_err());
        assert_eq!(store.get(&Path::from("a/d")).await.unwrap().bytes().await.unwrap(), "three");

        let mut upload = store.put_multipart(&Path::from("big")).await.unwrap();
        upload.put_part("12345".into()).await.unwrap();
        upload.put_part("678".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.get(&Path::from("big")).await.unwrap().bytes().await.unwrap(), "12345678");
        let mut aborted = store.put_multipart(&Path::from("gone")).await.unwrap();
        aborted.put_part("1".into()).await.unwrap();
        aborted.abort().await.unwrap();

        let listed: Vec<_> = store.list(None).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
        let files = walk(folder.path());
        assert_eq!(listed.len(), 3, "{listed:?}");
        assert_eq!(files, 3, "no staging file is left");
    }

    fn walk(folder: &FilePath) -> usize {
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| if path.is_dir() { walk(&path) } else { 1 })
            .sum()
    }
}

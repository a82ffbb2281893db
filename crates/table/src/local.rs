//! A local folder as an object store whose writes are durable.
//!
//! `object_store`'s own local store (0.13) never calls fsync: after a power cut, files that it had acknowledged are
//! empty or gone, and a Delta commit may name them. Here a file is written under a staging name, synced, then given its
//! name, and the folder is synced too, as are the folders that were made on the way. A name therefore never stands for
//! half a file, and an acknowledged one stays.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

/// Staging names that are tried for one file.
const STAGING_ATTEMPTS_MAX: u64 = 1 << 20;

static STAGING: AtomicU64 = AtomicU64::new(1);

/// A local folder whose writes survive a power cut once they are acknowledged.
#[derive(Debug)]
pub struct LocalStore {
    inner: LocalFileSystem,
}

impl LocalStore {
    /// The whole file system: paths are absolute ones without the first `/`.
    pub fn new() -> Self {
        Self { inner: LocalFileSystem::new() }
    }

    /// One folder, which must exist.
    ///
    /// # Errors
    /// If it does not.
    pub fn with_prefix(folder: impl AsRef<FsPath>) -> Result<Self> {
        Ok(Self { inner: LocalFileSystem::new_with_prefix(folder)? })
    }
}

impl LocalStore {
    /// Removes folders that a deletion leaves empty.
    #[must_use]
    pub fn removing_empty_folders(self) -> Self {
        Self { inner: self.inner.with_automatic_cleanup(true) }
    }
}

impl Default for LocalStore {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalStore({})", self.inner)
    }
}

fn failed(source: io::Error) -> Error {
    Error::Generic { store: "LocalStore", source: Box::new(source) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::JoinError { source })?
}

/// Makes a folder and those above it durably.
pub(crate) fn make_folder(folder: &FsPath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    make_folder(parent)?;
    match fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    sync_folder(parent)
}

fn sync_folder(folder: &FsPath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn parent_of(path: &FsPath) -> io::Result<&FsPath> {
    path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the root can't be a file"))
}

/// Opens a new staging file beside `path`. Its name ends in `#` and a number, which listings leave out.
fn stage(path: &FsPath) -> io::Result<(File, PathBuf)> {
    make_folder(parent_of(path)?)?;
    for _ in 0..STAGING_ATTEMPTS_MAX {
        let mut staging = path.as_os_str().to_owned();
        staging.push(format!("#{}", STAGING.fetch_add(1, Ordering::Relaxed)));
        let staging = PathBuf::from(staging);
        match OpenOptions::new().write(true).create_new(true).open(&staging) {
            Ok(file) => return Ok((file, staging)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "no staging name is free"))
}

/// Finds staging files below a folder, and gives each with the path that it was to have: what is there when nothing writes
/// was left by a process that was killed.
pub(crate) fn find_staged(folder: &FsPath, found: &mut dyn FnMut(&FsPath, &str)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_staged(&path, found);
        } else if let Some((base, number)) = path.to_str().and_then(|path| path.rsplit_once('#'))
            && !number.is_empty()
            && number.bytes().all(|digit| digit.is_ascii_digit())
        {
            found(&path, base);
        }
    }
}

fn put(path: &FsPath, payload: &PutPayload, mode: &PutMode) -> Result<()> {
    let (mut file, staging) = stage(path).map_err(failed)?;
    let written = (|| {
        for bytes in payload {
            file.write_all(bytes)?;
        }
        file.sync_all()?;
        match mode {
            PutMode::Create => {
                fs::hard_link(&staging, path)?;
                fs::remove_file(&staging)
            }
            _ => fs::rename(&staging, path),
        }
    })();
    if let Err(error) = written {
        // What is left over is not listed, and not read.
        let _ = fs::remove_file(&staging);
        return Err(match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::AlreadyExists { path: path.display().to_string(), source: error.into() }
            }
            _ => failed(error),
        });
    }
    parent_of(path).and_then(sync_folder).map_err(failed)
}

#[async_trait::async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if !opts.attributes.is_empty() || matches!(opts.mode, PutMode::Update(_)) {
            let operation = "attributes and conditional updates".to_owned();
            return Err(Error::NotImplemented { operation, implementer: self.to_string() });
        }
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || put(&path, &payload, &opts.mode)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let folder = parent_of(&path).map_err(failed)?.to_owned();
        blocking(move || make_folder(&folder).map_err(failed)).await?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(Upload { inner, path }))
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

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        let path = self.inner.path_to_filesystem(to)?;
        blocking(move || sync(&path)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        let path = self.inner.path_to_filesystem(to)?;
        blocking(move || sync(&path)).await
    }
}

fn sync(path: &FsPath) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).and_then(|()| sync_folder(parent_of(path)?)).map_err(failed)
}

/// An upload in parts. Until it is complete and synced nobody may rely on its name: data files have names that only a
/// later Delta commit gives away.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let path = self.path.clone();
        blocking(move || sync(&path)).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn creates_once_overwrites_and_leaves_no_staging_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::with_prefix(folder.path()).unwrap();
        let path = Path::from("a/b/c.json");
        store.put_opts(&path, "one".into(), PutMode::Create.into()).await.unwrap();
        let again = store.put_opts(&path, "two".into(), PutMode::Create.into()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "three");
        let names: Vec<_> =
            fs::read_dir(folder.path().join("a/b")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["c.json"]);
    }

    #[tokio::test]
    async fn an_upload_in_parts_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::with_prefix(folder.path()).unwrap();
        let path = Path::from("x/y.parquet");
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part("ab".into()).await.unwrap();
        assert!(store.head(&path).await.is_err());
        upload.put_part("cd".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "abcd");
    }
}

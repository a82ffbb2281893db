//! Where files arrive: a folder, or a prefix of an object store.
//!
//! A folder may be made later, and may go away for a while; that is trouble, and not an empty place: what is taken to be
//! gone would be taken once more when it comes back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore};
use url::Url;
use weir_config::FilesPlan;
use weir_env::Env;
use weir_table::LocalStore;
use weir_types::{FilesName, Glob};

use super::object::Object;
use crate::node::StartError;

/// How long the store may take to begin an answer, or to list the next objects.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How names end while a file is written: what browsers, rsync, Hadoop and many scripts do.
const UNFINISHED: [&str; 7] = [".tmp", ".temp", ".part", ".partial", ".inprogress", ".crdownload", "._COPYING_"];

/// Why a place can't be looked at, or an object not be read now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("there is no folder `{}`", path.display())]
    NoFolder { path: PathBuf },
    #[error("nothing came from `{location}` for {} s", ANSWER_MAX.as_secs())]
    Silent { location: Url },
    #[error("list `{location}`")]
    List {
        location: Url,
        #[source]
        source: object_store::Error,
    },
    #[error("read `{path}`")]
    Read {
        path: Path,
        #[source]
        source: object_store::Error,
    },
    /// A connection that broke while an object was read.
    #[error("read `{path}`: {reason}")]
    Broken { path: Path, reason: String },
}

/// One place, and which of its files are meant.
#[derive(Debug)]
pub(crate) struct Place {
    location: Url,
    store: Store,
    pattern: Option<String>,
    glob: Option<Glob>,
}

#[derive(Debug)]
enum Store {
    /// Opened anew for each use: it must be there.
    Folder(PathBuf),
    Objects {
        store: Arc<dyn ObjectStore>,
        prefix: Path,
    },
}

impl Place {
    /// Reads a plan. Nothing is asked of the store.
    ///
    /// # Errors
    /// If its location is no store that weir knows.
    pub fn new(plan: &FilesPlan) -> Result<Self, StartError> {
        let (files, location) = (&plan.name, plan.location.clone());
        let refused = |source| StartError::FilesLocation { files: files.clone(), location: location.clone(), source };
        let store = match location.scheme() {
            "file" => Store::Folder(location.to_file_path().map_err(|()| {
                let source = "it is not the path of a folder".into();
                refused(object_store::Error::Generic { store: "file", source })
            })?),
            _ => {
                let (store, prefix) = object_store::parse_url_opts(&location, std::env::vars()).map_err(refused)?;
                Store::Objects { store: Arc::from(store), prefix }
            }
        };
        Ok(Self { store, glob: plan.pattern.as_deref().map(Glob::new), pattern: plan.pattern.clone(), location })
    }

    /// A place in a store that is open.
    #[cfg(test)]
    pub fn in_store(store: Arc<dyn ObjectStore>, location: &str, pattern: Option<&str>) -> Self {
        let location: Url = location.parse().unwrap();
        let prefix = Path::parse(location.path()).unwrap();
        let glob = pattern.map(Glob::new);
        Self { location, store: Store::Objects { store, prefix }, glob, pattern: pattern.map(str::to_owned) }
    }

    pub fn location(&self) -> &Url {
        &self.location
    }

    /// What stands for the bucket in an event.
    pub fn bucket(&self, files: &FilesName) -> String {
        match &self.store {
            Store::Folder(_) => format!("files/{files}"),
            Store::Objects { .. } => self.location.host_str().unwrap_or_default().to_owned(),
        }
    }

    /// Returns an object's key in its bucket.
    pub fn key(&self, path: &str) -> Path {
        let below = Path::parse(path).unwrap_or_else(|_| Path::from(path));
        match &self.store {
            Store::Folder(_) => below,
            Store::Objects { prefix, .. } => prefix.parts().chain(below.parts()).collect(),
        }
    }

    /// Returns the path below the location, if the object is one that is meant.
    pub fn below<'p>(&self, key: &'p Path) -> Option<&'p str> {
        let path = match &self.store {
            Store::Folder(_) => key.as_ref(),
            Store::Objects { prefix, .. } if prefix.as_ref().is_empty() => key.as_ref(),
            Store::Objects { prefix, .. } => key.as_ref().strip_prefix(prefix.as_ref())?.strip_prefix('/')?,
        };
        let meant = !path.is_empty() && !is_unfinished(path, self.pattern.as_deref().unwrap_or_default());
        (meant && self.glob.as_ref().is_none_or(|glob| glob.matches(path))).then_some(path)
    }

    /// Returns the store, and what is to be listed.
    ///
    /// # Errors
    /// If it is a folder that is not there.
    pub async fn open(&self) -> Result<(Arc<dyn ObjectStore>, Option<&Path>), PlaceError> {
        match &self.store {
            Store::Objects { store, prefix } => Ok((store.clone(), Some(prefix))),
            Store::Folder(path) => {
                let folder = path.clone();
                let open = move || folder.is_dir().then(|| LocalStore::with_prefix(&folder).ok()).flatten();
                match tokio::task::spawn_blocking(open).await {
                    Ok(Some(store)) => Ok((Arc::new(store), None)),
                    _ => Err(PlaceError::NoFolder { path: path.clone() }),
                }
            }
        }
    }

    /// Tells whether the place answers at all: what can't be read then is at fault itself.
    pub async fn answers(&self, env: &Env) -> bool {
        use futures::StreamExt;

        let Ok((store, prefix)) = self.open().await else { return false };
        let mut list = store.list(prefix);
        let first = env.within(ANSWER_MAX, list.next()).await;
        matches!(first, Some(None | Some(Ok(_))))
    }

    /// Begins to read an object as it was found; `None` if it is gone or has changed since.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub async fn get(&self, object: &Object, env: &Env) -> Result<Option<GetResult>, PlaceError> {
        let (store, _) = self.open().await?;
        let path = self.key(&object.path);
        // Not a byte more than was found: what is appended meanwhile belongs to the file's next content.
        let range = (object.bytes > 0).then_some(GetRange::Bounded(0..object.bytes));
        let options = GetOptions { if_match: object.etag.clone(), range, ..GetOptions::default() };
        let begun = env.within(ANSWER_MAX, store.get_opts(&path, options)).await;
        match begun.ok_or_else(|| PlaceError::Silent { location: self.location.clone() })? {
            Ok(result) if object.is(&result.meta) => Ok(Some(result)),
            Ok(_) => Ok(None),
            Err(error) if is_gone(&error) => Ok(None),
            Err(source) => Err(PlaceError::Read { path, source }),
        }
    }

    /// Tells whether an object is still as it was found.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub async fn has(&self, object: &Object, env: &Env) -> Result<bool, PlaceError> {
        Ok(self.meta(&object.path, env).await?.is_some_and(|meta| object.is(&meta)))
    }

    /// Returns what the store says of an object; none if it has none.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub async fn meta(&self, path: &str, env: &Env) -> Result<Option<ObjectMeta>, PlaceError> {
        let (store, _) = self.open().await?;
        let path = self.key(path);
        let head = GetOptions { head: true, ..GetOptions::default() };
        let found: Result<ObjectMeta, _> = env
            .within(ANSWER_MAX, store.get_opts(&path, head))
            .await
            .ok_or_else(|| PlaceError::Silent { location: self.location.clone() })?
            .map(|found| found.meta);
        match found {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(source) => Err(PlaceError::Read { path, source }),
        }
    }

    /// Returns the folder, if it is one of this machine.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match &self.store {
            Store::Folder(path) => Some(path),
            Store::Objects { .. } => None,
        }
    }

    /// Tells whether a bucket that an event names is this place's.
    pub fn is_bucket(&self, bucket: &str) -> bool {
        match &self.store {
            Store::Folder(_) => true,
            Store::Objects { .. } => self.location.host_str() == Some(bucket),
        }
    }
}

/// Whoever writes a file bit by bit hides it, or gives it a name that says so, and renames it when it is whole. A pattern
/// that has such an ending means it. Folders of Hive partitions, `_day=...`, hide nothing.
fn is_unfinished(path: &str, pattern: &str) -> bool {
    let hides = |part: &str| part.starts_with('.') || (part.starts_with('_') && !part.contains('='));
    let ending = UNFINISHED.iter().any(|ending| {
        let has = |name: &str| {
            let name = name.as_bytes();
            name.len().checked_sub(ending.len()).is_some_and(|at| name[at..].eq_ignore_ascii_case(ending.as_bytes()))
        };
        has(path) && !has(pattern)
    });
    let named =
        |part: &str| pattern.rsplit('/').next().is_some_and(|last| last.starts_with('_') && part.starts_with('_'));
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    ending || folders.split('/').any(hides) || (hides(name) && !named(name))
}

pub(crate) fn is_gone(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. })
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn place(location: &str, pattern: Option<&str>) -> Place {
        Place::in_store(Arc::new(InMemory::new()), location, pattern)
    }

    #[test]
    fn paths_are_those_below_the_location_and_keys_those_in_the_bucket() {
        let place = place("s3://bucket/in/here/", Some("*.csv"));
        let key = Path::from("in/here/a.csv");
        assert_eq!(place.below(&key), Some("a.csv"));
        assert_eq!(place.key("a.csv"), key);
        assert_eq!(place.below(&Path::from("in/here/b/a.csv")), None, "the pattern has no folders");
        assert_eq!(place.below(&Path::from("in/hereafter/a.csv")), None);
        assert_eq!(place.bucket(&"x".parse().unwrap()), "bucket");
    }

    #[test]
    fn hidden_files_are_none() {
        let place = place("s3://bucket/", None);
        assert_eq!(place.below(&Path::from("a/b")), Some("a/b"));
        assert_eq!(place.below(&Path::from("a/.b")), None);
        assert_eq!(place.below(&Path::from(".a/b")), None);
        for unfinished in
            ["a.csv.tmp", "in/a.csv.part", "a.PARTIAL", "_SUCCESS", "_temporary/0/a.csv", "a.csv._COPYING_"]
        {
            assert_eq!(place.below(&Path::from(unfinished)), None, "{unfinished}");
        }
        for whole in ["_day=2013-01-01/a.parquet", "a_b.csv", "tmp", "a.tmp.csv", "part-0.csv"] {
            assert_eq!(place.below(&Path::from(whole)), Some(whole));
        }
        let meant = self::place("s3://bucket/", Some("_*.tmp"));
        assert_eq!(meant.below(&Path::from("_a.tmp")), Some("_a.tmp"));
        assert_eq!(place.key("a/b"), Path::from("a/b"));
    }
}

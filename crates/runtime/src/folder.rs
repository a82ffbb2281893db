//! The data folder of a node.
//!
//! ```text
//! FORMAT        the layout's version
//! log/          the local log engine, which also locks the folder
//! snapshots/    of machines, streams and lookups
//! tables/NAME/  tables without a location of their own
//! archive/NAME/ archives without a location of their own
//! functions/    versions of handlers, their logs, and their temporary folders
//! spill/        what queries and merges need for a moment; emptied at start
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use weir_table::LocalStore;

const FORMAT: &str = "weir-data 1\n";

/// A data folder that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It was made by another version.
    #[error("the data folder `{path}` has the format `{found}`, and this weir reads `{}`", FORMAT.trim())]
    Format {
        /// The folder.
        path: PathBuf,
        /// What its FORMAT file says.
        found: String,
    },
    /// It has files that are not weir's.
    #[error("the folder `{path}` is not empty and not a data folder of weir; name another one with --data")]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// The data folder of a node.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Opens a data folder, and makes it if it is new.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| FolderError::Io { action, path, source }
        };
        std::fs::create_dir_all(root).map_err(failed("make folder", root))?;
        let root = root.canonicalize().map_err(failed("find", root))?;
        let format = root.join("FORMAT");
        match std::fs::read_to_string(&format) {
            Ok(found) if found == FORMAT => {}
            Ok(found) => {
                return Err(FolderError::Format { path: root, found: found.trim().chars().take(80).collect() });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let entries = std::fs::read_dir(&root).map_err(failed("list", &root))?;
                // One that was killed before it had its name is no stranger.
                let partial = format.with_extension("new");
                if entries.flatten().any(|entry| entry.path() != partial) {
                    return Err(FolderError::Foreign { path: root });
                }
                write_durably(&format, &root).map_err(failed("write", &format))?;
            }
            Err(source) => return Err(FolderError::Io { action: "read", path: format, source }),
        }
        let folder = Self { root };
        for path in [folder.log(), folder.snapshots(), folder.root.join("tables"), folder.spill()] {
            std::fs::create_dir_all(&path).map_err(failed("make folder", &path))?;
        }
        Ok(folder)
    }

    /// Deletes what an earlier process spilled. The log's lock must be held.
    pub(crate) fn empty_spill(&self) -> Result<(), FolderError> {
        let path = self.spill();
        let emptied = std::fs::remove_dir_all(&path).and_then(|()| std::fs::create_dir_all(&path));
        emptied.map_err(|source| FolderError::Io { action: "empty", path, source })
    }

    /// Returns where the folder is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where the log engine keeps its segments.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn spill(&self) -> PathBuf {
        self.root.join("spill")
    }

    /// Returns where handlers' versions, logs and temporary folders are.
    pub(crate) fn functions(&self) -> PathBuf {
        self.root.join("functions")
    }

    fn snapshots(&self) -> PathBuf {
        Self::snapshots_in(&self.root)
    }

    /// Returns where a data folder, which need not be open or be there, has its snapshots.
    pub fn snapshots_in(root: &Path) -> PathBuf {
        root.join("snapshots")
    }

    /// Returns where a table is that has no location of its own.
    pub fn table(&self, name: &str) -> PathBuf {
        self.root.join("tables").join(name)
    }

    /// Returns where a stream's archive is that has no location of its own.
    pub fn archive(&self, stream: &str) -> PathBuf {
        self.root.join("archive").join(stream)
    }

    /// The store of snapshots: objects are durable when `put` returns.
    pub(crate) fn snapshot_store(&self) -> Result<Arc<dyn ObjectStore>, FolderError> {
        let path = self.snapshots();
        let store = LocalStore::with_prefix(&path).map_err(|error| FolderError::Io {
            action: "open",
            path,
            source: io::Error::other(error),
        })?;
        Ok(Arc::new(store))
    }
}

fn write_durably(path: &Path, folder: &Path) -> io::Result<()> {
    let partial = path.with_extension("new");
    let mut file = std::fs::File::create(&partial)?;
    io::Write::write_all(&mut file, FORMAT.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    std::fs::File::open(folder)?.sync_all()
}

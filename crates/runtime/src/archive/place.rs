//! Where an archive is: in the data folder, in another folder, or in an object store.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use weir_config::ArchivePlan;
use weir_table::LocalStore;
use weir_types::StreamName;

use crate::folder::{Folder, FolderError};
use crate::node::StartError;

/// Returns the store of an archive, and its root there.
pub(super) fn of(
    plan: &ArchivePlan,
    stream: &StreamName,
    folder: &Folder,
) -> Result<(Arc<dyn ObjectStore>, Path), StartError> {
    let local = match &plan.location {
        Some(location) if location.scheme() != "file" => {
            let (store, root) = object_store::parse_url_opts(location, std::env::vars()).map_err(|source| {
                StartError::ArchiveLocation { stream: stream.clone(), location: location.clone(), source }
            })?;
            return Ok((Arc::from(store), root));
        }
        Some(location) => location.to_file_path().unwrap_or_else(|()| std::path::PathBuf::from(location.path())),
        None => folder.archive(stream.as_str()),
    };
    let failed = |action, path: &std::path::Path| {
        let path = path.to_owned();
        move |source| FolderError::Io { action, path, source }
    };
    std::fs::create_dir_all(&local).map_err(failed("make folder", &local))?;
    let local = local.canonicalize().map_err(failed("find", &local))?;
    let root = Path::from_absolute_path(&local).map_err(|error| FolderError::Io {
        action: "use folder",
        path: local.clone(),
        source: std::io::Error::other(error),
    })?;
    // Hours that are deleted take their folders with them.
    Ok((Arc::new(LocalStore::new().removing_empty_folders()), root))
}

//! Whether a user that nobody else is can reach a file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Others may enter a folder.
const ENTER: u32 = 0o001;

/// Returns the first folder on the way to `path` that others may not enter, the links on the way followed too; `None` if
/// all may be entered.
pub(crate) fn obstacle(path: &Path) -> Option<PathBuf> {
    let closed = |path: &Path| {
        path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev().find_map(|folder| {
            let mode = fs::metadata(folder).map_or(0, |metadata| metadata.mode());
            // The parent of a relative path's first part.
            (!folder.as_os_str().is_empty() && mode & ENTER == 0).then(|| folder.to_owned())
        })
    };
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let itself = |path: &Path| {
        let mode = fs::metadata(path).map_or(0, |metadata| metadata.mode());
        (mode & ENTER == 0).then(|| path.to_owned())
    };
    closed(path).or_else(|| closed(&real)).or_else(|| itself(&real))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_that_is_closed_is_named() {
        let root = tempfile::tempdir().unwrap();
        let (open, shut) = (root.path().join("open"), root.path().join("open/shut"));
        fs::create_dir_all(shut.join("in")).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(root.path(), 0o755);
        mode(&shut, 0o700);
        assert_eq!(obstacle(&open), None);
        assert_eq!(obstacle(&shut.join("in")), Some(shut.clone()));
        assert_eq!(obstacle(&shut), Some(shut));
    }
}

//! Copies of folders that nobody changes any more.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Copies a folder's content into another: files readable by all, links as they are, hard links where possible, since
/// neither side changes.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = waiting.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_dir() {
                fs::create_dir(&target)?;
                open_to_all(&target, true)?;
                waiting.push((source, target));
            } else if kind.is_symlink() {
                symlink(fs::read_link(&source)?, &target)?;
            } else if fs::hard_link(&source, &target).is_err() {
                fs::copy(&source, &target)?;
            }
        }
    }
    Ok(())
}

/// Makes all that was written to a folder's file system durable.
pub(crate) fn sync_file_system(folder: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(folder)?)?;
    Ok(())
}

/// Lets everybody read and enter, and nobody but the owner write.
pub(crate) fn open_to_all(path: &Path, executable: bool) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
}

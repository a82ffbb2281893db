//! An environment's own folder: what its handler may write, and what a later server must know to clean up after a crash.
//!
//! ```text
//! tmp/3f9c.../            the server's
//!             process     the mark by which leftover processes are known
//!             work/       the handler's: HOME and TMPDIR
//! ```
//!
//! The size is watched, not enforced: that would take a mount of its own. One file can't exceed the limit (`RLIMIT_FSIZE`).

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::limits::TEMP_ENTRIES_MAX;
use crate::process::{Mark, end_stragglers};

const MARK: &str = "process";
const WORK: &str = "work";

#[derive(Debug)]
pub(crate) struct TempFolder {
    root: PathBuf,
}

impl TempFolder {
    /// Makes the folder, `work` for its user alone.
    pub fn create(root: PathBuf, user: Option<u32>) -> io::Result<Self> {
        fs::DirBuilder::new().mode(0o711).create(&root)?;
        let folder = Self { root };
        let work = folder.work();
        fs::DirBuilder::new().mode(0o700).create(&work)?;
        chown(&work, user, user)?;
        Ok(folder)
    }

    /// Returns the handler's part.
    pub fn work(&self) -> PathBuf {
        self.root.join(WORK)
    }

    /// Notes by what the environment's processes are known.
    pub fn mark(&self, mark: &Mark) -> io::Result<()> {
        fs::write(self.root.join(MARK), serde_json::to_vec(mark)?)
    }

    /// Tells whether the handler's part holds more than `limit_bytes`, or too many entries. Walks the folder: not for an
    /// async thread.
    pub fn is_over(work: &Path, limit_bytes: u64) -> bool {
        let (mut bytes, mut entries) = (0u64, 0);
        let mut waiting = vec![work.to_owned()];
        while let Some(folder) = waiting.pop() {
            // What vanishes meanwhile takes no space.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                entries += 1;
                bytes += metadata.blocks() * 512;
                if bytes > limit_bytes || entries > TEMP_ENTRIES_MAX {
                    return true;
                }
                if metadata.is_dir() {
                    waiting.push(entry.path());
                }
            }
        }
        false
    }

    /// Deletes it all. Blocks.
    pub fn remove(&self) {
        remove(&self.root);
    }
}

fn remove(root: &Path) {
    if fs::remove_dir_all(root).is_err() {
        // A handler may have taken away its own folders' permissions.
        open_up(&root.join(WORK));
        if let Err(error) = fs::remove_dir_all(root)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %root.display(), %error, "a temp folder is left, and will be tried again at the next start");
        }
    }
}

fn open_up(folder: &Path) {
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
}

/// Ends the processes and deletes the folders that a server left which crashed. Blocks.
pub(crate) fn clean_up(temps: &Path) -> io::Result<()> {
    for entry in fs::read_dir(temps)? {
        let root = entry?.path();
        let mark = fs::read(root.join(MARK)).ok().and_then(|text| serde_json::from_slice::<Mark>(&text).ok());
        if let Some(mark) = mark {
            let ended = end_stragglers(&mark);
            if ended > 0 {
                tracing::warn!(folder = %root.display(), ended, "processes of a server that crashed were still there");
            }
        }
        remove(&root);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_over_by_bytes_and_goes_whatever_is_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let folder = TempFolder::create(parent.path().join("a"), None).unwrap();
        let inner = folder.work().join("x/y");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), vec![1; 100_000]).unwrap();
        assert!(TempFolder::is_over(&folder.work(), 50_000));
        assert!(!TempFolder::is_over(&folder.work(), 500_000));
        fs::set_permissions(folder.work().join("x"), fs::Permissions::from_mode(0o000)).unwrap();
        folder.remove();
        assert!(!parent.path().join("a").exists());
    }

    #[test]
    fn what_a_crashed_server_left_is_ended_and_deleted() {
        let parent = tempfile::tempdir().unwrap();
        let folder = TempFolder::create(parent.path().join("a"), None).unwrap();
        let mut left = std::process::Command::new("sleep").arg("1000").env("TMPDIR", folder.work()).spawn().unwrap();
        // A moment after its start a process has no variables to be seen yet.
        let environ = format!("/proc/{}/environ", left.id());
        while !fs::read_to_string(&environ).unwrap().contains("TMPDIR=") {
            std::thread::yield_now();
        }
        folder.mark(&Mark { session: None, user: None, temp: folder.work() }).unwrap();
        clean_up(parent.path()).unwrap();
        assert!(!left.wait().unwrap().success());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}

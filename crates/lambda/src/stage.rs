//! Stages code: an immutable copy under the hash of its content and settings.
//!
//! ```text
//! versions/NAME/HASH/settings.json
//!                    code/             what the handler finds as LAMBDA_TASK_ROOT
//!                    node_modules  ->  where Node's packages are installed, if any
//! ```
//!
//! Invariants: a folder that has its final name is whole and durable, and never written again (the link aside, which is
//! put back if the cache was emptied); what is under a hash is what was hashed, since the copy is hashed as it is made.
//! Left out: `.git` and `__pycache__`. Refused: links that lead out of the folder, since they would not be the version's.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::copy::{open_to_all, sync_file_system};
use crate::install::hex;
use crate::limits::{CODE_BYTES_MAX, CODE_FILES_MAX};
use crate::spec::{Runtime, Settings};

/// Never part of a version.
const LEFT_OUT: [&str; 2] = [".git", "__pycache__"];

/// Why code could not be staged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    #[error("{0}")]
    Code(String),
    #[error("{action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StageError {
    let path = path.to_owned();
    move |source| StageError::Io { action, path, source }
}

/// A copy that has no final name yet.
#[derive(Debug)]
pub(crate) struct Copy {
    pub hash: String,
    pub bytes: u64,
    pub folder: PathBuf,
}

/// What was found in a code's folder, in the order of the paths.
#[derive(Debug)]
enum Kind {
    Folder,
    File { executable: bool },
    Link(PathBuf),
}

/// Returns hash and size of what would be staged. Blocks.
pub(crate) fn hash(code: &Path, settings: &Settings) -> Result<(String, u64), StageError> {
    write(code, settings, None)
}

/// Copies the code to `folder`, which must not exist. Blocks.
pub(crate) fn copy(code: &Path, settings: &Settings, folder: PathBuf) -> Result<Copy, StageError> {
    let target = folder.join("code");
    fs::create_dir_all(&target).map_err(io("create", &target))?;
    for path in [&folder, &target] {
        open_to_all(path, true).map_err(io("create", path))?;
    }
    let written = write(code, settings, Some(&target));
    let noted = written.and_then(|written| {
        let path = folder.join("settings.json");
        let text = serde_json::to_vec_pretty(settings).map_err(io::Error::from);
        text.and_then(|text| fs::write(&path, text)).map_err(io("write", &path))?;
        Ok(written)
    });
    match noted {
        Ok((hash, bytes)) => Ok(Copy { hash, bytes, folder }),
        Err(error) => {
            let _ = fs::remove_dir_all(&folder);
            Err(error)
        }
    }
}

impl Copy {
    /// Gives the copy its final name, durably. Blocks.
    pub fn keep(self, target: &Path) -> Result<(), StageError> {
        sync_file_system(&self.folder).map_err(io("make durable", &self.folder))?;
        match fs::rename(&self.folder, target) {
            Ok(()) => {}
            // It is there already: the same content, by its name.
            Err(_) if target.is_dir() => drop(fs::remove_dir_all(&self.folder)),
            Err(error) => return Err(io("create", target)(error)),
        }
        let parent = target.parent().unwrap_or(target);
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(io("make durable", parent))
    }
}

/// Hashes the code, and copies what it hashes if there is a target.
fn write(code: &Path, settings: &Settings, target: Option<&Path>) -> Result<(String, u64), StageError> {
    let found = walk(code)?;
    if settings.runtime == Runtime::Provided {
        let runs = found.iter().any(|(path, kind)| {
            path == Path::new("bootstrap") && matches!(kind, Kind::File { executable: true } | Kind::Link(_))
        });
        if !runs {
            let what = format!("`{}` has no executable file `bootstrap` (`chmod +x bootstrap`)", code.display());
            return Err(StageError::Code(what));
        }
    }
    let mut hash = Sha256::new();
    let part = |hash: &mut Sha256, bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(&mut hash, b"weir function 1");
    part(&mut hash, &serde_json::to_vec(settings).map_err(|error| StageError::Code(error.to_string()))?);
    let mut bytes = 0;
    for (path, kind) in &found {
        let (from, to) = (code.join(path), target.map(|target| target.join(path)));
        part(&mut hash, path.as_os_str().as_encoded_bytes());
        match kind {
            Kind::Folder => {
                part(&mut hash, b"folder");
                if let Some(to) = to {
                    fs::create_dir(&to).and_then(|()| open_to_all(&to, true)).map_err(io("create", &to))?;
                }
            }
            Kind::Link(link) => {
                part(&mut hash, b"link");
                part(&mut hash, link.as_os_str().as_encoded_bytes());
                if let Some(to) = to {
                    symlink(link, &to).map_err(io("create", &to))?;
                }
            }
            Kind::File { executable } => {
                part(&mut hash, if *executable { b"program" } else { b"file" });
                let length = content(&from, to.as_deref(), &mut hash, bytes)?;
                hash.update(length.to_le_bytes());
                bytes += length;
                if let Some(to) = to {
                    open_to_all(&to, *executable).map_err(io("write", &to))?;
                }
            }
        }
    }
    Ok((hex(&hash.finalize()), bytes))
}

fn content(from: &Path, to: Option<&Path>, hash: &mut Sha256, before: u64) -> Result<u64, StageError> {
    let mut source = File::open(from).map_err(io("read", from))?;
    let mut target = to.map(|to| File::create_new(to).map_err(io("create", to))).transpose()?;
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let length = source.read(&mut buffer).map_err(io("read", from))?;
        if length == 0 {
            return Ok(bytes);
        }
        bytes += length as u64;
        if before + bytes > CODE_BYTES_MAX {
            return Err(StageError::Code(format!("it has more than {CODE_BYTES_MAX} bytes")));
        }
        hash.update(&buffer[..length]);
        if let Some(target) = &mut target {
            target.write_all(&buffer[..length]).map_err(io("write", to.unwrap_or(from)))?;
        }
    }
}

/// Lists a folder, sorted, so that the hash does not depend on the file system's order.
fn walk(code: &Path) -> Result<Vec<(PathBuf, Kind)>, StageError> {
    if !code.is_dir() {
        return Err(StageError::Code(format!("`{}` is no folder", code.display())));
    }
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        let full = code.join(&folder);
        for entry in fs::read_dir(&full).map_err(io("read", &full))? {
            let entry = entry.map_err(io("read", &full))?;
            let name = entry.file_name();
            if LEFT_OUT.iter().any(|left_out| name == *left_out) {
                continue;
            }
            let path = folder.join(&name);
            let metadata = entry.metadata().map_err(io("read", &entry.path()))?;
            let kind = if metadata.is_dir() {
                waiting.push(path.clone());
                Kind::Folder
            } else if metadata.is_symlink() {
                let link = fs::read_link(entry.path()).map_err(io("read", &entry.path()))?;
                if !stays_within(&path, &link) {
                    let what = format!("`{}` leads out of the folder, to `{}`", path.display(), link.display());
                    return Err(StageError::Code(what));
                }
                Kind::Link(link)
            } else if metadata.is_file() {
                Kind::File { executable: metadata.permissions().mode() & 0o111 != 0 }
            } else {
                return Err(StageError::Code(format!("`{}` is neither a file nor a folder", path.display())));
            };
            found.push((path, kind));
            if found.len() > CODE_FILES_MAX {
                return Err(StageError::Code(format!("it has more than {CODE_FILES_MAX} files")));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// Tells whether a link at `path`, relative to the root, leads to somewhere below the root.
fn stays_within(path: &Path, link: &Path) -> bool {
    let mut depth = path.components().count() - 1;
    for component in link.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spec;

    fn settings() -> Settings {
        Spec::new("f".parse().unwrap(), PathBuf::new(), Runtime::Python).settings()
    }

    #[test]
    fn the_copy_has_the_hash_of_its_source_and_any_change_another() {
        let root = tempfile::tempdir().unwrap();
        let code = root.path().join("src");
        fs::create_dir_all(code.join("sub/__pycache__")).unwrap();
        fs::write(code.join("sub/a.py"), "x = 1").unwrap();
        fs::write(code.join("sub/__pycache__/a.pyc"), "left out").unwrap();
        symlink("sub/a.py", code.join("link.py")).unwrap();
        let (first, bytes) = hash(&code, &settings()).unwrap();
        assert_eq!(bytes, 5);
        let staged = copy(&code, &settings(), root.path().join("copy")).unwrap();
        assert_eq!(staged.hash, first);
        staged.keep(&root.path().join("kept")).unwrap();
        assert_eq!(hash(&root.path().join("kept/code"), &settings()).unwrap().0, first);
        assert!(!root.path().join("kept/code/sub/__pycache__").exists());

        fs::set_permissions(code.join("sub/a.py"), fs::Permissions::from_mode(0o755)).unwrap();
        let executable = hash(&code, &settings()).unwrap().0;
        assert_ne!(executable, first);
        assert_ne!(hash(&code, &Settings { memory_bytes: 1, ..settings() }).unwrap().0, executable);
        copy(&code, &settings(), root.path().join("again")).unwrap().keep(&root.path().join("kept")).unwrap();
        assert!(!root.path().join("again").exists());
    }

    #[test]
    fn links_that_lead_out_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sub")).unwrap();
        symlink("../../etc/passwd", root.path().join("sub/out")).unwrap();
        let error = hash(root.path(), &settings()).unwrap_err().to_string();
        assert_eq!(error, "`sub/out` leads out of the folder, to `../../etc/passwd`");
        assert!(stays_within(Path::new("a/b"), Path::new("../c/./d")));
        assert!(!stays_within(Path::new("a"), Path::new("/etc")));
    }

    #[test]
    fn a_bootstrap_must_be_a_program() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("bootstrap"), "").unwrap();
        let provided = Settings { runtime: Runtime::Provided, ..settings() };
        assert!(hash(root.path(), &provided).unwrap_err().to_string().contains("chmod +x"));
        fs::set_permissions(root.path().join("bootstrap"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(hash(root.path(), &provided).is_ok());
    }
}

//! Real files.

use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};

use super::{File, Files};

/// The file whose lock says who has the folder. It holds the owner's process number.
const LOCK: &str = "lock";

/// Copies that are kept of files of one name.
const COPIES_MAX: u32 = 1000;

/// A folder on a disk.
#[derive(Debug)]
pub struct DiskFiles {
    path: PathBuf,
}

impl DiskFiles {
    /// Makes the folder if it is new, and its name durable.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn create(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            fs::create_dir_all(path)?;
            // The new names on the way must be durable too; those above were there, or are synced in vain.
            for folder in path.ancestors().skip(1).take_while(|folder| !folder.as_os_str().is_empty()) {
                fs::File::open(folder)?.sync_all()?;
            }
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Names a folder that must be there.
    ///
    /// # Errors
    /// `NotFound` if it is not, or is no folder.
    pub fn existing(path: &Path) -> io::Result<Self> {
        if !fs::metadata(path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path: path.to_owned() })
    }
}

impl Files for DiskFiles {
    fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let path = self.path.join(LOCK);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Box::new(file))
    }

    fn owner(&self) -> Option<u32> {
        let mut text = String::new();
        fs::File::open(self.path.join(LOCK)).ok()?.take(16).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.path.join(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn keep_copy(&self, name: &str, folder: &str) -> io::Result<PathBuf> {
        let (from, below) = (self.path.join(name), self.path.join(folder));
        fs::create_dir_all(&below)?;
        for number in 0..COPIES_MAX {
            let to = below.join(if number == 0 { name.to_owned() } else { format!("{name}.{number}") });
            match fs::hard_link(&from, &to) {
                Ok(()) => {
                    fs::File::open(&below)?.sync_all()?;
                    self.sync_folder()?;
                    return Ok(to);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    fn sync_failed(&self, name: &str, error: &io::Error) {
        // After a failed fsync Linux may have dropped the pages and call them clean: asking again would lie.
        tracing::error!(path = %self.path.join(name).display(), %error, "a sync failed; what is durable is unknown, so weir ends here");
        std::process::abort();
    }
}

#[derive(Debug)]
struct DiskFile(fs::File);

impl File for DiskFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, parts, offset)?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, offset: u64, end: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), offset, end.saturating_sub(offset)) {
            // A file system that can't promise space tells at the write.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            done => Ok(done?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

//! The file layer: what the engine asks of an operating system, and nothing more.
//!
//! One folder, flat names (repair adds one folder below it). Two implementations: [`DiskFiles`], the real one, and
//! [`FaultyFiles`], in memory, which loses, tears and reorders what was not synced, and fails on request.
//!
//! Contract: what was written to a file is durable once [`File::sync`] has returned; that a file was created, renamed or
//! removed is durable once [`Files::sync_folder`] has. Before that a crash may keep or lose it, in parts and in any order.

mod disk;
mod faulty;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use disk::DiskFiles;
pub use faulty::{Crash, FaultyFiles};

/// A folder of files.
pub trait Files: Debug + Send + Sync + 'static {
    /// Returns the folder's path, for messages.
    fn path(&self) -> &Path;
    /// Takes the folder for this process until the guard is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if another one has it; see [`Files::owner`].
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;
    /// Returns the process that has the folder, if it left its number.
    fn owner(&self) -> Option<u32>;
    /// Returns the names of the files.
    ///
    /// # Errors
    /// Those of the operating system.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file.
    ///
    /// # Errors
    /// `AlreadyExists`, and those of the operating system.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, and those of the operating system.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// Those of the operating system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Handles of it stay usable.
    ///
    /// # Errors
    /// Those of the operating system.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives a file a second name in a folder below this one, durably: its own, or if that is taken, one with a number behind
    /// it. Returns where that is.
    ///
    /// # Errors
    /// Those of the operating system.
    fn keep_copy(&self, name: &str, folder: &str) -> io::Result<PathBuf>;
    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_folder(&self) -> io::Result<()>;
    /// Called when a sync has failed: what is durable is not known any more. The real layer ends the process; the caller of
    /// one that returns stops for good.
    fn sync_failed(&self, name: &str, error: &io::Error);
}

/// An open file. Positions are the caller's.
pub trait File: Debug + Send + Sync + 'static {
    /// Reads at most `buffer.len()` bytes and returns how many; 0 at the end.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes at most all bytes of `parts` and returns how many.
    ///
    /// # Errors
    /// Those of the operating system.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Returns the length in bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn len(&self) -> io::Result<u64>;
    /// Returns whether nothing is in it.
    ///
    /// # Errors
    /// Those of the operating system.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts, or extends with zeros.
    ///
    /// # Errors
    /// Those of the operating system.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Takes disk space up to `end`, so that writes below it don't fail for want of it, and extends the file with zeros.
    ///
    /// # Errors
    /// `StorageFull`, and those of the operating system.
    fn allocate(&self, offset: u64, end: u64) -> io::Result<()>;
    /// Makes content and length durable.
    ///
    /// # Errors
    /// Those of the operating system; the state of the file is then unknown.
    fn sync(&self) -> io::Result<()>;
}

/// Parts of one write: the least that Linux promises to take (`IOV_MAX`).
const PARTS_MAX: usize = 1024;

/// Writes all of `parts`, however short the single writes are.
pub(crate) fn write_all(file: &dyn File, mut offset: u64, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty parts at the front would make a write of nothing look like an end.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        let written = match file.write_at(offset, &parts[..parts.len().min(PARTS_MAX)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        offset += written as u64;
        IoSlice::advance_slices(&mut parts, written);
    }
    Ok(())
}

/// Fills `buffer` from `offset` as far as the file goes, and returns how far that was.
pub(crate) fn read_full(file: &dyn File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(offset + filled as u64, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Fills `buffer` from `offset`.
pub(crate) fn read_exact(file: &dyn File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    if read_full(file, offset, buffer)? < buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

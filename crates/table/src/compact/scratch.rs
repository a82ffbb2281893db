//! Scratch: a folder for what a compaction can't hold in memory. It is gone when the compaction ends; after a crash the
//! caller empties what lies around it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::CompactError;
use weir_types::TableName;

/// A folder of one compaction's own. It is made with its first file.
pub(crate) struct Scratch {
    table: TableName,
    folder: PathBuf,
    files: AtomicU64,
    written: AtomicU64,
}

impl Scratch {
    /// Names a folder below `parent` that nobody else uses: `unique` is a random number.
    pub(crate) fn new(table: TableName, parent: Option<&Path>, unique: u64) -> Self {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder = parent.join(format!("weir-compact-{}-{unique:016x}", std::process::id()));
        Self { table, folder, files: AtomicU64::new(0), written: AtomicU64::new(0) }
    }

    /// Opens a new file for writing and reading.
    pub(crate) fn file(&self) -> Result<File, CompactError> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let open = || {
            std::fs::create_dir_all(&self.folder)?;
            let path = self.folder.join(number.to_string());
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            // The name goes at once: whatever happens, its bytes go with the last handle.
            std::fs::remove_file(&path)?;
            Ok(file)
        };
        open().map_err(|source| self.failed(source))
    }

    /// Counts bytes that were written.
    pub(crate) fn count(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns how many bytes were written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Says that a file of this folder could not be used.
    pub(crate) fn failed(&self, source: io::Error) -> CompactError {
        CompactError::Scratch { table: self.table.clone(), folder: self.folder.clone(), source }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.files.load(Ordering::Relaxed) > 0 {
            // An empty folder is all that is left, and harmless.
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

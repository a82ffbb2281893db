//! Lookups: snapshots of reference data that functions join with.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use weir_types::LookupName;

use crate::csv::{CsvError, read_csv};

/// A lookup's file, in bytes: it is held in memory whole.
pub const LOOKUP_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The lookups' contents at one moment. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lookups {
    rows: BTreeMap<LookupName, Arc<Vec<RecordBatch>>>,
}

impl Lookups {
    /// Replaces a lookup's rows. All batches must have one schema.
    pub fn insert(&mut self, name: LookupName, rows: Arc<Vec<RecordBatch>>) {
        self.rows.insert(name, rows);
    }

    /// Returns a lookup's rows.
    pub fn get(&self, name: &LookupName) -> Option<&Arc<Vec<RecordBatch>>> {
        self.rows.get(name)
    }

    /// Returns each lookup and its rows, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&LookupName, &Arc<Vec<RecordBatch>>)> {
        self.rows.iter()
    }
}

/// A lookup's file that can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The file can't be read.
    #[error("read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The file's name ends in something else than `.csv`.
    #[error("`{}` is not a .csv file: this version reads lookups from CSV alone", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than a lookup may be.
    #[error("`{}` is larger than {LOOKUP_BYTES_MAX} bytes, the most that a lookup may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not the CSV it should be.
    #[error("`{}` is not a table in CSV", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: CsvError,
    },
}

/// Loads a lookup from a file; the format is told by the name's ending. Blocks on the disk.
///
/// `null` is a text that means null, besides the empty one.
///
/// # Errors
/// See [`LookupError`].
pub fn read_lookup(path: &Path, null: Option<&str>) -> Result<RecordBatch, LookupError> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if !ending.eq_ignore_ascii_case("csv") {
        return Err(LookupError::Format { path: path.to_owned() });
    }
    let unreadable = |source| LookupError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LOOKUP_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > LOOKUP_BYTES_MAX {
        return Err(LookupError::TooLarge { path: path.to_owned() });
    }
    read_csv(&bytes, null).map_err(|source| LookupError::Csv { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_ending_and_errors_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.CSV"), "a,b\n1,NA\n").unwrap();
        std::fs::write(path("a.parquet"), "PAR1").unwrap();
        std::fs::write(path("short.csv"), "a,b\n1\n").unwrap();
        assert_eq!(read_lookup(&path("a.CSV"), Some("NA")).unwrap().num_rows(), 1);
        assert!(matches!(read_lookup(&path("a.parquet"), None), Err(LookupError::Format { .. })));
        assert!(matches!(read_lookup(&path("short.csv"), None), Err(LookupError::Csv { .. })));
        let missing = read_lookup(&path("missing.csv"), None).unwrap_err();
        assert!(missing.to_string().ends_with("missing.csv`"), "{missing}");
    }
}

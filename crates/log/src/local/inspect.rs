//! What a folder holds, for people.

use std::path::Path;

use super::engine::lock;
use super::files::{DiskFiles, Files};
use super::index::Index;
use super::options::Options;
use super::recover::{Found, recover};
use super::report::{Inspection, LogInspection, SegmentInspection};
use crate::EngineError;

/// Tells what a closed folder holds, without changing it.
///
/// # Errors
/// [`EngineError::InUse`] while an engine has it, [`EngineError::Damaged`] if it would not open; see [`EngineError`].
pub fn inspect(dir: &Path) -> Result<Inspection, EngineError> {
    inspect_on(&existing(dir)?)
}

/// Tells what a closed folder of any file layer holds.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_on(files: &dyn Files) -> Result<Inspection, EngineError> {
    let _lock = lock(files)?;
    Ok(match recover(files, Options::default().segment_bytes)? {
        Found::Nothing { .. } => Inspection::default(),
        Found::Logs(recovered) => inspection(&recovered.index),
    })
}

pub(crate) fn existing(dir: &Path) -> Result<DiskFiles, EngineError> {
    DiskFiles::existing(dir).map_err(|source| EngineError::Io { action: "open folder", path: dir.to_owned(), source })
}

pub(crate) fn inspection(index: &Index) -> Inspection {
    let mut inspection = Inspection::default();
    for log in &index.logs {
        let bytes = log.places.iter().map(super::index::Place::live_bytes).sum();
        inspection.logs.push(LogInspection { name: log.name.clone(), head: log.head, tail: log.tail, bytes });
    }
    inspection.logs.sort_by(|a, b| a.name.cmp(&b.name));
    for segment in index.segments.values() {
        let (bytes, live_bytes) = (segment.bytes, segment.live);
        inspection.segments.push(SegmentInspection { name: segment.id.to_string(), bytes, live_bytes });
    }
    inspection
}

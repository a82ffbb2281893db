//! Reading everything, to know that it reads.

use std::path::Path;

use super::engine::lock;
use super::files::Files;
use super::inspect::existing;
use super::report::Report;
use super::survey::survey;
use crate::EngineError;

/// Reads every byte in a closed folder, and names each damage.
///
/// # Errors
/// [`EngineError::InUse`] while an engine has it; [`EngineError::Version`], and [`EngineError::Io`]. Damage is no error: it
/// is in the report.
pub fn verify(dir: &Path) -> Result<Report, EngineError> {
    verify_on(&existing(dir)?)
}

/// Reads every byte in a closed folder of any file layer.
///
/// # Errors
/// As [`verify`].
pub fn verify_on(files: &dyn Files) -> Result<Report, EngineError> {
    let _lock = lock(files)?;
    Ok(survey(files)?.report(files))
}

//! Which columns a lookup has: SQL is checked against them.
//!
//! In this order: what `columns` says, what the source says now, what the last snapshot has. Files on this machine must be
//! there: a path that is wrong would hide behind a snapshot.

use std::path::Path;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use weir_lookup::{LoadError, Snapshots, Source, Spec, columns_blocking};

use crate::block::Attributes;
use crate::diagnostic::Report;
use crate::{Diagnostic, Inputs};

/// How long a database may take to say what columns a query has.
const ASK_MAX: Duration = Duration::from_secs(10);

pub(super) fn columns(
    block: &Attributes<'_>,
    spec: &Spec,
    dir: &Path,
    inputs: &Inputs,
    report: &mut Report,
) -> Option<SchemaRef> {
    let mut asked = spec.clone();
    let (local, attribute) = match &spec.source {
        Source::Files(files) => (files.is_local(), "file"),
        Source::Query(_) => {
            asked.limits.timeout = asked.limits.timeout.min(ASK_MAX);
            (false, "database")
        }
    };
    // What is far away need not be there where its columns are said.
    if let (false, Some(columns)) = (local, &spec.columns) {
        return Some(columns.clone());
    }
    let error = match columns_blocking(&asked) {
        Ok(columns) => return Some(columns),
        Err(error) => error,
    };
    if !local && is_out_of_reach(&error) {
        let snapshots = inputs.snapshots.as_deref().and_then(Snapshots::in_folder);
        if let Some(last) = snapshots.and_then(|snapshots| snapshots.last_blocking(spec).ok().flatten()) {
            let message = format!("{block} can't be read now: {}", causes(&error));
            let hint = format!("its columns are taken from its last good snapshot, of {}", last.confirmed_at);
            report.push(Diagnostic::warning(message).at(block.value_place(attribute)).hint(hint));
            return Some(last.columns);
        }
    }
    let (message, hint) = explain(spec, dir, &error);
    block.refuse(attribute, message, hint, report);
    None
}

/// Tells whether the source can't be asked, and not that its answer is wrong.
fn is_out_of_reach(error: &LoadError) -> bool {
    use weir_lookup::DatabaseError;
    match error {
        LoadError::Database { source, .. } => {
            !matches!(source, DatabaseError::NoType { .. } | DatabaseError::Statement { .. })
        }
        LoadError::Store { .. } | LoadError::Read { .. } | LoadError::Timeout { .. } | LoadError::NoFiles { .. } => {
            true
        }
        _ => false,
    }
}

fn explain(spec: &Spec, dir: &Path, error: &LoadError) -> (String, &'static str) {
    let relative = |place: &str| -> String {
        let absolute = std::path::absolute(dir).unwrap_or_default();
        let path = Path::new(place);
        path.strip_prefix(absolute).unwrap_or(path).display().to_string()
    };
    match error {
        LoadError::Read { source, place } => {
            let message = format!("`{}` can't be read: {}", relative(place), crate::files::reason(source));
            (message, "paths are relative to the folder of weir.hcl")
        }
        LoadError::Format { place } => (
            format!("`{}` says no format by its ending", relative(place)),
            "write `format = \"csv\"`, `\"ndjson\"` or `\"parquet\"`",
        ),
        LoadError::TooLarge { place, bytes_max } => (
            format!("`{}` has more than {bytes_max} bytes", relative(place)),
            "a lookup is held in memory: raise `bytes_max`, or make it a stream and a table",
        ),
        LoadError::TooManyRows { place, rows_max } => (
            format!("`{}` has more than {rows_max} rows", relative(place)),
            "a lookup is held in memory: raise `rows_max`, or make it a stream and a table",
        ),
        LoadError::Csv { place, source } => {
            (format!("`{}` is not a table in CSV: {source}", relative(place)), "mend the file")
        }
        LoadError::NoFiles { place } => (
            format!("there are no files at `{}`", relative(place)),
            "a pattern is `*` within a folder and `**` across; a folder ends in `/`",
        ),
        LoadError::Database { .. } | LoadError::Store { .. } | LoadError::Timeout { .. } => {
            let hint = match spec.source {
                Source::Query(_) => {
                    "SQL is checked against its columns: start the database, or say them: \
                     `columns = { id = \"long\", name = \"string\" }`"
                }
                Source::Files(_) => {
                    "stores take their keys and regions from the environment, such as AWS_ACCESS_KEY_ID"
                }
            };
            (causes(error), hint)
        }
        LoadError::RepeatedKey { .. } => (causes(error), "mend the rows, or the `key`"),
        _ => (causes(error), "mend the source, or say what `columns` it has"),
    }
}

/// An error with what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

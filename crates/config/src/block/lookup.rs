//! `lookup "NAME" { file, refresh, null }`: reference data that functions join with.

use std::path::Path;
use std::time::Duration;

use weir_types::LookupName;

use super::{Attributes, Shape};
use crate::LookupPlan;
use crate::diagnostic::Report;

pub(crate) const SHAPE: Shape =
    Shape { attributes: &["file", "refresh", "null"], later: &["url", "table", "query", "format"], blocks: &[] };

const REFRESH_MIN: Duration = Duration::from_secs(1);
const REFRESH_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

pub(crate) fn read(block: &Attributes<'_>, name: LookupName, dir: &Path, report: &mut Report) -> Option<LookupPlan> {
    let refresh = block.span("refresh", REFRESH_MIN..=REFRESH_MAX, report);
    let null_text = block.text("null", "NA", report).map(|text| text.value);
    if !block.has("file") {
        block.missing("file", "name its CSV file: `file = \"airlines.csv\"`", report);
    }
    let file = block.name_text("file", "airlines.csv", report)?.value;
    if name.as_str().eq_ignore_ascii_case(weir_function::INPUT) {
        let hint = "functions read their batch under this name: rename the lookup";
        block.refuse("", format!("a lookup can't be named `{name}`"), hint, report);
        return None;
    }
    let path = dir.join(&file);
    match weir_function::read_lookup(&path, null_text.as_deref()) {
        Ok(rows) => Some(LookupPlan { name, path, refresh, null_text, columns: rows.schema(), place: block.place() }),
        Err(error) => {
            let (message, hint) = explain(&file, &error);
            block.refuse("file", message, hint, report);
            None
        }
    }
}

fn explain(file: &str, error: &weir_function::LookupError) -> (String, &'static str) {
    use weir_function::LookupError;
    match error {
        LookupError::Read { source, .. } => {
            let reason = crate::files::reason(source);
            (format!("`{file}` can't be read: {reason}"), "paths are relative to the folder of weir.hcl")
        }
        LookupError::Format { .. } => (
            format!("`{file}` is not a .csv file"),
            "this version reads lookups from CSV alone: convert it, with the names of columns in the first line",
        ),
        LookupError::TooLarge { .. } => (
            format!("`{file}` is larger than a lookup may be"),
            "a lookup is held in memory: make it a stream and a table",
        ),
        LookupError::Csv { source, .. } => (format!("`{file}` is not a table in CSV: {source}"), "mend the file"),
    }
}

//! `lookup "NAME" { file or database and query, refresh or schedule, columns, key, ... }`: reference data that functions
//! join with.
//!
//! ```text
//! mod.rs     when it is read, and within which limits
//! source.rs  files, or a database and what it is asked
//! ask.rs     which columns it has
//! ```

mod ask;
mod source;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, Schema, SchemaRef};
use weir_lookup::{BYTES_MAX, COLUMNS_MAX, Limits, ROWS_MAX, Spec, column_type};
use weir_schedule::Schedule;
use weir_types::{ByteSize, LookupName};

use super::{Attributes, Shape};
use crate::diagnostic::Report;
use crate::value::{Kind, Value};
use crate::{Inputs, LookupPlan, RefreshPlan};

pub(crate) const SHAPE: Shape = Shape {
    attributes: &[
        "file",
        "format",
        "null",
        "database",
        "password",
        "query",
        "sql_file",
        "refresh",
        "schedule",
        "timezone",
        "columns",
        "key",
        "rows_max",
        "bytes_max",
        "timeout",
    ],
    later: &[],
    blocks: &[],
};

const REFRESH_MIN: Duration = Duration::from_secs(1);
const REFRESH_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
const BYTES_MIN: u64 = 1024 * 1024;

pub(crate) fn read(
    block: &Attributes<'_>,
    name: LookupName,
    dir: &Path,
    inputs: &Inputs,
    report: &mut Report,
) -> Option<LookupPlan> {
    let refresh = refresh(block, report);
    let limits = limits(block, report);
    let columns = columns(block, report);
    let key = key(block, report);
    let source = source::read(block, dir, report);
    if name.as_str().eq_ignore_ascii_case(weir_function::INPUT) {
        let hint = "functions read their batch under this name: rename the lookup";
        block.refuse("", format!("a lookup can't be named `{name}`"), hint, report);
        return None;
    }
    let spec = Spec { name, source: source?, columns: columns?, key, limits };
    let columns = ask::columns(block, &spec, dir, inputs, report)?;
    if let Some(missing) = spec.key.iter().find(|column| columns.index_of(column).is_err()) {
        let known = columns.fields().iter().map(|field| field.name().as_str());
        let hint = crate::nearest::hint(missing, known, "columns");
        block.refuse("key", format!("{block} has no column `{missing}`"), hint, report);
        return None;
    }
    Some(LookupPlan { name: spec.name.clone(), spec, refresh: refresh?, columns, place: block.place() })
}

/// Reads when it is read again; `None` if that was refused.
fn refresh(block: &Attributes<'_>, report: &mut Report) -> Option<RefreshPlan> {
    if !block.has("schedule") {
        block.forbid(["timezone"], |_| "`timezone` is of a `schedule`".to_owned(), "remove it", report);
        if !block.has("refresh") {
            return Some(RefreshPlan::Never);
        }
        return block.span("refresh", REFRESH_MIN..=REFRESH_MAX, report).map(RefreshPlan::Every);
    }
    let message = |_: &str| format!("{block} has both `refresh` and `schedule`");
    block.forbid(["refresh"], message, "remove one of the two", report);
    let text = block.name_text("schedule", "cron(0 2 * * ? *)", report)?;
    let zone = block.name_text("timezone", "Europe/Berlin", report);
    match Schedule::parse(&text.value, zone.as_ref().map(|zone| zone.value.as_str())) {
        Ok(schedule) => Some(RefreshPlan::Schedule(schedule)),
        Err(error) => {
            let hint = "such as \"rate(5 minutes)\" or \"cron(0 2 * * ? *)\"";
            block.refuse("schedule", format!("`schedule` of {block}: {error}"), hint, report);
            None
        }
    }
}

fn limits(block: &Attributes<'_>, report: &mut Report) -> Limits {
    let mut limits = Limits::default();
    let most = u32::try_from(ROWS_MAX).unwrap_or(u32::MAX);
    if let Some(rows) = block.whole_number("rows_max", 1..=most, report) {
        limits.rows_max = rows.into();
    }
    if let Some(bytes) = block.bytes("bytes_max", ByteSize(BYTES_MIN)..=ByteSize(BYTES_MAX), report) {
        limits.bytes_max = bytes.0;
    }
    if let Some(timeout) = block.span("timeout", TIMEOUT_MIN..=TIMEOUT_MAX, report) {
        limits.timeout = timeout;
    }
    limits
}

/// Reads `columns`; the outer `None` says that something was refused.
fn columns(block: &Attributes<'_>, report: &mut Report) -> Option<Option<SchemaRef>> {
    if !block.has("columns") {
        return Some(None);
    }
    let texts = block.text_map("columns", report)?;
    if texts.is_empty() || texts.len() > COLUMNS_MAX {
        let message = format!("`columns` names {} columns", texts.len());
        block.refuse("columns", message, format!("name 1 to {COLUMNS_MAX}: `columns = {{ id = \"long\" }}`"), report);
        return None;
    }
    let mut fields = Vec::new();
    for (name, text) in texts {
        match column_type(&text) {
            Ok(data_type) => fields.push(Field::new(name, data_type, true)),
            Err(error) => {
                let message = format!("`{name}` of `columns`: {error}");
                block.refuse("columns", message, weir_lookup::ColumnTypeError::HINT, report);
                return None;
            }
        }
    }
    Some(Some(Arc::new(Schema::new(fields))))
}

/// Reads one column, or a list of them.
fn key(block: &Attributes<'_>, report: &mut Report) -> Vec<String> {
    // What is wrong with it is reported by whoever reads it in earnest.
    let mut unread = Report::default();
    match block.value("key", &mut unread) {
        None => Vec::new(),
        Some(Value { kind: Kind::Text(column), .. }) => vec![column],
        Some(_) => {
            let columns = block.texts("key", "\"carrier\", \"origin\"", report).unwrap_or_default();
            columns.into_iter().map(|column| column.value).collect()
        }
    }
}

//! `stream "NAME" { schema, key, time, id, shards, retention, retention_bytes, null, compatibility, archive, ... }`.

use std::path::Path;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use weir_schema::{Compatibility, Extractor, Schema, arrow_schema};
use weir_types::limits::SHARDS_MAX;
use weir_types::{ByteSize, StreamName};

use super::{Attributes, Shape, Spanned, archive};
use crate::diagnostic::Report;
use crate::{Diagnostic, StreamPlan, files, nearest, rows};

pub(crate) const SHAPE: Shape = Shape {
    attributes: &[
        "schema",
        "key",
        "time",
        "id",
        "shards",
        "retention",
        "retention_bytes",
        "null",
        "compatibility",
        "archive",
        "archive_location",
        "archive_every",
        "archive_codec",
    ],
    later: &["tags"],
    blocks: &[],
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
const RETENTION_MIN: Duration = Duration::from_secs(60);
const RETENTION_MAX: Duration = Duration::from_secs(3650 * DAY.as_secs());
const RETENTION_BYTES_MIN: ByteSize = ByteSize(1_000_000);
const RETENTION_BYTES_MAX: ByteSize = ByteSize(1_000_000_000_000_000);

const LEVELS: [(&str, Compatibility); 7] = [
    ("none", Compatibility::None),
    ("backward", Compatibility::Backward),
    ("backward_transitive", Compatibility::BackwardTransitive),
    ("forward", Compatibility::Forward),
    ("forward_transitive", Compatibility::ForwardTransitive),
    ("full", Compatibility::Full),
    ("full_transitive", Compatibility::FullTransitive),
];

/// Reads what records are, and how they are kept. Of a `files` block too, which has fewer of these attributes.
pub(crate) fn read(block: &Attributes<'_>, name: StreamName, dir: &Path, report: &mut Report) -> Option<StreamPlan> {
    let shards = block.whole_number("shards", 1..=SHARDS_MAX, report).unwrap_or(1);
    let retention = block.span("retention", RETENTION_MIN..=RETENTION_MAX, report).unwrap_or(RETENTION_DEFAULT);
    let retention_bytes = block.bytes("retention_bytes", RETENTION_BYTES_MIN..=RETENTION_BYTES_MAX, report);
    let null_text = block.text("null", "NA", report).map(|text| text.value);
    let compatibility = block.choice("compatibility", &LEVELS, report);
    let archive = archive::read(block, report);
    let key = block.name_text("key", "carrier", report);
    let time = block.name_text("time", "time_hour", report);
    let id = block.texts("id", "\"order_id\"", report);
    let Described { file, schema, columns } = described(block, dir, report)?;
    // A stream without the id that was meant for it would look wrong to its tables.
    let mut whole = id.is_some() || !block.has("id");
    let id = id.unwrap_or_default();
    for field in key.iter().chain(&time).chain(&id) {
        whole &= check_field(block, &schema, &file, field, report);
    }
    if let Some(time) = &time {
        whole &= check_time(block, &schema, &columns, time, report);
    }
    whole.then(|| StreamPlan {
        name,
        schema,
        schema_path: dir.join(&file),
        columns,
        key: key.map(|key| key.value),
        time: time.map(|time| time.value),
        id: id.into_iter().map(|field| field.value).collect(),
        shards,
        retention,
        retention_bytes,
        null_text,
        compatibility,
        archive,
        place: block.place(),
    })
}

/// A record's schema and the columns that it becomes.
pub(crate) struct Described {
    /// The schema's file, as written.
    pub(crate) file: String,
    pub(crate) schema: Schema,
    pub(crate) columns: SchemaRef,
}

/// Reads the attribute `schema`, which must be set.
pub(crate) fn described(block: &Attributes<'_>, dir: &Path, report: &mut Report) -> Option<Described> {
    if !block.has("schema") {
        block.missing("schema", "name its Avro schema: `schema = \"flight.avsc\"`", report);
    }
    let file = block.name_text("schema", "flight.avsc", report)?.value;
    described_by(block, file, dir, report)
}

/// Reads a schema's file, whether the attribute `schema` names it or not.
pub(crate) fn described_by(block: &Attributes<'_>, file: String, dir: &Path, report: &mut Report) -> Option<Described> {
    let schema = schema(block, &file, dir, report)?;
    match arrow_schema(&schema) {
        Ok(columns) => Some(Described { file, schema, columns }),
        Err(error) => {
            let at = if error.field.is_empty() { String::new() } else { format!(" field `{}`:", error.field) };
            let message = format!("`{file}`:{at} {}", error.reason);
            let hint = "change the field's type: functions and tables see records as columns";
            block.refuse("schema", message, hint, report);
            None
        }
    }
}

fn schema(block: &Attributes<'_>, file: &str, dir: &Path, report: &mut Report) -> Option<Schema> {
    let source = match files::read_text(dir, file) {
        Ok(source) => source,
        Err(error) => {
            let message = error.message.replacen("the file", &format!("`{file}`"), 1);
            let hint = "paths are relative to the folder of weir.hcl";
            match error.place.as_ref().and_then(crate::Place::span) {
                Some(_) => report.push(*error),
                None => block.refuse("schema", message, hint, report),
            }
            return None;
        }
    };
    match Schema::parse(&source.text) {
        Ok(schema) if schema.fields().is_empty() => {
            let hint = "the outermost type of a stream's schema is a record with fields";
            block.refuse("schema", format!("`{file}` is not the schema of a record"), hint, report);
            None
        }
        Ok(schema) => Some(schema),
        Err(error) => {
            let hint = error.hint.clone().unwrap_or_else(|| "mend the schema".to_owned());
            block.refuse("schema", format!("`{file}` is not a schema: {error}"), hint, report);
            None
        }
    }
}

fn check_field(
    block: &Attributes<'_>,
    schema: &Schema,
    file: &str,
    field: &Spanned<String>,
    report: &mut Report,
) -> bool {
    let known = || schema.fields().iter().map(|field| field.name.as_str());
    if known().any(|name| name == field.value) {
        return true;
    }
    let message = format!("`{file}` has no field `{}`", field.value);
    let hint = nearest::hint(&field.value, known().collect::<Vec<_>>(), "fields");
    report.push(Diagnostic::error(message).at(block.place_of(Some(field.span.clone()))).hint(hint));
    false
}

/// Checks that the door will find the event time in the field.
fn check_time(
    block: &Attributes<'_>,
    schema: &Schema,
    columns: &SchemaRef,
    time: &Spanned<String>,
    report: &mut Report,
) -> bool {
    // A field that is not there was reported.
    let Ok(column) = columns.field_with_name(&time.value) else { return false };
    let found = Extractor::new(schema, &[]).and_then(|extractor| extractor.with_event_time(&time.value));
    if found.is_err() {
        let message = format!("field `{}` is {}, and not a time", time.value, rows::describe(column.data_type()));
        report.push(Diagnostic::error(message).at(block.place_of(Some(time.span.clone()))).hint(rows::TIME_HINT));
    }
    found.is_ok()
}

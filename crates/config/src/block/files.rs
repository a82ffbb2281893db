//! `files "NAME" { location, pattern, format, schema, every, settle, start, notify, bad_rows, ... }`: files that arrive in a folder or
//! under a prefix of an object store.

use std::path::Path;
use std::time::Duration;

use url::Url;
use weir_types::{FilesName, QueueName, StreamName};

use super::{Attributes, Reference, Shape, location, noun, stream};
use crate::diagnostic::Report;
use crate::limits::PATTERN_BYTES_MAX;
use crate::load::{Known, Names};
use crate::{BadRows, Diagnostic, FilesContent, FilesFormat, FilesPlan, FilesStart, QueuePlan};

pub(crate) const SHAPE: Shape = Shape {
    attributes: &[
        "location",
        "pattern",
        "format",
        "schema",
        "key",
        "time",
        "id",
        "null",
        "bad_rows",
        "shards",
        "retention",
        "every",
        "settle",
        "start",
        "notify",
    ],
    later: &["compression", "delete", "move_to"],
    blocks: &[],
};

/// What only files have that are read as records.
const OF_RECORDS: [&str; 8] = ["schema", "key", "time", "id", "null", "shards", "retention", "bad_rows"];

const EVERY_DEFAULT: Duration = Duration::from_secs(30);
const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_secs(24 * 3600);
const SETTLE_DEFAULT: Duration = Duration::from_secs(2);
const SETTLE_MAX: Duration = Duration::from_secs(24 * 3600);

const STARTS: [(&str, FilesStart); 2] = [("all", FilesStart::All), ("new", FilesStart::New)];
const BAD_ROWS: [(&str, BadRows); 2] = [("refuse_file", BadRows::RefuseFile), ("skip", BadRows::Skip)];
const FORMATS: [(&str, Option<FilesFormat>); 5] = [
    ("reference", None),
    ("csv", Some(FilesFormat::Csv)),
    ("ndjson", Some(FilesFormat::Ndjson)),
    ("avro", Some(FilesFormat::Avro)),
    ("parquet", Some(FilesFormat::Parquet)),
];

/// What files may refer to.
pub(crate) struct Around<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) names: &'a Names,
    pub(crate) queues: &'a Known<QueuePlan>,
}

pub(crate) fn read(
    block: &Attributes<'_>,
    name: FilesName,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<FilesPlan> {
    let every = block.span("every", EVERY_MIN..=EVERY_MAX, report).unwrap_or(EVERY_DEFAULT);
    let settle = block.span("settle", Duration::ZERO..=SETTLE_MAX, report).unwrap_or(SETTLE_DEFAULT);
    let start = block.choice("start", &STARTS, report).unwrap_or_default();
    let pattern = pattern(block, report);
    let content = content(block, &name, around.dir, report);
    let notify = notify(block, around, report);
    let location = location(block, around.dir, report)?;
    Some(FilesPlan { name, location, pattern, content: content?, every, settle, start, notify, place: block.place() })
}

/// Reads the queue that tells of new files.
fn notify(block: &Attributes<'_>, around: &Around<'_>, report: &mut Report) -> Option<QueueName> {
    let other = |reference: &Reference| {
        let message = format!("a {} tells nobody of files", noun(&reference.kind));
        (message, "name the queue that the store's events are sent to: `notify = queue.NAME`".to_owned())
    };
    let queue = block.reference("notify", &["queue"], other, report)?.value;
    if !around.names.check(&queue.kind, &queue.name, || block.value_place("notify"), report) {
        return None;
    }
    around.queues.get(&queue.name)?.as_ref().map(|queue| queue.name.clone())
}

fn content(block: &Attributes<'_>, name: &FilesName, dir: &Path, report: &mut Report) -> Option<FilesContent> {
    let format = match block.has("format") {
        true => block.choice("format", &FORMATS, report)?,
        false => None,
    };
    let Some(format) = format else {
        let message = |name: &str| format!("`{name}` is for records, and {block} gives files by reference");
        let hint = "say how records stand in the files: `format = \"csv\"`, `\"ndjson\"`, `\"avro\"` or `\"parquet\"`";
        block.forbid(OF_RECORDS, message, hint, report);
        return Some(FilesContent::Reference);
    };
    if format != FilesFormat::Csv {
        let message = |name: &str| format!("`{name}` is for CSV: this format has a null of its own");
        block.forbid(["null"], message, "remove it", report);
    }
    let bad_rows = block.choice("bad_rows", &BAD_ROWS, report).unwrap_or_default();
    let stream = stream::read(block, StreamName::of_files(name), dir, report)?;
    Some(FilesContent::Records { format, bad_rows, stream: Box::new(stream) })
}

fn pattern(block: &Attributes<'_>, report: &mut Report) -> Option<String> {
    let pattern = block.name_text("pattern", "*.csv", report)?.value;
    let wrong = if pattern.len() > PATTERN_BYTES_MAX {
        Some(format!("`pattern` has {} bytes, and may have {PATTERN_BYTES_MAX}", pattern.len()))
    } else if pattern.starts_with('/') {
        Some("`pattern` begins with `/`, and no path below the location does".to_owned())
    } else {
        let found = pattern.chars().find(|found| matches!(found, '[' | ']' | '{' | '}' | '\\') || found.is_control());
        found.map(|found| format!("`pattern` has `{}`, which has no meaning here", found.escape_default()))
    };
    if let Some(message) = wrong {
        let hint = "`*` is anything but `/`, `**` anything, `?` one character: such as `pattern = \"2026/*.csv\"`";
        block.refuse("pattern", message, hint, report);
        return None;
    }
    Some(pattern)
}

/// Reads a URL, or a path relative to the configuration's folder.
fn location(block: &Attributes<'_>, dir: &Path, report: &mut Report) -> Option<Url> {
    if !block.has("location") {
        let hint = "say where files arrive: `location = \"s3://bucket/prefix/\"`, or a folder";
        block.missing("location", hint, report);
    }
    let text = block.name_text("location", "s3://bucket/prefix/", report)?;
    // What has no scheme is a path, and so is a Windows drive.
    if text.value.contains("://") {
        return location::url(block, "location", &text, "s3://bucket/prefix/", report);
    }
    let path = std::path::absolute(dir.join(&text.value));
    let Some(url) = path.ok().and_then(|path| Url::from_directory_path(path).ok()) else {
        let hint = "write a URL, or a path relative to the folder of weir.hcl";
        block.refuse("location", format!("`{}` is no path", text.value), hint, report);
        return None;
    };
    match std::fs::metadata(dir.join(&text.value)) {
        Ok(found) if !found.is_dir() => {
            let message = format!("`{}` is a file, and files arrive in a folder", text.value);
            block.refuse("location", message, "name the folder, and the file as `pattern`", report);
            return None;
        }
        // It may be made by whoever puts the first file there.
        Err(_) => {
            let message = format!("there is no folder `{}` yet", text.value);
            let place = block.value_place("location");
            report.push(Diagnostic::warning(message).at(place).hint("paths are relative to the folder of weir.hcl"));
        }
        Ok(_) => {}
    }
    Some(url)
}

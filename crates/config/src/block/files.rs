//! `files "NAME" { location, pattern, format, schema, every, settle, start, ... }`: files that arrive in a folder or
//! under a prefix of an object store.

use std::path::Path;
use std::time::Duration;

use url::Url;
use weir_types::{FilesName, StreamName};

use super::{Attributes, Shape, location, stream};
use crate::diagnostic::Report;
use crate::limits::PATTERN_BYTES_MAX;
use crate::{Diagnostic, FilesContent, FilesFormat, FilesPlan, FilesStart};

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
        "shards",
        "retention",
        "every",
        "settle",
        "start",
    ],
    later: &["compression", "delete", "move_to"],
    blocks: &[],
};

/// What only files have that are read as records.
const OF_RECORDS: [&str; 7] = ["schema", "key", "time", "id", "null", "shards", "retention"];

const EVERY_DEFAULT: Duration = Duration::from_secs(30);
const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_secs(24 * 3600);
const SETTLE_DEFAULT: Duration = Duration::from_secs(2);
const SETTLE_MAX: Duration = Duration::from_secs(24 * 3600);

const STARTS: [(&str, FilesStart); 2] = [("all", FilesStart::All), ("new", FilesStart::New)];
const FORMATS: [(&str, Option<FilesFormat>); 5] = [
    ("reference", None),
    ("csv", Some(FilesFormat::Csv)),
    ("ndjson", Some(FilesFormat::Ndjson)),
    ("avro", Some(FilesFormat::Avro)),
    ("parquet", Some(FilesFormat::Parquet)),
];

pub(crate) fn read(block: &Attributes<'_>, name: FilesName, dir: &Path, report: &mut Report) -> Option<FilesPlan> {
    let every = block.span("every", EVERY_MIN..=EVERY_MAX, report).unwrap_or(EVERY_DEFAULT);
    let settle = block.span("settle", Duration::ZERO..=SETTLE_MAX, report).unwrap_or(SETTLE_DEFAULT);
    let start = block.choice("start", &STARTS, report).unwrap_or_default();
    let pattern = pattern(block, report);
    let content = content(block, &name, dir, report);
    let location = location(block, dir, report)?;
    Some(FilesPlan { name, location, pattern, content: content?, every, settle, start, place: block.place() })
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
    let stream = stream::read(block, StreamName::of_files(name), dir, report)?;
    Some(FilesContent::Records { format, stream: Box::new(stream) })
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

//! Where a lookup's rows are: `file = "..."`, or `database = "..."` with `query` or `sql_file`.

use std::path::Path;

use weir_lookup::{Database, Files, Format, Query, Source};

use crate::block::{Attributes, Spanned, location};
use crate::diagnostic::Report;
use crate::value::Kind;
use crate::{Diagnostic, Place, files};

const FORMATS: [(&str, Format); 3] = [("csv", Format::Csv), ("ndjson", Format::Ndjson), ("parquet", Format::Parquet)];

const OF_DATABASES: [&str; 3] = ["password", "query", "sql_file"];
const OF_FILES: [&str; 2] = ["format", "null"];

/// Statements are sent whole.
const QUERY_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn read(block: &Attributes<'_>, dir: &Path, report: &mut Report) -> Option<Source> {
    match (block.has("file"), block.has("database")) {
        (true, false) => {
            let message = |name: &str| format!("`{name}` is of a database, and {block} reads a file");
            block.forbid(OF_DATABASES, message, "remove it", report);
            files(block, dir, report).map(Source::Files)
        }
        (false, true) => {
            let message = |name: &str| format!("`{name}` is of files, and {block} asks a database");
            block.forbid(OF_FILES, message, "remove it", report);
            let database = database(block, report);
            let sql = query(block, dir, report);
            Some(Source::Query(Query { database: database?, sql: sql? }))
        }
        (true, true) => {
            block.refuse("file", format!("{block} has both `file` and `database`"), "remove one of the two", report);
            None
        }
        (false, false) => {
            let hint = "name its file, `file = \"airlines.csv\"`, or a `database` and a `query`";
            block.missing("file", hint, report);
            None
        }
    }
}

fn files(block: &Attributes<'_>, dir: &Path, report: &mut Report) -> Option<Files> {
    let null_text = block.text("null", "NA", report).map(|text| text.value);
    let format = match block.has("format") {
        true => Some(block.choice("format", &FORMATS, report)?),
        false => None,
    };
    let text = block.name_text("file", "airlines.csv", report)?;
    if text.value.contains("://") {
        // What is behind a star is no part of the URL.
        let base = text.value.split('*').next().unwrap_or_default();
        let base = Spanned { value: base.to_owned(), span: text.span.clone() };
        location::url(block, "file", &base, "s3://bucket/airlines.parquet", report)?;
    }
    match Files::parse(&text.value, dir) {
        Ok(files) => Some(Files { format, null_text, ..files }),
        Err(error) => {
            block.refuse(
                "file",
                error.to_string(),
                "write a URL, or a path relative to the folder of weir.hcl",
                report,
            );
            None
        }
    }
}

fn database(block: &Attributes<'_>, report: &mut Report) -> Option<Database> {
    let example = "such as `database = \"postgres://weir@host/name\"` with `password = secret(\"NAME\")`";
    let (text, place) = match block.revealed("database", report)? {
        Value::Plain(text) => {
            if Database::has_password(&text.value) {
                let place = Place::masked(block.evaluator.source, text.span);
                let message = "`database` holds a password in plain text";
                let hint = "set it in the environment, and write `${secret(\"NAME\")}` in its place";
                report.push(Diagnostic::error(message).at(place).hint(hint));
                return None;
            }
            (text.value, block.value_place("database"))
        }
        Value::Secret(text) => (text, block.value_place("database")),
        Value::Other(described) => {
            let message = format!("`database` is a string, and this is {described}");
            block.refuse("database", message, example, report);
            return None;
        }
    };
    let password = match block.revealed("password", report) {
        None if block.has("password") => return None,
        None => None,
        Some(Value::Secret(text)) => Some(text),
        Some(Value::Plain(text)) => {
            let place = Place::masked(block.evaluator.source, text.span);
            let hint = "write `password = secret(\"NAME\")`, and set it in the environment";
            report.push(Diagnostic::error("`password` stands in plain text").at(place).hint(hint));
            return None;
        }
        Some(Value::Other(_)) => {
            block.refuse("password", "`password` is a secret", "write `password = secret(\"NAME\")`", report);
            return None;
        }
    };
    match Database::parse(&text, password) {
        Ok(database) => Some(database),
        Err(error) => {
            report.push(Diagnostic::error(error.to_string()).at(place).hint(example));
            None
        }
    }
}

fn query(block: &Attributes<'_>, dir: &Path, report: &mut Report) -> Option<String> {
    let sql = match (block.has("query"), block.has("sql_file")) {
        (true, true) => {
            let message = format!("{block} has both `query` and `sql_file`");
            block.refuse("sql_file", message, "remove one of the two", report);
            return None;
        }
        (true, false) => block.name_text("query", "select id, name from airlines", report)?.value,
        (false, true) => {
            let file = block.name_text("sql_file", "airlines.sql", report)?.value;
            match files::read_text(dir, &file) {
                Ok(source) => source.text.clone(),
                Err(error) => {
                    let message = error.message.replacen("the file", &format!("`{file}`"), 1);
                    block.refuse("sql_file", message, "paths are relative to the folder of weir.hcl", report);
                    return None;
                }
            }
        }
        (false, false) => {
            block.missing("query", "say what is asked: `query = \"select id, name from airlines\"`", report);
            return None;
        }
    };
    if sql.len() > QUERY_BYTES_MAX {
        let message = format!("the query has {} bytes, and may have {QUERY_BYTES_MAX}", sql.len());
        block.refuse("query", message, "make a view of it in the database", report);
        return None;
    }
    // Statements end where their text does.
    Some(sql.trim().trim_end_matches(';').trim_end().to_owned())
}

/// A value that may be a secret.
pub(super) enum Value {
    Plain(Spanned<String>),
    Secret(String),
    Other(&'static str),
}

impl Attributes<'_> {
    /// Evaluates an attribute that may be a secret; `None` if it is not set, or null, or was refused.
    fn revealed(&self, name: &str, report: &mut Report) -> Option<Value> {
        let value = self.any_value(name, report)?;
        Some(match value.kind {
            Kind::Text(text) => Value::Plain(Spanned { value: text, span: value.span }),
            Kind::Secret(secret) => Value::Secret(secret.text),
            Kind::Null | Kind::Unknown => return None,
            other => Value::Other(other.described()),
        })
    }
}

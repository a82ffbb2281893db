//! `table "NAME" { from, partition_by, buckets, lookback, unique_by, freshness, late, timeless, location, ... }`.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use url::Url;
use weir_types::{ByteSize, FunctionName, TableName};

use super::function::Flow;
use super::{Attributes, Reference, Spanned};
use crate::diagnostic::Report;
use crate::limits::BUCKETS_MAX;
use crate::load::{Known, Names};
use crate::{Body, Diagnostic, On, PartitionBy, Place, Rule, StreamPlan, TablePlan, TableSource, nearest, rows};

pub(crate) const KNOWN: [&str; 11] = [
    "from",
    "partition_by",
    "buckets",
    "lookback",
    "unique_by",
    "freshness",
    "late",
    "timeless",
    "location",
    "target_file_size",
    "tags",
];
pub(crate) const LATER: [&str; 2] = ["retention", "sort_by"];

const FRESHNESS_DEFAULT: Duration = Duration::from_secs(5);
const FRESHNESS_MIN: Duration = Duration::from_millis(100);
const FRESHNESS_MAX: Duration = Duration::from_secs(3600);
const LOOKBACK_MIN: Duration = Duration::from_secs(60);
const LOOKBACK_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
const FILE_SIZE_MIN: ByteSize = ByteSize(1_000_000);
const FILE_SIZE_MAX: ByteSize = ByteSize(10_000_000_000);
const RULES: [(&str, Rule); 2] = [("keep", Rule::Keep), ("dead_letter", Rule::DeadLetter)];
const SCHEMES: [&str; 10] = ["file", "s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "http", "https"];

/// What a table may refer to.
pub(crate) struct Around<'a> {
    pub(crate) names: &'a Names,
    pub(crate) streams: &'a Known<StreamPlan>,
    pub(crate) functions: &'a Known<Flow>,
}

/// Where the rows come from, and what they are.
struct Rows<'a> {
    source: TableSource,
    stream: &'a StreamPlan,
    columns: SchemaRef,
    /// Where the columns are said: the function's SQL, or the stream's schema.
    place: Place,
    /// What to do to have a column among them.
    mend: &'static str,
}

pub(crate) fn read(
    block: &Attributes<'_>,
    name: TableName,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<TablePlan> {
    let buckets = block.whole_number("buckets", 1..=BUCKETS_MAX, report).unwrap_or(1);
    let lookback = block.span("lookback", LOOKBACK_MIN..=LOOKBACK_MAX, report);
    let freshness = block.span("freshness", FRESHNESS_MIN..=FRESHNESS_MAX, report).unwrap_or(FRESHNESS_DEFAULT);
    let late = block.choice("late", &RULES, report).unwrap_or_default();
    let timeless = block.choice("timeless", &RULES, report).unwrap_or_default();
    let location = location(block, report);
    let target_file_size = block.bytes("target_file_size", FILE_SIZE_MIN..=FILE_SIZE_MAX, report);
    let tags = block.text_map("tags", report).unwrap_or_default().into_iter().collect();
    let partition_by = partition_by(block, report);
    let unique_by = block.texts("unique_by", "\"order_id\"", report);
    let rows = rows(block, around, report)?;
    check_columns(block, &rows, report);
    let partition_by = match partition_by {
        Some((by, column)) => {
            check_time(block, "partition_by", &column, &rows, report);
            by
        }
        None => PartitionBy::None,
    };
    let event_time = match &partition_by {
        PartitionBy::Day(column) | PartitionBy::Hour(column) => Some(column.clone()),
        PartitionBy::None => rows
            .stream
            .time
            .clone()
            .filter(|time| rows.columns.field_with_name(time).is_ok_and(|field| rows::is_time(field.data_type()))),
    };
    if event_time.is_none() {
        for name in ["lookback", "late", "timeless"].into_iter().filter(|name| block.has(name)) {
            let hint = "set `partition_by = \"day(COLUMN)\"`, or the `time` of the stream";
            block.refuse(name, format!("`{name}` needs an event time, and {block} has none"), hint, report);
        }
    }
    let unique_by = unique(block, unique_by, &rows, report);
    if buckets > 1 && unique_by.as_ref().is_some_and(Vec::is_empty) {
        let hint = "rows fall into buckets by their id: set the `id` of the stream or `unique_by`, or remove `buckets`";
        block.refuse("buckets", format!("`buckets` needs an id, and {block} has none"), hint, report);
    }
    Some(TablePlan {
        name,
        source: rows.source,
        stream: Some(rows.stream.name.clone()),
        columns: rows.columns,
        partition_by,
        event_time,
        buckets,
        lookback,
        unique_by: unique_by.unwrap_or_default(),
        freshness,
        late,
        timeless,
        location,
        target_file_size,
        tags,
        place: block.place(),
    })
}

fn rows<'a>(block: &Attributes<'_>, around: &Around<'a>, report: &mut Report) -> Option<Rows<'a>> {
    let feeders: Vec<(&String, &Flow)> = around
        .functions
        .iter()
        .filter_map(|(name, flow)| Some((name, flow.as_ref()?)))
        .filter(|(_, flow)| flow.to.as_ref().is_some_and(|to| to.value == block.name))
        .collect();
    let other = |reference: &Reference| {
        let hint = match reference.kind.as_str() {
            "function" => "a function names its table: write `to = table.NAME` there, and no `from` here",
            _ => "tables are filled from streams: `from = stream.NAME`",
        };
        (format!("a table can't be filled from a {}", reference.kind), hint.to_owned())
    };
    let from = block.reference("from", &["stream"], other, report);
    match (from, feeders.as_slice()) {
        (None, _) if block.has("from") => None,
        (Some(_), [(function, _), ..]) => {
            let message = format!("{block} has two sources: `from` and function \"{function}\"");
            block.refuse("from", message, "remove `from`, or the function's `to`", report);
            None
        }
        (None, [(first, _), (second, _), ..]) => {
            let message = format!("{block} has two sources: functions \"{first}\" and \"{second}\"");
            report.push(Diagnostic::error(message).at(block.place()).hint("give each function a table of its own"));
            None
        }
        (Some(Spanned { value: from, .. }), []) => {
            if !around.names.check("stream", &from.name, || block.value_place("from"), report) {
                return None;
            }
            let stream = around.streams.get(&from.name)?.as_ref()?;
            let (columns, mend) = (Arc::clone(&stream.columns), "add it to the stream's schema");
            let source = TableSource::Stream(stream.name.clone());
            Some(Rows { source, stream, columns, place: block.value_place("from"), mend })
        }
        (None, [(_, flow)]) => {
            let (function, sql) = flow.plan.as_ref()?;
            let (On::Stream { stream, .. }, Body::Sql { output, .. }) = (&function.on, &function.body) else {
                return None;
            };
            let stream = around.streams.get(stream.as_str())?.as_ref()?;
            let source =
                TableSource::Function { function: FunctionName::clone(&function.name), output: "default".to_owned() };
            let columns = Arc::clone(output);
            Some(Rows { source, stream, columns, place: sql.place(None), mend: "select it in the function's SQL" })
        }
        (None, []) => {
            // A function without plan may be meant to feed it: its own mistakes are reported already.
            if !around.functions.values().any(|flow| flow.as_ref().is_none_or(|flow| flow.to.is_none())) {
                let hint = "write `from = stream.NAME`, or let a function write to it";
                let message = format!("{block} has no source");
                report.push(Diagnostic::error(message).at(block.place()).hint(hint));
            }
            None
        }
    }
}

fn check_columns(block: &Attributes<'_>, rows: &Rows<'_>, report: &mut Report) {
    // A function's columns were checked with its SQL.
    if let TableSource::Stream(stream) = &rows.source {
        for refused in rows::refused(&rows.columns) {
            let message = format!("{block} can't hold stream \"{stream}\": {}", refused.message);
            let hint = format!("fill it from a function that names or casts `{}` otherwise", refused.column);
            report.push(Diagnostic::error(message).at(rows.place.clone()).hint(hint));
        }
    }
}

fn partition_by(block: &Attributes<'_>, report: &mut Report) -> Option<(PartitionBy, Spanned<String>)> {
    let text = block.text("partition_by", "day(event_time)", report)?;
    let parts = text.value.trim().strip_suffix(')').and_then(|rest| rest.split_once('('));
    let (unit, column) = parts.map_or(("", ""), |(unit, column)| (unit.trim(), column.trim()));
    let by = match unit {
        "day" => PartitionBy::Day(column.to_owned()),
        "hour" => PartitionBy::Hour(column.to_owned()),
        _ => PartitionBy::None,
    };
    if by == PartitionBy::None || column.is_empty() {
        let message = format!("`{}` is not a way to partition", text.value);
        block.refuse("partition_by", message, "write \"day(COLUMN)\" or \"hour(COLUMN)\"", report);
        return None;
    }
    Some((by, Spanned { value: column.to_owned(), span: text.span }))
}

fn check_time(block: &Attributes<'_>, attribute: &str, column: &Spanned<String>, rows: &Rows<'_>, report: &mut Report) {
    let place = block.place_of(Some(column.span.clone()));
    match rows.columns.field_with_name(&column.value) {
        Ok(field) if rows::is_time(field.data_type()) => {}
        Ok(field) => {
            let message = format!("column `{}` is {}, and not a time", column.value, rows::describe(field.data_type()));
            report.push(Diagnostic::error(message).at(place).hint(rows::TIME_HINT));
        }
        Err(_) => {
            let message = format!("`{attribute}` of {block}: its rows have no column `{}`", column.value);
            report.push(Diagnostic::error(message).at(place).hint(missing_column(&column.value, rows)));
        }
    }
}

fn missing_column(column: &str, rows: &Rows<'_>) -> String {
    let names = rows.columns.fields().iter().map(|field| field.name().as_str());
    match weir_types::nearest(column, names.clone()) {
        // A column that the stream has was left out by the SQL, however much another is like it.
        Some(near) if rows.stream.columns.field_with_name(column).is_err() => format!("did you mean `{near}`?"),
        _ if rows.stream.columns.field_with_name(column).is_ok() => rows.mend.to_owned(),
        _ => nearest::there_are(names, "columns"),
    }
}

/// Returns the columns of the id; `None` if `unique_by` was refused.
fn unique(
    block: &Attributes<'_>,
    given: Option<Vec<Spanned<String>>>,
    rows: &Rows<'_>,
    report: &mut Report,
) -> Option<Vec<String>> {
    let explicit = block.has("unique_by");
    let (columns, place_of): (Vec<String>, Vec<Option<Place>>) = match given {
        Some(given) => given.into_iter().map(|column| (column.value, Some(block.place_of(Some(column.span))))).unzip(),
        None if explicit => return None,
        None => rows.stream.id.iter().map(|column| (column.clone(), None)).unzip(),
    };
    for (column, place) in columns.iter().zip(place_of) {
        match rows.columns.field_with_name(column) {
            Ok(field) if field.data_type().is_nested() => {
                let place = place.unwrap_or_else(|| block.place());
                let is = rows::describe(field.data_type());
                let message = format!("column `{column}` is {is}, which can't be part of an id");
                report.push(Diagnostic::error(message).at(place).hint("set `unique_by` to other columns"));
            }
            Ok(_) => {}
            Err(_) if explicit => {
                let message = format!("`unique_by` of {block}: its rows have no column `{column}`");
                let place = place.unwrap_or_else(|| block.place());
                report.push(Diagnostic::error(message).at(place).hint(missing_column(column, rows)));
            }
            Err(_) => {
                let message = format!(
                    "{block} is unique by the id of stream \"{}\", and its rows have no column `{column}`",
                    rows.stream.name
                );
                let hint = format!("{}, or set `unique_by` of the table (`[]`: repeats are kept)", rows.mend);
                report.push(Diagnostic::error(message).at(rows.place.clone()).hint(hint));
            }
        }
    }
    Some(columns)
}

fn location(block: &Attributes<'_>, report: &mut Report) -> Option<Url> {
    let text = block.name_text("location", "s3://bucket/tables/flights", report)?;
    let refuse = |message: String, report: &mut Report| {
        let hint = format!("write a URL such as \"s3://bucket/tables/flights\"; schemes: {}", SCHEMES.join(", "));
        block.refuse("location", message, hint, report);
        None
    };
    match Url::parse(&text.value) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            let place = Place::masked(block.evaluator.source, text.span);
            let error = Diagnostic::error("`location` holds a password, which would be shown in plans and logs");
            report.push(error.at(place).hint("remove the user and password: stores take theirs from the environment"));
            None
        }
        Ok(url) if SCHEMES.contains(&url.scheme()) => Some(url),
        Ok(url) => refuse(format!("`{}` is not a kind of store that weir knows", url.scheme()), report),
        Err(error) => refuse(format!("`location` is not a URL: {error}"), report),
    }
}

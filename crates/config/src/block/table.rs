//! `table "NAME" { from, sql, partition_by, buckets, lookback, unique_by, freshness, late, timeless, location, evolve, ... }`.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use url::Url;
use weir_crawl::spec::WriteDisposition;
use weir_types::{ByteSize, StreamName, TableName};

use super::crawl;
use super::function::{Edge, Flow};
use super::{Attributes, Reference, Shape, Spanned, compaction, location, noun};
use crate::diagnostic::Report;
use crate::limits::BUCKETS_MAX;
use crate::load::{Known, Names};
use crate::{
    CompactionPlan, Diagnostic, Evolve, FilesContent, FilesPlan, IfEmpty, Keep, On, PartitionBy, Place, Rule,
    StreamPlan, TablePlan, TableSource, Visible, nearest, rows,
};

pub(crate) const SHAPE: Shape = Shape {
    attributes: &[
        "from",
        "sql",
        "sql_file",
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
        "evolve",
        "compact",
        "sort_by",
        "keep",
        "visible",
        "allow_empty",
    ],
    later: &["retention"],
    blocks: &[],
};

const FRESHNESS_DEFAULT: Duration = Duration::from_secs(5);
const FRESHNESS_MIN: Duration = Duration::from_millis(100);
const FRESHNESS_MAX: Duration = Duration::from_secs(3600);
const LOOKBACK_MIN: Duration = Duration::from_secs(60);
const LOOKBACK_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
const FILE_SIZE_MIN: ByteSize = ByteSize(1_000_000);
const FILE_SIZE_MAX: ByteSize = ByteSize(10_000_000_000);
const EVOLVE: [(&str, Evolve); 2] = [("rewrite", Evolve::Rewrite), ("append", Evolve::Append)];
const VISIBLE: [(&str, Visible); 2] = [("at_once", Visible::AtOnce), ("complete", Visible::Complete)];
const RULES: [(&str, Rule); 2] = [("keep", Rule::Keep), ("dead_letter", Rule::DeadLetter)];

/// What a table may refer to.
pub(crate) struct Around<'a> {
    pub(crate) names: &'a Names,
    pub(crate) streams: &'a Known<StreamPlan>,
    pub(crate) files: &'a Known<FilesPlan>,
    pub(crate) functions: &'a Known<Flow>,
    pub(crate) crawls: &'a Known<crawl::Flow>,
}

impl<'a> Around<'a> {
    /// Returns a stream by its name, one of files among them.
    fn stream(&self, name: &StreamName) -> Option<&'a StreamPlan> {
        let of_files = self.files.values().flatten().filter_map(|files| match &files.content {
            FilesContent::Records { stream, .. } => Some(stream.as_ref()),
            FilesContent::Reference => None,
        });
        self.streams.values().flatten().chain(of_files).find(|stream| stream.name == *name)
    }
}

/// Where the rows come from, and what they are.
struct Fed<'a> {
    source: TableSource,
    rows: Rows<'a>,
    /// Where the columns are said: the function's SQL, or a schema.
    place: Place,
}

/// What a crawl's resource says of the rows that it brings.
pub(super) struct Brought {
    disposition: WriteDisposition,
    primary_key: Vec<String>,
    /// Where it is said.
    place: Place,
}

/// What the rows are.
pub(super) struct Rows<'a> {
    /// The stream that they are made of; none behind a handler on anything else, and in rollups.
    pub(super) stream: Option<&'a StreamPlan>,
    pub(super) columns: SchemaRef,
    /// What to do to have a column among them.
    pub(super) mend: &'static str,
    /// What is known of them behind a crawl.
    pub(super) brought: Option<Brought>,
}

impl Rows<'_> {
    /// Returns what says their id, unless the table does.
    fn id(&self) -> &[String] {
        match (&self.stream, &self.brought) {
            (Some(stream), _) => &stream.id,
            // dlt's: the primary key of what is appended is not used.
            (None, Some(Brought { disposition: WriteDisposition::Append, .. }) | None) => &[],
            (None, Some(brought)) => &brought.primary_key,
        }
    }
}

/// An output that writes to the table.
pub(super) enum Feeder<'a> {
    Function {
        function: &'a str,
        /// Its place among the function's.
        index: usize,
        output: &'a str,
        flow: &'a Flow,
    },
    Crawl {
        crawl: &'a str,
        resource: &'a str,
        flow: &'a crawl::Flow,
    },
}

impl Feeder<'_> {
    /// Names who writes: `function "enrich"`.
    pub(super) fn writer(&self) -> String {
        match self {
            Self::Function { function, .. } => format!("function \"{function}\""),
            Self::Crawl { crawl, .. } => format!("crawl \"{crawl}\""),
        }
    }

    /// Names what of it writes: `output "eu"`.
    fn part(&self) -> String {
        match self {
            Self::Function { output, .. } => format!("output \"{output}\""),
            Self::Crawl { resource, .. } => format!("resource \"{resource}\""),
        }
    }
}

pub(crate) fn read(
    block: &Attributes<'_>,
    name: TableName,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<TablePlan> {
    let buckets = block.whole_number("buckets", 1..=BUCKETS_MAX, report).unwrap_or(1);
    let lookback = block.span("lookback", LOOKBACK_MIN..=LOOKBACK_MAX, report);
    let freshness = freshness(block, report);
    let late = block.choice("late", &RULES, report).unwrap_or_default();
    let timeless = block.choice("timeless", &RULES, report).unwrap_or_default();
    let evolve = block.choice("evolve", &EVOLVE, report).unwrap_or_default();
    let location = location(block, report);
    let target_file_size = target_file_size(block, report);
    let tags = block.text_map("tags", report).unwrap_or_default().into_iter().collect();
    let partition_by = partition_by(block, report);
    let unique_by = block.texts("unique_by", "\"order_id\"", report);
    let fed = rows(block, around, report)?;
    check_columns(block, &fed, report);
    let Fed { source, rows, place: said } = fed;
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
            .and_then(|stream| stream.time.clone())
            .filter(|time| rows.columns.field_with_name(time).is_ok_and(|field| rows::is_time(field.data_type()))),
    };
    if event_time.is_none() {
        for name in ["lookback", "late", "timeless"].into_iter().filter(|name| block.has(name)) {
            let hint = match rows.stream {
                Some(_) => "set `partition_by = \"day(COLUMN)\"`, or the `time` of the stream",
                None => "set `partition_by = \"day(COLUMN)\"`",
            };
            block.refuse(name, format!("`{name}` needs an event time, and {block} has none"), hint, report);
        }
    }
    let unique_by = unique(block, unique_by, (&rows, &said), report);
    if buckets > 1 && unique_by.as_ref().is_some_and(Vec::is_empty) {
        let hint = match rows.stream {
            Some(_) => {
                "rows fall into buckets by their id: set the `id` of the stream or `unique_by`, or remove `buckets`"
            }
            None => "rows fall into buckets by their id: set `unique_by`, or remove `buckets`",
        };
        block.refuse("buckets", format!("`buckets` needs an id, and {block} has none"), hint, report);
    }
    let is_unique = unique_by.as_ref().is_none_or(|columns| !columns.is_empty());
    let mut compaction = compaction::read(block, &rows, event_time.as_deref(), is_unique, report);
    let visible = visible(block, &rows, report);
    let if_empty = if_empty(block, visible, report);
    check_whole(block, visible, unique_by.as_deref().unwrap_or_default(), report);
    if rows.brought.as_ref().is_some_and(|brought| brought.disposition == WriteDisposition::Merge) {
        check_merge(block, &compaction, &rows, report);
        check_moves(block, &partition_by, unique_by.as_deref().unwrap_or_default(), report);
        compaction.keep = Keep::Last;
    }
    Some(TablePlan {
        name,
        source,
        stream: rows.stream.map(|stream| stream.name.clone()),
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
        compaction,
        evolve,
        visible,
        if_empty,
        tags,
        place: block.place(),
    })
}

/// Reads when what a run brings is seen: what it replaces goes when it is complete, and not before.
fn visible(block: &Attributes<'_>, rows: &Rows<'_>, report: &mut Report) -> Visible {
    let Some(brought) = &rows.brought else {
        let message = |_: &str| format!("`visible` is of tables that a crawl fills, and {block} is none");
        block.forbid(["visible"], message, "remove it: rows are seen as they come", report);
        return Visible::AtOnce;
    };
    let chosen = block.choice("visible", &VISIBLE, report);
    let (message, hint) = match (brought.disposition, chosen) {
        (WriteDisposition::Replace, Some(Visible::AtOnce)) => (
            format!("{block} is replaced by each run, which can't be seen before it is complete"),
            "remove `visible`, or let the resource append or merge",
        ),
        (WriteDisposition::Merge, Some(Visible::Complete)) => (
            format!("{block} is merged into, row by row, which can't wait for the end of a run"),
            "remove `visible`, or let the resource append or replace",
        ),
        (WriteDisposition::Replace, _) => return Visible::Instead,
        (_, chosen) => return chosen.unwrap_or_default(),
    };
    block.refuse("visible", message, hint, report);
    Visible::AtOnce
}

/// Reads whether a run that brought no row empties the table.
fn if_empty(block: &Attributes<'_>, visible: Visible, report: &mut Report) -> IfEmpty {
    if visible != Visible::Instead {
        let message = |_: &str| format!("`allow_empty` is of tables that each run replaces, and {block} is none");
        block.forbid(["allow_empty"], message, "remove it: what was there stays in any case", report);
        return IfEmpty::Keep;
    }
    match block.flag("allow_empty", report) {
        Some(true) => IfEmpty::Replace,
        Some(false) | None => IfEmpty::Keep,
    }
}

/// Checks what makes no sense where rows are seen by whole runs.
fn check_whole(block: &Attributes<'_>, visible: Visible, unique_by: &[String], report: &mut Report) {
    match visible {
        Visible::AtOnce => {}
        Visible::Instead => {
            let message = |name: &str| {
                format!(
                    "{block} is replaced by each run, so that no partition of it is ever final, and `{name}` says nothing"
                )
            };
            block.forbid(["lookback", "late"], message, "remove it, or let the resource append or merge", report);
        }
        Visible::Complete if !unique_by.is_empty() => {
            let message =
                format!("the rows of a run are added to {block} all at once, and not looked for in it by an id");
            let hint = "remove `visible`, so that rows are deduplicated as they come, or remove `unique_by`";
            block.refuse("visible", message, hint, report);
        }
        Visible::Complete => {}
    }
}

/// Checks that a row that comes again with other values belongs where the one is that it takes the place of.
fn check_moves(block: &Attributes<'_>, partition_by: &PartitionBy, unique_by: &[String], report: &mut Report) {
    let (PartitionBy::Day(column) | PartitionBy::Hour(column)) = partition_by else { return };
    if unique_by.contains(column) {
        return;
    }
    let message = format!(
        "{block} is merged into, and is partitioned by `{column}`, which is no part of the primary key: a row whose `{column}` \
         changes would be there twice"
    );
    let hint = format!("remove `partition_by` (use `buckets`), or add `{column}` to the resource's `primary_key`");
    block.refuse("partition_by", message, hint, report);
}

/// Checks that what comes again takes the place of what was there.
fn check_merge(block: &Attributes<'_>, compaction: &CompactionPlan, rows: &Rows<'_>, report: &mut Report) {
    let Some(brought) = &rows.brought else { return };
    if block.has("keep") && compaction.keep == Keep::First {
        let message = format!("{block} is merged into: the last row of a key stays, and not the first");
        let hint = "remove `keep`, or let the resource append";
        report.push(Diagnostic::error(message).at(block.value_place("keep")).hint(hint));
    }
    if block.has("unique_by") {
        let message = format!("{block} is merged into by the resource's `primary_key`, and says `unique_by` too");
        let hint = format!("remove it; the key is said at {}", brought.place);
        report.push(Diagnostic::error(message).at(block.value_place("unique_by")).hint(hint));
    }
}

pub(super) fn freshness(block: &Attributes<'_>, report: &mut Report) -> Duration {
    block.span("freshness", FRESHNESS_MIN..=FRESHNESS_MAX, report).unwrap_or(FRESHNESS_DEFAULT)
}

pub(super) fn target_file_size(block: &Attributes<'_>, report: &mut Report) -> Option<ByteSize> {
    block.bytes("target_file_size", FILE_SIZE_MIN..=FILE_SIZE_MAX, report)
}

fn rows<'a>(block: &Attributes<'_>, around: &Around<'a>, report: &mut Report) -> Option<Fed<'a>> {
    let feeders = feeders(block.name, around);
    let other = |reference: &Reference| {
        let hint = match reference.kind.as_str() {
            "function" => "a function names its table: write `to = table.NAME` there, and no `from` here",
            "table" => "write a query over it: `sql = \"select ... from NAME group by ...\"`",
            "queue" => "let a handler on the queue write to it: `to = table.NAME` and `schema = ...`",
            _ => "tables are filled from streams: `from = stream.NAME`",
        };
        (format!("a table can't be filled from a {}", noun(&reference.kind)), hint.to_owned())
    };
    let from = block.reference("from", &["stream", "files"], other, report);
    match (from, feeders.as_slice()) {
        (None, _) if block.has("from") => None,
        (Some(_), [feeder, ..]) => {
            let message = format!("{block} has two sources: `from` and {}", feeder.writer());
            let hint = match feeder {
                Feeder::Function { .. } => "remove `from`, or the function's `to`",
                Feeder::Crawl { .. } => "remove `from`, or the `to` of the crawl's resource",
            };
            block.refuse("from", message, hint, report);
            None
        }
        (None, [first, second, ..]) => {
            let (message, hint) = if first.writer() == second.writer() {
                let writer = first.writer();
                let parts = (first.part(), second.part());
                let kind = if matches!(first, Feeder::Crawl { .. }) { "resources" } else { "outputs" };
                let named = |part: &str| part.split_once(' ').map_or(String::new(), |(_, name)| name.to_owned());
                let message =
                    format!("{block} has two sources: {kind} {} and {} of {writer}", named(&parts.0), named(&parts.1));
                let hint = match first {
                    Feeder::Function { .. } => {
                        "give each output a table of its own, or put both conditions into one: `... or ...`"
                    }
                    Feeder::Crawl { .. } => "give each resource a table of its own, or let both write to a stream",
                };
                (message, hint)
            } else {
                let message = match (first, second) {
                    (Feeder::Function { function: first, .. }, Feeder::Function { function: second, .. }) => {
                        format!("{block} has two sources: functions \"{first}\" and \"{second}\"")
                    }
                    _ => format!("{block} has two sources: {} and {}", first.writer(), second.writer()),
                };
                let hint = match second {
                    Feeder::Function { .. } => {
                        "give each function a table of its own, or let both write to a stream that fills it"
                    }
                    Feeder::Crawl { .. } => "give each a table of its own, or let both write to a stream that fills it",
                };
                (message, hint)
            };
            report.push(Diagnostic::error(message).at(block.place()).hint(hint));
            None
        }
        (Some(Spanned { value: from, .. }), []) => of_stream(block, &from, around, report),
        (None, [Feeder::Function { index, output, flow, .. }]) => of_function((*index, output), flow, around),
        (None, [Feeder::Crawl { resource, flow, .. }]) => of_crawl(resource, flow),
        (None, []) => {
            // A function whose target was refused may be meant to feed it: its own mistakes are reported already.
            let partial = around.functions.values().any(|flow| flow.as_ref().is_none_or(Flow::is_partial))
                || around.crawls.values().any(|flow| flow.as_ref().is_none_or(crawl::Flow::is_partial));
            if !partial {
                let hint = "write `from = stream.NAME`, let a function or a crawl write to it, or make it of another \
                            table by `sql`";
                let message = format!("{block} has no source");
                report.push(Diagnostic::error(message).at(block.place()).hint(hint));
            }
            None
        }
    }
}

pub(super) fn feeders<'a>(table: &str, around: &Around<'a>) -> Vec<Feeder<'a>> {
    let feeding = |edge: &Option<Edge>| {
        edge.as_ref().is_some_and(|edge| edge.target.kind == "table" && edge.target.name == table)
    };
    let flows = around.functions.iter().filter_map(|(name, flow)| Some((name, flow.as_ref()?)));
    let outputs = flows.flat_map(|(function, flow)| {
        let outputs = flow.to.iter().enumerate().filter(|(_, (_, edge))| feeding(edge));
        outputs.map(move |(index, (output, _))| Feeder::Function { function, index, output, flow })
    });
    let flows = around.crawls.iter().filter_map(|(name, flow)| Some((name, flow.as_ref()?)));
    let resources = flows.flat_map(|(crawl, flow)| {
        let resources = flow.to.iter().filter(|(_, edge)| feeding(edge));
        resources.map(move |(resource, _)| Feeder::Crawl { crawl, resource, flow })
    });
    outputs.chain(resources).collect()
}

fn of_stream<'a>(
    block: &Attributes<'_>,
    from: &Reference,
    around: &Around<'a>,
    report: &mut Report,
) -> Option<Fed<'a>> {
    if !around.names.check(&from.kind, &from.name, || block.value_place("from"), report) {
        return None;
    }
    let stream = if from.kind == "stream" {
        around.streams.get(&from.name)?.as_ref()?
    } else {
        match &around.files.get(&from.name)?.as_ref()?.content {
            FilesContent::Records { stream, .. } => stream,
            FilesContent::Reference => {
                let message =
                    format!("{block} can't be filled from files \"{}\", which are given by reference", from.name);
                let hint = "let their records be read: `format = \"csv\"` and `schema = ...` in the files block";
                block.refuse("from", message, hint, report);
                return None;
            }
        }
    };
    let rows = Rows {
        stream: Some(stream),
        columns: Arc::clone(&stream.columns),
        mend: "add it to the stream's schema",
        brought: None,
    };
    Some(Fed { source: TableSource::Stream(stream.name.clone()), rows, place: block.value_place("from") })
}

fn of_function<'a>((index, name): (usize, &str), flow: &Flow, around: &Around<'a>) -> Option<Fed<'a>> {
    let plan = flow.plan.as_ref()?;
    // Outputs of a plan are all outputs, in their order, or one was refused.
    let output = plan.outputs.get(index).filter(|output| output.name == name)?;
    let feed = flow.feeds.get(index)?;
    let stream = match &plan.on {
        On::Stream { stream, .. } => Some(around.stream(stream)?),
        _ => None,
    };
    let columns = Arc::clone(output.columns.as_ref()?);
    let rows = Rows { stream, columns, mend: feed.mend, brought: None };
    let source = TableSource::Function { function: plan.name.clone(), output: output.name.clone() };
    Some(Fed { source, rows, place: feed.place.clone() })
}

/// Returns nothing where the crawl was refused, or its schema is not pinned yet.
fn of_crawl<'a>(resource: &str, flow: &crawl::Flow) -> Option<Fed<'a>> {
    let (output, said) = flow.output(resource)?;
    let place = output.place.clone();
    let brought =
        Brought { disposition: said.write_disposition, primary_key: said.primary_key.clone(), place: place.clone() };
    let columns = Arc::clone(output.columns.as_ref()?);
    let mend = "add it to the resource's schema";
    let rows = Rows { stream: None, columns, mend, brought: Some(brought) };
    let source = TableSource::Crawl { crawl: flow.plan.as_ref()?.name.clone(), resource: output.resource.clone() };
    Some(Fed { source, rows, place })
}

fn check_columns(block: &Attributes<'_>, fed: &Fed<'_>, report: &mut Report) {
    // A function's columns were checked with its SQL.
    if let TableSource::Stream(stream) = &fed.source {
        for refused in rows::refused(&fed.rows.columns) {
            let message = format!("{block} can't hold stream \"{stream}\": {}", refused.message);
            let hint = format!("fill it from a function that names or casts `{}` otherwise", refused.column);
            report.push(Diagnostic::error(message).at(fed.place.clone()).hint(hint));
        }
    }
}

pub(super) fn partition_by(block: &Attributes<'_>, report: &mut Report) -> Option<(PartitionBy, Spanned<String>)> {
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

pub(super) fn check_time(
    block: &Attributes<'_>,
    attribute: &str,
    column: &Spanned<String>,
    rows: &Rows<'_>,
    report: &mut Report,
) {
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

pub(super) fn missing_column(column: &str, rows: &Rows<'_>) -> String {
    let names = rows.columns.fields().iter().map(|field| field.name().as_str());
    // A column that the stream has was left out by the function, however much another is like it.
    if rows.stream.is_some_and(|stream| stream.columns.field_with_name(column).is_ok()) {
        return rows.mend.to_owned();
    }
    match weir_types::nearest(column, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => nearest::there_are(names, "columns"),
    }
}

/// Returns the columns of the id; `None` if `unique_by` was refused.
fn unique(
    block: &Attributes<'_>,
    given: Option<Vec<Spanned<String>>>,
    (rows, said): (&Rows<'_>, &Place),
    report: &mut Report,
) -> Option<Vec<String>> {
    let explicit = block.has("unique_by");
    let (columns, place_of): (Vec<String>, Vec<Option<Place>>) = match given {
        Some(given) => given.into_iter().map(|column| (column.value, Some(block.place_of(Some(column.span))))).unzip(),
        None if explicit => return None,
        None => rows.id().iter().map(|column| (column.clone(), None)).unzip(),
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
            Err(_) if rows.stream.is_none() => {
                let message = format!("{block} is unique by the primary key, and its rows have no column `{column}`");
                report.push(Diagnostic::error(message).at(said.clone()).hint(missing_column(column, rows)));
            }
            Err(_) => {
                let stream = rows.stream.map_or("", |stream| stream.name.as_str());
                let message = format!(
                    "{block} is unique by the id of stream \"{stream}\", and its rows have no column `{column}`"
                );
                let hint = format!("{}, or set `unique_by` of the table (`[]`: repeats are kept)", rows.mend);
                report.push(Diagnostic::error(message).at(said.clone()).hint(hint));
            }
        }
    }
    Some(columns)
}

pub(super) fn location(block: &Attributes<'_>, report: &mut Report) -> Option<Url> {
    let text = block.name_text("location", "s3://bucket/tables/flights", report)?;
    location::url(block, "location", &text, "s3://bucket/tables/flights", report)
}

//! `to` and `schema` of a resource: where its items go, and as what.
//!
//! A stream has a schema of its own. For a table it is pinned in a file, which is written from a few answers where it does not
//! exist yet: until then the table is not there, and nothing else is the worse for it.

use std::path::Path;

use weir_types::CrawlName;

use super::Around;
use crate::block::function::Edge;
use crate::block::{Attributes, Reference, noun, stream};
use crate::diagnostic::Report;
use crate::{CrawlOutputPlan, Diagnostic, To, rows};

/// A resource's target.
pub(super) struct Target {
    /// The block, if there is one of this name.
    pub(super) edge: Option<Edge>,
    /// None if it was refused.
    pub(super) output: Option<CrawlOutputPlan>,
}

/// Reads where items go; none where the resource only leads to others.
pub(super) fn read(
    block: &Attributes<'_>,
    crawl: &CrawlName,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<Target> {
    if !block.has("to") {
        let message = |name: &str| format!("`{name}` of {block} has nothing to describe: it has no `to`");
        block.forbid(["schema"], message, "add `to = table.NAME`, or remove it", report);
        return None;
    }
    let edge = edge(block, around, report);
    let output = edge.as_ref().and_then(|edge| match edge.target.kind.as_str() {
        "stream" => of_stream(block, &edge.target.name, around, report),
        _ => of_table(block, &edge.target.name, crawl, around, report),
    });
    Some(Target { edge, output })
}

fn edge(block: &Attributes<'_>, around: &Around<'_>, report: &mut Report) -> Option<Edge> {
    let other = |reference: &Reference| {
        let hint = "crawls write to tables and streams: `to = table.NAME`".to_owned();
        (format!("a crawl can't write to a {}", noun(&reference.kind)), hint)
    };
    let target = block.reference("to", &["table", "stream"], other, report)?;
    let place = block.place_of(Some(target.span));
    let known = around.names.check(&target.value.kind, &target.value.name, || place.clone(), report);
    known.then_some(Edge { target: target.value, place })
}

fn of_stream(block: &Attributes<'_>, name: &str, around: &Around<'_>, report: &mut Report) -> Option<CrawlOutputPlan> {
    let message = |_: &str| format!("`schema` of {block} is not needed: stream \"{name}\" has a schema of its own");
    block.forbid(["schema"], message, "remove it", report);
    let stream = around.streams.get(name)?.as_ref()?;
    Some(CrawlOutputPlan {
        resource: block.name.to_owned(),
        to: To::Stream(stream.name.clone()),
        schema: Some(stream.schema.clone()),
        schema_path: None,
        columns: Some(stream.columns.clone()),
        place: block.value_place("to"),
    })
}

fn of_table(
    block: &Attributes<'_>,
    name: &str,
    crawl: &CrawlName,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<CrawlOutputPlan> {
    let file = match block.has("schema") {
        true => block.name_text("schema", "devices.avsc", report)?.value,
        false => format!("{crawl}.{}.avsc", block.name),
    };
    let mut output = CrawlOutputPlan {
        resource: block.name.to_owned(),
        to: To::Table(name.parse().ok()?),
        schema: None,
        schema_path: Some(around.dir.join(&file)),
        columns: None,
        place: block.value_place("to"),
    };
    if is_missing(around.dir, &file) {
        let message = format!("the schema of {block} is not pinned yet: there is no `{file}`");
        let hint = format!("let a few answers be looked at, and review the file: `weir crawl infer {crawl}`");
        let place = block.value_place(if block.has("schema") { "schema" } else { "to" });
        report.push(Diagnostic::warning(message).at(place).hint(hint));
        return Some(output);
    }
    let described = stream::described_by(block, file, around.dir, report)?;
    for refused in rows::refused(&described.columns) {
        let message = format!("`{}`: {}", described.file, refused.message);
        let hint = format!("name or type field `{}` otherwise", refused.column);
        block.refuse("schema", message, hint, report);
    }
    output.columns = Some(described.columns);
    output.schema = Some(described.schema);
    Some(output)
}

fn is_missing(dir: &Path, file: &str) -> bool {
    // What can't be looked at is reported by whoever reads it.
    matches!(dir.join(file).try_exists(), Ok(false))
}

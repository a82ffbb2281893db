//! `to` and `output` blocks: where what a function makes goes.

use arrow::datatypes::SchemaRef;
use weir_schema::Schema;
use weir_types::{QueueName, TableName};

use super::{Around, Edge, Kind};
use crate::block::stream::{self, Described};
use crate::block::{Attributes, Reference, Shape, Spanned, noun};
use crate::diagnostic::Report;
use crate::limits::OUTPUTS_MAX;
use crate::{Diagnostic, Place, StreamPlan, To};

/// The name of the output that `to` is.
const DEFAULT: &str = "default";

const OUTPUT: Shape = Shape { attributes: &["to", "where", "schema"], later: &["select"], blocks: &[] };

/// What an output is to the table behind it.
pub(crate) struct Feed {
    /// Where its columns are said.
    pub(crate) place: Place,
    /// What to do to have a column among them.
    pub(crate) mend: &'static str,
}

/// An output whose columns are not known yet.
pub(super) struct Draft<'a> {
    pub(super) name: String,
    /// The block, if there is one of this name.
    pub(super) edge: Option<Edge>,
    /// None if it was refused, here or where it is declared.
    pub(super) target: Option<Target<'a>>,
    pub(super) condition: Option<Spanned<String>>,
    /// Of handlers' rows for a table.
    pub(super) schema: Option<(Described, Place)>,
    pub(super) place: Place,
}

impl Draft<'_> {
    pub(super) fn is_for_table(&self) -> bool {
        self.edge.as_ref().is_some_and(|edge| edge.target.kind == "table")
    }
}

pub(super) enum Target<'a> {
    Table(TableName),
    Stream(&'a StreamPlan),
    Queue(QueueName),
}

impl Target<'_> {
    pub(super) fn to(&self) -> To {
        match self {
            Self::Table(name) => To::Table(name.clone()),
            Self::Stream(stream) => To::Stream(stream.name.clone()),
            Self::Queue(name) => To::Queue(name.clone()),
        }
    }

    /// The columns of what goes there, if the target says so.
    pub(super) fn columns(&self) -> Option<SchemaRef> {
        match self {
            Self::Stream(stream) => Some(SchemaRef::clone(&stream.columns)),
            Self::Table(_) | Self::Queue(_) => None,
        }
    }

    /// What records are encoded with that go there, if the target says so.
    pub(super) fn schema(&self) -> Option<&Schema> {
        match self {
            Self::Stream(stream) => Some(&stream.schema),
            Self::Table(_) | Self::Queue(_) => None,
        }
    }
}

/// Reads all outputs. Those that were refused are among them.
pub(super) fn read<'a>(
    block: &Attributes<'_>,
    kind: Option<Kind>,
    around: &Around<'a>,
    report: &mut Report,
) -> Vec<Draft<'a>> {
    let blocks = block.inner("output", &OUTPUT, report);
    if blocks.len() > OUTPUTS_MAX {
        let message = format!("{block} has {} outputs, and may have {OUTPUTS_MAX}", blocks.len());
        report.push(Diagnostic::error(message).at(block.place()).hint("put a stream between, and split it there"));
    }
    if blocks.is_empty() {
        if !block.has("to") {
            if kind == Some(Kind::Sql) {
                block.missing("to", "name where its rows go: `to = table.NAME`, or a stream or a queue", report);
            }
            let message = |name: &str| format!("`{name}` of {block} has nothing to describe: it has no `to`");
            if kind == Some(Kind::Handler) {
                block.forbid(["schema"], message, "add `to = table.NAME`, or remove it", report);
            }
            return Vec::new();
        }
        return vec![one(block, DEFAULT.to_owned(), None, kind, around, report)];
    }
    let message = |name: &str| format!("{block} has both `{name}` and output blocks");
    block.forbid(["to", "schema"], message, "move it into an output block of its own", report);
    let drafts = blocks.iter().map(|inner| {
        if !inner.has("to") {
            inner.missing("to", "name where it goes: `to = table.NAME`, or a stream or a queue", report);
        }
        let condition = condition(inner, kind, report);
        one(inner, inner.name.to_owned(), condition, kind, around, report)
    });
    drafts.collect()
}

/// Reads `to` and `schema` of a function or an output block.
fn one<'a>(
    block: &Attributes<'_>,
    name: String,
    condition: Option<Spanned<String>>,
    kind: Option<Kind>,
    around: &Around<'a>,
    report: &mut Report,
) -> Draft<'a> {
    let edge = edge(block, around, report);
    let target = edge.as_ref().and_then(|edge| target(&edge.target, around));
    let place = if block.has("to") { block.value_place("to") } else { block.place() };
    let mut draft = Draft { name, edge, target, condition, schema: None, place };
    match (kind, draft.edge.as_ref().map(|edge| edge.target.clone())) {
        (Some(Kind::Sql), _) => {
            let message = |name: &str| format!("`{name}` is for handlers, and the function is SQL");
            block.forbid(["schema"], message, "remove it: the columns of SQL are those of its query", report);
        }
        (Some(Kind::Handler), Some(Reference { kind, name })) if kind == "table" => {
            if block.has("schema") {
                let place = block.value_place("schema");
                draft.schema = stream::described(block, around.dir, report).map(|described| (described, place));
            } else {
                let hint = "name the Avro schema of the records that it returns: `schema = \"score.avsc\"`";
                let message = format!("{block} writes to table \"{name}\", and has no `schema`");
                report.push(Diagnostic::error(message).at(draft.place.clone()).hint(hint));
            }
        }
        (Some(Kind::Handler), Some(Reference { kind, name })) => {
            let (why, hint) = match kind.as_str() {
                "stream" => (format!("stream \"{name}\" has a schema of its own"), "remove it"),
                _ => ("messages of a queue have no schema".to_owned(), "remove it"),
            };
            block.forbid(["schema"], |_| format!("`schema` of {block} is not needed: {why}"), hint, report);
        }
        _ => {}
    }
    draft
}

fn condition(inner: &Attributes<'_>, kind: Option<Kind>, report: &mut Report) -> Option<Spanned<String>> {
    if kind == Some(Kind::Handler) {
        let message = |name: &str| format!("`{name}` is for SQL, and the function is a handler");
        let hint = "let the handler say which output a record is for: `{\"outputs\": {\"NAME\": [...]}}`";
        inner.forbid(["where"], message, hint, report);
        return None;
    }
    inner.name_text("where", "region = 'EU'", report)
}

fn edge(block: &Attributes<'_>, around: &Around<'_>, report: &mut Report) -> Option<Edge> {
    let other = |reference: &Reference| {
        let hint = match reference.kind.as_str() {
            "function" => "put a stream or a queue between the two functions",
            _ => "functions write to tables, streams and queues: `to = table.NAME`",
        };
        (format!("a function can't write to a {}", noun(&reference.kind)), hint.to_owned())
    };
    let target = block.reference("to", &["table", "stream", "queue"], other, report)?;
    let place = block.place_of(Some(target.span));
    let known = around.names.check(&target.value.kind, &target.value.name, || place.clone(), report);
    known.then_some(Edge { target: target.value, place })
}

fn target<'a>(reference: &Reference, around: &Around<'a>) -> Option<Target<'a>> {
    match reference.kind.as_str() {
        "table" => reference.name.parse().ok().map(Target::Table),
        "stream" => Some(Target::Stream(around.streams.get(&reference.name)?.as_ref()?)),
        _ => Some(Target::Queue(around.queues.get(&reference.name)?.as_ref()?.name.clone())),
    }
}

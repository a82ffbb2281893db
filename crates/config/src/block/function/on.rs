//! `on`: what a function runs on.

use weir_types::ScheduleName;

use super::{Around, Edge, Kind};
use crate::block::{Attributes, Reference, noun};
use crate::diagnostic::Report;
use crate::{FilesContent, FilesPlan, On, QueuePlan, Start, StreamPlan};

/// What a function runs on, with what is known of it.
pub(super) enum Arrival<'a> {
    /// A stream, or files that are read as records.
    Stream(&'a StreamPlan),
    Queue(&'a QueuePlan),
    Schedule(ScheduleName),
    /// Files by reference.
    Files(&'a FilesPlan),
    Invocation,
}

impl Arrival<'_> {
    pub(super) fn on(&self, start: Start) -> On {
        match self {
            Self::Stream(stream) => On::Stream { stream: stream.name.clone(), start },
            Self::Queue(queue) => On::Queue(queue.name.clone()),
            Self::Schedule(name) => On::Schedule(name.clone()),
            Self::Files(files) => On::Files(files.name.clone()),
            Self::Invocation => On::Invocation,
        }
    }

    /// Says what the function runs on, for the end of a sentence.
    pub(super) fn described(&self) -> &'static str {
        match self {
            Self::Stream(_) => "is on a stream",
            Self::Queue(_) => "is on a queue",
            Self::Schedule(_) => "is on a schedule",
            Self::Files(_) => "is on files by reference",
            Self::Invocation => "is invoked over HTTP alone",
        }
    }
}

/// What `on` says.
pub(super) struct Source<'a> {
    /// The block, if there is one of this name.
    pub(super) edge: Option<Edge>,
    /// None if it was refused, here or where it is declared.
    pub(super) arrival: Option<Arrival<'a>>,
}

pub(super) fn read<'a>(
    block: &Attributes<'_>,
    kind: Option<Kind>,
    around: &Around<'a>,
    report: &mut Report,
) -> Source<'a> {
    let nothing = Source { edge: None, arrival: None };
    if !block.has("on") {
        if kind == Some(Kind::Sql) {
            block.missing("on", "name the stream whose records it turns: `on = stream.NAME`", report);
            return nothing;
        }
        return Source { edge: None, arrival: Some(Arrival::Invocation) };
    }
    let other = |reference: &Reference| {
        let hint = match reference.kind.as_str() {
            "table" => "let it run on the stream that the table is filled from",
            "lookup" => "functions join with lookups, and run on streams: `on = stream.NAME`",
            _ => "functions run on streams, queues, schedules and files: `on = stream.NAME`",
        };
        (format!("a function can't run on a {}", noun(&reference.kind)), hint.to_owned())
    };
    let Some(on) = block.reference("on", &["stream", "queue", "schedule", "files"], other, report) else {
        return nothing;
    };
    let target = on.value;
    let place = block.value_place("on");
    if !around.names.check(&target.kind, &target.name, || place.clone(), report) {
        return nothing;
    }
    let arrival = arrival(&target, around);
    if kind == Some(Kind::Sql) {
        let refused = match &arrival {
            Some(Arrival::Files(_)) => Some((
                format!("SQL can't run on files \"{}\", which it is given by reference", target.name),
                "let their records be read: `format = \"csv\"` and `schema = ...` in the files block",
            )),
            _ if ["queue", "schedule"].contains(&target.kind.as_str()) => Some((
                format!("SQL can't run on a {}: what arrives there has no columns", target.kind),
                "let it run on a stream, or make it a handler",
            )),
            _ => None,
        };
        if let Some((message, hint)) = refused {
            block.refuse("on", message, hint, report);
            return Source { edge: Some(Edge { target, place }), arrival: None };
        }
    }
    Source { edge: Some(Edge { target, place }), arrival }
}

fn arrival<'a>(target: &Reference, around: &Around<'a>) -> Option<Arrival<'a>> {
    match target.kind.as_str() {
        "stream" => Some(Arrival::Stream(around.streams.get(&target.name)?.as_ref()?)),
        "queue" => Some(Arrival::Queue(around.queues.get(&target.name)?.as_ref()?)),
        "schedule" => Some(Arrival::Schedule(around.schedules.get(&target.name)?.as_ref()?.name.clone())),
        _ => {
            let files = around.files.get(&target.name)?.as_ref()?;
            Some(match &files.content {
                FilesContent::Reference => Arrival::Files(files),
                FilesContent::Records { stream, .. } => Arrival::Stream(stream),
            })
        }
    }
}

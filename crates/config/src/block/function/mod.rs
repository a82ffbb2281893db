//! `function "NAME" { on, sql or code, to or output blocks, ... }`: what turns what arrives into rows, records, messages.
//!
//! ```text
//!     on.rs         what it runs on              output.rs       where what it makes goes
//!     sql.rs        a query, typed               handler.rs      a Lambda handler's settings
//!     settings.rs   start, batch, retry          code.rs         its folder, runtime and module
//!                                                environment.rs  its variables and secrets
//!                                                apis.rs         the accounts that it may call
//! ```
//!
//! Invariant: an attribute that means nothing for the function's kind, or for what it is on, is refused.

mod apis;
mod code;
mod environment;
mod handler;
mod on;
mod output;
mod settings;
mod sql;

use std::collections::BTreeSet;
use std::path::Path;

use weir_types::FunctionName;

use super::{Attributes, Inner, Reference, Shape, Times};
use crate::diagnostic::Report;
use crate::load::{Known, Names};
use crate::{
    ApiPlan, Body, Diagnostic, FilesPlan, FunctionPlan, LookupPlan, Place, QueuePlan, SchedulePlan, StreamPlan,
};

pub(crate) use output::Feed;
pub(super) use sql::query;

pub(crate) const SHAPE: Shape = Shape {
    attributes: &[
        "on",
        "sql",
        "sql_file",
        "code",
        "handler",
        "runtime",
        "memory",
        "timeout",
        "concurrency",
        "temp",
        "keep_warm",
        "environment",
        "network",
        "apis",
        "start",
        "to",
        "schema",
        "on_failure",
    ],
    later: &["tags", "layers", "architecture", "alias"],
    blocks: &[
        Inner { kind: "batch", times: Times::Once },
        Inner { kind: "retry", times: Times::Once },
        Inner { kind: "output", times: Times::Named },
    ],
};

/// What makes a function SQL.
const OF_SQL: [&str; 2] = ["sql", "sql_file"];
/// What makes a function a handler.
const OF_CODE: [&str; 3] = ["code", "handler", "runtime"];

/// What a function may refer to.
pub(crate) struct Around<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) names: &'a Names,
    pub(crate) streams: &'a Known<StreamPlan>,
    pub(crate) queues: &'a Known<QueuePlan>,
    pub(crate) schedules: &'a Known<SchedulePlan>,
    pub(crate) files: &'a Known<FilesPlan>,
    pub(crate) lookups: &'a Known<LookupPlan>,
    pub(crate) apis: &'a Known<ApiPlan>,
}

/// A function's flow, which is known even if what it runs is not.
pub(crate) struct Flow {
    /// What it runs on.
    pub(crate) on: Option<Edge>,
    /// Where what it makes goes, by the outputs' names; `None` for a target that was refused.
    pub(crate) to: Vec<(String, Option<Edge>)>,
    pub(crate) on_failure: Option<Edge>,
    /// The lookups that it reads.
    pub(crate) reads: BTreeSet<String>,
    /// What the plan's outputs are to the tables behind, in their order.
    pub(crate) feeds: Vec<Feed>,
    pub(crate) plan: Option<FunctionPlan>,
}

impl Flow {
    /// Tells whether the function may write to more than is known: a target of it was refused, or it names none and
    /// should.
    pub(crate) fn is_partial(&self) -> bool {
        let silent = matches!(&self.plan, Some(FunctionPlan { body: Body::Handler(_), .. }));
        self.to.iter().any(|(_, edge)| edge.is_none()) || self.to.is_empty() && !silent
    }
}

/// An end of a function: a block, and where it is named.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) target: Reference,
    pub(crate) place: Place,
}

/// What kind of function it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sql,
    Handler,
}

pub(crate) fn read(block: &Attributes<'_>, name: FunctionName, around: &Around<'_>, report: &mut Report) -> Flow {
    let kind = kind(block, report);
    let source = on::read(block, kind, around, report);
    let on_failure = on_failure(block, around, report);
    let drafts = output::read(block, kind, around, report);
    if kind == Some(Kind::Sql) && !drafts.is_empty() && drafts.iter().all(output::Draft::is_for_table) {
        let message =
            |name: &str| format!("`{name}` is for handlers, streams and queues, and {block} fills tables with SQL");
        block.forbid(["batch"], message, "remove it: rows are committed by the `freshness` of their table", report);
    }
    let settings = settings::read(block, kind, source.arrival.as_ref(), report);
    let mut flow = Flow {
        on: source.edge,
        to: drafts.iter().map(|draft| (draft.name.clone(), draft.edge.clone())).collect(),
        on_failure: on_failure.as_ref().map(|(edge, _)| edge.clone()),
        reads: BTreeSet::new(),
        feeds: Vec::new(),
        plan: None,
    };
    let apis = apis::read(block, around, report);
    let arrival = source.arrival;
    let body = match kind {
        Some(Kind::Sql) => sql::read(block, arrival.as_ref(), drafts, &mut flow.reads, around, report),
        Some(Kind::Handler) => handler::read(block, drafts, around, report),
        None => None,
    };
    let (Some((body, outputs)), Some(arrival)) = (body, arrival) else { return flow };
    let (outputs, feeds) = outputs.into_iter().unzip();
    flow.feeds = feeds;
    flow.plan = Some(FunctionPlan {
        name,
        on: arrival.on(settings.start),
        body,
        outputs,
        on_failure: on_failure.and_then(|(_, queue)| queue),
        batch: settings.batch,
        retry: settings.retry,
        apis,
        place: block.place(),
    });
    flow
}

/// What a function runs and makes, once it is known.
type Made = (Body, Vec<(crate::OutputPlan, Feed)>);

fn kind(block: &Attributes<'_>, report: &mut Report) -> Option<Kind> {
    match (block.has_any(&OF_SQL), block.has_any(&OF_CODE)) {
        (true, true) => {
            let message = |name: &str| format!("{block} is SQL, and `{name}` makes it a handler too");
            block.forbid(OF_CODE, message, "make two functions of it, or remove the one or the other", report);
            None
        }
        (true, false) => {
            let only = ["memory", "timeout", "concurrency", "temp", "keep_warm", "environment", "network", "apis"];
            let message = |name: &str| format!("`{name}` is for handlers, and {block} is SQL");
            block.forbid(only, message, "remove it: SQL runs inside of weir, within the node's own limits", report);
            let hint = "remove it: a record on which SQL fails would fail again, and is a dead letter at once";
            block.forbid(["retry"], message, hint, report);
            Some(Kind::Sql)
        }
        (false, true) => Some(Kind::Handler),
        (false, false) => {
            let hint = "write a query, `sql = \"select * from input\"`, or name the folder of a Lambda handler, \
                        `code = \"functions/score\"`";
            let message = format!("{block} has neither `sql` nor `code`");
            report.push(Diagnostic::error(message).at(block.place()).hint(hint));
            None
        }
    }
}

/// Reads the queue that is told of what was given up; `None` inside if the queue itself was refused.
fn on_failure(
    block: &Attributes<'_>,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<(Edge, Option<weir_types::QueueName>)> {
    let other = |reference: &Reference| {
        let hint = match reference.kind.as_str() {
            "table" => "remove it: what is given up goes into the table `dead_letters` anyway",
            _ => "name a queue: `on_failure = queue.NAME`",
        };
        (format!("a {} can't be told of failures", super::noun(&reference.kind)), hint.to_owned())
    };
    let target = block.reference("on_failure", &["queue"], other, report)?.value;
    let place = block.value_place("on_failure");
    if !around.names.check("queue", &target.name, || place.clone(), report) {
        return None;
    }
    let queue = around.queues.get(&target.name).and_then(Option::as_ref);
    if queue.is_some_and(|queue| queue.fifo.is_some()) {
        let message = format!("queue \"{}\" is a FIFO queue, and failures have no group", target.name);
        block.refuse("on_failure", message, "name a standard queue", report);
    }
    Some((Edge { target, place }, queue.map(|queue| queue.name.clone())))
}

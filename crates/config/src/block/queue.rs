//! `queue "NAME" { fifo, visibility_timeout, delay, retention, receive_wait, max_receives, dead_letter, ... }`: SQS's
//! attributes, in weir's words, with SQS's limits.
//!
//! Read one by one, then linked: whether a queue may be another's dead letters depends on both. Invariant: following
//! dead letters from queue to queue ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_types::{ByteSize, FIFO_SUFFIX, QueueName};

use super::{Attributes, Reference, Shape};
use crate::diagnostic::Report;
use crate::limits::QUEUE_TAGS_MAX;
use crate::load::{Known, Names};
use crate::{DeadLetterPlan, Diagnostic, FifoPlan, Place, QueuePlan};

pub(crate) const SHAPE: Shape = Shape {
    attributes: &[
        "fifo",
        "content_deduplication",
        "visibility_timeout",
        "delay",
        "retention",
        "receive_wait",
        "message_bytes_max",
        "max_receives",
        "dead_letter",
        "tags",
    ],
    later: &["policy", "encryption"],
    blocks: &[],
};

const VISIBILITY_DEFAULT: Duration = Duration::from_secs(30);
const VISIBILITY_MAX: Duration = Duration::from_secs(12 * 3600);
const DELAY_MAX: Duration = Duration::from_secs(15 * 60);
const RETENTION_DEFAULT: Duration = Duration::from_secs(4 * 24 * 3600);
const RETENTION_MIN: Duration = Duration::from_secs(60);
const RETENTION_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
const RECEIVE_WAIT_MAX: Duration = Duration::from_secs(20);
const MESSAGE_BYTES_MIN: ByteSize = ByteSize(1024);
const MESSAGE_BYTES_MAX: ByteSize = ByteSize(1024 * 1024);
const MAX_RECEIVES_MAX: u32 = 1000;

/// A queue whose dead letters are not yet looked for.
pub(crate) struct Draft {
    plan: QueuePlan,
    dead_letter: Option<Dead>,
}

struct Dead {
    /// The name of the block.
    queue: String,
    max_receives: u32,
    place: Place,
}

/// Reads one queue; `label` is the name of its block.
pub(crate) fn read(block: &Attributes<'_>, label: &str, names: &Names, report: &mut Report) -> Option<Draft> {
    let fifo = block.flag("fifo", report).unwrap_or_default();
    let content_deduplication = block.flag("content_deduplication", report).unwrap_or_default();
    if !fifo {
        let message = |name: &str| format!("`{name}` is for FIFO queues, and {block} is none");
        block.forbid(["content_deduplication"], message, "set `fifo = true`, or remove it", report);
    }
    let visibility_timeout = block.span("visibility_timeout", Duration::ZERO..=VISIBILITY_MAX, report);
    let delay = block.span("delay", Duration::ZERO..=DELAY_MAX, report);
    let retention = block.span("retention", RETENTION_MIN..=RETENTION_MAX, report);
    let receive_wait = block.span("receive_wait", Duration::ZERO..=RECEIVE_WAIT_MAX, report);
    let message_bytes_max = block.bytes("message_bytes_max", MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX, report);
    let tags: BTreeMap<String, String> = block.text_map("tags", report).unwrap_or_default().into_iter().collect();
    if tags.len() > QUEUE_TAGS_MAX {
        let message = format!("{block} has {} tags, and may have {QUEUE_TAGS_MAX}", tags.len());
        block.refuse("tags", message, "remove some", report);
    }
    let max_receives = block.whole_number("max_receives", 1..=MAX_RECEIVES_MAX, report);
    let dead_letter = dead_letter(block, max_receives, names, report);
    let name = name(block, label, fifo, report)?;
    // Where the queue was named and refused, the plan is not used.
    let table = max_receives.filter(|_| dead_letter.is_none());
    let plan = QueuePlan {
        name,
        visibility_timeout: visibility_timeout.unwrap_or(VISIBILITY_DEFAULT),
        delay: delay.unwrap_or_default(),
        retention: retention.unwrap_or(RETENTION_DEFAULT),
        receive_wait: receive_wait.unwrap_or_default(),
        message_bytes_max: message_bytes_max.unwrap_or(MESSAGE_BYTES_MAX),
        fifo: fifo.then_some(FifoPlan { content_deduplication }),
        dead_letter: table.map(|max_receives| DeadLetterPlan { max_receives, to: None }),
        tags,
        place: block.place(),
    };
    Some(Draft { plan, dead_letter })
}

fn name(block: &Attributes<'_>, label: &str, fifo: bool, report: &mut Report) -> Option<QueueName> {
    let suffix = if fifo { FIFO_SUFFIX } else { "" };
    match format!("{label}{suffix}").parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("{block}: {error}");
            report.push(
                Diagnostic::error(message).at(block.place()).hint("rename it: SQS's clients know no longer names"),
            );
            None
        }
    }
}

fn dead_letter(block: &Attributes<'_>, max_receives: Option<u32>, names: &Names, report: &mut Report) -> Option<Dead> {
    let other = |reference: &Reference| {
        let hint = match reference.kind.as_str() {
            "table" => "without `dead_letter`, what was received too often goes into the table `dead_letters`",
            _ => "name a queue: `dead_letter = queue.NAME`",
        };
        (format!("the dead letters of a queue can't go to a {}", reference.kind), hint.to_owned())
    };
    let queue = block.reference("dead_letter", &["queue"], other, report)?.value.name;
    let known = names.check("queue", &queue, || block.value_place("dead_letter"), report);
    if !block.has("max_receives") {
        let message = format!("`dead_letter` of {block} needs `max_receives`");
        block.refuse("dead_letter", message, "say after how many receives: `max_receives = 5`", report);
    }
    let max_receives = max_receives?;
    known.then(|| Dead { queue, max_receives, place: block.value_place("dead_letter") })
}

/// Links queues with those that take their dead letters.
pub(crate) fn link(drafts: Known<Draft>, report: &mut Report) -> Known<QueuePlan> {
    refuse_loops(&drafts, report);
    let wire: BTreeMap<String, QueueName> =
        drafts.iter().filter_map(|(label, draft)| Some((label.clone(), draft.as_ref()?.plan.name.clone()))).collect();
    let linked = drafts.into_iter().map(|(label, draft)| {
        let plan = draft.and_then(|draft| linked(&label, draft, &wire, report));
        (label, plan)
    });
    linked.collect()
}

fn linked(label: &str, draft: Draft, wire: &BTreeMap<String, QueueName>, report: &mut Report) -> Option<QueuePlan> {
    let Draft { mut plan, dead_letter } = draft;
    if let Some(dead) = dead_letter {
        // A queue that was refused is reported.
        let to = wire.get(&dead.queue)?;
        if to.is_fifo() != plan.name.is_fifo() {
            let kind = |name: &QueueName| if name.is_fifo() { "a FIFO queue" } else { "a standard queue" };
            let message = format!(
                "queue \"{label}\" is {}, and its dead letters go to queue \"{}\", which is {}",
                kind(&plan.name),
                dead.queue,
                kind(to)
            );
            report.push(Diagnostic::error(message).at(dead.place).hint("both must be FIFO queues, or neither"));
        }
        plan.dead_letter = Some(DeadLetterPlan { max_receives: dead.max_receives, to: Some(to.clone()) });
    }
    Some(plan)
}

fn refuse_loops(drafts: &Known<Draft>, report: &mut Report) {
    let dead = |label: &str| drafts.get(label)?.as_ref()?.dead_letter.as_ref();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for start in drafts.keys() {
        let mut path: Vec<&str> = vec![start];
        // A queue has one place for its dead letters, so the way is a line; it may run into a loop of others.
        while let Some(next) = path.last().and_then(|last| dead(last)).map(|dead| dead.queue.as_str()) {
            if next == start {
                break;
            }
            if path.contains(&next) {
                path.clear();
            } else {
                path.push(next);
            }
        }
        // At the end of the line, nothing leads on.
        let Some(first) = path.last().and_then(|last| dead(last)).and_then(|_| dead(start)) else { continue };
        if told.contains(start.as_str()) {
            continue;
        }
        let around: String = path.iter().map(|queue| format!("queue.{queue} -> ")).collect();
        let message = match path.len() {
            1 => format!("queue \"{start}\" is its own dead-letter queue"),
            _ => format!("queue \"{start}\" is its own dead-letter queue, by a way around: {around}queue.{start}"),
        };
        let hint = "let one of them have no `dead_letter`: what it gives up goes into the table `dead_letters`";
        report.push(Diagnostic::error(message).at(first.place.clone()).hint(hint));
        told.extend(path);
    }
}

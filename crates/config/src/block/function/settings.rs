//! `start`, `batch { ... }` and `retry { ... }`: how what arrives is taken, and run again.

use std::time::Duration;

use weir_types::Timestamp;

use super::Kind;
use super::on::Arrival;
use crate::block::{Attributes, Shape};
use crate::diagnostic::Report;
use crate::{BatchPlan, RetryPlan, Start};

const BATCH: Shape =
    Shape { attributes: &["size", "window", "parallel", "concurrency"], later: &["bytes"], blocks: &[] };
const RETRY: Shape = Shape { attributes: &["attempts", "age", "bisect"], later: &["backoff"], blocks: &[] };

const SIZE_MAX: u32 = 10_000;
/// A batch costs SQL most of a millisecond, whatever its size.
const SIZE_OF_SQL: u32 = 10_000;
const SIZE_OF_STREAMS: u32 = 100;
const SIZE_OF_QUEUES: u32 = 10;
const WINDOW_MAX: Duration = Duration::from_secs(5 * 60);
const PARALLEL_MAX: u32 = 10;
const CONCURRENCY_MIN: u32 = 2;
const CONCURRENCY_MAX: u32 = 1000;
const ATTEMPTS_MAX: u32 = 10_000;
const ATTEMPTS_OF_STREAMS: u32 = 3;
/// As Lambda repeats asynchronous invocations.
const ATTEMPTS_OF_EVENTS: u32 = 2;
const AGE_MIN: Duration = Duration::from_secs(60);
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
const AGE_OF_EVENTS: Duration = Duration::from_secs(6 * 3600);

pub(super) struct Settings {
    pub(super) start: Start,
    pub(super) batch: BatchPlan,
    pub(super) retry: RetryPlan,
}

pub(super) fn read(
    block: &Attributes<'_>,
    kind: Option<Kind>,
    arrival: Option<&Arrival<'_>>,
    report: &mut Report,
) -> Settings {
    let start = start(block, arrival, report);
    let mut settings = Settings { start, batch: batch_default(kind, arrival), retry: retry_default(arrival) };
    for inner in block.inner("batch", &BATCH, report) {
        batch(block, &inner, arrival, &mut settings.batch, report);
    }
    for inner in block.inner("retry", &RETRY, report) {
        retry(block, &inner, arrival, &mut settings.retry, report);
    }
    settings
}

fn start(block: &Attributes<'_>, arrival: Option<&Arrival<'_>>, report: &mut Report) -> Start {
    if let Some(arrival) = arrival.filter(|arrival| !matches!(arrival, Arrival::Stream(_))) {
        let message = |name: &str| format!("`{name}` is for streams, and {block} {}", arrival.described());
        block.forbid(["start"], message, "remove it", report);
        return Start::Oldest;
    }
    let Some(text) = block.text("start", "newest", report) else { return Start::Oldest };
    match text.value.to_ascii_lowercase().as_str() {
        "oldest" => Start::Oldest,
        "newest" => Start::Newest,
        _ => match chrono::DateTime::parse_from_rfc3339(&text.value) {
            Ok(time) => Start::Time(Timestamp(time.timestamp_millis())),
            Err(_) => {
                let hint = "write \"oldest\", \"newest\", or a time such as \"2026-01-01T00:00:00Z\"";
                block.refuse("start", format!("`{}` is no place to start at", text.value), hint, report);
                Start::Oldest
            }
        },
    }
}

fn batch_default(kind: Option<Kind>, arrival: Option<&Arrival<'_>>) -> BatchPlan {
    let size = match arrival {
        Some(Arrival::Stream(_)) if kind == Some(Kind::Sql) => SIZE_OF_SQL,
        Some(Arrival::Stream(_)) => SIZE_OF_STREAMS,
        Some(Arrival::Queue(_)) => SIZE_OF_QUEUES,
        // One event, one invocation.
        _ => 1,
    };
    BatchPlan { size, window: Duration::ZERO, parallel: 1, concurrency: None }
}

fn retry_default(arrival: Option<&Arrival<'_>>) -> RetryPlan {
    match arrival {
        Some(Arrival::Stream(_)) => RetryPlan { attempts: Some(ATTEMPTS_OF_STREAMS), age: None, bisect: true },
        Some(Arrival::Queue(_)) => RetryPlan { attempts: None, age: None, bisect: false },
        _ => RetryPlan { attempts: Some(ATTEMPTS_OF_EVENTS), age: Some(AGE_OF_EVENTS), bisect: false },
    }
}

fn batch(
    function: &Attributes<'_>,
    block: &Attributes<'_>,
    arrival: Option<&Arrival<'_>>,
    plan: &mut BatchPlan,
    report: &mut Report,
) {
    let on = arrival.map_or("", Arrival::described);
    match arrival {
        Some(Arrival::Stream(_)) => {
            let message = |name: &str| format!("`{name}` of a batch is for queues, and {function} {on}");
            let hint = "set `concurrency` of the function, or `parallel` of the batch";
            block.forbid(["concurrency"], message, hint, report);
        }
        Some(Arrival::Queue(_)) => {
            let message = |name: &str| format!("`{name}` of a batch is for streams, and {function} {on}");
            block.forbid(["parallel"], message, "say how many at most: `concurrency = 10`", report);
        }
        Some(_) => {
            let message = |name: &str| format!("`{name}` is for streams and queues, and {function} {on}");
            function.forbid(["batch"], message, "remove it: each event is an invocation of its own", report);
            return;
        }
        None => {}
    }
    if let Some(size) = block.whole_number("size", 1..=SIZE_MAX, report) {
        plan.size = size;
    }
    plan.window = block.span("window", Duration::ZERO..=WINDOW_MAX, report).unwrap_or_default();
    plan.parallel = block.whole_number("parallel", 1..=PARALLEL_MAX, report).unwrap_or(1);
    plan.concurrency = block.whole_number("concurrency", CONCURRENCY_MIN..=CONCURRENCY_MAX, report);
}

fn retry(
    function: &Attributes<'_>,
    block: &Attributes<'_>,
    arrival: Option<&Arrival<'_>>,
    plan: &mut RetryPlan,
    report: &mut Report,
) {
    let on = arrival.map_or("", Arrival::described);
    match arrival {
        Some(Arrival::Queue(_)) => {
            let message = |name: &str| format!("`{name}` of a retry is for streams, and {function} {on}");
            let hint = "remove it: messages fail one by one, as the handler's `batchItemFailures` say";
            block.forbid(["bisect"], message, hint, report);
        }
        Some(Arrival::Schedule(_) | Arrival::Files(_) | Arrival::Invocation) => {
            let message = |name: &str| format!("`{name}` of a retry is for streams, and {function} {on}");
            block.forbid(["bisect"], message, "remove it: there is nothing to cut in two", report);
        }
        Some(Arrival::Stream(_)) | None => {}
    }
    if let Some(attempts) = block.whole_number("attempts", 0..=ATTEMPTS_MAX, report) {
        plan.attempts = Some(attempts);
    }
    if let Some(age) = block.span("age", AGE_MIN..=AGE_MAX, report) {
        plan.age = Some(age);
    }
    if let Some(bisect) = block.flag("bisect", report) {
        plan.bisect = bisect;
    }
}

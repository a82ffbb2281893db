//! The status in Prometheus's text format, version 0.0.4.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use weir_budget::{BreakerState, Status as Budget};
use weir_crawl::status::{CrawlStatus, RunStatus, StepStatus};
use weir_runtime::{
    ArchiveStatus, FunctionStatus, LedgerStatus, LookupStatus, Node, QueueStatus, RollupStatus, StreamStatus,
};
use weir_types::ApiName;

struct Page(String);

impl Page {
    /// Writes one metric whose values are not whole.
    fn measure(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, f64)>) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in values {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    /// Writes one metric. Labels are names of weir's, which need no escaping.
    fn metric(&mut self, name: &str, kind: &str, help: &str, values: impl IntoIterator<Item = (String, u64)>) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}

pub(crate) async fn metrics(State(node): State<Arc<Node>>) -> Response {
    let status = node.status();
    let mut page = Page(String::new());
    page.metric("weir_log_bytes", "gauge", "Bytes of the log on disk.", [(String::new(), status.log_bytes)]);
    let streams = |pick: fn(&StreamStatus) -> u64| -> Vec<(String, u64)> {
        status.streams.iter().map(|stream| (format!("{{stream=\"{}\"}}", stream.name), pick(stream))).collect()
    };
    page.metric("weir_stream_records", "gauge", "Records that the stream holds.", streams(|stream| stream.records));
    page.metric("weir_stream_bytes", "gauge", "Bytes of the stream's records.", streams(|stream| stream.bytes));
    page.metric(
        "weir_stream_received_total",
        "counter",
        "Records that came to the door.",
        streams(|stream| stream.received),
    );
    page.metric("weir_stream_stored_total", "counter", "Records made durable.", streams(|stream| stream.stored));
    page.metric(
        "weir_stream_repeated_total",
        "counter",
        "Records that an earlier try had stored.",
        streams(|stream| stream.repeated),
    );
    page.metric(
        "weir_stream_refused_total",
        "counter",
        "Records refused at the door.",
        streams(|stream| stream.refused),
    );
    page.metric(
        "weir_stream_dead_lettered_total",
        "counter",
        "Records of unknown schemas.",
        streams(|stream| stream.dead_lettered),
    );
    archives(&mut page, &status.streams);
    ledger(&mut page, &status.ledger);
    let tables = |pick: fn(&weir_runtime::TableStatus) -> u64| -> Vec<(String, u64)> {
        status.tables.iter().map(|table| (format!("{{table=\"{}\"}}", table.name), pick(table))).collect()
    };
    page.metric("weir_table_rows", "gauge", "Committed rows.", tables(|table| table.rows));
    page.metric("weir_table_files", "gauge", "Data files.", tables(|table| table.files));
    page.metric("weir_table_bytes", "gauge", "Bytes of the data files.", tables(|table| table.bytes));
    page.metric("weir_table_pending_rows", "gauge", "Rows that wait for a commit.", tables(|table| table.pending));
    page.metric(
        "weir_table_behind_records",
        "gauge",
        "Records of the stream not in the table.",
        tables(|table| table.behind),
    );
    page.metric("weir_table_added_total", "counter", "Rows taken.", tables(|table| table.added));
    page.metric("weir_table_repeats_total", "counter", "Repeats dropped.", tables(|table| table.repeats));
    page.metric("weir_table_late_total", "counter", "Rows later than the lookback.", tables(|table| table.late));
    page.metric(
        "weir_table_timeless_total",
        "counter",
        "Rows without a usable event time.",
        tables(|table| table.timeless),
    );
    page.metric(
        "weir_table_lost_total",
        "counter",
        "Records gone before the table had read them.",
        tables(|table| table.lost),
    );
    page.metric(
        "weir_table_standing_still",
        "gauge",
        "1 while the table's pipeline can't go on.",
        tables(|table| u64::from(table.trouble.is_some())),
    );
    rollups(&mut page, &status.tables);
    lookups(&mut page, &status.lookups);
    queues(&mut page, &status.queues);
    functions(&mut page, &status.functions);
    crawls(&mut page, &node.crawls().list());
    apis(&mut page, &node.crawls().apis());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page.0).into_response()
}

fn rollups(page: &mut Page, tables: &[weir_runtime::TableStatus]) {
    let values = |pick: fn(&RollupStatus) -> u64| -> Vec<(String, u64)> {
        let of = |table: &weir_runtime::TableStatus| Some((table.name.clone(), pick(table.rollup.as_ref()?)));
        tables.iter().filter_map(of).map(|(name, value)| (format!("{{table=\"{name}\"}}"), value)).collect()
    };
    let help = "Partitions that are not what the rollup's query would give now.";
    page.metric("weir_rollup_stale_partitions", "gauge", help, values(|rollup| rollup.stale));
    page.metric("weir_rollup_computed_total", "counter", "Partitions computed.", values(|rollup| rollup.computed));
    let help = "Partitions that could not be computed.";
    page.metric("weir_rollup_failures_total", "counter", help, values(|rollup| rollup.failures));
}

fn lookups(page: &mut Page, lookups: &[LookupStatus]) {
    let values = |pick: fn(&LookupStatus) -> u64| -> Vec<(String, u64)> {
        lookups.iter().map(|lookup| (format!("{{lookup=\"{}\"}}", lookup.name), pick(lookup))).collect()
    };
    let help = "Seconds since the source had the rows that are in use.";
    page.metric("weir_lookup_age_seconds", "gauge", help, values(|lookup| lookup.age_seconds));
    page.metric("weir_lookup_failures_total", "counter", "Readings that failed.", values(|lookup| lookup.failures));
    page.metric("weir_lookup_rows", "gauge", "Rows of the lookup.", values(|lookup| lookup.rows));
    page.metric("weir_lookup_bytes", "gauge", "Bytes of the rows in memory.", values(|lookup| lookup.bytes));
    let help = "Grows by one with each other content.";
    page.metric("weir_lookup_version", "gauge", help, values(|lookup| lookup.version.number));
}

fn archives(page: &mut Page, streams: &[StreamStatus]) {
    let values = |pick: fn(&ArchiveStatus) -> u64| -> Vec<(String, u64)> {
        let archives = streams.iter().filter_map(|stream| Some((&stream.name, stream.archive.as_ref()?)));
        archives.map(|(name, archive)| (format!("{{stream=\"{name}\"}}"), pick(archive))).collect()
    };
    let help = "Records of the stream not in its archive.";
    page.metric("weir_archive_behind_records", "gauge", help, values(|archive| archive.behind));
    page.metric("weir_archive_records", "gauge", "Records in the archive.", values(|archive| archive.records));
    page.metric("weir_archive_files", "gauge", "Files of the archive.", values(|archive| archive.files));
    page.metric("weir_archive_bytes", "gauge", "Bytes of the files.", values(|archive| archive.bytes));
    let help = "Records gone before they could be archived.";
    page.metric("weir_archive_missing_records", "gauge", help, values(|archive| archive.missing));
    let help = "1 while the archive can't go on.";
    page.metric("weir_archive_standing_still", "gauge", help, values(|archive| u64::from(archive.trouble.is_some())));
}

fn queues(page: &mut Page, queues: &[QueueStatus]) {
    let values = |pick: fn(&QueueStatus) -> u64| -> Vec<(String, u64)> {
        queues.iter().map(|queue| (format!("{{queue=\"{}\"}}", queue.name), pick(queue))).collect()
    };
    page.metric("weir_queue_ready", "gauge", "Messages that can be received.", values(|queue| queue.ready));
    page.metric("weir_queue_in_flight", "gauge", "Messages hidden by a lease.", values(|queue| queue.in_flight));
    page.metric("weir_queue_delayed", "gauge", "Messages whose delay is not over.", values(|queue| queue.delayed));
    page.metric("weir_queue_bytes", "gauge", "Bytes of the messages.", values(|queue| queue.bytes));
    page.metric("weir_queue_sent_total", "counter", "Messages sent.", values(|queue| queue.sent));
    page.metric("weir_queue_received_total", "counter", "Messages given out.", values(|queue| queue.received));
    page.metric("weir_queue_deleted_total", "counter", "Messages deleted.", values(|queue| queue.deleted));
    page.metric("weir_queue_dead_lettered_total", "counter", "Messages given up.", values(|queue| queue.dead_lettered));
    page.metric("weir_queue_expired_total", "counter", "Messages that grew too old.", values(|queue| queue.expired));
}

fn ledger(page: &mut Page, ledger: &LedgerStatus) {
    let checks = [("books", &ledger.books), ("files", &ledger.files)];
    let done = checks.into_iter().filter_map(|(depth, checked)| Some((depth, checked.as_ref()?)));
    let values = done.map(|(depth, checked)| (format!("{{depth=\"{depth}\"}}"), checked.findings + checked.incidents));
    let help = "What does not balance, and incidents that nobody has looked at, at the last check.";
    page.metric("weir_ledger_imbalance", "gauge", help, values);
    let help = "1 while nothing can be booked.";
    let stands = u64::from(ledger.trouble.is_some());
    page.metric("weir_ledger_standing_still", "gauge", help, [(String::new(), stands)]);
}

fn functions(page: &mut Page, functions: &[FunctionStatus]) {
    let values = |pick: fn(&FunctionStatus) -> u64| -> Vec<(String, u64)> {
        functions.iter().map(|function| (format!("{{function=\"{}\"}}", function.name), pick(function))).collect()
    };
    let help = "Records and messages that wait for the function.";
    page.metric("weir_function_behind", "gauge", help, values(|function| function.behind));
    page.metric("weir_function_runs_total", "counter", "Runs that succeeded.", values(|function| function.runs));
    page.metric(
        "weir_function_items_total",
        "counter",
        "Records and messages of these.",
        values(|function| function.items),
    );
    page.metric("weir_function_failures_total", "counter", "Runs that failed.", values(|function| function.failures));
    page.metric("weir_function_made_total", "counter", "Records made.", values(|function| function.made));
    let help = "Records and messages given up.";
    page.metric("weir_function_dead_lettered_total", "counter", help, values(|function| function.dead_lettered));
    let help = "Records gone before the function had read them.";
    page.metric("weir_function_lost_total", "counter", help, values(|function| function.lost));
    let help = "Environments that run an invocation.";
    page.metric("weir_function_running", "gauge", help, values(|function| function.running as u64));
    page.metric("weir_function_idle", "gauge", "Environments kept warm.", values(|function| function.idle as u64));
    page.metric(
        "weir_function_cold_starts_total",
        "counter",
        "Environments started.",
        values(|function| function.cold_starts),
    );
    page.metric(
        "weir_function_throttles_total",
        "counter",
        "Invocations refused.",
        values(|function| function.throttles),
    );
    let help = "1 while the function can't go on.";
    page.metric(
        "weir_function_standing_still",
        "gauge",
        help,
        values(|function| u64::from(function.trouble.is_some())),
    );
}

/// A crawl's run that is under way; one label beside its name has a few values, that of resources as many as the plan has.
fn crawls(page: &mut Page, crawls: &[CrawlStatus]) {
    let running: Vec<(&str, &RunStatus)> =
        crawls.iter().filter_map(|crawl| Some((crawl.crawl.as_str(), crawl.current.as_ref()?))).collect();
    let values = crawls.iter().map(|crawl| {
        let active = crawl.current.as_ref().is_some_and(|run| run.state.is_active());
        (format!("{{crawl=\"{}\"}}", crawl.crawl), u64::from(active))
    });
    page.metric("weir_crawl_running", "gauge", "1 while a run is under way.", values);
    let values = crawls.iter().map(|crawl| (format!("{{crawl=\"{}\"}}", crawl.crawl), crawl.skipped));
    page.metric("weir_crawl_skipped_total", "counter", "Starts left out because a run was under way.", values);
    let values = crawls.iter().map(|crawl| {
        let stands = crawl.trouble.is_some();
        (format!("{{crawl=\"{}\"}}", crawl.crawl), u64::from(stands))
    });
    page.metric("weir_crawl_standing_still", "gauge", "1 while the crawl can't run.", values);
    let of_steps = |pick: fn(&StepStatus) -> u64| {
        running.iter().flat_map(move |(crawl, run)| {
            run.steps
                .iter()
                .map(move |step| (format!("{{crawl=\"{crawl}\",resource=\"{}\"}}", step.resource), pick(step)))
        })
    };
    let help = "Tasks of the run that ended well.";
    page.metric("weir_crawl_tasks_done", "gauge", help, of_steps(|step| step.totals.done));
    let help = "Tasks of the run that have not ended.";
    page.metric("weir_crawl_tasks_waiting", "gauge", help, of_steps(|step| step.totals.waiting));
    let help = "Tasks of the run that became dead letters.";
    page.metric("weir_crawl_tasks_failed", "gauge", help, of_steps(|step| step.totals.failed));
    page.metric("weir_crawl_items", "gauge", "Items that the run brought.", of_steps(|step| step.totals.items));
    page.metric("weir_crawl_in_flight", "gauge", "Calls under way.", of_steps(|step| step.in_flight));
    let rates = running.iter().map(|(crawl, run)| (format!("{{crawl=\"{crawl}\"}}"), run.rate));
    page.measure("weir_crawl_calls_per_second", "Calls in a second, over the last seconds.", rates);
    let ends = running.iter().filter_map(|(crawl, run)| {
        let seconds = run.eta.as_ref()?.seconds?;
        Some((format!("{{crawl=\"{crawl}\"}}"), seconds))
    });
    page.measure("weir_crawl_eta_seconds", "Seconds until the run ends, most likely.", ends);
}

fn apis(page: &mut Page, apis: &[(ApiName, Budget)]) {
    let label = |name: &ApiName, more: &str| format!("{{api=\"{name}\"{more}}}");
    let outcomes = apis.iter().flat_map(|(name, budget)| {
        [("answered", budget.answered), ("throttled", budget.throttled), ("failed", budget.failed)]
            .map(|(outcome, count)| (label(name, &format!(",outcome=\"{outcome}\"")), count))
    });
    page.metric("weir_api_calls_total", "counter", "Calls since the start, by what became of them.", outcomes);
    let counts = |pick: fn(&Budget) -> u64| apis.iter().map(move |(name, budget)| (label(name, ""), pick(budget)));
    page.metric("weir_api_in_flight", "gauge", "Calls under way.", counts(|budget| budget.in_flight.into()));
    page.metric("weir_api_waiting", "gauge", "Calls that wait for their turn.", counts(|budget| budget.waiting));
    let help = "Calls that may be under way at once.";
    page.metric("weir_api_concurrency", "gauge", help, counts(|budget| budget.concurrency.into()));
    let help = "Calls a second that are allowed now; missing without a limit.";
    let paces = apis.iter().filter_map(|(name, budget)| Some((label(name, ""), budget.pace?)));
    page.measure("weir_api_pace", help, paces);
    let delivered = apis.iter().map(|(name, budget)| (label(name, ""), budget.delivered));
    page.measure("weir_api_calls_per_second", "Calls a second that were answered in the last seconds.", delivered);
    let states = apis.iter().flat_map(|(name, budget)| {
        [("closed", BreakerState::Closed), ("open", BreakerState::Open), ("recovering", BreakerState::Recovering)]
            .map(|(word, state)| (label(name, &format!(",state=\"{word}\"")), u64::from(budget.breaker == state)))
    });
    page.metric("weir_api_breaker", "gauge", "1 for the breaker's state.", states);
    let quotas = apis.iter().flat_map(|(name, budget)| {
        budget.quotas.iter().map(|quota| (label(name, &format!(",quota=\"{}\"", quota.quota)), quota.left))
    });
    page.metric("weir_api_quota_left", "gauge", "Calls that are left of the quota's period.", quotas);
}

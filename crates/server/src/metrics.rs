//! The status in Prometheus's text format, version 0.0.4.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use weir_runtime::Node;

struct Page(String);

impl Page {
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
    let streams = |pick: fn(&weir_runtime::StreamStatus) -> u64| -> Vec<(String, u64)> {
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
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page.0).into_response()
}

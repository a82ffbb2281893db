//! Replays, for people.

use std::time::Duration;

use serde_json::Value;
use weir_types::{ByteSize, Timestamp};

use crate::output;

/// Partitions that a preview shows.
const PARTITIONS_SHOWN: usize = 12;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> String {
    output::count(value.as_u64().unwrap_or_default())
}

fn time(value: &Value) -> Option<String> {
    value.as_i64().map(|ms| Timestamp(ms).to_string())
}

fn rows_of<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn window(run: &Value) -> String {
    let window = &run["window"];
    let kind = if window["event_time"] == true { "event time" } else { "arrived" };
    match (time(&window["since"]), time(&window["until"])) {
        (None, None) => "all that is there".to_owned(),
        (Some(since), None) => format!("{kind} from {since} on"),
        (None, Some(until)) => format!("{kind} before {until}"),
        (Some(since), Some(until)) => format!("{kind} from {since} to {until}"),
    }
}

fn share(run: &Value) -> String {
    let (behind, records) = (run["behind"].as_u64().unwrap_or_default(), run["records"].as_u64().unwrap_or_default());
    match records {
        0 => "100%".to_owned(),
        records => format!("{}%", behind.min(records) * 100 / records),
    }
}

fn span(ms: u64) -> String {
    indicatif::HumanDuration(Duration::from_secs(ms.div_ceil(1000))).to_string()
}

/// Writes the runs as a table.
pub fn list(answer: &Value) -> String {
    let runs = rows_of(answer, "replays");
    if runs.is_empty() {
        return "no replays\n".to_owned();
    }
    let rows = runs.iter().map(|run| {
        let targets: Vec<String> = rows_of(run, "targets").iter().map(|target| text(&target["target"])).collect();
        vec![
            text(&run["id"]),
            format!("{} of {}", text(&run["from"]), text(&run["stream"])),
            targets.join(", "),
            text(&run["state"]),
            share(run),
            number(&run["records"]),
            time(&run["began_at"]).unwrap_or_default(),
        ]
    });
    output::aligned(&["replay", "from", "to", "state", "done", "records", "began"], &[4, 5], rows) + "\n"
}

/// Writes one run, and what became of its records.
pub fn render(run: &Value) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            out.push_str(&format!("{name:<10}{value}\n"));
        }
    };
    line("replay", text(&run["id"]));
    line("records", format!("{} of {}, {}", text(&run["from"]), text(&run["stream"]), window(run)));
    let state = match run["reason"].as_str() {
        Some(reason) => format!("failed: {reason}"),
        None => text(&run["state"]),
    };
    line("state", format!("{state}, {} of {} records", number(&run["behind"]), number(&run["records"])));
    line("rate", text(&run["rate"]));
    line("began", time(&run["began_at"]).unwrap_or_default());
    line("ended", time(&run["ended_at"]).unwrap_or_default());
    if let Some(speed) = run["speed"].as_f64() {
        line("speed", format!("{} records/s", output::count(speed as u64)));
    }
    if let Some(left) = run["left_ms"].as_u64() {
        line("left", span(left));
    }
    let names = ["rows", "added", "replaced", "unchanged", "refused", "dead_lettered", "passed_over", "lost", "untold"];
    let targets = rows_of(run, "targets");
    // Columns that are nothing but zero say nothing.
    let always = ["rows", "added", "replaced", "unchanged"];
    let told = |name: &&str| always.contains(name) || targets.iter().any(|target| target[*name].as_u64() > Some(0));
    let columns: Vec<&str> = names.iter().copied().filter(|name| told(name)).collect();
    let header: Vec<String> = ["target", "read", "durable"]
        .into_iter()
        .chain(columns.iter().copied())
        .map(|name| name.replace('_', " "))
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows = targets.iter().map(|target| {
        let mut row = vec![text(&target["target"]), number(&target["read"]), number(&target["durable"])];
        row.extend(columns.iter().map(|name| number(&target[*name])));
        row
    });
    out.push_str(&output::table(&header, rows));
    out.push('\n');
    for target in targets {
        if let Some(trouble) = target["trouble"].as_str() {
            out.push_str(&format!("{}: {trouble}\n", text(&target["target"])));
        }
    }
    out
}

/// Writes what a run would come to.
pub fn preview(preview: &Value) -> String {
    let about = if preview["exact"] == true { "" } else { "about " };
    let mut out = format!(
        "{about}{} records ({about}{}) {} of {}, {}\n",
        number(&preview["records"]),
        ByteSize(preview["bytes"].as_u64().unwrap_or_default()),
        text(&preview["from"]),
        text(&preview["stream"]),
        window(preview),
    );
    if preview["records_read"] != preview["records"] {
        out.push_str(&format!("{} records have to be read for that\n", number(&preview["records_read"])));
    }
    for target in rows_of(preview, "targets") {
        out.push_str(&format!("to {}", text(&target["target"])));
        if let Some(rows) = target["rows"].as_u64() {
            out.push_str(&format!(
                ": {about}{} rows in {}{} partitions",
                output::count(rows),
                if about.is_empty() { "" } else { "at least " },
                number(&target["partitions"])
            ));
        }
        if target["dead_lettered"].as_u64() > Some(0) {
            out.push_str(&format!("; the function fails on {about}{}", number(&target["dead_lettered"])));
        }
        out.push('\n');
        let listed = rows_of(target, "listed");
        let mut line = |partition: &Value| {
            out.push_str(&format!("  {}  {about}{} rows\n", text(&partition["partition"]), number(&partition["rows"])));
        };
        if listed.len() <= PARTITIONS_SHOWN {
            listed.iter().for_each(&mut line);
        } else {
            listed[..PARTITIONS_SHOWN / 2].iter().for_each(&mut line);
            let last = &listed[listed.len() - PARTITIONS_SHOWN / 2..];
            last.iter().for_each(&mut line);
            let rest = target["partitions"].as_u64().unwrap_or_default() - PARTITIONS_SHOWN as u64;
            out.push_str(&format!("  and {} between them; --json lists them\n", output::count(rest)));
        }
    }
    match preview["expected_ms"].as_u64() {
        Some(ms) => out.push_str(&format!("it would take about {}, by {}\n", span(ms), text(&preview["expected_by"]))),
        None => out.push_str(&format!("how long it would take is told by {}\n", text(&preview["expected_by"]))),
    }
    if preview["exact"] != true {
        out.push_str("the figures are those of a sample; partitions with few rows may be missing\n");
    }
    for note in rows_of(preview, "notes") {
        out.push_str(&format!("note: {}\n", text(note)));
    }
    out
}

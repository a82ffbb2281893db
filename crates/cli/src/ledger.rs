//! `weir ledger`: whether everything balances, hop by hop.

use std::collections::BTreeMap;

use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;
use weir_server::{AcceptRequest, LedgerQuery};

use crate::client::{self, Client, ServerArgs};
use crate::exit::Exit;
use crate::output;

/// Findings that are written out for people.
const SHOWN_MAX: usize = 20;
/// Ids of one finding that are written out for people.
const IDS_SHOWN_MAX: usize = 10;

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    show: Show,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say that an incident, or what a table holds, was looked at and is as it should be
    Accept(Accept),
}

#[derive(Debug, ClapArgs)]
struct Show {
    #[command(flatten)]
    server: ServerArgs,
    /// From this hour on (2026-11-26T10), or this long ago (24h)
    #[arg(long)]
    since: Option<String>,
    /// Before this hour, or this long ago
    #[arg(long)]
    until: Option<String>,
    /// One hop: door, stream, function, table, archive or dead_letters
    #[arg(long)]
    hop: Option<String>,
    /// One table
    #[arg(long, conflicts_with = "stream")]
    table: Option<String>,
    /// One stream
    #[arg(long)]
    stream: Option<String>,
    /// Read the files, archives and dead letters too, and name what is wrong
    #[arg(long)]
    verify: bool,
    /// Show each hour by itself
    #[arg(long)]
    hours: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct Accept {
    #[command(flatten)]
    server: ServerArgs,
    /// An incident's number
    #[arg(required_unless_present = "table")]
    incident: Option<u64>,
    /// A table: what it holds is what it should hold from here on
    #[arg(long, conflicts_with = "incident")]
    table: Option<String>,
    /// What you found
    #[arg(long)]
    note: String,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Some(Command::Accept(args)) => accept(args),
        None => show(args.show),
    }
}

fn accept(args: Accept) -> anyhow::Result<Exit> {
    let client = Client::new(&args.server)?;
    let request = AcceptRequest { incident: args.incident, table: args.table, note: args.note };
    client::block_on(async {
        let body = serde_json::to_vec(&request)?;
        let request = client.post("/v1/ledger/accept").header("content-type", "application/json").body(body);
        client.send(request).await?;
        Ok(())
    })?;
    Ok(Exit::Done)
}

fn show(args: Show) -> anyhow::Result<Exit> {
    let client = Client::new(&args.server)?;
    let name = args.table.or(args.stream);
    let query = LedgerQuery { since: args.since, until: args.until, hop: args.hop, name, verify: args.verify };
    let report: Value = client::block_on(async {
        let response = client.send(client.get("/v1/ledger").query(&query)).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    })?;
    if args.json {
        output::data(&format!("{report}\n"))?;
    } else {
        output::data(&render(&report, args.hours))?;
    }
    let balanced = report["balanced"].as_bool().unwrap_or_default();
    Ok(if balanced { Exit::Done } else { Exit::Unbalanced })
}

const COUNTS: [(&str, &str); 11] = [
    ("records_in", "in"),
    ("out", "out"),
    ("deduplicated", "deduplicated"),
    ("dead_lettered", "dead-lettered"),
    ("refused", "refused"),
    ("filtered", "filtered"),
    ("others", "others"),
    ("lost", "lost"),
    ("in_flight", "in flight"),
    ("unbooked", "unbooked"),
    ("balance", "balance"),
];
/// Counts that are shown even where all are zero.
const ALWAYS: [&str; 6] = ["records_in", "out", "deduplicated", "dead_lettered", "in_flight", "balance"];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn count(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", output::count(number.unsigned_abs()))
}

/// The hour of an hour since 1970, as it is written.
fn hour(value: &Value) -> String {
    value.as_i64().map(|hour| weir_types::Hour(hour).to_string()).unwrap_or_default()
}

fn render(report: &Value, hours: bool) -> String {
    let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let hops = ["door", "stream", "function", "table", "archive", "dead_letters"];
    let place = |hop: &str| hops.iter().position(|known| *known == hop).unwrap_or(hops.len());
    let mut rows: BTreeMap<(usize, String, String, String), Vec<i64>> = BTreeMap::new();
    for line in list("lines") {
        let from = match text(&line["from"]).strip_prefix("stream/") {
            Some(from) if from != text(&line["name"]) => format!(" < {from}"),
            _ => String::new(),
        };
        let hop = text(&line["hop"]);
        let of_hour = if hours { hour(&line["hour"]) } else { String::new() };
        let key = (place(hop), hop.to_owned(), format!("{}{from}", text(&line["name"])), of_hour);
        let sums = rows.entry(key).or_insert_with(|| vec![0; COUNTS.len()]);
        for (sum, (field, _)) in sums.iter_mut().zip(COUNTS) {
            *sum += line[field].as_i64().unwrap_or_default();
        }
    }
    let used = |index: usize| ALWAYS.contains(&COUNTS[index].0) || rows.values().any(|sums| sums[index] != 0);
    let shown: Vec<usize> = (0..COUNTS.len()).filter(|index| used(*index)).collect();
    let mut header = vec!["hop", "name"];
    if hours {
        header.push("hour");
    }
    let first = header.len();
    header.extend(shown.iter().map(|index| COUNTS[*index].1));
    let numbers: Vec<usize> = (first..header.len()).collect();
    let cells = rows.iter().map(|((_, hop, name, hour), sums)| {
        let mut cells = vec![hop.clone(), name.clone()];
        if hours {
            cells.push(hour.clone());
        }
        cells.extend(shown.iter().map(|index| count(sums[*index])));
        cells
    });
    let mut out = output::aligned(&header, &numbers, cells);
    out.push('\n');
    for finding in list("findings").iter().take(SHOWN_MAX) {
        out.push_str(&render_finding(finding));
    }
    let more = list("findings").len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        out.push_str(&format!("... and {more} findings more; --json has all\n"));
    }
    for incident in list("incidents") {
        let number = incident["number"].as_u64().unwrap_or_default();
        out.push_str(&format!(
            "incident {number}: {} {}: {}\n  next: weir ledger accept {number} --note '...' once it is understood\n",
            text(&incident["hop"]),
            text(&incident["name"]),
            text(&incident["what"])
        ));
    }
    for unchecked in list("unchecked") {
        out.push_str(&format!("not checked: {}\n", text(&unchecked)));
    }
    let verdict =
        match (report["balanced"].as_bool().unwrap_or_default(), report["verified"].as_bool().unwrap_or_default()) {
            (true, true) => "everything balances, files included\n",
            (true, false) => "everything balances\n",
            (false, _) => "it does not balance\n",
        };
    out.push_str(verdict);
    out
}

fn render_finding(finding: &Value) -> String {
    let mut at = vec![text(&finding["hop"]).to_owned(), text(&finding["name"]).to_owned()];
    at.push(hour(&finding["hour"]));
    at.extend(finding["partition"].as_str().map(|partition| format!("partition {partition}")));
    at.retain(|part| !part.is_empty());
    let mut out = format!("{}: {}\n", at.join(" "), text(&finding["what"]));
    let ids = finding["ids"].as_array().cloned().unwrap_or_default();
    for id in ids.iter().take(IDS_SHOWN_MAX) {
        let place = match (id["log"].as_str(), id["sequence"].as_u64()) {
            (Some(log), Some(sequence)) => format!(" {log}@{sequence}"),
            _ => String::new(),
        };
        let arrived = hour(&id["hour"]);
        let arrived = if arrived.is_empty() { arrived } else { format!(" of {arrived}") };
        out.push_str(&format!("  {} {}{place}{arrived}\n", text(&id["wrong"]), text(&id["id"])));
    }
    let more = ids.len().saturating_sub(IDS_SHOWN_MAX);
    if more > 0 || finding["more"].as_bool().unwrap_or_default() {
        out.push_str("  ... and more; --json has those that are named\n");
    }
    if !text(&finding["next"]).is_empty() {
        out.push_str(&format!("  next: {}\n", text(&finding["next"])));
    }
    out
}

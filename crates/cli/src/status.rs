//! `weir status`: what runs, and how far it is.

use clap::Args as ClapArgs;
use serde_json::Value;
use weir_types::{ByteSize, Timestamp};

use crate::client::{self, Client, ServerArgs};
use crate::exit::Exit;
use crate::output;

/// Partitions of a table that are shown; the query `select * from weir.partitions` shows all.
const PARTITIONS_SHOWN: usize = 5;

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.server)?;
    let status: Value = client::block_on(async {
        let response = client.send(client.get("/v1/status")).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    })?;
    if args.json {
        output::data(&format!("{status}\n"))?;
    } else {
        output::data(&render(&status))?;
    }
    Ok(Exit::Done)
}

fn number(value: &Value) -> String {
    output::count(value.as_u64().unwrap_or_default())
}

fn bytes(value: &Value) -> String {
    ByteSize(value.as_u64().unwrap_or_default()).to_string()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The newest partitions of a table that has any.
fn partition_rows(table: &Value) -> Vec<Vec<String>> {
    let partitions = table["partitions"].as_array().cloned().unwrap_or_default();
    let partitions = partitions.iter().filter(|partition| partition["day"].is_string()).take(PARTITIONS_SHOWN);
    let rows = partitions.map(|partition| {
        let hour = partition["hour"].as_u64().map(|hour| format!(" {hour:02}h")).unwrap_or_default();
        let yes = |name: &str| partition[name].as_bool().unwrap_or_default();
        let state = match (yes("is_final"), yes("is_compact")) {
            (true, true) => "final, compact",
            (true, false) => "final",
            (false, true) => "open, compact",
            (false, false) => "open",
        };
        vec![
            format!("{} {}{hour}", text(&table["name"]), text(&partition["day"])),
            number(&partition["files"]),
            number(&partition["small_files"]),
            partition["rows"].as_u64().map_or_else(|| "unknown".to_owned(), output::count),
            bytes(&partition["bytes"]),
            partition["final_after"].as_i64().map_or_else(|| "never".to_owned(), |at| Timestamp(at).to_string()),
            state.to_owned(),
        ]
    });
    rows.collect()
}

fn render(status: &Value) -> String {
    let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let mut out = format!(
        "weir {}  data in {}  log {}\n",
        text(&status["version"]),
        text(&status["data"]),
        bytes(&status["log_bytes"])
    );
    let streams = list("streams");
    if !streams.is_empty() {
        let rows = streams.iter().map(|stream| {
            vec![
                text(&stream["name"]),
                stream["shards"].as_array().map_or(0, Vec::len).to_string(),
                number(&stream["records"]),
                bytes(&stream["bytes"]),
                number(&stream["received"]),
                number(&stream["stored"]),
                number(&stream["repeated"]),
                number(&stream["refused"]),
            ]
        });
        let header = ["stream", "shards", "records", "bytes", "received", "stored", "repeated", "refused"];
        out.push_str(&output::table(&header, rows));
        out.push('\n');
    }
    let archived: Vec<&Value> = streams.iter().filter(|stream| stream["archive"].is_object()).collect();
    if !archived.is_empty() {
        let rows = archived.iter().map(|stream| {
            let archive = &stream["archive"];
            let at = archive["archived_to"].as_i64().map_or(String::new(), |at| weir_types::Timestamp(at).to_string());
            let counts = ["behind", "records", "files"].map(|name| number(&archive[name]));
            let names = [text(&stream["name"]), at, text(&archive["closed"])];
            names.into_iter().chain(counts).chain([bytes(&archive["bytes"])]).collect()
        });
        let header = ["archive", "archived to", "closed", "behind", "records", "files", "bytes"];
        out.push_str(&output::aligned(&header, &[3, 4, 5, 6], rows));
        out.push('\n');
    }
    let queues = list("queues");
    if !queues.is_empty() {
        let rows = queues.iter().map(|queue| {
            let counts = ["ready", "in_flight", "delayed", "sent", "deleted", "dead_lettered"];
            std::iter::once(text(&queue["name"])).chain(counts.iter().map(|name| number(&queue[*name]))).collect()
        });
        let header = ["queue", "ready", "in flight", "delayed", "sent", "deleted", "dead-lettered"];
        out.push_str(&output::table(&header, rows));
        out.push('\n');
    }
    let functions = list("functions");
    if !functions.is_empty() {
        let rows = functions.iter().map(|function| {
            let counts = ["behind", "items", "made", "failures", "dead_lettered", "running", "idle"];
            let names = [text(&function["name"]), text(&function["on"])];
            names.into_iter().chain(counts.iter().map(|name| number(&function[*name]))).collect()
        });
        let header = ["function", "on", "behind", "done", "made", "failures", "dead-lettered", "running", "idle"];
        out.push_str(&output::table(&header, rows));
        out.push('\n');
    }
    let files = list("files");
    if !files.is_empty() {
        let rows = files.iter().map(|files| {
            let counts = ["seen", "taken", "failed", "waiting"];
            let names = [text(&files["name"]), text(&files["location"])];
            names.into_iter().chain(counts.iter().map(|name| number(&files[*name]))).collect()
        });
        out.push_str(&output::table(&["files", "location", "seen", "taken", "failed", "waiting"], rows));
        out.push('\n');
    }
    let tables = list("tables");
    if !tables.is_empty() {
        let rows = tables.iter().map(|table| {
            vec![
                text(&table["name"]),
                number(&table["version"]),
                number(&table["rows"]),
                number(&table["files"]),
                bytes(&table["bytes"]),
                number(&table["pending"]),
                number(&table["behind"]),
                number(&table["repeats"]),
                number(&table["late"]),
                number(&table["timeless"]),
            ]
        });
        let header = ["table", "version", "rows", "files", "bytes", "pending", "behind", "repeats", "late", "timeless"];
        out.push_str(&output::table(&header, rows));
        out.push('\n');
    }
    let partitions: Vec<Vec<String>> = tables.iter().flat_map(partition_rows).collect();
    if !partitions.is_empty() {
        let header = ["partition", "files", "small", "rows", "bytes", "final after", "state"];
        out.push_str(&output::table(&header, partitions));
        out.push('\n');
    }
    let rollups: Vec<&Value> = tables.iter().filter(|table| table["rollup"].is_object()).collect();
    if !rollups.is_empty() {
        let rows = rollups.iter().map(|table| {
            let rollup = &table["rollup"];
            let counts = ["stale", "computed", "failures"];
            let names = [text(&table["name"]), text(&rollup["source"])];
            names.into_iter().chain(counts.iter().map(|name| number(&rollup[*name]))).collect()
        });
        let header = ["rollup", "of", "stale partitions", "computed", "failures"];
        out.push_str(&output::table(&header, rows));
        out.push('\n');
    }
    let lookups = list("lookups");
    if !lookups.is_empty() {
        out.push_str(&crate::lookup::table(&lookups));
        out.push('\n');
    }
    // Of a server of another version, what is not understood is left out.
    let crawls: Vec<weir_crawl::status::CrawlStatus> =
        serde_json::from_value(status["crawls"].clone()).unwrap_or_default();
    if !crawls.is_empty() {
        out.push_str(&crate::crawl::list(&crawls));
    }
    for stream in &archived {
        let archive = &stream["archive"];
        if archive["missing"].as_u64().unwrap_or_default() > 0 {
            let missing = number(&archive["missing"]);
            out.push_str(&format!("archive of {} lacks {missing} records that are gone\n", text(&stream["name"])));
        }
        if let Some(trouble) = archive["trouble"].as_str() {
            out.push_str(&format!("archive of {}: {trouble}\n", text(&stream["name"])));
        }
    }
    for function in &functions {
        if function["lost"].as_u64().unwrap_or_default() > 0 {
            out.push_str(&format!(
                "function {} lacks {} records that are gone\n",
                text(&function["name"]),
                number(&function["lost"])
            ));
        }
        if let Some(trouble) = function["trouble"].as_str() {
            out.push_str(&format!("function {} stands still: {trouble}\n", text(&function["name"])));
        }
    }
    for files in &files {
        if let Some(trouble) = files["trouble"].as_str() {
            out.push_str(&format!("files {} stand still: {trouble}\n", text(&files["name"])));
        }
    }
    for crawl in &crawls {
        if let Some(trouble) = &crawl.trouble {
            out.push_str(&format!("crawl {} stands still: {trouble}\n", crawl.crawl));
        }
    }
    for table in &tables {
        if table["lost"].as_u64().unwrap_or_default() > 0 {
            out.push_str(&format!(
                "table {} lacks {} records that are gone\n",
                text(&table["name"]),
                number(&table["lost"])
            ));
        }
        if let Some(trouble) = table["trouble"].as_str() {
            out.push_str(&format!("table {} stands still: {trouble}\n", text(&table["name"])));
        }
        if let Some(run) = table["run"]["run"].as_u64() {
            out.push_str(&format!(
                "table {} gathers run {run}: {} rows so far, unseen until it is complete\n",
                text(&table["name"]),
                number(&table["run"]["rows"])
            ));
        }
        if let Some(note) = table["run"]["note"].as_str() {
            out.push_str(&format!("table {}: {note}\n", text(&table["name"])));
        }
        if let Some(trouble) = table["compaction_trouble"].as_str() {
            out.push_str(&format!("table {} is not compacted: {trouble}\n", text(&table["name"])));
        }
    }
    let ledger = &status["ledger"];
    for (depth, what) in [("books", "the ledger's books"), ("files", "the files")] {
        let wrong = ledger[depth]["findings"].as_u64().unwrap_or_default()
            + ledger[depth]["incidents"].as_u64().unwrap_or_default();
        if wrong > 0 {
            let first = text(&ledger[depth]["first"]);
            out.push_str(&format!("{what} do not balance: {first} ({wrong} in all; see `weir ledger`)\n"));
        }
    }
    if let Some(trouble) = ledger["trouble"].as_str() {
        out.push_str(&format!("the ledger stands still: {trouble}\n"));
    }
    if let Some(trouble) = status["redrive_trouble"].as_str() {
        out.push_str(&format!("redriven dead letters stand still: {trouble}\n"));
    }
    for lookup in &lookups {
        if let Some(failing) = lookup["failing"].as_str() {
            out.push_str(&format!("lookup {} could not be refreshed: {failing}\n", text(&lookup["name"])));
        }
    }
    out
}

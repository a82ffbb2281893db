//! `weir lookup`: reference data, how fresh it is, and reading it again.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;
use weir_types::Timestamp;

use crate::client::{self, Client, ServerArgs};
use crate::exit::Exit;
use crate::output;

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List lookups, their versions and their age
    List {
        #[command(flatten)]
        server: ServerArgs,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a lookup: where it comes from, its columns, why it is old
    Show {
        /// The lookup
        lookup: String,
        #[command(flatten)]
        server: ServerArgs,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Read a lookup again, now; its last good rows stay if that fails
    Refresh {
        /// The lookup
        lookup: String,
        #[command(flatten)]
        server: ServerArgs,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::List { server, json } => {
            let answer = ask(&server, "/v1/lookups", false)?;
            let lookups = answer["lookups"].as_array().cloned().unwrap_or_default();
            output::data(&if json { format!("{answer}\n") } else { table(&lookups) })?;
        }
        Command::Show { lookup, server, json } => {
            let answer = ask(&server, &format!("/v1/lookups/{lookup}"), false)?;
            output::data(&if json { format!("{answer}\n") } else { shown(&answer) })?;
        }
        Command::Refresh { lookup, server, json } => {
            let answer = ask(&server, &format!("/v1/lookups/{lookup}/refresh"), true)?;
            output::data(&if json { format!("{answer}\n") } else { table(&[answer["lookup"].clone()]) })?;
        }
    }
    Ok(Exit::Done)
}

fn ask(server: &ServerArgs, path: &str, post: bool) -> anyhow::Result<Value> {
    let client = Client::new(server)?;
    client::block_on(async {
        let request = if post { client.post(path) } else { client.get(path) };
        let response = client.send(request).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    })
}

/// Lays out lookups as a table, as `weir status` has it.
pub fn table(lookups: &[Value]) -> String {
    let rows = lookups.iter().map(|lookup| {
        let age = std::time::Duration::from_secs(lookup["age_seconds"].as_u64().unwrap_or_default());
        vec![
            text(&lookup["name"]),
            lookup["version"]["number"].to_string(),
            lookup["rows"].to_string(),
            weir_types::span::display(age),
            lookup["failures"].to_string(),
        ]
    });
    output::table(&["lookup", "version", "rows", "age", "failures"], rows)
}

fn shown(answer: &Value) -> String {
    let lookup = &answer["lookup"];
    let mut out = table(std::slice::from_ref(lookup));
    out.push('\n');
    let columns = answer["columns"].as_array().cloned().unwrap_or_default();
    let rows = columns.iter().map(|column| vec![text(&column["name"]), text(&column["type"])]);
    out.push_str(&output::aligned(&["column", "type"], &[], rows));
    out.push('\n');
    let line = |label: &str, value: String| format!("{label:<11}{value}\n");
    out.push_str(&line("from", text(&lookup["source"])));
    let read = format!("{} (the same until {})", time(&lookup["loaded_at"]), time(&lookup["confirmed_at"]));
    out.push_str(&line("read", read));
    if !lookup["next_at"].is_null() {
        out.push_str(&line("next", time(&lookup["next_at"])));
    }
    if let Some(failing) = lookup["failing"].as_str() {
        out.push_str(&line("failing", failing.to_owned()));
    }
    for column in lookup["new_columns"].as_array().into_iter().flatten() {
        out.push_str(&line("new", format!("column {}: restart weir to use it", text(column))));
    }
    out
}

/// Times are milliseconds in JSON.
fn time(value: &Value) -> String {
    value.as_i64().map_or_else(|| text(value), |ms| Timestamp(ms).to_string())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

//! `weir function`: what runs, what it said, and which version.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};

use crate::client::{self, Client, ServerArgs};
use crate::exit::Exit;
use crate::output;

/// How long one request waits for lines.
const WAIT: &str = "15s";

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List functions that are handlers, or write to streams and queues
    List {
        #[command(flatten)]
        server: ServerArgs,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
        /// Show what confines handlers on this machine
        #[arg(long)]
        confinement: bool,
    },
    /// Invoke a handler with an event, and print what it returns
    Invoke {
        /// The function; `NAME:3` is its version 3, `NAME:ALIAS` that of an alias
        function: String,
        /// The event, JSON; `-` is standard input
        #[arg(default_value = "{}")]
        event: String,
        /// Read the event from a file
        #[arg(long, value_name = "FILE", conflicts_with = "event")]
        file: Option<PathBuf>,
        /// Keep the event and return: it runs by itself, and again if it fails
        #[arg(long)]
        later: bool,
        /// Print the end of what it logged, too
        #[arg(long)]
        logs: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Print what a handler logged
    Logs {
        /// The function
        function: String,
        /// Go on when the end is reached, until interrupted
        #[arg(long, short)]
        follow: bool,
        /// How many of the last lines to begin with
        #[arg(long, short = 'n', default_value_t = 100)]
        limit: usize,
        /// Only lines of this invocation
        #[arg(long, value_name = "ID")]
        request: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
        /// Print each line as JSON
        #[arg(long)]
        json: bool,
    },
    /// List a handler's versions
    Versions {
        /// The function
        function: String,
        #[command(flatten)]
        server: ServerArgs,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make an older version of a handler live
    Rollback {
        /// The function
        function: String,
        /// The version [default: the one before]
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Read a handler's code again; new code drains the old
    Deploy {
        /// The function
        function: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// The function failed, or could not run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FunctionFailed(String);

pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::List { server, json, confinement } => {
            let answer = get(&server, "/v1/functions")?;
            let shown = match (json, confinement) {
                (true, _) => format!("{answer}\n"),
                (false, true) => confined(&answer),
                (false, false) => list(&answer),
            };
            output::data(&shown)?;
            Ok(Exit::Done)
        }
        Command::Invoke { function, event, file, later, logs, server } => {
            let event = match file {
                Some(path) => std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?,
                None if event == "-" => {
                    let mut text = String::new();
                    std::io::stdin().read_to_string(&mut text).context("read the event from standard input")?;
                    text
                }
                None => event,
            };
            invoke(&server, &function, event, later, logs)
        }
        Command::Logs { function, follow, limit, request, server, json } => {
            show_logs(&server, &function, follow, limit, request.as_deref(), json)
        }
        Command::Versions { function, server, json } => {
            let answer = get(&server, &format!("/v1/functions/{function}/versions"))?;
            output::data(&if json { format!("{answer}\n") } else { versions(&answer) })?;
            Ok(Exit::Done)
        }
        Command::Rollback { function, to, server } => {
            let body = json!({ "to": to });
            let answer = post(&server, &format!("/v1/functions/{function}/rollback"), &body)?;
            output::note(&format!("version {} of {function} is live", answer["live"]));
            Ok(Exit::Done)
        }
        Command::Deploy { function, server } => {
            let answer = post(&server, &format!("/v1/functions/{function}/deploy"), &json!({}))?;
            output::note(&format!("version {} of {function} is live", answer["live"]));
            Ok(Exit::Done)
        }
    }
}

fn get(server: &ServerArgs, path: &str) -> anyhow::Result<Value> {
    let client = Client::new(server)?;
    client::block_on(async {
        let response = client.send(client.get(path)).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    })
}

fn post(server: &ServerArgs, path: &str, body: &Value) -> anyhow::Result<Value> {
    let client = Client::new(server)?;
    client::block_on(async {
        let request = client.post(path).header("content-type", "application/json").body(body.to_string());
        let response = client.send(request).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    })
}

fn invoke(server: &ServerArgs, function: &str, event: String, later: bool, logs: bool) -> anyhow::Result<Exit> {
    let client = Client::new(server)?;
    client::block_on(async {
        let mut request = client.post(&format!("/2015-03-31/functions/{function}/invocations")).body(event);
        if later {
            request = request.header("x-amz-invocation-type", "Event");
        }
        if logs {
            request = request.header("x-amz-log-type", "Tail");
        }
        let response = client.answer(request).await?;
        let status = response.status();
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let (failed, log) = (header("x-amz-function-error"), header("x-amz-log-result"));
        let body = response.bytes().await?;
        if !status.is_success() {
            let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let message =
                answer["Message"].as_str().map_or_else(|| format!("the server answered {status}"), str::to_owned);
            return Err(anyhow!(FunctionFailed(message)));
        }
        if let Some(log) = log.and_then(|log| decode(&log)) {
            output::note(log.trim_end());
        }
        if later {
            output::note("the event is kept, and runs by itself");
            return Ok(Exit::Done);
        }
        output::bytes(&body)?;
        output::data("\n")?;
        Ok(if failed.is_some() { Exit::Refused } else { Exit::Done })
    })
}

fn decode(text: &str) -> Option<String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn show_logs(
    server: &ServerArgs,
    function: &str,
    follow: bool,
    limit: usize,
    request: Option<&str>,
    json: bool,
) -> anyhow::Result<Exit> {
    let client = Client::new(server)?;
    client::block_on(async {
        let mut after: Option<u64> = None;
        loop {
            let mut parameters = vec![("limit", limit.to_string())];
            parameters.extend(after.map(|after| ("after", after.to_string())));
            parameters.extend(request.map(|request| ("request", request.to_owned())));
            if follow && after.is_some() {
                parameters.push(("wait", WAIT.to_owned()));
            }
            let response =
                client.send(client.get(&format!("/v1/functions/{function}/logs")).query(&parameters)).await?;
            let answer: Value = serde_json::from_slice(&response.bytes().await?)?;
            let lines = answer["lines"].as_array().cloned().unwrap_or_default();
            let text: String =
                lines.iter().map(|line| if json { format!("{line}\n") } else { log_line(line) }).collect();
            output::data(&text)?;
            after = answer["next"].as_u64();
            if !follow {
                return Ok(Exit::Done);
            }
        }
    })
}

fn log_line(line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    let request: String = text("request_id").chars().take(8).collect();
    format!("{} {request:8} {}\n", text("time"), text("text"))
}

fn list(answer: &Value) -> String {
    let functions = answer["functions"].as_array().cloned().unwrap_or_default();
    let count = |value: &Value| output::count(value.as_u64().unwrap_or_default());
    let rows = functions.iter().map(|function| {
        let text = |name: &str| function[name].as_str().unwrap_or_default().to_owned();
        let version = function["version"].as_u64().map_or_else(String::new, |version| version.to_string());
        let counts = ["behind", "items", "made", "failures", "dead_lettered", "running", "idle"];
        let mut row = vec![text("name"), text("kind"), text("on"), version];
        row.extend(counts.iter().map(|name| count(&function[*name])));
        row
    });
    let header =
        ["function", "kind", "on", "version", "behind", "done", "made", "failures", "dead-lettered", "running", "idle"];
    let mut out = output::table(&header, rows) + "\n";
    for function in &functions {
        if let (Some(name), Some(trouble)) = (function["name"].as_str(), function["trouble"].as_str()) {
            out.push_str(&format!("function {name} stands still: {trouble}\n"));
        }
    }
    out
}

fn confined(answer: &Value) -> String {
    let features = answer["confinement"].as_array().cloned().unwrap_or_default();
    let lines = features.iter().map(|feature| {
        let text = |name: &str| feature[name].as_str().unwrap_or_default();
        let holds = if feature["enforced"] == true { "enforced" } else { "not enforced" };
        format!("{}: {holds}; {}\n", text("feature"), text("why"))
    });
    lines.collect()
}

fn versions(answer: &Value) -> String {
    let rows = answer["versions"].as_array().cloned().unwrap_or_default();
    let aliases = answer["aliases"].as_object().cloned().unwrap_or_default();
    let rows = rows.into_iter().rev().map(|version| {
        let named = aliases.iter().filter(|(_, number)| **number == version["version"]).map(|(alias, _)| alias.clone());
        vec![
            version["version"].to_string(),
            if version["live"] == true { "live".to_owned() } else { String::new() },
            named.collect::<Vec<_>>().join(", "),
            version["created_at"].as_str().unwrap_or_default().to_owned(),
            version["hash"].as_str().unwrap_or_default().chars().take(12).collect(),
        ]
    });
    output::table(&["version", "", "aliases", "deployed", "hash"], rows) + "\n"
}

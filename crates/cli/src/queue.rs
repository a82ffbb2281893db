//! `weir queue`: what waits, and where it goes.

use std::io::Read;

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};

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
    /// List the queues, with how much waits in each
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Send a message: its text, or `-` for standard input
    Send {
        /// The queue
        queue: String,
        /// The message
        body: String,
        /// The message group
        #[arg(long)]
        group: Option<String>,
        /// By which a FIFO queue recognises a repeat
        #[arg(long)]
        deduplication: Option<String>,
        /// How long it is hidden at first, such as 30s
        #[arg(long)]
        delay: Option<String>,
        /// Send each line as a message of its own
        #[arg(long)]
        lines: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Show messages that wait, without taking them
    Peek {
        /// The queue
        queue: String,
        /// How many
        #[arg(long, short = 'n', default_value_t = 20)]
        limit: usize,
        /// Where to begin: a message's sequence number
        #[arg(long, default_value_t = 0)]
        from: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Delete all messages of a queue
    Purge {
        /// The queue
        queue: String,
        #[command(flatten)]
        common: Common,
    },
    /// Move the messages of a dead-letter queue back to where they came from, or to another queue
    Redrive {
        /// The queue that they are in
        queue: String,
        /// The queue that takes them [default: each back to the queue that gave it up]
        #[arg(long)]
        to: Option<String>,
        /// Messages a second at most
        #[arg(long, value_name = "N")]
        rate: Option<u32>,
        /// Only messages with this text in their body
        #[arg(long, value_name = "TEXT")]
        contains: Option<String>,
        /// Only messages of this group
        #[arg(long)]
        group: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show moves of a queue's messages, newest first
    Moves {
        /// The queue
        queue: String,
        #[command(flatten)]
        common: Common,
    },
    /// End a move
    Cancel {
        /// The queue
        queue: String,
        /// The move's id
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, ClapArgs)]
struct Common {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Common {
    /// Sends a request, and prints its answer as JSON, or as `render` writes it for people.
    fn run(
        &self,
        request: impl FnOnce(&Client) -> reqwest::RequestBuilder,
        render: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<Exit> {
        let client = Client::new(&self.server)?;
        let answer: Value = client::block_on(async {
            let response = client.send(request(&client)).await?;
            Ok(serde_json::from_slice(&response.bytes().await?)?)
        })?;
        output::data(&if self.json { format!("{answer}\n") } else { render(&answer) })?;
        Ok(Exit::Done)
    }
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::List { common } => common.run(|client| client.get("/v1/queues"), list),
        Command::Send { queue, body, group, deduplication, delay, lines, common } => {
            let body = if body == "-" { standard_input()? } else { body };
            let parameters = [("group", group), ("deduplication", deduplication), ("delay", delay)];
            let parameters: Vec<_> = parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let content_type = if lines { "application/x-ndjson" } else { "text/plain" };
            let request = |client: &Client| {
                let request = client.post(&format!("/v1/queues/{queue}/messages"));
                request.query(&parameters).header("content-type", content_type).body(body)
            };
            common.run(request, |answer| format!("{} sent\n", answer["sent"]))
        }
        Command::Peek { queue, limit, from, common } => {
            let path = format!("/v1/queues/{queue}/messages?limit={limit}&from={from}");
            common.run(|client| client.get(&path), peek)
        }
        Command::Purge { queue, common } => {
            let path = format!("/v1/queues/{queue}/purge");
            common.run(|client| client.post(&path), |answer| format!("{} messages deleted\n", answer["purged"]))
        }
        Command::Redrive { queue, to, rate, contains, group, common } => {
            let path = format!("/v1/queues/{queue}/moves");
            let body = json!({ "to": to, "rate": rate, "contains": contains, "group": group });
            common.run(
                |client| client.post(&path).header("content-type", "application/json").body(body.to_string()),
                |answer| format!("{} began; see `weir queue moves {queue}`\n", text(&answer["move"])),
            )
        }
        Command::Moves { queue, common } => {
            common.run(|client| client.get(&format!("/v1/queues/{queue}/moves")), moves)
        }
        Command::Cancel { queue, id, common } => {
            let path = format!("/v1/queues/{queue}/moves/{id}");
            common.run(|client| client.delete(&path), |answer| format!("ended after {} messages\n", answer["moved"]))
        }
    }
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("read the message from standard input")?;
    Ok(text)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn rows_of(answer: &Value, name: &str) -> Vec<Value> {
    answer[name].as_array().cloned().unwrap_or_default()
}

fn list(answer: &Value) -> String {
    let count = |value: &Value| output::count(value.as_u64().unwrap_or_default());
    let rows = rows_of(answer, "queues").into_iter().map(|queue| {
        let counts = ["ready", "in_flight", "delayed", "sent", "deleted", "dead_lettered"];
        std::iter::once(text(&queue["name"])).chain(counts.iter().map(|name| count(&queue[*name]))).collect()
    });
    output::table(&["queue", "ready", "in flight", "delayed", "sent", "deleted", "dead-lettered"], rows) + "\n"
}

fn peek(answer: &Value) -> String {
    let messages = rows_of(answer, "messages");
    let lines = messages.iter().map(|message| {
        let body = message.get("body").or_else(|| message.get("body_base64"));
        format!(
            "{}  {}  {} receives  {}\n",
            text(&message["sequence"]),
            text(&message["sent_at"]),
            text(&message["receive_count"]),
            body.map(text).unwrap_or_default()
        )
    });
    lines.collect()
}

fn moves(answer: &Value) -> String {
    let rows = rows_of(answer, "moves").into_iter().map(|moved| {
        let names = ["move", "to", "status", "moved", "to_move", "started_at", "failure"];
        names.iter().map(|name| text(&moved[*name])).collect()
    });
    output::table(&["move", "to", "status", "moved", "of", "began", "failure"], rows) + "\n"
}

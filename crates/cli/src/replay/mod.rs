//! `weir replay`: records of the past, once more through the plan as it is now.
//!
//! The server does it; the command asks for it, and watches. Who stops watching stops nothing.

mod begin;
mod show;
pub mod watch;

use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;
use weir_runtime::Rate;
use weir_server::RateRequest;

use self::begin::Begin;
use crate::client::{self, Client, ServerArgs};
use crate::exit::Exit;
use crate::output;

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    begin: Begin,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List replays, the newest first
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one, and what became of its records
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Watch one until it is over
    Watch {
        #[command(flatten)]
        which: Which,
    },
    /// Let one wait; what it has read is committed
    Pause {
        #[command(flatten)]
        which: Which,
    },
    /// Let a paused one go on
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// End one; what it has done stays
    Cancel {
        #[command(flatten)]
        which: Which,
    },
    /// Set the most records in a time, while it runs
    Rate {
        /// Such as 500/s; `none`: as fast as it goes
        #[arg(value_parser = rate)]
        rate: NewRate,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Clone, Copy)]
struct NewRate(Option<Rate>);

fn rate(text: &str) -> Result<NewRate, String> {
    match text {
        "none" => Ok(NewRate(None)),
        text => {
            text.parse().map(|rate| NewRate(Some(rate))).map_err(|error: weir_runtime::RateError| error.to_string())
        }
    }
}

#[derive(Debug, Clone, ClapArgs)]
struct Common {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, ClapArgs)]
struct Which {
    /// The replay, or what only its name begins with
    id: String,
    #[command(flatten)]
    common: Common,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let Some(command) = args.command else { return args.begin.run() };
    match command {
        Command::List { common } => {
            let client = Client::new(&common.server)?;
            let answer = client::block_on(fetch(&client, "/v1/replays"))?;
            print(&common, &answer, show::list)
        }
        Command::Show { which } => {
            let client = Client::new(&which.common.server)?;
            let answer = client::block_on(fetch(&client, &which.path("")))?;
            print(&which.common, &answer, show::render)
        }
        Command::Watch { which } => {
            let client = Client::new(&which.common.server)?;
            let answer = client::block_on(watch::until_over(&client, &which.id))?;
            print(&which.common, &answer, show::render)?;
            Ok(watch::exit(&answer))
        }
        Command::Pause { which } => change(&which, "/pause", None, "paused"),
        Command::Resume { which } => change(&which, "/resume", None, "goes on"),
        Command::Cancel { which } => change(&which, "/cancel", None, "cancelled"),
        Command::Rate { rate, which } => {
            let body = serde_json::to_vec(&RateRequest { rate: rate.0 })?;
            let told = rate.0.map_or("as fast as it goes".to_owned(), |rate| format!("at most {rate}"));
            change(&which, "/rate", Some(body), &told)
        }
    }
}

impl Which {
    fn path(&self, action: &str) -> String {
        format!("/v1/replays/{}{action}", in_path(&self.id))
    }
}

/// Ids are plain; what is not can't be one, and must not reach another path.
fn in_path(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    id.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn change(which: &Which, action: &str, body: Option<Vec<u8>>, told: &str) -> anyhow::Result<Exit> {
    let client = Client::new(&which.common.server)?;
    let request = client.post(&which.path(action)).header("content-type", "application/json");
    let answer: Value = client::block_on(async {
        let response = client.send(request.body(body.unwrap_or_default())).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    })?;
    if which.common.json {
        output::data(&format!("{answer}\n"))?;
    } else {
        output::note(&format!("{} {told}", answer["id"].as_str().unwrap_or(&which.id)));
    }
    Ok(Exit::Done)
}

async fn fetch(client: &Client, path: &str) -> anyhow::Result<Value> {
    let response = client.send(client.get(path)).await?;
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

fn print(common: &Common, answer: &Value, render: impl FnOnce(&Value) -> String) -> anyhow::Result<Exit> {
    output::data(&if common.json { format!("{answer}\n") } else { render(answer) })?;
    Ok(Exit::Done)
}

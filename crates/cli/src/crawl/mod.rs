//! `weir crawl`: what is pulled from vendors, how far it is, and when it ends.
//!
//! ```text
//! mod.rs     the commands            show.rs    how answers are laid out
//! start.rs   run, plan               watch.rs   a run's progress, until it is over
//! infer.rs   schemas from answers    record.rs  answers stored, and given again
//! import.rs  dlt's and Airbyte's sources
//! ```
//!
//! The server does the work of runs; who stops watching stops nothing. What is of a folder alone needs no server.

mod import;
pub mod infer;
mod record;
mod show;
mod start;
mod watch;

use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::json;
use weir_crawl::runs::Run;
use weir_crawl::status::CrawlStatus;
use weir_server::CancelRequest;

use self::import::Import;
use self::infer::Infer;
use self::record::{Record, Test};
pub use self::show::list;
use self::start::{Asked, Start};
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
    /// List crawls, and what is under way
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Begin a run
    Run {
        #[command(flatten)]
        start: Start,
    },
    /// Show how far a crawl is, when it ends, and why it waits
    Status {
        /// The crawl; all of them without
        crawl: Option<String>,
        /// Watch the run that is under way until it is over
        #[arg(long, requires = "crawl")]
        watch: bool,
        #[command(flatten)]
        common: Common,
    },
    /// List a crawl's runs, the newest first
    Runs {
        #[command(flatten)]
        which: Which,
    },
    /// Let the run that is under way wait; calls that are under way end
    Pause {
        #[command(flatten)]
        which: Which,
    },
    /// Let a paused run go on
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// End the run that is under way; what it has brought stays
    Cancel {
        #[command(flatten)]
        which: Which,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Say how many calls a run would make, and how long that takes, without making one
    Plan {
        #[command(flatten)]
        asked: Asked,
    },
    /// Write the schemas of a folder's crawl for review, from a few of the vendor's answers
    Infer(Infer),
    /// Print another tool's source as weir's blocks
    Import {
        #[command(subcommand)]
        import: Import,
    },
    /// Run a folder's crawl aside, and store the vendor's answers
    Record(Record),
    /// Run a folder's crawl aside against stored answers, without a network
    Test(Test),
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
    /// The crawl
    crawl: String,
    #[command(flatten)]
    common: Common,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::List { common } => {
            let client = Client::new(&common.server)?;
            let answer: Crawls = client::block_on(fetch(&client, "/v1/crawls"))?;
            print(&common, &answer, |answer| show::list(&answer.crawls))
        }
        Command::Run { start } => start.run(),
        Command::Status { crawl: Some(crawl), watch, common } => {
            let client = Client::new(&common.server)?;
            let mut status: CrawlStatus = client::block_on(fetch(&client, &path(&crawl, "")))?;
            if let (true, Some(current)) = (watch, &status.current) {
                client::block_on(watch::until_over(&client, &crawl, current.run))?;
                status = client::block_on(fetch(&client, &path(&crawl, "")))?;
            }
            print(&common, &status, show::status)
        }
        Command::Status { crawl: None, common, .. } => {
            let client = Client::new(&common.server)?;
            let answer: Crawls = client::block_on(fetch(&client, "/v1/crawls"))?;
            print(&common, &answer, |answer| answer.crawls.iter().map(show::status).collect::<Vec<_>>().join("\n"))
        }
        Command::Runs { which } => {
            let client = Client::new(&which.common.server)?;
            let answer: Runs = client::block_on(fetch(&client, &path(&which.crawl, "/runs")))?;
            print(&which.common, &answer, |answer| show::runs(&answer.runs))
        }
        Command::Pause { which } => change(&which, "/pause", &json!({}), "is paused"),
        Command::Resume { which } => change(&which, "/resume", &json!({}), "goes on"),
        Command::Cancel { which, reason } => {
            change(&which, "/cancel", &json!(CancelRequest { reason }), "is being ended")
        }
        Command::Plan { asked } => asked.plan(),
        Command::Infer(infer) => infer.run(),
        Command::Import { import } => import.run(),
        Command::Record(record) => record.run(),
        Command::Test(test) => test.run(),
    }
}

/// The answer of `GET /v1/crawls`.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Crawls {
    crawls: Vec<CrawlStatus>,
}

/// The answer of `GET /v1/crawls/NAME/runs`.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Runs {
    crawl: String,
    runs: Vec<Run>,
}

/// Reads a length of time.
fn span(text: &str) -> Result<Duration, String> {
    weir_types::span::parse(text).map_err(|error| error.to_string())
}

/// Names are plain; what is not can't be one, and must not reach another path.
fn path(crawl: &str, action: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let shown = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    format!("/v1/crawls/{}{action}", crawl.bytes().map(shown).collect::<String>())
}

fn change(which: &Which, action: &str, body: &serde_json::Value, told: &str) -> anyhow::Result<Exit> {
    let client = Client::new(&which.common.server)?;
    let run: Run = client::block_on(post(&client, &path(&which.crawl, action), body))?;
    if which.common.json {
        output::data(&format!("{}\n", serde_json::to_string(&run)?))?;
    } else {
        output::note(&format!("run {} of {} {told}", run.number, which.crawl));
    }
    Ok(Exit::Done)
}

async fn post<T: DeserializeOwned>(client: &Client, path: &str, body: &serde_json::Value) -> anyhow::Result<T> {
    let request = client.post(path).header("content-type", "application/json").body(body.to_string());
    let response = client.send(request).await?;
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

async fn fetch<T: DeserializeOwned>(client: &Client, path: &str) -> anyhow::Result<T> {
    let response = client.send(client.get(path)).await?;
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

fn print<T: serde::Serialize>(common: &Common, answer: &T, render: impl FnOnce(&T) -> String) -> anyhow::Result<Exit> {
    output::data(&match common.json {
        true => format!("{}\n", serde_json::to_string(answer)?),
        false => render(answer),
    })?;
    Ok(Exit::Done)
}

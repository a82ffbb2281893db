//! Beginning a replay: looked at first, then confirmed, then watched.

use std::io::{BufRead, IsTerminal};

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::Value;
use weir_env::Env;
use weir_runtime::{Destination, Rate, ReplayAsk, ReplayOrigin};
use weir_types::{FunctionName, StreamName};

use super::{Common, print, show, watch};
use crate::client::{self, Client};
use crate::exit::Exit;
use crate::output;

/// Where records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// The stream itself, as far back as its retention goes
    Stream,
    /// The stream's archive
    Archive,
}

#[derive(Debug, ClapArgs)]
pub struct Begin {
    /// Where the records are read
    #[arg(long, value_enum, default_value_t = From::Stream)]
    from: From,
    /// Whose records [default: the stream that the function or the table reads]
    #[arg(long, value_name = "NAME")]
    stream: Option<StreamName>,
    /// Arrived at this time or later: 2026-01-31T12:00:00Z, or how long ago, such as 2h [default: the oldest]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Arrived before this time [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// --since and --until are event times (the stream's `time`), and not times of arrival
    #[arg(long)]
    event_time: bool,
    /// The only function that is given the records [default: all that are on the stream]
    #[arg(long, value_name = "NAME")]
    function: Option<FunctionName>,
    /// The only table that rows go to
    #[arg(long, value_name = "TABLE")]
    to: Option<Destination>,
    /// Records in a time at most, such as 500/s; `weir replay rate` changes it
    #[arg(long)]
    rate: Option<Rate>,
    /// Add rows to tables that know no ids, where a replay can't tell which are there
    #[arg(long)]
    append: bool,
    /// Say what it would come to, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// Don't wait until it is over
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    common: Common,
}

impl Begin {
    pub fn run(self) -> anyhow::Result<Exit> {
        anyhow::ensure!(
            self.stream.is_some() || self.function.is_some() || self.to.is_some(),
            "say what is to be replayed, with --stream, --function or --to; `weir replay list` lists what was"
        );
        let client = Client::new(&self.common.server)?;
        let mut ask = self.ask();
        if self.dry_run || !self.yes {
            let preview = client::block_on(post(&client, "/v1/replays/preview", &ask))?;
            if self.dry_run {
                return print(&self.common, &preview, show::preview);
            }
            output::note(show::preview(&preview).trim_end());
            if !confirmed()? {
                output::note("nothing was replayed");
                return Ok(Exit::Done);
            }
        }
        let env = Env::system();
        // A call that gets no answer is made again: the name says that it is the same.
        ask.id = Some(format!("replay-{:016x}", env.random()));
        let run = client::block_on(post_patiently(&client, &env, &ask))?;
        let id = run["id"].as_str().context("the server's answer names no replay")?.to_owned();
        if self.detach {
            output::note(&format!("{id} runs in the server: weir replay show {id}"));
            return print(&self.common, &run, |_| format!("{id}\n"));
        }
        if output::is_watched() {
            output::note(&format!("{id} runs in the server, also if this command ends: weir replay show {id}"));
        }
        let ended = client::block_on(watch::until_over(&client, &id))?;
        print(&self.common, &ended, show::render)?;
        Ok(watch::exit(&ended))
    }

    fn ask(&self) -> ReplayAsk {
        ReplayAsk {
            id: None,
            stream: self.stream.clone(),
            from: match self.from {
                From::Stream => ReplayOrigin::Stream,
                From::Archive => ReplayOrigin::Archive,
            },
            since: self.since.clone(),
            until: self.until.clone(),
            event_time: self.event_time,
            function: self.function.clone(),
            to: self.to.clone(),
            rate: self.rate,
            append: self.append,
        }
    }
}

/// Asks whoever is there; where nobody is, the command line has to say so.
fn confirmed() -> anyhow::Result<bool> {
    anyhow::ensure!(std::io::stdin().is_terminal(), "nobody is there to ask: say --yes, or --dry-run to look first");
    output::note("Replay this? [y/N]");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn post(client: &Client, path: &str, ask: &ReplayAsk) -> anyhow::Result<Value> {
    let request = client.post(path).header("content-type", "application/json").body(serde_json::to_vec(ask)?);
    let response = client.send(request).await?;
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

/// Begins a run, over connections that break.
async fn post_patiently(client: &Client, env: &Env, ask: &ReplayAsk) -> anyhow::Result<Value> {
    let mut tries = 0;
    loop {
        match post(client, "/v1/replays", ask).await {
            Err(error) if tries < watch::TRIES && watch::is_passing(&error) => {
                tries += 1;
                env.sleep(env.jitter(watch::RETRY * tries)).await;
            }
            result => return result,
        }
    }
}

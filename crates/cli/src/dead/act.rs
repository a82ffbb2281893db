//! `weir dead redrive` and `weir dead drop`: call by call, until no letter is left that was there when they began.
//!
//! Each call goes on where the last one ended, and names the same run. A call that gets no answer may have been carried out:
//! made again, it finds its letters taken and goes on with the rest, so that trying again is safe.

use std::time::Duration;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use weir_env::Env;
use weir_runtime::Rate;
use weir_server::{ActRequest, LetterQuery, View};

use super::choice::Choice;
use super::{Common, fetch, groups, print};
use crate::client::{self, Client, Refused};
use crate::exit::Exit;
use crate::output;

/// Letters of one call, where nothing else limits them.
const CALL_MAX: usize = 500;
/// The time between two calls that is worth a call, at a rate.
const CALL_EVERY: Duration = Duration::from_millis(500);
/// Letters that can't be sent on, shown one by one.
const SHOWN_MAX: usize = 20;
/// Calls that fail one after the other before the command gives up.
const TRIES: u32 = 5;
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug, ClapArgs)]
pub struct Redrive {
    #[command(flatten)]
    choice: Choice,
    /// All open letters
    #[arg(long)]
    all: bool,
    /// Change each payload: a JSON merge patch (RFC 7386), such as '{"distance": 1400}'
    #[arg(long, value_name = "JSON", value_parser = json)]
    edit: Option<Box<RawValue>>,
    /// Letters in a time at most, such as 50/s or 600/m
    #[arg(long)]
    rate: Option<Rate>,
    #[command(flatten)]
    act: Act,
}

#[derive(Debug, ClapArgs)]
pub struct Drop {
    #[command(flatten)]
    choice: Choice,
    /// All open letters
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    act: Act,
}

#[derive(Debug, ClapArgs)]
struct Act {
    /// End after this many letters
    #[arg(long, short = 'n')]
    limit: Option<u64>,
    /// Show which letters are meant, by group, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

fn json(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))
}

/// What came of all calls.
#[derive(Debug, Default, Serialize)]
struct Totals {
    run: String,
    count: u64,
    refused: Vec<RefusedLetter>,
    on_the_way: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RefusedLetter {
    id: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    count: u64,
    refused: Vec<RefusedLetter>,
    on_the_way: u64,
    #[serde(default)]
    trouble: Option<String>,
    next: Option<String>,
}

impl Redrive {
    pub fn run(self) -> anyhow::Result<Exit> {
        let request = ActRequest { all: self.all, edit: self.edit, ..self.choice.request() };
        let work = Work { path: "/v1/dead-letters/redrive", verb: "redriven", rate: self.rate, act: self.act };
        work.run(&self.choice, request)
    }
}

impl Drop {
    pub fn run(self) -> anyhow::Result<Exit> {
        let request = ActRequest { all: self.all, ..self.choice.request() };
        let work = Work { path: "/v1/dead-letters/drop", verb: "dropped", rate: None, act: self.act };
        work.run(&self.choice, request)
    }
}

struct Work {
    path: &'static str,
    verb: &'static str,
    rate: Option<Rate>,
    act: Act,
}

impl Work {
    fn run(&self, choice: &Choice, request: ActRequest) -> anyhow::Result<Exit> {
        anyhow::ensure!(
            !choice.is_all() || request.all,
            "say which dead letters are meant, with --where, --cause, --target, --source, --since, --until or --id; or --all"
        );
        let client = Client::new(&self.act.common.server)?;
        if self.act.dry_run {
            let query = LetterQuery { view: Some(View::Groups), ..choice.query() };
            let answer = client::block_on(fetch(&client, &query))?;
            return print(&self.act.common, &answer, groups);
        }
        let env = Env::system();
        let bar = if output::is_watched() { shown() } else { ProgressBar::hidden() };
        let totals = client::block_on(self.work(&client, &env, request, &bar));
        bar.finish_and_clear();
        let totals = totals?;
        let refused = !totals.refused.is_empty();
        if self.act.common.json {
            output::data(&format!("{}\n", serde_json::to_string(&totals)?))?;
        } else {
            self.tell(&totals);
        }
        Ok(if refused { Exit::Refused } else { Exit::Done })
    }

    async fn work(
        &self,
        client: &Client,
        env: &Env,
        mut request: ActRequest,
        bar: &ProgressBar,
    ) -> anyhow::Result<Totals> {
        let run = format!("run-{:016x}", env.random());
        request.run = Some(run.clone());
        let mut totals = Totals { run, ..Totals::default() };
        let started = env.elapsed();
        let mut left = self.act.limit.unwrap_or(u64::MAX);
        let most = self
            .rate
            .map_or(CALL_MAX, |rate| usize::try_from(rate.count_in(CALL_EVERY)).unwrap_or(CALL_MAX).min(CALL_MAX));
        while left > 0 {
            request.limit = Some(most.min(usize::try_from(left).unwrap_or(CALL_MAX)));
            let answer = match self.call(client, env, &request).await {
                Ok(answer) => answer,
                Err(error) => {
                    if totals.count > 0 {
                        let verb = self.verb;
                        bar.suspend(|| output::note(&format!("{} letters were {verb} before", totals.count)));
                    }
                    return Err(error);
                }
            };
            left = left.saturating_sub(answer.count + answer.refused.len() as u64);
            totals.count += answer.count;
            totals.refused.extend(answer.refused);
            totals.on_the_way = answer.on_the_way;
            totals.trouble = answer.trouble;
            bar.set_position(totals.count);
            bar.set_message(format!("{} can't be", output::count(totals.refused.len() as u64)));
            let Some(next) = answer.next else { break };
            request.after = Some(next);
            if let Some(rate) = self.rate {
                let due = started + rate.time_of(totals.count);
                env.sleep(due.saturating_sub(env.elapsed())).await;
            }
        }
        Ok(totals)
    }

    /// Makes a call until it is answered, or has failed too often, or for good.
    async fn call(&self, client: &Client, env: &Env, request: &ActRequest) -> anyhow::Result<Answer> {
        let body = serde_json::to_vec(request)?;
        let mut tries = 0;
        loop {
            let request = client.post(self.path).header("content-type", "application/json").body(body.clone());
            let sent = async { Ok(client.send(request).await?.bytes().await?) };
            let error: anyhow::Error = match sent.await {
                Ok(bytes) => return Ok(serde_json::from_slice(&bytes)?),
                Err(error) => error,
            };
            tries += 1;
            let passing = match error.downcast_ref::<Refused>() {
                Some(Refused(body)) => body.retryable,
                None => error.downcast_ref::<reqwest::Error>().is_some(),
            };
            if !passing || tries == TRIES {
                return Err(error);
            }
            env.sleep(env.jitter(RETRY * tries)).await;
        }
    }

    fn tell(&self, totals: &Totals) {
        for refused in totals.refused.iter().take(SHOWN_MAX) {
            output::note(&format!("not {}: {}: {}", self.verb, refused.id, refused.reason));
        }
        if totals.refused.len() > SHOWN_MAX {
            let more = totals.refused.len() - SHOWN_MAX;
            output::note(&format!("... and {} more; --json names them all", output::count(more as u64)));
        }
        let mut text = format!("{} {} by {}", letters(totals.count), self.verb, totals.run);
        if !totals.refused.is_empty() {
            text.push_str(&format!(", {} still open", letters(totals.refused.len() as u64)));
        }
        if totals.on_the_way > 0 {
            let trouble = totals.trouble.as_deref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
            text.push_str(&format!("; the last {} are on their way{trouble}", output::count(totals.on_the_way)));
        }
        output::note(&text);
    }
}

fn letters(count: u64) -> String {
    if count == 1 { "1 letter".to_owned() } else { format!("{} letters", output::count(count)) }
}

fn shown() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // The template is a constant, and right.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} letters  {per_sec}  {msg}") {
        bar.set_style(style);
    }
    bar
}

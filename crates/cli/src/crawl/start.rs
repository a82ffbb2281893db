//! `weir crawl run` and `weir crawl plan`.

use anyhow::bail;
use clap::Args as ClapArgs;
use serde_json::json;
use weir_crawl::eta::Plan;
use weir_crawl::runs::{Run, State};
use weir_server::{RunRequest, StartOutcome, Started};

use super::{Common, path, post, show, watch};
use crate::client::{self, Client};
use crate::exit::Exit;
use crate::output;

/// What is asked for.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct Asked {
    /// The crawl
    crawl: String,
    /// A value for `{params.NAME}`, instead of the plan's
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// Only this tenant; may be given several times
    #[arg(long = "tenant", value_name = "NAME")]
    tenants: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, ClapArgs)]
pub(super) struct Start {
    #[command(flatten)]
    asked: Asked,
    /// Names this start: made again with the same name, it is the same run
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Watch the run until it is over
    #[arg(long)]
    watch: bool,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

impl Asked {
    fn request(&self) -> RunRequest {
        RunRequest {
            params: self.params.iter().cloned().collect(),
            tenants: (!self.tenants.is_empty()).then(|| self.tenants.clone()),
            request: None,
        }
    }

    /// Says what a run would come to.
    pub(super) fn plan(&self) -> anyhow::Result<Exit> {
        let client = Client::new(&self.common.server)?;
        let path = path(&self.crawl, "/runs?dry_run=true");
        let answer: Plan = client::block_on(post(&client, &path, &json!(self.request())))?;
        super::print(&self.common, &answer, plan)
    }
}

impl Start {
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let Asked { crawl, common, .. } = &self.asked;
        let client = Client::new(&common.server)?;
        let request = RunRequest { request: self.request.clone(), ..self.asked.request() };
        let started: Started = client::block_on(post(&client, &path(crawl, "/runs"), &json!(request)))?;
        let Some(run) = &started.run else {
            let under_way = started.under_way.map_or_else(String::new, |run| format!(": run {run} is under way"));
            bail!("no run of {crawl} was begun{under_way}; wait for its end, or set `overlap` of the crawl");
        };
        if !self.watch {
            if common.json {
                output::data(&format!("{}\n", serde_json::to_string(&started)?))?;
            } else {
                output::data(&format!("{}\n", told(crawl, &started, run)))?;
            }
            return Ok(Exit::Done);
        }
        output::note(&told(crawl, &started, run));
        let ended = client::block_on(watch::until_over(&client, crawl, run.number))?;
        output::data(&match common.json {
            true => format!("{}\n", serde_json::to_string(&ended)?),
            false => format!("{}\n", show::over(&ended)),
        })?;
        Ok(match ended.state {
            State::Complete if show::totals(&ended).failed > 0 => Exit::Refused,
            State::Complete => Exit::Done,
            _ => Exit::Failed,
        })
    }
}

fn told(crawl: &str, started: &Started, run: &Run) -> String {
    let number = run.number;
    match (started.outcome, started.under_way) {
        (StartOutcome::Queued, Some(other)) => format!("run {number} of {crawl} waits for the end of run {other}"),
        (StartOutcome::Replaces, Some(other)) => {
            format!("run {number} of {crawl} begins when run {other} has been ended")
        }
        (StartOutcome::Known, _) => format!("run {number} of {crawl} was begun before, and is {}", run.state.as_str()),
        _ => format!("run {number} of {crawl} has begun"),
    }
}

fn plan(plan: &Plan) -> String {
    let rows = plan.steps.iter().map(|step| {
        let tasks = &step.tasks;
        let most = tasks.max.map_or_else(|| "unknown".to_owned(), output::count);
        vec![step.resource.clone(), output::count(tasks.likely), output::count(tasks.min), most]
    });
    let table = output::table(&["resource", "calls", "at least", "at most"], rows);
    format!("{table}\n{}\nfrom {}\n", plan.eta.text, plan.rests_on.text)
}

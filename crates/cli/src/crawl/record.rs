//! `weir crawl record` and `weir crawl test`: a run's answers, stored and given again without a network.
//!
//! Both run one crawl of a folder in a temporary data folder: nothing else of the plan runs, and no table of its is touched.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use async_trait::async_trait;
use clap::Args as ClapArgs;
use serde_json::{Value, json};
use weir_budget::{Pace, Settings};
use weir_config::{Plan, To};
use weir_crawl::http::{Http, Limits};
use weir_crawl::recording::{Recorded, Recorder, Redaction};
use weir_crawl::runs::{Outcome, Run, State};
use weir_crawl::{Answer, Request, Transport, TransportError};
use weir_env::Env;
use weir_runtime::{Node, Options, RunAsk, Transports};
use weir_types::CrawlName;

use super::infer::{FolderArgs, known};
use super::{show, start};
use crate::exit::Exit;
use crate::{output, serve};

/// How often it is looked whether the run is over.
const LOOK: Duration = Duration::from_millis(50);
/// Requests without an answer that are named.
const MISSING_NAMED: usize = 20;
/// Calls at once where there is no network to wait for.
const CONCURRENCY: u32 = 64;

// Its command has the name already.
#[derive(Debug, ClapArgs)]
#[group(skip)]
pub(super) struct Record {
    /// The crawl
    crawl: String,
    /// The folder that the answers go to, without secrets
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    #[command(flatten)]
    common: Common,
}

// Its command has the name already.
#[derive(Debug, ClapArgs)]
#[group(skip)]
pub(super) struct Test {
    /// The crawl
    crawl: String,
    /// The folder with the answers
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, ClapArgs)]
struct Common {
    #[command(flatten)]
    folder: FolderArgs,
    /// A value for `{params.NAME}`, instead of the plan's
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = start::pair)]
    params: Vec<(String, String)>,
    /// Only this tenant; may be given several times
    #[arg(long = "tenant", value_name = "NAME")]
    tenants: Vec<String>,
    /// How long the run may take, such as 10m
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = super::span)]
    within: Duration,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Record {
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let Some(plan) = self.common.folder.load() else { return Ok(Exit::Configuration) };
        let name = known(&plan, &self.crawl)?;
        let plan = alone(plan, &name);
        let api = plan.apis.values().next().context("the plan was checked: the crawl's api is there")?;
        let http = Http::new(&api.client, Env::system(), Limits::default())?;
        let recorder = Recorder::create(http, &self.to, Redaction::of(&api.client))?;
        let ended = self.common.run(plan, &name, Arc::new(recorder))?;
        self.common.print(&ended, json!({ "run": ended, "recording": self.to }))?;
        Ok(exit(&ended))
    }
}

impl Test {
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let Some(plan) = self.common.folder.load() else { return Ok(Exit::Configuration) };
        let name = known(&plan, &self.crawl)?;
        let mut plan = alone(plan, &name);
        for api in plan.apis.values_mut() {
            // There is no vendor to be gentle with.
            api.budget = Settings { pace: Pace::Unlimited, concurrency: Some(CONCURRENCY), ..Settings::default() };
        }
        let recorded = Recorded::open(&self.from)?;
        if recorded.skipped() > 0 {
            output::note(&format!("{} lines of the recording do not read, and are passed over", recorded.skipped()));
        }
        let checked = Arc::new(Checked { inner: recorded, missing: Mutex::default() });
        let ended = self.common.run(plan, &name, checked.clone())?;
        let missing = checked.missing.lock().unwrap_or_else(PoisonError::into_inner);
        self.common.print(&ended, json!({ "run": ended, "not_recorded": missing.count }))?;
        for request in &missing.named {
            output::note(request);
        }
        if missing.count > missing.named.len() as u64 {
            output::note(&format!("and {} requests more", missing.count - missing.named.len() as u64));
        }
        Ok(exit(&ended))
    }
}

/// Says whether all was well: a call without an answer is a dead letter, as any other that was given up.
fn exit(run: &Run) -> Exit {
    match run.state {
        State::Complete if show::totals(run).failed == 0 => Exit::Done,
        State::Complete => Exit::Refused,
        _ => Exit::Failed,
    }
}

/// Leaves one crawl of a plan, with what it calls and fills; in places of their own, never those that the plan names.
fn alone(mut plan: Plan, name: &CrawlName) -> Plan {
    plan.crawls.retain(|crawl, _| crawl == name);
    let (mut streams, mut tables) = (Vec::new(), Vec::new());
    for crawl in plan.crawls.values_mut() {
        crawl.schedule = None;
        for output in &crawl.outputs {
            match &output.to {
                To::Stream(stream) => streams.push(stream.clone()),
                To::Table(table) => tables.push(table.clone()),
                To::Queue(_) => {}
            }
        }
    }
    let api = plan.crawls.values().next().map(|crawl| crawl.api.clone());
    plan.apis.retain(|name, _| Some(name) == api.as_ref());
    plan.streams.retain(|name, _| streams.contains(name));
    plan.tables.retain(|name, _| tables.contains(name));
    plan.streams.values_mut().for_each(|stream| stream.archive = None);
    plan.tables.values_mut().for_each(|table| table.location = None);
    plan.queues.clear();
    plan.schedules.clear();
    plan.files.clear();
    plan.lookups.clear();
    plan.functions.clear();
    plan
}

impl Common {
    /// Runs the crawl until it is over.
    fn run(&self, plan: Plan, name: &CrawlName, transport: Arc<dyn Transport>) -> anyhow::Result<Run> {
        let data = tempfile::Builder::new().prefix("weir-crawl-").tempdir().context("make a temporary folder")?;
        let transports = Transports::of(move |_, _| Ok(transport.clone()));
        let options = Options { transports, ..Options::default() };
        serve::runtime()?.block_on(async {
            let env = Env::system();
            let node = Node::start(plan, data.path(), env.clone(), options).await?;
            let told = serve::Signals::listen()?;
            let ended = tokio::select! {
                ended = env.within(self.within, self.until_over(&node, name)) => ended.unwrap_or_else(|| {
                    let span = weir_types::span::display(self.within);
                    Err(anyhow!("the run took longer than {span}; --within gives more"))
                }),
                () = told.wait() => Err(anyhow!("interrupted")),
            };
            node.close().await?;
            ended
        })
    }

    async fn until_over(&self, node: &Node, name: &CrawlName) -> anyhow::Result<Run> {
        let ask = RunAsk {
            params: self.params.iter().cloned().collect(),
            tenants: (!self.tenants.is_empty()).then(|| self.tenants.clone()),
            request: None,
        };
        let Outcome::Started(run) = node.crawls().start(name.as_str(), ask).await? else {
            bail!("the run of {name} did not begin");
        };
        loop {
            let runs = node.crawls().runs(name.as_str())?;
            if let Some(run) = runs.into_iter().find(|known| known.number == run.number && known.state.is_over()) {
                return Ok(run);
            }
            node.env().sleep(LOOK).await;
        }
    }

    fn print(&self, run: &Run, answer: Value) -> anyhow::Result<()> {
        if self.json {
            return output::data(&format!("{answer}\n"));
        }
        let count = |pick: u64| output::count(pick);
        let rows = run.counts.iter().map(|(resource, counts)| {
            vec![
                resource.clone(),
                count(counts.calls()),
                count(counts.items),
                count(counts.dead),
                count(counts.retried),
            ]
        });
        let table = output::table(&["resource", "calls", "items", "dead letters", "retried"], rows);
        output::data(&format!("{table}\n{}\n", show::over(run)))
    }
}

/// A recording that notes what it has no answer to.
#[derive(Debug)]
struct Checked {
    inner: Recorded,
    missing: Mutex<Missing>,
}

#[derive(Debug, Default)]
struct Missing {
    count: u64,
    /// The first [`MISSING_NAMED`], in words.
    named: Vec<String>,
}

#[async_trait]
impl Transport for Checked {
    async fn call(&self, request: Request) -> Result<Answer, TransportError> {
        let answer = self.inner.call(request).await;
        if let Err(error @ TransportError::NotRecorded { .. }) = &answer {
            let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
            missing.count += 1;
            if missing.named.len() < MISSING_NAMED {
                missing.named.push(error.to_string());
            }
        }
        answer
    }
}

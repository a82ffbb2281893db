//! `weir api`: vendors' accounts, and what their budgets allow.

use std::fmt::Write;

use clap::{Args as ClapArgs, Subcommand};
use serde::{Deserialize, Serialize};
use weir_budget::{BreakerState, PaceSource, Status, Wait};

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
    /// List vendors' accounts, and how fast they may be called now
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show an account's budget: what it allows, who waits, and for what
    Show {
        /// The api
        api: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Clone, ClapArgs)]
struct Common {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// The answer of `GET /v1/apis/NAME`.
#[derive(Debug, Serialize, Deserialize)]
struct Api {
    api: String,
    base_url: String,
    budget: Status,
}

/// The answer of `GET /v1/apis`.
#[derive(Debug, Serialize, Deserialize)]
struct Apis {
    apis: Vec<Api>,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::List { common } => {
            let apis: Apis = get(&common.server, "/v1/apis")?;
            print(&common, &apis, |apis| list(&apis.apis))
        }
        Command::Show { api, common } => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let shown = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
            let name: String = api.bytes().map(shown).collect();
            let api: Api = get(&common.server, &format!("/v1/apis/{name}"))?;
            print(&common, &api, show)
        }
    }
}

fn get<T: serde::de::DeserializeOwned>(server: &ServerArgs, path: &str) -> anyhow::Result<T> {
    let client = Client::new(server)?;
    client::block_on(async {
        let response = client.send(client.get(path)).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    })
}

fn print<T: Serialize>(common: &Common, answer: &T, render: impl FnOnce(&T) -> String) -> anyhow::Result<Exit> {
    output::data(&match common.json {
        true => format!("{}\n", serde_json::to_string(answer)?),
        false => render(answer),
    })?;
    Ok(Exit::Done)
}

fn list(apis: &[Api]) -> String {
    let rows = apis.iter().map(|api| {
        let budget = &api.budget;
        vec![
            api.api.clone(),
            pace(budget),
            format!("{:.1}", budget.delivered),
            budget.in_flight.to_string(),
            output::count(budget.waiting),
            output::count(budget.answered),
            output::count(budget.throttled),
            output::count(budget.failed),
            breaker(budget.breaker).to_owned(),
        ]
    });
    let header = ["api", "allowed", "calls/s", "under way", "waiting", "answered", "throttled", "failed", "vendor"];
    output::aligned(&header, &[2, 3, 4, 5, 6, 7], rows) + "\n"
}

fn pace(budget: &Status) -> String {
    let source = match budget.pace_source {
        PaceSource::Unlimited => return "without limit".to_owned(),
        PaceSource::Configured => "configured",
        PaceSource::Learned => "learned",
        PaceSource::Headers => "by its headers",
        PaceSource::Recovering => "recovering",
    };
    match budget.pace {
        Some(pace) => format!("{pace:.1}/s, {source}"),
        None => source.to_owned(),
    }
}

fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "answers",
        BreakerState::Open => "is down",
        BreakerState::Recovering => "is coming back",
    }
}

fn show(api: &Api) -> String {
    let budget = &api.budget;
    let mut out = format!("api {} at {}\n", api.api, api.base_url);
    // Writing to a string can't fail.
    let mut line = |label: &str, value: String| {
        let _ = writeln!(out, "{label:<13}{value}");
    };
    line("allowed", format!("{}, {} at once", pace(budget), budget.burst));
    if let Some(configured) = budget.configured {
        line("configured", format!("{configured:.1}/s"));
    }
    if let Some(refused) = budget.refused_at {
        line("refused at", format!("{refused:.1}/s"));
    }
    line("calls", format!("{:.1}/s, {} of {} under way", budget.delivered, budget.in_flight, budget.concurrency));
    let counts = [(budget.answered, "answered"), (budget.throttled, "throttled"), (budget.failed, "failed")];
    let counts = counts.map(|(count, word)| format!("{} {word}", output::count(count)));
    line("since start", counts.join(", "));
    if let Some(latency) = budget.latency_ms {
        line("latency", format!("{latency:.0} ms"));
    }
    line("vendor", breaker(budget.breaker).to_owned());
    if let Some(until) = budget.blocked_until {
        line("said to wait", format!("until {until}"));
    }
    for quota in &budget.quotas {
        let left = output::count(quota.left);
        let of = output::count(quota.calls);
        line("quota", format!("{left} of {of} left of the {}, until {}", quota.quota, quota.until));
    }
    if let Some(why) = wait(&budget.wait) {
        line("waiting", format!("{} calls, for {why}", output::count(budget.waiting)));
    }
    for flow in &budget.flows {
        line("", format!("{} of {}", output::count(flow.waiting), flow.path.join(" / ")));
    }
    out
}

fn wait(wait: &Wait) -> Option<String> {
    Some(match wait {
        Wait::Nothing => return None,
        Wait::Budget { until } => format!("the budget's rate, until {until}"),
        Wait::VendorLimit { until } => format!("the vendor's limit, until {until}"),
        Wait::Breaker { probe_at } => format!("the vendor to come back; it is asked at {probe_at}"),
        Wait::Concurrency => "calls that are under way".to_owned(),
        Wait::Quota { until } => format!("the quota's next period, at {until}"),
        Wait::Window { opens_at } => format!("the time window, until {opens_at}"),
    })
}

//! `weir check`: is the configuration right?

mod compare;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use weir_config::{CrawlPlan, Diagnostic, Inputs, Plan, Severity, To};
use weir_runtime::Folder;

use crate::exit::Exit;
use crate::output;

/// What fills in the plan's variables.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct VarArgs {
    /// A variable's value
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = parse_var)]
    pub vars: Vec<(String, String)>,
}

fn parse_var(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The folder with `weir.hcl`
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The data folder, where lookups have their snapshots; the plan is compared with the tables that are there, and with the
    /// schemas too if it is named [default: DIR/.weir]
    #[arg(long, value_name = "PATH", env = "WEIR_DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    vars: VarArgs,
    /// Compare with the schemas of a server that runs
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let data = data_folder(&args.dir, args.data.as_deref());
    let loaded = load(&args.dir, &args.vars, &data);
    let compared = match &loaded {
        Ok(plan) => compare::compare(plan, &data, args.data.is_some(), args.server.as_deref())?,
        Err(_) => compare::Compared::default(),
    };
    let refused = compared.refused.iter().any(|found| found.severity == Severity::Error);
    if args.json {
        let found = match &loaded {
            Ok(plan) => &plan.warnings,
            Err(found) => found,
        };
        let ok = loaded.is_ok() && !refused;
        let listed: Vec<_> = found.iter().chain(&compared.refused).map(as_json).collect();
        let text = serde_json::json!({ "ok": ok, "diagnostics": listed, "changes": compared.changes });
        output::data(&format!("{text}\n"))?;
        return Ok(if ok { Exit::Done } else { Exit::Configuration });
    }
    match loaded {
        Ok(plan) => {
            show(&plan.warnings);
            show(&compared.refused);
            for change in &compared.changes {
                output::data(&format!("{change}\n"))?;
            }
            if refused {
                return Ok(Exit::Configuration);
            }
            for crawl in plan.crawls.values() {
                output::data(&tree(&plan, crawl))?;
            }
            let counts = [
                (plan.streams.len(), "stream"),
                (plan.queues.len(), "queue"),
                (plan.schedules.len(), "schedule"),
                (plan.files.len(), "file source"),
                (plan.lookups.len(), "lookup"),
                (plan.apis.len(), "api"),
                (plan.crawls.len(), "crawl"),
                (plan.functions.len(), "function"),
                (plan.tables.len(), "table"),
            ];
            let there = counts.into_iter().filter(|(count, _)| *count > 0);
            let there: Vec<String> = there.map(|(count, noun)| plural(count, noun)).collect();
            output::data(&format!("{} is right: {}\n", args.dir.display(), there.join(", ")))?;
            Ok(Exit::Done)
        }
        Err(found) => {
            show(&found);
            Ok(Exit::Configuration)
        }
    }
}

/// Shows what a crawl calls, and where it goes.
fn tree(plan: &Plan, crawl: &CrawlPlan) -> String {
    let when = crawl.schedule.as_ref().map_or_else(|| "by hand".to_owned(), ToString::to_string);
    let mut out = format!("crawl {} of api {}, {when}\n", crawl.name, crawl.api);
    // The plan was checked with it.
    let Some(Ok(compiled)) = plan.apis.get(&crawl.api).map(|api| weir_crawl::Plan::compile(&api.client, &crawl.spec))
    else {
        return out;
    };
    for step in compiled.shape() {
        let output = crawl.outputs.iter().find(|output| output.resource == step.resource);
        let to = output.map_or_else(String::new, |output| {
            let unpinned = if output.schema.is_none() { ", once its schema is pinned" } else { "" };
            match &output.to {
                To::Stream(stream) => format!(" -> stream {stream}{unpinned}"),
                To::Table(table) => format!(" -> table {table}{unpinned}"),
                To::Queue(queue) => format!(" -> queue {queue}{unpinned}"),
            }
        });
        out.push_str(&format!("{:indent$}{}{to}\n", "", step.resource, indent = 2 + 2 * step.depth));
    }
    out
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn as_json(found: &Diagnostic) -> serde_json::Value {
    serde_json::json!({
        "severity": format!("{:?}", found.severity).to_lowercase(),
        "message": found.message,
        "file": found.place.as_ref().map(|place| place.file()),
        "line": found.place.as_ref().and_then(|place| place.line()),
        "column": found.place.as_ref().and_then(|place| place.column()),
        "hint": found.hint,
    })
}

/// Returns where the data are kept.
pub fn data_folder(dir: &Path, data: Option<&Path>) -> PathBuf {
    data.map_or_else(|| dir.join(".weir"), Path::to_owned)
}

/// Reads and checks a folder.
///
/// Lookups whose source can't be reached have the columns of their last snapshot in the data folder, if there is one.
pub fn load(dir: &Path, vars: &VarArgs, data: &Path) -> Result<Plan, Vec<Diagnostic>> {
    let vars: BTreeMap<String, String> = vars.vars.iter().cloned().collect();
    let inputs = Inputs::new(vars, |name| std::env::var(name).ok());
    weir_config::load(dir, &inputs.with_snapshots(Folder::snapshots_in(data)))
}

/// Shows diagnostics on stderr.
pub fn show(found: &[Diagnostic]) {
    for diagnostic in found {
        output::note(&diagnostic.render());
    }
}

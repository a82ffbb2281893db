//! `weir crawl infer`: schemas of a crawl's tables from a few answers, written for review.
//!
//! Needs no server. A file that is there is a person's: it is compared, and written anew only if asked to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args as ClapArgs;
use serde_json::{Value, json};
use weir_config::Plan;
use weir_crawl::infer::Seen;
use weir_env::Env;
use weir_runtime::Transports;
use weir_types::CrawlName;

use crate::check::{self, VarArgs};
use crate::client;
use crate::exit::Exit;
use crate::output;

/// Fields that are shown of each schema.
const FIELDS_SHOWN: usize = 50;

// Its command has the name already.
#[derive(Debug, ClapArgs)]
#[group(skip)]
pub(super) struct Infer {
    /// The crawl
    crawl: String,
    #[command(flatten)]
    folder: FolderArgs,
    /// Write files anew that are there already
    #[arg(long)]
    force: bool,
    /// How long it may take, such as 30s
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = super::span)]
    within: Duration,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// A folder with a plan.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct FolderArgs {
    /// The folder with `weir.hcl`
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub vars: VarArgs,
}

impl FolderArgs {
    /// Reads the plan; `None`: it has errors, which are shown.
    pub fn load(&self) -> Option<Plan> {
        match check::load(&self.dir, &self.vars, &check::data_folder(&self.dir, None)) {
            Ok(plan) => Some(plan),
            Err(found) => {
                check::show(&found);
                None
            }
        }
    }
}

/// A schema that was inferred, and the file that it is to be pinned in.
struct Inferred {
    resource: String,
    path: PathBuf,
    text: String,
    items: u64,
    seen: Vec<Seen>,
}

/// What a few calls showed.
struct Found {
    schemas: Vec<Inferred>,
    /// Resources without a schema, and why.
    without: Vec<(String, String)>,
}

/// What became of a schema's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Written,
    Unchanged,
    /// It is there, and another one.
    Differs,
}

impl Infer {
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let Some(plan) = self.folder.load() else { return Ok(Exit::Configuration) };
        let name = known(&plan, &self.crawl)?;
        let env = Env::system();
        let Found { schemas: inferred, without } = client::block_on(async {
            let looking = look(&plan, &name, &env);
            match env.within(self.within, looking).await {
                Some(inferred) => inferred,
                None => Err(anyhow!(
                    "no schema within {}: the vendor, or the budget, is slow; --within gives more",
                    weir_types::span::display(self.within)
                )),
            }
        })?;
        if inferred.is_empty() && without.is_empty() {
            bail!("crawl {name} fills no table: streams have schemas of their own");
        }
        let mut fates = Vec::new();
        let mut shown = Vec::new();
        for schema in &inferred {
            let old = read(&schema.path)?;
            let changes = old.as_deref().map(|old| changes(old, &schema.text)).unwrap_or_default();
            let fate = match &old {
                Some(old) if *old == schema.text => Fate::Unchanged,
                Some(_) if !self.force => Fate::Differs,
                _ => write(schema).map(|()| Fate::Written)?,
            };
            fates.push(fate);
            shown.push(as_json(schema, fate, &changes));
            if !self.json {
                output::data(&told(schema, fate, &changes))?;
            }
        }
        if self.json {
            let without: BTreeMap<_, _> = without.iter().cloned().collect();
            output::data(&format!("{}\n", json!({ "crawl": name, "schemas": shown, "without": without })))?;
        }
        for (resource, why) in &without {
            output::note(&format!("no schema of `{resource}`: {why}"));
        }
        if fates.contains(&Fate::Differs) {
            output::note("a file that is there was not touched: mend it, or write it anew with --force");
            return Ok(Exit::Failed);
        }
        Ok(if without.is_empty() { Exit::Done } else { Exit::Failed })
    }
}

/// Finds a crawl of a plan by its name.
pub(super) fn known(plan: &Plan, crawl: &str) -> anyhow::Result<CrawlName> {
    let found = plan.crawls.keys().find(|name| name.as_str() == crawl);
    found.cloned().ok_or_else(|| {
        let near = weir_types::nearest(crawl, plan.crawls.keys().map(CrawlName::as_str));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        anyhow!("the plan has no crawl `{crawl}`{hint}")
    })
}

/// Makes a few calls.
async fn look(plan: &Plan, name: &CrawlName, env: &Env) -> anyhow::Result<Found> {
    let crawl = &plan.crawls[name];
    let api = plan.apis.get(&crawl.api).context("the plan was checked: the crawl's api is there")?;
    let mut inferred = weir_runtime::infer_schemas(api, crawl, &Transports::http(), env).await?;
    let outputs =
        crawl.outputs.iter().filter_map(|output| Some((output.resource.clone(), output.schema_path.clone()?)));
    let schemas = outputs.filter_map(|(resource, path)| {
        let schema = inferred.schemas.remove(&resource)?;
        Some(Inferred { resource, path, text: schema.schema, items: schema.items, seen: schema.seen })
    });
    Ok(Found { schemas: schemas.collect(), without: inferred.without.into_iter().collect() })
}

/// Looks at the crawls whose schemas are not pinned yet, writes their files, and says so. What can't be inferred within the
/// time is said, too. Returns whether a file was written.
pub async fn pin_missing(plan: &Plan, env: &Env, within: Duration) -> bool {
    let mut wrote = false;
    for (name, crawl) in &plan.crawls {
        if crawl.outputs.iter().all(|output| output.schema.is_some()) {
            continue;
        }
        let Found { schemas, without } = match env.within(within, look(plan, name, env)).await {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                output::note(&format!("crawl {name} does not run yet: its schema could not be inferred"));
                output::error(&error);
                continue;
            }
            None => {
                let span = weir_types::span::display(within);
                output::note(&format!(
                    "crawl {name} does not run yet: its schema could not be inferred within {span}; see `weir crawl infer {name}`"
                ));
                continue;
            }
        };
        for (resource, why) in &without {
            output::note(&format!("crawl {name} does not run yet: no schema of its `{resource}`: {why}"));
        }
        for schema in &schemas {
            // What is there is a person's.
            if schema.path.exists() {
                continue;
            }
            match write(schema) {
                Ok(()) => {
                    wrote = true;
                    let path = schema.path.display();
                    output::note(&format!(
                        "the schema of {name}'s `{}` is pinned in {path}: review it",
                        schema.resource
                    ));
                }
                Err(error) => output::error(&error),
            }
        }
    }
    wrote
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read `{}`", path.display())),
    }
}

/// Writes a schema's file whole, or not at all.
fn write(schema: &Inferred) -> anyhow::Result<()> {
    let path = &schema.path;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|file| {
        std::fs::write(file.path(), &schema.text)?;
        file.persist(path).map_err(|error| error.error)?;
        readable(path)
    });
    written.with_context(|| format!("write `{}`", path.display()))
}

/// Temporary files are for their owner alone; a schema is a file like the others of the folder.
fn readable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

/// Says how the columns of two schemas differ.
fn changes(old: &str, new: &str) -> Vec<String> {
    let fields = |text: &str| -> Vec<(String, String)> {
        let schema: Value = serde_json::from_str(text).unwrap_or_default();
        let fields = schema["fields"].as_array().cloned().unwrap_or_default();
        let named = |field: Value| (field["name"].as_str().unwrap_or_default().to_owned(), field["type"].to_string());
        fields.into_iter().map(named).collect()
    };
    let (old, new) = (fields(old), fields(new));
    let find = |fields: &[(String, String)], name: &str| {
        fields.iter().find(|(known, _)| known == name).map(|(_, kind)| kind.clone())
    };
    let mut changes = Vec::new();
    for (name, kind) in &old {
        match find(&new, name) {
            None => changes.push(format!("- {name}: {kind}")),
            Some(now) if now != *kind => changes.push(format!("~ {name}: {kind} is now {now}")),
            Some(_) => {}
        }
    }
    changes.extend(
        new.iter().filter(|(name, _)| find(&old, name).is_none()).map(|(name, kind)| format!("+ {name}: {kind}")),
    );
    changes
}

fn as_json(schema: &Inferred, fate: Fate, changes: &[String]) -> Value {
    json!({
        "resource": schema.resource,
        "path": schema.path.display().to_string(),
        "items": schema.items,
        "fate": match fate { Fate::Written => "written", Fate::Unchanged => "unchanged", Fate::Differs => "differs" },
        "changes": changes,
        "fields": schema.seen.iter().map(|seen| json!({ "path": seen.path, "becomes": seen.becomes })).collect::<Vec<_>>(),
    })
}

fn told(schema: &Inferred, fate: Fate, changes: &[String]) -> String {
    let fate = match fate {
        Fate::Written => "written",
        Fate::Unchanged => "as it was",
        Fate::Differs => "not written, it is there and differs",
    };
    let path = schema.path.display();
    let mut out = format!("{path}: {fate} ({} items of `{}`)\n", output::count(schema.items), schema.resource);
    if changes.is_empty() {
        for seen in schema.seen.iter().take(FIELDS_SHOWN) {
            out.push_str(&format!("  {seen}\n"));
        }
        if schema.seen.len() > FIELDS_SHOWN {
            out.push_str(&format!("  and {} fields more\n", schema.seen.len() - FIELDS_SHOWN));
        }
    }
    for change in changes {
        out.push_str(&format!("  {change}\n"));
    }
    out
}

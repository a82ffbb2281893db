//! Schemas of a crawl that has none: a few calls, and a look at what they bring.
//!
//! Calls go where the fewest went so far, deeper resources first, so that each resource is seen within few of them. Nothing is
//! stored; what is learned of the vendor's pace is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;
use weir_budget::{Budget, Budgets, Share};
use weir_config::{ApiPlan, CrawlPlan, To};
use weir_crawl::http::HttpError;
use weir_crawl::infer::{Sample, Seen};
use weir_crawl::{Plan, Read, RunValues, Task};
use weir_env::Env;
use weir_log::{Engine, MemoryEngine};
use weir_machine::{Machine, Options, Owner, Snapshots};
use weir_types::{CrawlName, LogName};

use super::apis::Transports;
use crate::pipeline::chain;

/// Calls that are made at most, throttled ones among them.
pub const INFER_CALLS_MAX: usize = 50;
/// Calls of one resource that are enough.
const CALLS_ENOUGH: u64 = 5;
/// Children of one page that are called, for each resource below.
const CHILDREN_MAX: usize = 3;

/// Why no schemas could be inferred.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// The crawl's words are not understood.
    #[error("crawl `{crawl}`: {reason}")]
    Crawl {
        /// The crawl.
        crawl: CrawlName,
        /// What is wrong with it.
        reason: String,
    },
    /// The account can't be called.
    #[error("open api `{api}`")]
    Api {
        /// The account.
        api: String,
        /// The cause.
        #[source]
        source: HttpError,
    },
    /// What keeps the pace could not be opened.
    #[error("open a budget: {0}")]
    Budget(String),
}

/// The schema of one resource's items.
#[derive(Debug, Clone)]
pub struct InferredSchema {
    /// Avro, as JSON, for review.
    pub schema: String,
    /// Items that it was inferred from.
    pub items: u64,
    /// What was seen of each field.
    pub seen: Vec<Seen>,
}

/// What a few calls showed.
#[derive(Debug, Clone, Default)]
pub struct Inferred {
    /// The schemas, by resource: of those that have a table, and had items.
    pub schemas: BTreeMap<String, InferredSchema>,
    /// Why a resource has none, by resource.
    pub without: BTreeMap<String, String>,
    /// Calls that were made.
    pub calls: usize,
}

/// Calls a vendor a few times, and infers the schemas of a crawl's items from what it answers.
///
/// # Errors
/// See [`InferError`]. A vendor that does not answer is no error: its resources have no schema then, and it is said why.
pub async fn infer(
    api: &ApiPlan,
    crawl: &CrawlPlan,
    transports: &Transports,
    env: &Env,
) -> Result<Inferred, InferError> {
    let plan = Plan::compile(&api.client, &crawl.spec).map_err(|errors| InferError::Crawl {
        crawl: crawl.name.clone(),
        reason: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    })?;
    let transport =
        transports.open(api, env).map_err(|source| InferError::Api { api: api.name.to_string(), source })?;
    let budget = Budget::open(api.name.clone(), api.budget.clone(), facts(env).await?, env.clone());
    let flow = budget.flow(&[Share { name: "infer", weight: 1 }]);
    let values = RunValues::new(1, env.now());
    let mut looking = Looking::new(&plan, crawl);
    looking.pending.extend(plan.roots(&values));
    let mut calls = 0;
    while calls < INFER_CALLS_MAX
        && let Some(task) = looking.next()
    {
        let request = match plan.request(&task, &values) {
            Ok(request) => request,
            Err(error) => {
                looking.failed(&task.resource, error.to_string());
                continue;
            }
        };
        calls += 1;
        let permit = flow.permit().await;
        let (read, signal) = match transport.call(request).await {
            Ok(answer) => {
                let read = plan.read(&task, &values, &answer);
                let signal = plan.signal(&read, &answer, env.now());
                (read, signal)
            }
            Err(error) => (plan.failed(&error), plan.signal_of_error(&error)),
        };
        permit.end(signal);
        match read {
            Read::Data(page) => looking.take(&task, *page),
            Read::Ignored { .. } => looking.called(&task.resource),
            Read::Throttled(_) => looking.pending.push(task),
            Read::Retry(failure) if task.attempt < 2 => {
                looking.failed(&task.resource, failure.to_string());
                looking.pending.push(Task { attempt: task.attempt + 1, ..task });
            }
            Read::Retry(failure) | Read::Dead(failure) => {
                looking.called(&task.resource);
                looking.failed(&task.resource, failure.to_string());
            }
        }
    }
    Ok(looking.end(&plan, calls))
}

/// Facts that nobody keeps.
async fn facts(env: &Env) -> Result<Owner<Budgets>, InferError> {
    let engine = MemoryEngine::new(env.clone());
    let log = engine.log(&LogName::machine(Budgets::NAME)).await.map_err(|error| InferError::Budget(chain(&error)))?;
    let snapshots = Snapshots::new(Arc::new(InMemory::new()), object_store::path::Path::default());
    let opened = Owner::open(log, snapshots, env.clone(), Options::default()).await;
    opened.map_err(|error| InferError::Budget(chain(&error)))
}

/// What was seen, and what is still to be looked at.
struct Looking {
    pending: Vec<Task>,
    depths: BTreeMap<String, usize>,
    calls: BTreeMap<String, u64>,
    /// Of the resources that need a schema.
    samples: BTreeMap<String, Sample>,
    failures: BTreeMap<String, String>,
}

impl Looking {
    fn new(plan: &Plan, crawl: &CrawlPlan) -> Self {
        let needed = crawl.outputs.iter().filter(|output| matches!(output.to, To::Table(_)));
        Self {
            pending: Vec::new(),
            depths: plan.shape().iter().map(|step| (step.resource.clone(), step.depth)).collect(),
            calls: BTreeMap::new(),
            samples: needed.map(|output| (output.resource.clone(), Sample::default())).collect(),
            failures: BTreeMap::new(),
        }
    }

    fn calls_of(&self, resource: &str) -> u64 {
        self.calls.get(resource).copied().unwrap_or(0)
    }

    /// Takes the task of the resource that was called the least, the deepest among those; none when enough was seen.
    fn next(&mut self) -> Option<Task> {
        let enough =
            |(resource, sample): (&String, &Sample)| sample.items() > 0 && self.calls_of(resource) >= CALLS_ENOUGH;
        if self.samples.iter().all(enough) {
            return None;
        }
        let rank = |task: &Task| {
            let depth = self.depths.get(&task.resource).copied().unwrap_or(0);
            (self.calls_of(&task.resource), std::cmp::Reverse(depth))
        };
        let best = self.pending.iter().enumerate().min_by_key(|(_, task)| rank(task)).map(|(index, _)| index);
        best.map(|index| self.pending.swap_remove(index))
    }

    fn called(&mut self, resource: &str) {
        *self.calls.entry(resource.to_owned()).or_default() += 1;
    }

    fn failed(&mut self, resource: &str, failure: String) {
        self.failures.insert(resource.to_owned(), failure);
    }

    fn take(&mut self, task: &Task, page: weir_crawl::Page) {
        self.called(&task.resource);
        if let Some(sample) = self.samples.get_mut(&task.resource) {
            page.items.iter().for_each(|item| sample.add(item));
        }
        let mut of_resource: BTreeMap<String, usize> = BTreeMap::new();
        for child in page.children {
            let count = of_resource.entry(child.resource.clone()).or_default();
            *count += 1;
            if *count <= CHILDREN_MAX {
                self.pending.push(child);
            }
        }
        self.pending.extend(page.next);
    }

    fn end(self, plan: &Plan, calls: usize) -> Inferred {
        let mut inferred = Inferred { calls, ..Inferred::default() };
        for (resource, sample) in self.samples {
            if sample.items() == 0 {
                let asked = self.calls.get(&resource).copied().unwrap_or(0);
                let why = match self.failures.get(&resource).or_else(|| self.failures.values().next()) {
                    Some(failure) => format!("a call failed: {failure}"),
                    None => format!("{asked} calls of it brought no items"),
                };
                inferred.without.insert(resource, why);
                continue;
            }
            let keys = plan.outputs().find(|output| output.resource == resource);
            let keys = keys.map_or(&[][..], |output| &output.primary_key[..]);
            // Names of records have no `-`.
            let (schema, items, seen) =
                (sample.schema(&resource.replace('-', "_"), keys), sample.items(), sample.describe());
            inferred.schemas.insert(resource, InferredSchema { schema, items, seen });
        }
        inferred
    }
}

//! Schemas of a crawl's tables, from a few answers.
//!
//! Calls go depth first, and through the account's budget, so that a small number of them shows items of each resource. Nothing is
//! stored: neither items nor what a vendor's account was seen to allow.
//!
//! Invariant: no more than [`CALLS_MAX`] calls are made.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use object_store::memory::InMemory;
use weir_budget::{Budget, Budgets, Outcome, Share};
use weir_config::{ApiPlan, CrawlPlan, To};
use weir_crawl::http::HttpError;
use weir_crawl::infer::{Sample, Seen};
use weir_crawl::{Page, Plan, Read, RunValues, Task};
use weir_env::Env;
use weir_log::{Engine, MemoryEngine};
use weir_machine::{Options as MachineOptions, Owner, Snapshots};
use weir_types::{CrawlName, LogName};

use super::apis::Transports;

/// The most calls, those that are tried again included.
pub const CALLS_MAX: u64 = 50;
/// Items of a resource from which on no more calls are made for it.
const ITEMS_ENOUGH: u64 = 500;
/// Calls of a resource that are made at most.
const CALLS_OF_RESOURCE_MAX: u64 = 12;
/// Tasks of each resource that one page leads to.
const CHILDREN_OF_PAGE: usize = 4;
/// How often a call is tried.
const ATTEMPTS: u32 = 4;

/// A schema that was inferred, for review.
#[derive(Debug)]
pub struct Inferred {
    /// The resource.
    pub resource: String,
    /// The file that it is to be pinned in.
    pub path: PathBuf,
    /// The Avro schema.
    pub text: String,
    /// Items that were looked at.
    pub items: u64,
    /// What was seen, field by field.
    pub seen: Vec<Seen>,
    /// Fields that there was no room for.
    pub left_out: Vec<String>,
}

/// Why there is no schema.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// The crawl is not what it should be.
    #[error("crawl `{crawl}`: {reason}")]
    Crawl {
        /// The crawl.
        crawl: CrawlName,
        /// What is wrong.
        reason: String,
    },
    /// What carries calls can't be set up.
    #[error("set up api `{api}`")]
    Http {
        /// The account.
        api: String,
        /// The cause.
        #[source]
        source: HttpError,
    },
    /// No item of a resource came.
    #[error("no item of `{resource}` came in {calls} calls: {reason}")]
    NoItems {
        /// The resource.
        resource: String,
        /// Calls that were made in all.
        calls: u64,
        /// What was seen instead.
        reason: String,
    },
}

/// Makes a few calls, and returns a schema for each table that the crawl fills.
///
/// # Errors
/// See [`InferError`].
pub async fn infer(
    crawl: &CrawlPlan,
    api: &ApiPlan,
    transports: &Transports,
    env: &Env,
) -> Result<Vec<Inferred>, InferError> {
    let refused = |reason: String| InferError::Crawl { crawl: crawl.name.clone(), reason };
    let plan = Plan::compile(&api.client, &crawl.spec)
        .map_err(|errors| refused(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    let transport =
        transports.open(api, env).map_err(|source| InferError::Http { api: api.name.to_string(), source })?;
    // What is learned in so few calls is not kept, and so is what is used of a quota: the log ends with this.
    let log = MemoryEngine::new(env.clone()).log(&LogName::machine("budgets")).await;
    let log = log.map_err(|error| refused(error.to_string()))?;
    let snapshots = Snapshots::new(Arc::new(InMemory::new()), object_store::path::Path::from("snapshots"));
    let facts: Owner<Budgets> = Owner::open(log, snapshots, env.clone(), MachineOptions::default())
        .await
        .map_err(|error| refused(error.to_string()))?;
    let budget = Budget::open(api.name.clone(), api.budget.clone(), facts, env.clone());
    let flow = budget.flow(&[Share { name: "infer", weight: 1 }]);
    let run = RunValues::new(0, env.now());
    let mut look = Look::new(crawl, &plan);
    look.waiting.extend(plan.roots(&run));
    while let Some(task) = look.next() {
        let request = match plan.request(&task, &run) {
            Ok(request) => request,
            Err(error) => {
                look.note(&task, error.to_string());
                continue;
            }
        };
        for attempt in 1..=ATTEMPTS {
            if look.calls >= CALLS_MAX {
                break;
            }
            look.count(&task);
            let permit = flow.permit().await;
            let (read, signal) = match transport.call(request.clone()).await {
                Ok(answer) => {
                    let read = plan.read(&task, &run, &answer);
                    let signal = plan.signal(&read, &answer, env.now());
                    (read, signal)
                }
                Err(error) => (plan.failed(&error), plan.signal_of_error(&error)),
            };
            let throttled = signal.outcome == Outcome::Throttled;
            permit.end(signal);
            match read {
                Read::Data(page) => {
                    look.page(&task, *page);
                    break;
                }
                Read::Ignored { status } => {
                    look.note(&task, format!("an answer of status {status} was passed over"));
                    break;
                }
                Read::Dead(failure) => {
                    look.note(&task, failure.to_string());
                    break;
                }
                Read::Retry(failure) | Read::Throttled(failure) => {
                    look.note(&task, failure.to_string());
                    if attempt < ATTEMPTS && !throttled {
                        env.sleep(env.jitter(super::call::BACKOFF)).await;
                    }
                }
            }
        }
    }
    look.schemas(crawl)
}

/// What was seen so far, and what is looked at next.
struct Look<'a> {
    plan: &'a Plan,
    /// Of resources that fill tables.
    samples: BTreeMap<&'a str, Sample>,
    /// How deep a resource hangs.
    depth: BTreeMap<&'a str, usize>,
    /// The deepest come first.
    waiting: VecDeque<Task>,
    calls: u64,
    calls_of: BTreeMap<String, u64>,
    /// What was last wrong with a resource.
    problems: BTreeMap<String, String>,
}

impl<'a> Look<'a> {
    fn new(crawl: &'a CrawlPlan, plan: &'a Plan) -> Self {
        let tables = crawl.outputs.iter().filter(|output| matches!(output.to, To::Table(_)));
        Self {
            plan,
            samples: tables.map(|output| (output.resource.as_str(), Sample::default())).collect(),
            depth: plan.shape().iter().map(|step| (step.resource.as_str(), step.depth)).collect(),
            waiting: VecDeque::new(),
            calls: 0,
            calls_of: BTreeMap::new(),
            problems: BTreeMap::new(),
        }
    }

    /// Returns the next task that can show something new.
    fn next(&mut self) -> Option<Task> {
        while self.calls < CALLS_MAX {
            let task = self.waiting.pop_front()?;
            if self.is_wanted(&task.resource) {
                return Some(task);
            }
        }
        None
    }

    /// Tells whether a resource, or one below it, has too few items yet, and may be called.
    fn is_wanted(&self, resource: &str) -> bool {
        let may = self.calls_of.get(resource).copied().unwrap_or(0) < CALLS_OF_RESOURCE_MAX;
        may && self.lacks(resource)
    }

    fn lacks(&self, resource: &str) -> bool {
        let itself = self.samples.get(resource).is_some_and(|sample| sample.items() < ITEMS_ENOUGH);
        itself || {
            let below = self.plan.shape().iter().filter(|step| step.parent.as_deref() == Some(resource));
            below.into_iter().any(|step| self.lacks(&step.resource))
        }
    }

    fn count(&mut self, task: &Task) {
        self.calls += 1;
        *self.calls_of.entry(task.resource.clone()).or_default() += 1;
    }

    fn note(&mut self, task: &Task, problem: String) {
        self.problems.insert(task.resource.clone(), problem);
    }

    fn page(&mut self, task: &Task, page: Page) {
        if let Some(sample) = self.samples.get_mut(task.resource.as_str()) {
            page.items.iter().for_each(|item| sample.add(item));
        }
        match (page.items.is_empty(), page.problems.first()) {
            (true, _) => self.note(task, "its list is empty".to_owned()),
            (false, Some(problem)) => self.note(task, problem.to_string()),
            (false, None) => {
                self.problems.remove(&task.resource);
            }
        }
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        let mut children: Vec<Task> = page
            .children
            .into_iter()
            .filter(|child| {
                let kept = kept.entry(child.resource.clone()).or_default();
                *kept += 1;
                *kept <= CHILDREN_OF_PAGE
            })
            .collect();
        let depth = |task: &Task| self.depth.get(task.resource.as_str()).copied().unwrap_or(0);
        children.sort_by_key(|child| std::cmp::Reverse(depth(child)));
        // What hangs below comes before what stands beside, and the next page last.
        children.into_iter().rev().for_each(|child| self.waiting.push_front(child));
        self.waiting.extend(page.next);
    }

    fn schemas(self, crawl: &CrawlPlan) -> Result<Vec<Inferred>, InferError> {
        let mut inferred = Vec::new();
        for output in &crawl.outputs {
            let (Some(sample), Some(path)) = (self.samples.get(output.resource.as_str()), &output.schema_path) else {
                continue;
            };
            if sample.items() == 0 {
                return Err(InferError::NoItems {
                    resource: output.resource.clone(),
                    calls: self.calls,
                    reason: self.reason(&output.resource),
                });
            }
            let keys = crawl.spec.resources.iter().find(|resource| resource.name == output.resource);
            let keys = keys.map_or(&[][..], |resource| &resource.primary_key);
            inferred.push(Inferred {
                resource: output.resource.clone(),
                path: path.clone(),
                // Avro's names have no `-`.
                text: sample.schema(&output.resource.replace('-', "_"), keys),
                items: sample.items(),
                seen: sample.describe(),
                left_out: sample.left_out().0.to_vec(),
            });
        }
        Ok(inferred)
    }

    /// Says why a resource has no items: what was wrong with it, or with what stands above it.
    fn reason(&self, resource: &str) -> String {
        let mut at = Some(resource);
        while let Some(name) = at {
            if let Some(problem) = self.problems.get(name) {
                return if name == resource { problem.clone() } else { format!("`{name}`: {problem}") };
            }
            at = self.plan.shape().iter().find(|step| step.resource == name).and_then(|step| step.parent.as_deref());
        }
        "nothing led to it".to_owned()
    }
}

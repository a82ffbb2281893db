//! Opening crawls: their streams and queues, what they call, where their items go; then the tasks that run them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use weir_budget::Budget;
use weir_config::{CrawlPlan, To};
use weir_crawl::runs::Runs;
use weir_crawl::{Plan, Transport};
use weir_env::Env;
use weir_log::Engine;
use weir_machine::{Owner, Snapshots};
use weir_queue::{Queue, Queues, Settings as QueueSettings};
use weir_schema::Schema;
use weir_stream::{Checkpoints, Settings, Stream};
use weir_types::{QueueName, SequenceNumber, ShardId, StreamName, TableName};

use super::apis::Apis;
use super::crew::{Answers, Crew, Flying, Held, Orders};
use super::fold::{self, Fold};
use super::items::Form;
use super::keeper::Keeper;
use super::schedule::{self, Scheduled};
use super::task::TASK_KEY;
use super::{pull, sink, task};
use crate::dead::DeadLetters;
use crate::function::Trouble;
use crate::function::forward::{self, Target};
use crate::function::outbox::{self, Outbox, read_state};
use crate::node::StartError;
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// The only shard of a crawl's stream: its outbox.
pub(super) const SHARD: ShardId = ShardId(0);
/// What a crawl has made is forgotten as soon as its targets have it.
const RETENTION: Duration = Duration::ZERO;

/// How long a start waits for a crawl's progress to be read.
const CATCH_UP: Duration = Duration::from_secs(10);

/// What opening crawls needs.
pub(crate) struct Around<'a> {
    pub env: &'a Env,
    pub engine: &'a dyn Engine,
    pub snapshots: &'a Snapshots,
    pub catalog: &'a Catalog,
    pub checkpoints: &'a Owner<Checkpoints>,
    pub streams: &'a BTreeMap<StreamName, Arc<OpenStream>>,
    pub queues: &'a Arc<Queues>,
    pub dead_letters: &'a DeadLetters,
    pub runs: &'a Owner<Runs>,
    pub apis: &'a Apis,
}

/// A crawl that is open, and runs once it is started.
pub(crate) struct OpenCrawl {
    pub plan: CrawlPlan,
    /// Its outbox.
    pub stream: Arc<Stream>,
    pub queue: Arc<Queue>,
    /// Why it can't run, in words that name the next step.
    pub unpinned: Option<String>,
    pub trouble: Arc<Trouble>,
    pub budget: Arc<Budget>,
    pub(super) crew: Arc<Crew>,
    pub(super) fold: Arc<Fold>,
    /// Told whenever the machine has changed.
    pub(super) changed: Arc<Notify>,
    pub(super) orders: watch::Sender<Orders>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Those that end when the others have.
    last: Mutex<Vec<JoinHandle<()>>>,
}

/// Names the consumer that a crawl's forwarder is.
pub(crate) fn consumer(crawl: &str) -> String {
    format!("crawl/{crawl}")
}

impl OpenCrawl {
    /// Opens a crawl: what it keeps, and what it knows of how far it is.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(plan: CrawlPlan, around: &Around<'_>) -> Result<Arc<Self>, StartError> {
        let known = "the plan was checked: its references lead somewhere";
        let api = around.apis.get(&plan.api).expect(known);
        let compiled = Plan::compile(&api.client, &plan.spec).map_err(|errors| StartError::Crawl {
            crawl: plan.name.clone(),
            reason: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        })?;
        let settings = Settings { shards: 1, retention: RETENTION, retention_bytes: None };
        let name = StreamName::of_crawl(&plan.name);
        let stream = Stream::open(around.engine, around.snapshots.clone(), around.env.clone(), name, settings).await?;
        let settings =
            QueueSettings { retention: weir_queue::limits::RETENTION_INTERNAL_MAX, ..QueueSettings::default() };
        let queue = around.queues.ensure(QueueName::of_crawl(&plan.name), settings).await?;
        let mut forms = BTreeMap::new();
        let mut unpinned = Vec::new();
        for output in &plan.outputs {
            let schema = match &output.to {
                To::Stream(stream) => Some(around.streams.get(stream).expect(known).schema.clone()),
                _ => output.schema.clone(),
            };
            let Some(schema) = schema else {
                unpinned.push(output.resource.clone());
                continue;
            };
            if matches!(output.to, To::Table(_)) {
                register(&plan, &output.resource, &schema, around).await?;
            }
            let form = Form::new(&output.resource, schema).map_err(|error| StartError::Crawl {
                crawl: plan.name.clone(),
                reason: format!("the schema of resource `{}`: {}", output.resource, crate::pipeline::chain(&error)),
            })?;
            forms.insert(output.resource.clone(), form);
        }
        let unpinned = (!unpinned.is_empty()).then(|| {
            let names = unpinned.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            format!("{names} have no schema yet: run `weir crawl infer {}`, look at the files that it writes, and start again", plan.name)
        });
        let fold = Fold::open(around.snapshots, plan.name.as_str(), &stream.shards()[0]).await;
        let fold = fold.map_err(|source| StartError::CrawlProgress { crawl: plan.name.clone(), source })?;
        let changed = Arc::new(Notify::new());
        let trouble = Arc::new(Trouble::default());
        let crew = Crew {
            env: around.env.clone(),
            crawl: plan.name.to_string(),
            weight: plan.weight,
            tenants: plan.spec.tenants.iter().map(|tenant| (tenant.name.clone(), tenant.weight)).collect(),
            attempts: plan.spec.resources.iter().map(|resource| (resource.name.clone(), resource.attempts)).collect(),
            answers: Answers::new(plan.spec.resources.iter().map(|resource| resource.name.as_str())),
            plan: compiled,
            queue: queue.clone(),
            budget: api.budget.clone(),
            transport: api.transport.clone(),
            forms,
            held: Held::new(changed.clone()),
            flying: Flying::default(),
            trouble: trouble.clone(),
        };
        Ok(Arc::new(Self {
            stream,
            queue,
            unpinned,
            trouble,
            budget: api.budget.clone(),
            crew: Arc::new(crew),
            fold: Arc::new(fold),
            changed,
            orders: watch::Sender::new(Orders::Hold),
            stop: watch::Sender::new(false),
            tasks: Mutex::default(),
            last: Mutex::default(),
            plan,
        }))
    }

    /// Returns the stream of a resource's items, as the pipeline of its table reads it; none while it is not pinned.
    pub fn output_of(&self, table: &TableName) -> Option<(Arc<OpenStream>, Vec<u8>)> {
        let output = self.plan.outputs.iter().find(|output| output.to == To::Table(table.clone()))?;
        let stream = Arc::new(OpenStream::new(self.stream.clone(), output.schema.clone()?, None, None));
        Some((stream, output.resource.as_bytes().to_vec()))
    }

    /// Returns the first record of its stream that its own tasks still need; `forwarded` is how far it was carried on.
    pub fn needs_from(&self, forwarded: SequenceNumber) -> SequenceNumber {
        // The last record stays in any case: that is the outbox's state.
        let state = SequenceNumber(self.stream.shards()[0].bounds().tail.0.saturating_sub(1));
        forwarded.min(state).min(self.fold.needs_from())
    }

    /// Starts the crawl where it left off.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(self: &Arc<Self>, around: &Around<'_>) -> Result<(), StartError> {
        let owner = consumer(self.plan.name.as_str());
        let state = read_state(&owner, &self.stream.shards()[0]).await?;
        if !state.unsettled.is_empty() {
            outbox::settle(around.env, &self.queue, state.unsettled.clone(), &self.trouble).await;
        }
        // Whoever held them is gone.
        if let Err(error) = self.queue.take_back().await {
            tracing::warn!(crawl = %self.plan.name, error = crate::pipeline::chain(&error), "leases could not be taken back: they have to run out");
        }
        let parts = outbox::Parts {
            env: around.env.clone(),
            owner: owner.clone(),
            stream: self.stream.clone(),
            shard: SHARD,
            queue: Some(self.queue.clone()),
            trouble: self.trouble.clone(),
            taken: 0,
        };
        let (outbox, outbox_task) = Outbox::start(parts, state);
        let parts = fold::Parts {
            env: around.env.clone(),
            crawl: self.plan.name.to_string(),
            stream: self.stream.clone(),
            shard: SHARD,
            snapshots: around.snapshots.clone(),
            fold: self.fold.clone(),
        };
        let fold = tokio::spawn(fold::run(parts, self.stop.subscribe()));
        let forwarder = tokio::spawn(forward::run(self.forwarder(owner, around), self.stop.subscribe()));
        self.keep([fold, forwarder]);
        // What a status says right behind a start is how far the crawl is, and not nothing.
        if around.env.within(CATCH_UP, self.fold.catch_up(&self.stream.shards()[0])).await.is_none() {
            tracing::warn!(crawl = %self.plan.name, "the crawl's progress is still being read; its numbers are too small until then");
        }
        if self.unpinned.is_none() {
            self.start_working(outbox, around);
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).push(outbox_task);
        Ok(())
    }

    fn start_working(&self, outbox: Outbox, around: &Around<'_>) {
        let keeper = Keeper {
            crew: self.crew.clone(),
            stream: self.stream.clone(),
            shard: SHARD,
            fold: self.fold.clone(),
            outbox: outbox.clone(),
            runs: around.runs.clone(),
            orders: self.orders.clone(),
            changed: self.changed.clone(),
            timeout: self.plan.timeout,
        };
        let (done, incoming) = mpsc::channel(sink::WAITING_MAX);
        let puller = pull::run(self.crew.clone(), done, self.orders.subscribe(), self.stop.subscribe());
        let renewer = pull::renew(self.crew.clone(), self.stop.subscribe());
        self.keep([tokio::spawn(puller), tokio::spawn(renewer), tokio::spawn(keeper.run(self.stop.subscribe()))]);
        if let Some(schedule) = &self.plan.schedule {
            let scheduled = Scheduled {
                env: around.env.clone(),
                crawl: self.plan.name.to_string(),
                schedule: schedule.clone(),
                overlap: self.plan.overlap,
                runs: around.runs.clone(),
                changed: self.changed.clone(),
            };
            self.keep([tokio::spawn(schedule::run(scheduled, self.stop.subscribe()))]);
        }
        let sink = tokio::spawn(sink::run(self.crew.clone(), outbox, incoming));
        self.last.lock().unwrap_or_else(PoisonError::into_inner).push(sink);
    }

    fn forwarder(&self, owner: String, around: &Around<'_>) -> forward::Parts {
        let known = "the plan was checked: its references lead somewhere";
        let mut targets = BTreeMap::new();
        for output in &self.plan.outputs {
            if let To::Stream(stream) = &output.to {
                let target = Target::Stream(around.streams.get(stream).expect(known).clone());
                targets.insert(output.resource.as_bytes().to_vec(), target);
            }
        }
        targets.extend(forward::targets_of_failures(around.dead_letters.stream().clone(), None));
        targets.insert(TASK_KEY.to_vec(), Target::Turned(self.queue.clone(), task::message));
        forward::Parts {
            env: around.env.clone(),
            owner,
            stream: self.stream.clone(),
            shard: SHARD,
            checkpoints: around.checkpoints.clone(),
            targets,
            trouble: self.trouble.clone(),
            producer: ("_crawl/", self.plan.name.to_string()),
        }
    }

    /// Ends the crawl's tasks. Calls under way may end within a moment; the others are made again at the next start.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        // What waits for its turn is given back at once.
        self.orders.send_replace(Orders::Hold);
        for tasks in [&self.tasks, &self.last] {
            let tasks = std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner));
            for task in tasks {
                // A task that panicked has said so.
                let _ = task.await;
            }
        }
    }

    fn keep<const N: usize>(&self, tasks: [JoinHandle<()>; N]) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
    }
}

/// Registers the schema of what a table takes, so that whoever reads the outbox knows it.
async fn register(plan: &CrawlPlan, resource: &str, schema: &Schema, around: &Around<'_>) -> Result<(), StartError> {
    let subject = format!("crawl.{}.{resource}-value", plan.name);
    let refused = |error: weir_types::NameError| StartError::Crawl {
        crawl: plan.name.clone(),
        reason: format!("the name of resource `{resource}`: {error}"),
    };
    crate::opening::register(around.catalog, subject.parse().map_err(refused)?, schema, None).await
}

/// All crawls of a node, by name.
pub(crate) type OpenCrawls = BTreeMap<weir_types::CrawlName, Arc<OpenCrawl>>;

/// A vendor's account, opened.
pub(crate) struct OpenApi {
    pub client: weir_crawl::spec::Client,
    pub budget: Arc<Budget>,
    pub transport: Arc<dyn Transport>,
}

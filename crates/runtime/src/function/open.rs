//! Opening functions: their own streams and queues, their code, their outputs; then the tasks that run them.
//!
//! ```text
//! shard of `_function-NAME` | what is worked off there
//! 0                         | the function's own queue: events of schedules, files and asynchronous invocations
//! 1                         | the queue that it is on; or, of a stream, the records that are redriven
//! 2, 3, ...                 | the shards of the stream that it is on
//! ```

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_config::{
    Body, EnvironmentValue, FunctionPlan, HandlerPlan, Network as NetworkPlan, On, OutputPlan, RuntimePlan,
    Start as StartPlan, To,
};
use weir_env::Env;
use weir_function::SqlFunction;
use weir_lambda::{Allow, Handler, Host, Network, Runtime, Spec, Versions};
use weir_ledger::FunctionHours;
use weir_log::Engine;
use weir_machine::{Owner, Snapshots};
use weir_queue::{Queue, Queues, Settings as QueueSettings};
use weir_schema::{ColumnDecoder, Schema, arrow_schema};
use weir_stream::{Checkpoints, Settings, Start, Stream};
use weir_types::{FunctionName, QueueName, Secret, SequenceNumber, ShardId, StreamName, TableName};

use super::handler::{EventStep, HandlerStep, KinesisStep, SqsStep};
use super::outbox::{self, Finished, Outbox, Progress, State, read_state};
use super::output::{Form, Output};
use super::said::Spoken;
use super::schedule::{self, Scheduled};
use super::sql::SqlStep;
use super::step::{MessageStep, RecordStep};
use super::{Counters, OutboxError, Rules, Trouble, apis, consumer, failure, forward, messages, records};
use crate::dead::DeadLetters;
use crate::ledger::Books;
use crate::lookups::LookupSet;
use crate::node::StartError;
use crate::pipeline::REPLAYED;
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// Shards before those of the stream that a function is on.
pub(super) const OWN_SHARDS: u32 = 2;
/// Of the function's own queue.
pub(super) const EVENTS: ShardId = ShardId(0);
/// Of the queue that a function is on, or of its stream's redriven records.
pub(super) const SECOND: ShardId = ShardId(1);

/// What a function keeps of its own is forgotten as soon as its targets have it.
const RETENTION: Duration = Duration::ZERO;
/// How long redriven records are kept.
const REDRIVE_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an event may wait in the function's own queue.
const EVENTS_RETENTION: Duration = weir_queue::limits::RETENTION_MAX;
/// How old an event may be, as with asynchronous invocations of AWS.
const EVENT_AGE: Duration = Duration::from_secs(6 * 3600);
/// Runs of an event after the first, as with asynchronous invocations of AWS.
const EVENT_RETRIES: u32 = 2;
/// Batches of a queue at once, for each core, where nothing else is said.
const BATCHES_PER_CORE: usize = 4;

/// What opening functions needs.
pub(crate) struct Around<'a> {
    pub env: &'a Env,
    pub engine: &'a dyn Engine,
    pub snapshots: &'a Snapshots,
    pub catalog: &'a Catalog,
    pub checkpoints: &'a Owner<Checkpoints>,
    pub streams: &'a BTreeMap<StreamName, Arc<OpenStream>>,
    pub queues: &'a Arc<Queues>,
    pub lookups: &'a Arc<LookupSet>,
    pub dead_letters: &'a DeadLetters,
    /// None, where the plan has no handlers.
    pub host: Option<&'a Host>,
    pub versions: &'a Owner<Versions>,
    pub books: &'a Books,
}

/// Which records are worked off, and where what is made of them is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// What arrives: `_function-NAME`.
    Live,
    /// What replays give: `_replayed-NAME`. Tables that read it replace.
    Replay,
}

impl Lane {
    /// Returns what the names begin with that its records go on under.
    fn producer(self) -> &'static str {
        match self {
            Self::Live => "_function/",
            Self::Replay => REPLAYED,
        }
    }
}

/// The way of replayed records through a function that is on a stream.
pub(crate) struct Replay {
    /// What the function is given, and nobody else.
    pub feed: Arc<Stream>,
    /// What it has made of that.
    pub made: Arc<Stream>,
    pub counters: Arc<Counters>,
    /// Who gives. One at a time: the last key of the feed says how far it came.
    pub turn: tokio::sync::Mutex<()>,
}

/// The only shard of either stream of replays.
pub(crate) const REPLAY_SHARD: ShardId = ShardId(0);

/// What the ledger sees of an outbox, for the outbox and the ledger.
type SharedSpoken = Arc<tokio::sync::Mutex<Spoken>>;

/// A function that is open, and runs once it is started.
pub(crate) struct OpenFunction {
    pub plan: Arc<FunctionPlan>,
    /// Its outbox.
    pub stream: Arc<Stream>,
    /// The handler, if it is one.
    pub handler: Option<Arc<Handler>>,
    /// The queue of its own, if it is a handler.
    pub events: Option<Arc<Queue>>,
    pub counters: Arc<Counters>,
    pub trouble: Arc<Trouble>,
    /// What makes records of what a direct invocation returned.
    pub(super) step: Option<Arc<HandlerStep>>,
    /// Where redriven records are, if it is on a stream.
    pub redrive: Option<Arc<Stream>>,
    /// Where replayed records go, if it is on a stream.
    pub replay: Option<Replay>,
    pub(super) source: Source,
    outboxes: Mutex<BTreeMap<(Lane, ShardId), Outbox>>,
    /// What the ledger sees of the outboxes, over their end too.
    spoken: Mutex<BTreeMap<(Lane, ShardId), SharedSpoken>>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What a function is on, opened.
pub(super) enum Source {
    Stream {
        stream: Arc<OpenStream>,
        start: Start,
    },
    Queue(Arc<Queue>),
    /// Its own queue alone.
    Events,
}

/// All functions that need an outbox, by name.
pub(crate) type Functions = BTreeMap<FunctionName, Arc<OpenFunction>>;

/// Tells whether a function is more than the pipelines of its tables.
pub(crate) fn needs_outbox(plan: &FunctionPlan) -> bool {
    matches!(plan.body, Body::Handler(_)) || plan.outputs.iter().any(|output| !matches!(output.to, To::Table(_)))
}

impl OpenFunction {
    /// Opens a function: what it keeps, and its code, which is installed if that was not done before.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(plan: Arc<FunctionPlan>, around: &Around<'_>) -> Result<Arc<Self>, StartError> {
        let known = "the plan was checked: its references lead somewhere";
        let source = match &plan.on {
            On::Stream { stream, start } => Source::Stream {
                stream: around.streams.get(stream).expect(known).clone(),
                start: match start {
                    StartPlan::Oldest => Start::Oldest,
                    StartPlan::Newest => Start::Newest,
                    StartPlan::Time(time) => Start::Time(*time),
                },
            },
            On::Queue(queue) => Source::Queue(around.queues.get(queue).expect(known)),
            On::Schedule(_) | On::Files(_) | On::Invocation => Source::Events,
        };
        let shards = match &source {
            Source::Stream { stream, .. } => stream.stream.shards().len() as u32,
            Source::Queue(_) | Source::Events => 0,
        };
        let open = |name, shards, retention| {
            let settings = Settings { shards, retention, retention_bytes: None };
            Stream::open(around.engine, around.snapshots.clone(), around.env.clone(), name, settings)
        };
        let stream = open(StreamName::of_function(&plan.name), OWN_SHARDS + shards, RETENTION).await?;
        let redrive = match &source {
            Source::Stream { .. } => {
                let name = StreamName::of_redrive("function", plan.name.as_str());
                Some(open(name, 1, REDRIVE_RETENTION).await?)
            }
            Source::Queue(_) | Source::Events => None,
        };
        let replay = match &source {
            Source::Stream { .. } => Some(Replay {
                feed: open(StreamName::of_replay(&plan.name), 1, RETENTION).await?,
                made: open(StreamName::of_replayed(&plan.name), 1, RETENTION).await?,
                counters: Arc::default(),
                turn: tokio::sync::Mutex::default(),
            }),
            Source::Queue(_) | Source::Events => None,
        };
        let mut step = None;
        let mut events = None;
        let mut handler = None;
        if let Body::Handler(handler_plan) = &plan.body {
            let host = around.host.expect("a plan with handlers has a host");
            let spec = apis::callable(spec(&plan.name, handler_plan), &plan.apis, host);
            let deployed = host.deploy(spec, around.versions).await;
            let deployed = deployed.map_err(|source| StartError::Deploy { function: plan.name.clone(), source })?;
            let mut outputs = Vec::new();
            for output in &plan.outputs {
                outputs.push(open_output(&plan.name, output, around).await?);
            }
            step = Some(Arc::new(HandlerStep {
                env: around.env.clone(),
                function: plan.name.to_string(),
                handler: deployed.clone(),
                outputs,
            }));
            handler = Some(deployed);
            let settings = QueueSettings { retention: EVENTS_RETENTION, ..QueueSettings::default() };
            events = Some(around.queues.ensure(QueueName::of_function(&plan.name), settings).await?);
        }
        Ok(Arc::new(Self {
            plan,
            stream,
            handler,
            events,
            counters: Arc::default(),
            trouble: Arc::default(),
            step,
            redrive,
            replay,
            source,
            outboxes: Mutex::default(),
            spoken: Mutex::default(),
            stop: watch::channel(false).0,
            tasks: Mutex::default(),
        }))
    }

    /// Returns the stream of an output's records, as the pipeline of its table reads it.
    pub fn output_of(&self, table: &TableName) -> Option<(Arc<OpenStream>, Vec<u8>)> {
        let output = self.plan.outputs.iter().find(|output| output.to == To::Table(table.clone()))?;
        let schema = output.schema.clone()?;
        let stream = Arc::new(OpenStream::new(self.stream.clone(), schema, None, None));
        Some((stream, output.name.as_bytes().to_vec()))
    }

    /// Returns where what it has made is kept.
    fn made_of(&self, lane: Lane) -> &Arc<Stream> {
        match (lane, &self.replay) {
            (Lane::Replay, Some(replay)) => &replay.made,
            _ => &self.stream,
        }
    }

    /// Returns the first replayed record that it still needs, and wakes whoever waits for it to move.
    pub fn replayed(&self) -> Option<watch::Receiver<Option<SequenceNumber>>> {
        let outboxes = self.outboxes.lock().unwrap_or_else(PoisonError::into_inner);
        Some(outboxes.get(&(Lane::Replay, REPLAY_SHARD))?.next())
    }

    /// Starts the function where its outbox left off.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(&self, around: &Around<'_>) -> Result<(), StartError> {
        if let (Some(step), Some(events)) = (&self.step, &self.events) {
            let event_step = Arc::new(EventStep { step: step.clone() });
            let rules = self.rules_of_events();
            self.start_messages(around, EVENTS, events.clone(), event_step, rules).await?;
        }
        match &self.source {
            Source::Events => {}
            Source::Queue(queue) => {
                if let Some(step) = &self.step {
                    let step = SqsStep { step: step.clone(), queue: queue.name().to_string() };
                    self.start_messages(around, SECOND, queue.clone(), Arc::new(step), self.rules_of_queue(queue))
                        .await?;
                }
            }
            Source::Stream { stream, start } => {
                if let Some(redrive) = &self.redrive {
                    let step = self.record_step(around, stream, ShardId(0))?;
                    let own = (Lane::Live, SECOND);
                    self.start_records(around, own, redrive, ShardId(0), Start::Oldest, step).await?;
                }
                if let Some(replay) = &self.replay {
                    let step = self.record_step(around, stream, ShardId(0))?;
                    let own = (Lane::Replay, REPLAY_SHARD);
                    self.start_records(around, own, &replay.feed, REPLAY_SHARD, Start::Oldest, step).await?;
                }
                for shard in stream.stream.shards() {
                    let step = self.record_step(around, stream, shard.id())?;
                    let own = (Lane::Live, ShardId(OWN_SHARDS + shard.id().0));
                    self.start_records(around, own, &stream.stream, shard.id(), *start, step).await?;
                }
            }
        }
        self.start_forwarders(around);
        Ok(())
    }

    /// Runs a schedule as long as the function runs. When this returns, a schedule that is new has begun, if that could be
    /// stored.
    pub async fn run_on(&self, scheduled: Scheduled) {
        // Its task begins it too, and says so if that fails.
        let _ = scheduled.begin().await;
        self.keep(tokio::spawn(schedule::run(scheduled, self.stop.subscribe())));
    }

    /// Ends the function's tasks. What was not finished is worked off again at the next start.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A task that panicked has said so.
            let _ = task.await;
        }
    }

    /// Returns the outbox of one shard.
    pub(super) fn outbox(&self, shard: ShardId) -> Option<Outbox> {
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner).get(&(Lane::Live, shard)).cloned()
    }

    /// Returns the first record of a shard of its stream that the function still needs.
    pub fn needs_from(&self, shard: ShardId) -> Option<SequenceNumber> {
        self.next_of(ShardId(OWN_SHARDS + shard.0))
    }

    /// Returns the first redriven record that the function still needs.
    pub fn needs_redriven_from(&self) -> Option<SequenceNumber> {
        self.next_of(SECOND)
    }

    fn next_of(&self, own: ShardId) -> Option<SequenceNumber> {
        let next = self.outbox(own)?.next();
        *next.borrow()
    }

    /// Returns the name of the stream that the function is on.
    pub fn on_stream(&self) -> Option<&StreamName> {
        match &self.source {
            Source::Stream { stream, .. } => Some(stream.stream.name()),
            Source::Queue(_) | Source::Events => None,
        }
    }

    /// Records of its stream and messages of its queues that are not done.
    pub fn behind(&self) -> u64 {
        let of_queue = |queue: &Queue| {
            let stats = queue.stats();
            stats.ready + stats.in_flight + stats.delayed
        };
        let events = self.events.as_deref().map_or(0, of_queue);
        events
            + match &self.source {
                Source::Events => 0,
                Source::Queue(queue) => of_queue(queue),
                Source::Stream { stream, .. } => {
                    let shards = stream.stream.shards().iter();
                    let left = shards.filter_map(|shard| Some(shard.bounds().tail.since(self.needs_from(shard.id())?)));
                    left.sum()
                }
            }
    }

    fn spoken(&self) -> Vec<((Lane, ShardId), SharedSpoken)> {
        let spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        spoken.iter().map(|(own, spoken)| (*own, spoken.clone())).collect()
    }

    fn log_of(&self, (lane, shard): (Lane, ShardId)) -> String {
        self.made_of(lane).shards()[shard.0 as usize].log().name().to_string()
    }

    /// Returns what the ledger is to take over. An outbox that can't store just now is the next time.
    pub async fn said(&self) -> Vec<FunctionHours> {
        let mut all = Vec::new();
        for (shard, spoken) in self.spoken() {
            let Ok(mut spoken) = spoken.try_lock() else { continue };
            let Some(source) = spoken.source.clone() else { continue };
            let (since, reached) = (spoken.since, spoken.reached.clone());
            if let Some(said) = spoken.saying.pick(&reached) {
                let (function, outbox) = (self.plan.name.to_string(), self.log_of(shard));
                let hours = said.hours.into_iter().collect();
                let (number, lost, reached) = (said.number, said.lost, said.reached.unwrap_or(reached));
                all.push(FunctionHours { function, outbox, source, number, since, hours, lost, reached });
            }
        }
        all
    }

    /// The ledger has taken over what was said.
    pub async fn taken(&self, said: &[FunctionHours]) {
        for (shard, spoken) in self.spoken() {
            let log = self.log_of(shard);
            if let Some(said) = said.iter().find(|said| said.outbox == log) {
                spoken.lock().await.saying.taken(said.number);
            }
        }
    }

    fn rules_of_events(&self) -> Rules {
        let retry = &self.plan.retry;
        Rules {
            size: 1,
            window: Duration::ZERO,
            parallel: 1,
            attempts: Some(retry.attempts.unwrap_or(EVENT_RETRIES).saturating_add(1)),
            age: Some(retry.age.unwrap_or(EVENT_AGE)),
            bisect: true,
        }
    }

    fn rules_of_queue(&self, queue: &Queue) -> Rules {
        let retry = &self.plan.retry;
        // Before the queue forgets it: what nobody could work off is a dead letter, and not gone.
        let last = queue.settings().retention.mul_f64(0.9);
        Rules {
            size: self.plan.batch.size as usize,
            window: self.plan.batch.window,
            parallel: 1,
            attempts: retry.attempts.map(|attempts| attempts.saturating_add(1)),
            age: Some(retry.age.unwrap_or(last).min(last)),
            bisect: true,
        }
    }

    fn rules_of_stream(&self) -> Rules {
        let (batch, retry) = (&self.plan.batch, &self.plan.retry);
        Rules {
            size: batch.size as usize,
            window: batch.window,
            parallel: batch.parallel as usize,
            attempts: retry.attempts.map(|attempts| attempts.saturating_add(1)),
            age: retry.age,
            bisect: retry.bisect,
        }
    }

    async fn state_of(&self, (lane, shard): (Lane, ShardId)) -> Result<State, OutboxError> {
        read_state(&consumer(self.plan.name.as_str()), &self.made_of(lane).shards()[shard.0 as usize]).await
    }

    fn start_outbox(
        &self,
        around: &Around<'_>,
        (lane, shard): (Lane, ShardId),
        queue: Option<Arc<Queue>>,
        state: State,
    ) -> Outbox {
        let parts = outbox::Parts {
            env: around.env.clone(),
            owner: consumer(self.plan.name.as_str()),
            stream: self.made_of(lane).clone(),
            shard,
            queue,
            trouble: self.trouble.clone(),
            taken: around.books.taken_of(self.made_of(lane).shards()[shard.0 as usize].log().name().as_str()),
        };
        let (outbox, task) = Outbox::start(parts, state);
        self.spoken.lock().unwrap_or_else(PoisonError::into_inner).insert((lane, shard), outbox.spoken().clone());
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner).insert((lane, shard), outbox.clone());
        self.keep(task);
        outbox
    }

    async fn start_messages(
        &self,
        around: &Around<'_>,
        shard: ShardId,
        queue: Arc<Queue>,
        step: Arc<dyn MessageStep>,
        rules: Rules,
    ) -> Result<(), StartError> {
        let own = (Lane::Live, shard);
        let state = self.state_of(own).await?;
        if !state.unsettled.is_empty() {
            outbox::settle(around.env, &queue, state.unsettled.clone(), &self.trouble).await;
        }
        let outbox = self.start_outbox(around, own, Some(queue.clone()), state);
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let concurrency =
            self.plan.batch.concurrency.map_or(BATCHES_PER_CORE * cores, |concurrency| concurrency as usize);
        let most = self.handler.as_ref().map_or(usize::MAX, |handler| handler.concurrency_max());
        let parts = messages::Parts {
            env: around.env.clone(),
            function: self.plan.name.to_string(),
            queue,
            outbox,
            step,
            rules,
            concurrency: concurrency.min(most),
            on_failure: self.plan.on_failure.is_some(),
            counters: self.counters.clone(),
            trouble: self.trouble.clone(),
        };
        self.keep(tokio::spawn(messages::run(parts, self.stop.subscribe())));
        Ok(())
    }

    async fn start_records(
        &self,
        around: &Around<'_>,
        own: (Lane, ShardId),
        stream: &Arc<Stream>,
        shard: ShardId,
        start: Start,
        step: Arc<dyn RecordStep>,
    ) -> Result<(), StartError> {
        let Source::Stream { stream: source, .. } = &self.source else { return Ok(()) };
        let mut state = self.state_of(own).await?;
        let read_from = &stream.shards()[shard.0 as usize];
        let log = read_from.log().name();
        let begins = !state.is_of(log);
        if begins {
            let read = |source| OutboxError::Read { owner: consumer(self.plan.name.as_str()), source };
            state.begin(log.clone(), read_from.resolve(start).await.map_err(read)?);
        }
        let outbox = self.start_outbox(around, own, None, state.clone());
        if begins {
            // Where it begins stays so, also if it is started again before the first record.
            let progress = Progress::Passed(state.next.unwrap_or_default());
            let (made, letters, counts) = (Vec::new(), Vec::new(), Vec::new());
            outbox.store(Finished { progress, made, letters, counts, done: None }).await;
        }
        let parts = records::Parts {
            env: around.env.clone(),
            function: self.plan.name.to_string(),
            source: source.clone(),
            stream: stream.clone(),
            shard,
            catalog: around.catalog.clone(),
            outbox,
            step,
            rules: self.rules_of_stream(),
            on_failure: self.plan.on_failure.is_some(),
            counters: match (own.0, &self.replay) {
                (Lane::Replay, Some(replay)) => replay.counters.clone(),
                _ => self.counters.clone(),
            },
            trouble: self.trouble.clone(),
        };
        self.keep(tokio::spawn(records::run(parts, state, self.stop.subscribe())));
        Ok(())
    }

    fn record_step(
        &self,
        around: &Around<'_>,
        stream: &OpenStream,
        shard: ShardId,
    ) -> Result<Arc<dyn RecordStep>, StartError> {
        if let Some(step) = &self.step {
            return Ok(Arc::new(KinesisStep {
                step: step.clone(),
                stream: stream.stream.name().to_string(),
                key: stream.key.clone(),
                shard,
                catalog: around.catalog.clone(),
            }));
        }
        let input = arrow_schema(&stream.schema).expect("the plan was checked: its schemas have columns");
        let mut outputs = Vec::new();
        for output in self.plan.outputs.iter().filter(|output| !matches!(output.to, To::Table(_))) {
            let sql = output.sql.as_deref().expect("the plan was checked: outputs of SQL have a query");
            let planned = SqlFunction::plan(sql, input.clone(), around.lookups.columns())
                .map_err(|source| StartError::Function { function: self.plan.name.to_string(), source })?;
            outputs.push((Output { name: output.name.clone(), form: form_of(output, around) }, planned));
        }
        let decoder = ColumnDecoder::new(&stream.schema).expect("the plan was checked: its schemas have columns");
        Ok(Arc::new(SqlStep {
            catalog: around.catalog.clone(),
            decoder: Mutex::new(decoder),
            lookups: around.lookups.clone(),
            outputs,
        }))
    }

    fn start_forwarders(&self, around: &Around<'_>) {
        let known = "the plan was checked: its references lead somewhere";
        let mut targets = BTreeMap::new();
        for output in &self.plan.outputs {
            let target = match &output.to {
                To::Table(_) => continue,
                To::Stream(stream) => forward::Target::Stream(around.streams.get(stream).expect(known).clone()),
                To::Queue(queue) => forward::Target::Queue(around.queues.get(queue).expect(known)),
            };
            targets.insert(output.name.as_bytes().to_vec(), target);
        }
        let on_failure = self.plan.on_failure.as_ref().map(|queue| around.queues.get(queue).expect(known));
        targets.extend(forward::targets_of_failures(around.dead_letters.stream().clone(), on_failure));
        if let Source::Queue(queue) = &self.source
            && let Some(dead_letter) = queue.settings().dead_letter
            && let weir_queue::DeadLetterTo::Queue(to) = dead_letter.to
            && let Some(to) = around.queues.get(&to)
        {
            targets.insert(failure::DEAD_KEY.to_vec(), forward::Target::Queue(to));
        }
        let own: Vec<(Lane, ShardId)> =
            self.outboxes.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        for (lane, shard) in own {
            let parts = forward::Parts {
                env: around.env.clone(),
                owner: consumer(self.plan.name.as_str()),
                stream: self.made_of(lane).clone(),
                shard,
                checkpoints: around.checkpoints.clone(),
                targets: targets.clone(),
                trouble: self.trouble.clone(),
                producer: (lane.producer(), self.plan.name.to_string()),
            };
            self.keep(tokio::spawn(forward::run(parts, self.stop.subscribe())));
        }
    }

    fn keep(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

/// Opens one output of a handler; the schema of what a table takes is registered, so that whoever reads the outbox knows it.
async fn open_output(function: &FunctionName, output: &OutputPlan, around: &Around<'_>) -> Result<Output, StartError> {
    if let (To::Table(_), Some(schema)) = (&output.to, &output.schema) {
        register(function, output, schema, around).await?;
    }
    Ok(Output { name: output.name.clone(), form: form_of(output, around) })
}

async fn register(
    function: &FunctionName,
    output: &OutputPlan,
    schema: &Schema,
    around: &Around<'_>,
) -> Result<(), StartError> {
    let subject = format!("function.{function}.{}-value", output.name);
    let subject = subject.parse().expect("names and a suffix are a subject");
    crate::opening::register(around.catalog, subject, schema, None).await
}

fn form_of(output: &OutputPlan, around: &Around<'_>) -> Form {
    let known = "the plan was checked: its references lead somewhere";
    match &output.to {
        To::Queue(queue) => Form::Message(around.queues.get(queue).expect(known)),
        To::Stream(stream) => Form::Avro(around.streams.get(stream).expect(known).schema.clone()),
        To::Table(_) => {
            Form::Avro(output.schema.clone().expect("the plan was checked: rows of handlers have a schema"))
        }
    }
}

/// Turns a plan into what the host deploys.
pub(super) fn spec(name: &FunctionName, plan: &HandlerPlan) -> Spec {
    let runtime = match plan.runtime {
        RuntimePlan::Python => Runtime::Python,
        RuntimePlan::Node => Runtime::Node,
        RuntimePlan::Provided => Runtime::Provided,
    };
    let mut spec = Spec::new(name.clone(), plan.code.clone(), runtime);
    spec.handler.clone_from(&plan.handler);
    spec.memory_bytes = plan.memory.0;
    spec.timeout = plan.timeout;
    spec.concurrency = plan.concurrency.map(|concurrency| concurrency as usize);
    spec.temp_bytes = plan.temp.0;
    spec.keep_warm = plan.keep_warm;
    for (variable, value) in &plan.environment {
        match value {
            EnvironmentValue::Plain(value) => spec.environment.insert(variable.clone(), value.clone()).map(drop),
            EnvironmentValue::Secret { value, .. } => {
                spec.secrets.insert(variable.clone(), Secret::new(value.clone())).map(drop)
            }
        };
    }
    let network = match plan.network {
        NetworkPlan::All => Network::All,
        NetworkPlan::None => Network::None,
    };
    spec.allow = Allow { network, ..Allow::default() };
    spec
}

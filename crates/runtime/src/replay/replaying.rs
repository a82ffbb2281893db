//! The runs that are under way: who works on them, and what they share.
//!
//! One task starts a worker for each run and target that has something left, and again when a run is resumed. Workers end by
//! themselves: when all is durable, when the run is paused, cancelled or failed, and when the node ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use weir_env::Env;
use weir_machine::{Owner, SubmitError};
use weir_types::{SequenceNumber, ShardId, StreamName};

use super::counts::Counts;
use super::into_function::FunctionWay;
use super::into_table::TableWay;
use super::machine::{Command, Origin, Outcome, Progress, Replays, Run, State, Task};
use super::pace::Pace;
use super::rate::Rate;
use super::source::{Archived, Source};
use super::target::Target;
use crate::archive::Archives;
use crate::node::Node;
use crate::pipeline::chain;
use crate::schemas::Catalog;
use crate::streams::OpenStream;

const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// All replays of a node.
pub(crate) struct Replaying {
    pub(super) owner: Owner<Replays>,
    pub(super) shared: Arc<Shared>,
    /// The field of event time, of streams that have one.
    pub(super) times: BTreeMap<StreamName, String>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What all workers share.
pub(super) struct Shared {
    /// Counted up whenever a run changes.
    changed: watch::Sender<u64>,
    /// Who may decode: replays together leave cores to what arrives.
    pub turns: Semaphore,
    live: Mutex<BTreeMap<(String, Target), Arc<Live>>>,
    paces: Mutex<BTreeMap<String, Arc<Pace>>>,
}

/// How a worker stands, beyond what is durable.
#[derive(Debug)]
pub(super) struct Live {
    standing: Mutex<Standing>,
}

/// [`Live`] at one moment.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// What came of the records so far, durable or not.
    pub counts: Counts,
    /// Why it does not go on, if it does not.
    pub trouble: Option<String>,
    /// When it was started, and how many records were behind it then.
    pub started: Duration,
    pub started_at: u64,
}

impl Live {
    fn new(env: &Env, counts: Counts) -> Self {
        let standing = Standing { counts, trouble: None, started: env.elapsed(), started_at: counts.behind() };
        Self { standing: Mutex::new(standing) }
    }

    pub fn get(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_counts(&self, counts: Counts) {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).counts = counts;
    }

    pub fn set_trouble(&self, trouble: Option<String>) {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).trouble = trouble;
    }
}

/// Where a target's records go in.
#[derive(Clone)]
pub(super) enum Way {
    Table(TableWay),
    Function(FunctionWay),
}

/// How a worker ended.
#[derive(Debug)]
pub(super) enum End {
    /// All of it is durable, and noted.
    Done,
    /// The run is not under way any more.
    Stopped,
    /// What it works with has ended. A start goes on.
    Closed,
    /// It can't ever go on, in words.
    Failed(String),
}

/// What a worker is given.
pub(super) struct Context {
    pub env: Env,
    pub owner: Owner<Replays>,
    pub shared: Arc<Shared>,
    pub task: Task,
    pub target: Target,
    pub source: Source,
    pub stream: Arc<OpenStream>,
    /// The field of event time, if the window is one of event times.
    pub time: Option<String>,
    pub live: Arc<Live>,
    pub pace: Arc<Pace>,
}

/// What came of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// Its time has come.
    Over,
    /// The rate is another now.
    Changed,
    /// The run is not under way any more.
    Stopped,
}

impl Context {
    fn read<T>(&self, look: impl FnOnce(&Run) -> T) -> Option<T> {
        self.owner.read(|replays| replays.get(&self.task.id).map(look))
    }

    pub fn is_running(&self) -> bool {
        self.read(|run| run.state == State::Running).unwrap_or(false)
    }

    pub fn rate(&self) -> Option<Rate> {
        self.read(|run| run.rate).flatten()
    }

    /// Returns what is known to be durable.
    pub fn progress(&self) -> Progress {
        self.read(|run| run.progress.get(&self.target).cloned()).flatten().unwrap_or_default()
    }

    /// Works as long as the run is under way; `None` says that it is not any more, and the work was dropped.
    pub async fn while_running<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut changed = self.shared.changed.subscribe();
        let stopped = async {
            while self.is_running() {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            value = work => Some(value),
            () = stopped => None,
        }
    }

    /// Takes records from the run's allowance, and waits until they are due.
    pub async fn wait_for_turn(&self, rate: Option<Rate>, records: u64) -> Waited {
        let delay = self.pace.take(&self.env, rate, records);
        if delay.is_zero() {
            return if self.is_running() { Waited::Over } else { Waited::Stopped };
        }
        let mut changed = self.shared.changed.subscribe();
        let other = async {
            while self.rate() == rate {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        let wait = async {
            tokio::select! {
                () = self.env.sleep(delay) => Waited::Over,
                () = other => Waited::Changed,
            }
        };
        let waited = self.while_running(wait).await.unwrap_or(Waited::Stopped);
        if waited == Waited::Changed {
            self.pace.forget();
        }
        waited
    }

    /// Says why it does not go on, and waits before the next try.
    pub async fn trouble(&self, error: &(dyn std::error::Error + Sync), tries: &mut u32) {
        let text = chain(error);
        tracing::error!(replay = self.task.id, target = %self.target, error = text, "a replay stands still, and tries again");
        self.live.set_trouble(Some(text));
        let pause = RETRY.saturating_mul(1 << (*tries).min(10)).min(RETRY_MAX);
        *tries += 1;
        self.while_running(self.env.sleep(self.env.jitter(pause))).await;
    }

    /// Stores how far the run has come with this target.
    pub async fn note(&self, progress: Progress) {
        let (id, target) = (self.task.id.clone(), self.target.clone());
        // What is not noted is found again where the rows are.
        if let Err(error) = self.shared.submit(&self.owner, Command::Note { id, target, progress }).await {
            tracing::warn!(replay = self.task.id, %error, "how far a replay has come was not stored");
        }
    }
}

impl Shared {
    /// Submits a command, and wakes whoever waits for a change.
    pub async fn submit(&self, owner: &Owner<Replays>, command: Command) -> Result<Outcome, SubmitError> {
        let outcome = owner.submit(command).await;
        self.changed.send_modify(|changed| *changed += 1);
        outcome
    }

    /// Returns how a worker stands, if there was one since the start.
    pub fn standing(&self, id: &str, target: &Target) -> Option<Standing> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        Some(live.get(&(id.to_owned(), target.clone()))?.get())
    }

    fn live(&self, env: &Env, id: &str, target: &Target, counts: Counts) -> Arc<Live> {
        let live = Arc::new(Live::new(env, counts));
        let key = (id.to_owned(), target.clone());
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(key, live.clone());
        live
    }

    /// Says why a worker has ended that can't be started again by now.
    fn tell(&self, key: &(String, Target), trouble: &str) {
        if let Some(live) = self.live.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            live.set_trouble(Some(trouble.to_owned()));
        }
    }

    fn pace(&self, id: &str) -> Arc<Pace> {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.entry(id.to_owned()).or_default().clone()
    }

    /// Forgets what was kept of runs that are gone or over.
    fn forget(&self, replays: &Replays, held: &BTreeSet<(String, Target)>) {
        let is_known = |id: &str| replays.get(id).is_some_and(|run| !run.state.is_over());
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|key, _| is_known(&key.0) || held.contains(key));
        drop(live);
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| is_known(id));
    }
}

impl Replaying {
    pub fn new(owner: Owner<Replays>, times: BTreeMap<StreamName, String>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let shared = Shared {
            changed: watch::Sender::new(0),
            turns: Semaphore::new((cores / 2).max(1)),
            live: Mutex::default(),
            paces: Mutex::default(),
        };
        let (stop, task) = (watch::Sender::new(false), Mutex::default());
        Self { owner, shared: Arc::new(shared), times, stop, task }
    }

    /// Returns the first record of a shard that a run which is not over still reads.
    pub fn needed_from(&self, stream: &StreamName, shard: ShardId) -> Option<SequenceNumber> {
        self.owner.read(|replays| {
            let runs = replays.active().filter(|run| run.task.stream == *stream && run.task.origin == Origin::Stream);
            let needed = runs.flat_map(|run| {
                let range = run.task.ranges.iter().find(|range| range.shard == shard);
                let left = run.progress.values().filter(|progress| !progress.done);
                left.filter_map(move |progress| {
                    let range = range?;
                    let next = progress.next.get(&shard).copied().unwrap_or(range.from);
                    (next < range.to).then_some(next)
                })
            });
            needed.min()
        })
    }

    /// Ends the workers. What they had not finished goes on at the next start.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // One that panicked has said so.
            let _ = task.await;
        }
    }
}

impl Node {
    /// Starts what works on the runs. It ends with the node.
    pub(crate) fn start_replaying(&self) {
        let replaying = self.replaying();
        let supervisor = Supervisor {
            env: self.env().clone(),
            owner: replaying.owner.clone(),
            shared: replaying.shared.clone(),
            times: replaying.times.clone(),
            ways: super::resolve::ways(self),
            streams: self.streams().iter().map(|(name, stream)| (name.clone(), stream.clone())).collect(),
            archives: self.archives().clone(),
            catalog: self.registry().clone(),
            held: BTreeSet::new(),
        };
        let task = tokio::spawn(supervisor.run(replaying.stop.subscribe()));
        *replaying.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}

struct Supervisor {
    env: Env,
    owner: Owner<Replays>,
    shared: Arc<Shared>,
    times: BTreeMap<StreamName, String>,
    ways: BTreeMap<Target, Way>,
    streams: BTreeMap<StreamName, Arc<OpenStream>>,
    archives: Archives,
    catalog: Catalog,
    /// What is worked on, or can't be before the next start.
    held: BTreeSet<(String, Target)>,
}

impl Supervisor {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut workers: JoinSet<End> = JoinSet::new();
        let mut of_worker: HashMap<tokio::task::Id, (String, Target)> = HashMap::new();
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            for (task, target) in self.wanted() {
                let key = (task.id.clone(), target.clone());
                self.held.insert(key.clone());
                let (owner, shared) = (self.owner.clone(), self.shared.clone());
                match self.worker(task, target) {
                    Ok((context, way)) => {
                        let handle = workers.spawn(work(context, way));
                        of_worker.insert(handle.id(), key);
                    }
                    Err(reason) => fail(&owner, &shared, key.0, reason).await,
                }
            }
            let ended = tokio::select! {
                Some(ended) = workers.join_next_with_id(), if !workers.is_empty() => ended,
                result = changed.changed() => match result {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                _ = stopping.wait_for(|stop| *stop) => break,
            };
            match ended {
                Ok((id, end)) => self.ended(of_worker.remove(&id), end).await,
                Err(error) => {
                    let run = of_worker.remove(&error.id());
                    tracing::error!(?run, %error, "a replay panicked; the next start goes on with it");
                    if let Some(key) = run {
                        self.shared.tell(&key, "it panicked: it goes on when weir is started again");
                    }
                }
            }
        }
        workers.shutdown().await;
    }

    async fn ended(&mut self, key: Option<(String, Target)>, end: End) {
        let Some(key) = key else { return };
        match end {
            End::Done => {
                tracing::info!(replay = key.0, target = %key.1, "a replay is done");
                self.held.remove(&key);
            }
            End::Stopped => {
                self.held.remove(&key);
            }
            End::Closed => {
                self.shared.tell(&key, "what it works with has ended: it goes on when weir is started again");
            }
            End::Failed(reason) => {
                self.held.remove(&key);
                fail(&self.owner, &self.shared, key.0, reason).await;
            }
        }
        self.owner.read(|replays| self.shared.forget(replays, &self.held));
    }

    /// Returns what nobody works on, and somebody should.
    fn wanted(&self) -> Vec<(Task, Target)> {
        self.owner.read(|replays| {
            let running = replays.active().filter(|run| run.state == State::Running);
            let left = running.flat_map(|run| {
                let left = run.progress.iter().filter(|(_, progress)| !progress.done);
                left.map(|(target, _)| (run.task.clone(), target.clone()))
            });
            left.filter(|(task, target)| !self.held.contains(&(task.id.clone(), target.clone()))).collect()
        })
    }

    fn worker(&self, task: Task, target: Target) -> Result<(Context, Way), String> {
        let gone = |what: String| format!("{what} is not in the plan any more");
        let way = self.ways.get(&target).cloned().ok_or_else(|| gone(target.to_string()))?;
        let stream = self.streams.get(&task.stream).cloned().ok_or_else(|| gone(format!("stream/{}", task.stream)))?;
        if way.stream() != stream.stream.name() {
            return Err(format!("{target} does not read stream/{} any more", task.stream));
        }
        let source = match task.origin {
            Origin::Stream => Source::Stream(stream.stream.clone()),
            Origin::Archive => {
                let archive = self.archives.get(&task.stream).cloned();
                let archive = archive.ok_or_else(|| gone(format!("the archive of stream/{}", task.stream)))?;
                Source::Archive(Arc::new(Archived::new(archive, self.catalog.clone(), &task.window)))
            }
        };
        let time = match task.window.event_time {
            false => None,
            true => Some(
                self.times
                    .get(&task.stream)
                    .cloned()
                    .ok_or_else(|| gone(format!("the event time of stream/{}", task.stream)))?,
            ),
        };
        let known = self.owner.read(|replays| replays.get(&task.id)?.progress.get(&target).map(|known| known.counts));
        let live = self.shared.live(&self.env, &task.id, &target, known.unwrap_or_default());
        let pace = self.shared.pace(&task.id);
        let (env, owner, shared) = (self.env.clone(), self.owner.clone(), self.shared.clone());
        Ok((Context { env, owner, shared, task, target, source, stream, time, live, pace }, way))
    }
}

impl Way {
    /// Returns the stream whose records it takes.
    pub fn stream(&self) -> &StreamName {
        match self {
            Self::Table(way) => way.parts.stream.stream.name(),
            Self::Function(way) => way.stream.stream.name(),
        }
    }
}

async fn work(context: Context, way: Way) -> End {
    match way {
        Way::Table(way) => super::into_table::run(&context, &way).await,
        Way::Function(way) => super::into_function::run(&context, &way).await,
    }
}

async fn fail(owner: &Owner<Replays>, shared: &Shared, id: String, reason: String) {
    tracing::error!(replay = id, reason, "a replay failed");
    if let Err(error) = shared.submit(owner, Command::Fail { id, reason }).await {
        tracing::warn!(%error, "that a replay failed could not be stored; the next start finds it again");
    }
}

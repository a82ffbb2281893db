//! One execution environment: a confined process, its Runtime API, its temp folder, its output.
//!
//! ```text
//! start --(first `next`)--> ready --run--> ready --run--> ... --kill, exit--> ended
//! ```
//!
//! A task of its own, the keeper, waits for the process's end and then clears up: processes that left the group, the
//! output's rest, the temp folder, the user. Invariants: an environment runs one invocation at a time; once it was killed or has
//! ended it runs none; nothing of it is left when `ended` says so.

mod launch;
mod output;
mod temp;
mod users;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use tokio::net::TcpListener;
use tokio::sync::watch;
use weir_types::{FunctionName, Secret};

use crate::api::{Exchange, Init, Reported, RuntimeError, Work, serve};
use crate::log::FunctionLog;
use crate::process::{Mark, Process, Tree, end_stragglers};
use crate::shared::Shared;
use crate::staged::Staged;
use crate::{ExitStatus, limits};
use output::Output;
use temp::TempFolder;
pub(crate) use temp::clean_up;
use users::OwnUser;
pub(crate) use users::UserPool;

/// The first pause between two looks at memory; each is twice as long as the one before, up to the longest.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LONGEST: Duration = Duration::from_millis(160);
/// The pause between two looks at the temp folder, which take longer.
const LOOK_TEMP: Duration = Duration::from_millis(160);
/// How long an environment that was killed may take to end, until the host goes on without it.
const END_LIMIT: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Environment {
    pub staged: Arc<Staged>,
    /// Which generation of the function's settings it has.
    pub generation: u64,
    shared: Arc<Shared>,
    exchange: Arc<Exchange>,
    process: Process,
    tree: Tree,
    output: Output,
    temp: TempFolder,
    /// How long it took to come up, until the first invocation has taken it.
    init: Mutex<Option<Duration>>,
    seen: Mutex<Seen>,
    ended: watch::Sender<Option<ExitStatus>>,
}

#[derive(Debug, Default)]
struct Seen {
    peak_bytes: u64,
    temp_at: Duration,
}

/// What an environment starts from.
pub(crate) struct Start<'a> {
    pub function: &'a FunctionName,
    pub staged: Arc<Staged>,
    pub secrets: &'a BTreeMap<String, Secret>,
    pub log: Arc<FunctionLog>,
    pub generation: u64,
}

/// Why an environment did not come up.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The machine refused something.
    Refused(String),
    /// The runtime said why.
    Init(RuntimeError),
    /// It did not come to its first `next` in time.
    TimedOut,
    /// The process ended.
    Exited(ExitStatus, Vec<String>),
    /// It took too much before its first `next`.
    Over(Breach),
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    Memory,
    Temp,
}

/// What became of an invocation.
#[derive(Debug)]
pub(crate) enum Outcome {
    Response(Bytes),
    Error(RuntimeError),
    TooLarge,
    TimedOut,
    Over(Breach),
    Exited(ExitStatus, Vec<String>),
    /// The environment had ended before the runtime fetched the event, which can go to another.
    NotTaken,
}

/// The invocation that is handed over, and what is measured of it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub outcome: Outcome,
    pub duration: Duration,
    pub init_duration: Option<Duration>,
    pub max_memory_bytes: u64,
    pub log_tail: Option<Bytes>,
}

impl Environment {
    /// Starts a process, and waits until its runtime asks for an event.
    pub async fn start(shared: &Arc<Shared>, start: Start<'_>, limit: Duration) -> Result<Arc<Self>, StartError> {
        let began = shared.env.elapsed();
        let environment = Self::spawn(shared, start).await.map_err(StartError::Refused)?;
        match environment.come_up(limit).await {
            Ok(()) => {
                let took = shared.env.elapsed().saturating_sub(began);
                *environment.init.lock().unwrap_or_else(PoisonError::into_inner) = Some(took);
                Ok(environment)
            }
            Err(error) => {
                environment.end().await;
                Err(error)
            }
        }
    }

    async fn spawn(shared: &Arc<Shared>, start: Start<'_>) -> Result<Arc<Self>, String> {
        let refused = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let id = format!("{:016x}{:016x}", shared.env.random(), shared.env.random());
        let user = match (&shared.users, start.staged.own_user) {
            (Some(users), true) => Some(users.take().ok_or("every user of the range is taken")?),
            _ => None,
        };
        let user_id = user.as_ref().map(|user| user.id);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(refused("open its Runtime API"))?;
        let port = listener.local_addr().map_err(refused("open its Runtime API"))?.port();
        let temp = TempFolder::create(shared.temps().join(&id), user_id).map_err(refused("make its temp folder"))?;
        let work = temp.work();
        let place = launch::Place {
            id: &id,
            function: start.function.as_str(),
            port,
            user: user_id,
            temp: &work,
            secrets: start.secrets,
            now: shared.env.now(),
        };
        let plan = launch::plan(shared, &start.staged, &place);
        let mut mark = Mark { session: None, user: user_id, temp: work };
        let spawned = async {
            temp.mark(&mark)?;
            let spawned = shared.spawner.spawn(shared.options.launcher.clone(), &plan).await?;
            let tree = Tree::of(spawned.process.pid())?;
            let (stdout, stderr) = (spawned.stdout.into(), spawned.stderr.into());
            let output = Output::new(stdout, stderr, shared.env.clone(), start.log, start.staged.number)?;
            Ok((spawned.process, tree, output))
        };
        let (process, tree, output) = match spawned.await {
            Ok(spawned) => spawned,
            Err(error) => {
                temp.remove();
                return Err(refused("start its process")(error));
            }
        };
        mark.session = Some(process.pid());
        let exchange = Arc::new(Exchange::new());
        let environment = Arc::new(Self {
            staged: start.staged,
            generation: start.generation,
            shared: Arc::clone(shared),
            exchange: Arc::clone(&exchange),
            process,
            tree,
            output,
            temp,
            init: Mutex::new(None),
            seen: Mutex::new(Seen::default()),
            ended: watch::Sender::new(None),
        });
        shared.living.insert(&environment);
        let api = serve(listener, exchange, shared.env.clone());
        tokio::spawn(Arc::clone(&environment).keep(api, mark, user));
        Ok(environment)
    }

    /// The keeper: serves until the process ends, and clears up.
    async fn keep(self: Arc<Self>, api: impl Future<Output = ()>, mark: Mark, user: Option<OwnUser>) {
        let status = {
            let serve = std::pin::pin!(futures::future::join(api, self.output.run()));
            let exited = std::pin::pin!(self.process.exited());
            match select(exited, serve).await {
                Either::Left((status, _)) => status,
                // Serving has no end.
                Either::Right(_) => ExitStatus::Unknown,
            }
        };
        self.output.close();
        // The output is in the log before anybody learns of the end, so that its last lines can be told.
        self.exchange.end();
        let this = Arc::clone(&self);
        let cleared = tokio::task::spawn_blocking(move || {
            end_stragglers(&mark);
            this.temp.remove();
        });
        if cleared.await.is_err() {
            tracing::error!("an environment could not be cleared up");
        }
        drop(user);
        self.shared.living.remove(&self);
        self.ended.send_replace(Some(status));
    }

    async fn come_up(&self, limit: Duration) -> Result<(), StartError> {
        let mut init = self.exchange.init();
        let came_up = std::pin::pin!(init.wait_for(|init| !matches!(init, Init::Starting)));
        let ended = std::pin::pin!(self.ended());
        let over = std::pin::pin!(self.over());
        let any = select(came_up, select(ended, over));
        match self.shared.env.within(limit, any).await {
            None => Err(StartError::TimedOut),
            Some(Either::Left((Ok(init), _))) => match &*init {
                Init::Failed(error) => Err(StartError::Init(error.clone())),
                _ => Ok(()),
            },
            // The sender lives in the exchange, which lives in this.
            Some(Either::Left((Err(_), _))) => Err(StartError::TimedOut),
            Some(Either::Right((Either::Left((status, _)), _))) => {
                // An error that was reported just before the exit says more than the exit.
                match &*self.exchange.init().borrow() {
                    Init::Failed(error) => Err(StartError::Init(error.clone())),
                    _ => Err(StartError::Exited(status, self.output.last_lines())),
                }
            }
            Some(Either::Right((Either::Right((breach, _)), _))) => Err(StartError::Over(breach)),
        }
    }

    /// Hands an event to the runtime, and waits for what becomes of it. Whatever is no response or error of the runtime's
    /// own ends the environment.
    pub async fn run(&self, mut work: Work, tail: bool) -> Ran {
        let env = &self.shared.env;
        let settings = &self.staged.settings;
        let id = work.request_id.clone();
        let init_duration = self.init.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.output.begin(&id, tail);
        work.deadline_ms = env.now().after(settings.timeout()).0;
        let began = env.elapsed();
        let reported = self.exchange.offer(work);
        let outcome = {
            let over = std::pin::pin!(self.over());
            match env.within(settings.timeout(), select(reported, over)).await {
                None => Outcome::TimedOut,
                Some(Either::Left((Ok(Reported::Response(body)), _))) => Outcome::Response(body),
                Some(Either::Left((Ok(Reported::Error(error)), _))) => Outcome::Error(error),
                Some(Either::Left((Ok(Reported::TooLarge), _))) => Outcome::TooLarge,
                Some(Either::Left((Err(_), _))) => self.exited().await,
                Some(Either::Right((breach, _))) => Outcome::Over(breach),
            }
        };
        let duration = env.elapsed().saturating_sub(began);
        let max_memory_bytes = self.peak_bytes();
        let lines = report(&id, &outcome, &self.staged, duration, init_duration, max_memory_bytes);
        let log_tail = self.output.end(lines);
        if matches!(outcome, Outcome::TimedOut | Outcome::Over(_)) {
            self.kill();
        }
        Ran { outcome, duration, init_duration, max_memory_bytes, log_tail }
    }

    /// What an invocation is told whose runtime went away.
    async fn exited(&self) -> Outcome {
        self.kill();
        let lines = self.output.last_lines();
        match self.shared.env.within(END_LIMIT, self.ended()).await {
            Some(status) if self.exchange.was_taken() => Outcome::Exited(status, lines),
            Some(_) => Outcome::NotTaken,
            None => Outcome::Exited(ExitStatus::Unknown, lines),
        }
    }

    /// Completes when the environment has passed a limit. Looks only while somebody waits.
    async fn over(&self) -> Breach {
        let env = &self.shared.env;
        let settings = &self.staged.settings;
        let mut pause = LOOK_FIRST;
        loop {
            env.sleep(pause).await;
            pause = (pause * 2).min(LOOK_LONGEST);
            let bytes = self.tree.bytes();
            let look = {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.peak_bytes = seen.peak_bytes.max(bytes);
                let due = env.elapsed().saturating_sub(seen.temp_at) >= LOOK_TEMP;
                if due {
                    seen.temp_at = env.elapsed();
                }
                due
            };
            if bytes > settings.memory_bytes {
                return Breach::Memory;
            }
            if look && self.temp_is_over().await {
                return Breach::Temp;
            }
        }
    }

    /// Tells whether the temp folder holds too much.
    pub async fn temp_is_over(&self) -> bool {
        let (work, limit) = (self.temp.work(), self.staged.settings.temp_bytes);
        tokio::task::spawn_blocking(move || TempFolder::is_over(&work, limit)).await.unwrap_or(true)
    }

    /// Tells whether it is time to look at the temp folder again; an invocation that was short was not looked at.
    pub fn temp_is_due(&self) -> bool {
        let now = self.shared.env.elapsed();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let due = now.saturating_sub(seen.temp_at) >= LOOK_TEMP;
        if due {
            seen.temp_at = now;
        }
        due
    }

    fn peak_bytes(&self) -> u64 {
        let now = self.tree.first_bytes();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.peak_bytes = seen.peak_bytes.max(now);
        seen.peak_bytes
    }

    /// Kills every process of the group. The keeper does the rest.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Tells whether the process has ended, as far as is known.
    pub fn has_ended(&self) -> bool {
        self.exchange.has_ended()
    }

    /// Says something in the function's log.
    pub fn say(&self, text: String) {
        self.output.say(text);
    }

    /// Completes when nothing of the environment is left.
    pub async fn ended(&self) -> ExitStatus {
        let mut ended = self.ended.subscribe();
        // The sender is in `self`: it can't be gone.
        ended.wait_for(Option::is_some).await.ok().and_then(|status| *status).unwrap_or(ExitStatus::Unknown)
    }

    /// Kills, and waits until nothing is left, within a limit.
    pub async fn end(&self) {
        self.kill();
        if self.shared.env.within(END_LIMIT, self.ended()).await.is_none() {
            tracing::error!(pid = self.process.pid(), "an environment that was killed has not ended yet");
        }
    }
}

/// What the host has to say of an invocation, in AWS's words.
fn report(
    id: &str,
    outcome: &Outcome,
    staged: &Staged,
    duration: Duration,
    init: Option<Duration>,
    peak_bytes: u64,
) -> Vec<String> {
    let settings = &staged.settings;
    let ms = |span: Duration| span.as_secs_f64() * 1000.0;
    let said = match outcome {
        Outcome::TimedOut => Some(format!("{id} Task timed out after {:.2} seconds", settings.timeout().as_secs_f64())),
        Outcome::Exited(status, _) => Some(format!("RequestId: {id} Error: Runtime exited with error: {status}")),
        Outcome::Over(Breach::Memory) => {
            Some(format!("RequestId: {id} Error: more than {} bytes of memory; killed", settings.memory_bytes))
        }
        Outcome::Over(Breach::Temp) => {
            Some(format!("RequestId: {id} Error: more than {} bytes in the temp folder; killed", settings.temp_bytes))
        }
        Outcome::TooLarge => {
            Some(format!("RequestId: {id} Error: a response of more than {} bytes", limits::RESPONSE_BYTES_MAX))
        }
        Outcome::NotTaken => Some(format!("RequestId: {id} goes to another environment: this one had ended")),
        Outcome::Response(_) | Outcome::Error(_) => None,
    };
    let mut report = format!(
        "REPORT RequestId: {id}\tDuration: {:.2} ms\tBilled Duration: {:.0} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t",
        ms(duration),
        ms(duration).ceil(),
        settings.memory_bytes >> 20,
        peak_bytes.div_ceil(1 << 20),
    );
    if let Some(init) = init {
        report.push_str(&format!("Init Duration: {:.2} ms\t", ms(init)));
    }
    said.into_iter().chain([format!("END RequestId: {id}"), report]).collect()
}

//! The runs: what was asked for, how far they have come, and how they ended. A machine of its own.
//!
//! ```text
//! begin --> running <--> paused
//!             |  \          |
//!             |   +---------+--> cancelled
//!             +--> done, failed
//! ```
//!
//! Invariants: the state of a run that is over never changes (what was under way when it was cancelled is still counted); its
//! ranges and targets never change. Of the runs that are over the newest [`HISTORY_MAX`] are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_machine::{At, Machine, RestoreError};
use weir_types::{SequenceNumber, ShardId, StreamName, Timestamp};

use super::counts::Counts;
use super::rate::Rate;
use super::target::Target;

/// Runs that may be under way or paused at once.
pub const ACTIVE_MAX: usize = 8;
/// Runs that are over, and still shown.
pub const HISTORY_MAX: usize = 200;

const VERSION: u32 = 1;

/// Where records are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The stream itself, as far back as its retention goes.
    #[default]
    Stream,
    /// The stream's archive.
    Archive,
}

/// The times that are meant: from `since` on, before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// None: from the oldest record on.
    pub since: Option<Timestamp>,
    /// None: up to the last record when the run began.
    pub until: Option<Timestamp>,
    /// Whether these are event times, and not times of arrival.
    pub event_time: bool,
}

/// Records of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRange {
    /// The shard.
    pub shard: ShardId,
    /// The first of them.
    pub from: SequenceNumber,
    /// The first behind them.
    pub to: SequenceNumber,
}

impl ShardRange {
    /// Returns how many there are.
    pub fn records(&self) -> u64 {
        self.to.since(self.from)
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Tells the run from every other, also of other data folders.
    pub id: String,
    /// Whose records.
    pub stream: StreamName,
    /// Where they are read.
    pub origin: Origin,
    /// Which were asked for.
    pub window: Window,
    /// Which that are.
    pub ranges: Vec<ShardRange>,
    /// Where they go.
    pub targets: Vec<Target>,
    /// Whether rows that can't replace (their table knows no ids) are added.
    pub append: bool,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is under way.
    Running,
    /// It waits until somebody resumes it.
    Paused,
    /// All of it is durable.
    Done,
    /// Somebody ended it. What was done until then stays.
    Cancelled,
    /// It can't go on, in words. What was done until then stays.
    Failed(String),
}

impl State {
    /// Tells whether nothing more will happen.
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }
}

/// How far a run has come with one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Per shard the first record that is not known to be durable there.
    pub next: BTreeMap<ShardId, SequenceNumber>,
    /// What came of the records before.
    pub counts: Counts,
    /// Whether nothing is left.
    pub done: bool,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What is to be done.
    pub task: Task,
    /// How it stands.
    pub state: State,
    /// The most records in a second, over all targets; none: as fast as they go.
    pub rate: Option<Rate>,
    /// When it was begun.
    pub began_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// How long it was paused until it was last resumed, in milliseconds, and since when it is paused now.
    pub paused_ms: u64,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// How far it has come.
    pub progress: BTreeMap<Target, Progress>,
}

/// A change of the runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Begins a run.
    Begin { task: Task, rate: Option<Rate> },
    /// Notes what is durable at a target.
    Note { id: String, target: Target, progress: Progress },
    /// Lets a run wait.
    Pause { id: String },
    /// Lets it go on.
    Resume { id: String },
    /// Ends it.
    Cancel { id: String },
    /// Says why it can't go on.
    Fail { id: String, reason: String },
    /// Sets or takes away its rate.
    Rate { id: String, rate: Option<Rate> },
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The run, as it is now.
    Run(Box<Run>),
    /// Nobody knows such a run.
    NoRun,
    /// It is over, and stays as it is.
    Over,
    /// As many as may be are not over.
    TooMany,
}

/// All runs.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replays {
    /// In the order in which they were begun.
    runs: Vec<Run>,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    replays: Replays,
}

impl Replays {
    /// Returns the runs, the oldest first.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Returns one run.
    pub fn get(&self, id: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.task.id == id)
    }

    /// Returns the runs that are not over.
    pub fn active(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| !run.state.is_over())
    }

    fn begin(&mut self, at: At, task: Task, rate: Option<Rate>) -> Outcome {
        if let Some(known) = self.get(&task.id) {
            // The same call, made again.
            return Outcome::Run(Box::new(known.clone()));
        }
        if self.active().count() >= ACTIVE_MAX {
            return Outcome::TooMany;
        }
        let progress = task.targets.iter().map(|target| (target.clone(), Progress::default())).collect();
        let run = Run {
            task,
            state: State::Running,
            rate,
            began_at: at.time,
            ended_at: None,
            paused_ms: 0,
            paused_at: None,
            progress,
        };
        self.runs.push(run.clone());
        Outcome::Run(Box::new(run))
    }

    /// Forgets the oldest runs that are over, as far as there are too many.
    fn forget(&mut self) {
        let over = self.runs.iter().filter(|run| run.state.is_over()).count();
        let mut surplus = over.saturating_sub(HISTORY_MAX);
        self.runs.retain(|run| {
            let forget = surplus > 0 && run.state.is_over();
            surplus -= usize::from(forget);
            !forget
        });
    }
}

impl Run {
    fn end(&mut self, at: At, state: State) {
        self.unpause(at);
        self.state = state;
        self.ended_at = Some(at.time);
    }

    fn unpause(&mut self, at: At) {
        if let Some(since) = self.paused_at.take() {
            self.paused_ms += at.time.since(since).as_millis() as u64;
        }
    }

    fn apply(&mut self, at: At, command: Command) {
        match command {
            Command::Begin { .. } => {}
            Command::Note { target, progress, .. } => {
                if let Some(known) = self.progress.get_mut(&target) {
                    *known = progress;
                }
                if self.progress.values().all(|progress| progress.done) {
                    self.end(at, State::Done);
                }
            }
            Command::Pause { .. } => {
                self.state = State::Paused;
                self.paused_at.get_or_insert(at.time);
            }
            Command::Resume { .. } => {
                self.unpause(at);
                self.state = State::Running;
            }
            Command::Cancel { .. } => self.end(at, State::Cancelled),
            Command::Fail { reason, .. } => self.end(at, State::Failed(reason)),
            Command::Rate { rate, .. } => self.rate = rate,
        }
    }
}

impl Machine for Replays {
    const NAME: &'static str = "replay";
    type Command = Command;
    type Outcome = Outcome;

    fn apply(&mut self, at: At, command: Command) -> Outcome {
        let id = match command {
            Command::Begin { task, rate } => return self.begin(at, task, rate),
            Command::Note { ref id, .. }
            | Command::Pause { ref id }
            | Command::Resume { ref id }
            | Command::Cancel { ref id }
            | Command::Fail { ref id, .. }
            | Command::Rate { ref id, .. } => id.clone(),
        };
        let Some(run) = self.runs.iter_mut().find(|run| run.task.id == id) else { return Outcome::NoRun };
        match (&run.state, &command) {
            // What was on its way.
            (State::Cancelled | State::Failed(_), Command::Note { target, progress, .. }) => {
                if let Some(known) = run.progress.get_mut(target) {
                    *known = Progress { done: false, ..progress.clone() };
                }
                return Outcome::Over;
            }
            (state, _) if state.is_over() => return Outcome::Over,
            _ => run.apply(at, command),
        }
        let run = run.clone();
        if run.state.is_over() {
            self.forget();
        }
        Outcome::Run(Box::new(run))
    }

    fn snapshot(&self) -> Vec<u8> {
        let replays = Self { runs: self.runs.clone() };
        serde_json::to_vec(&Snapshot { version: VERSION, replays }).expect("texts and numbers serialise")
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let error = |reason: String| RestoreError { machine: Self::NAME, reason };
        let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|cause| error(cause.to_string()))?;
        if snapshot.version != VERSION {
            return Err(error(format!("it has version {}, and this weir reads {VERSION}", snapshot.version)));
        }
        Ok(snapshot.replays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: i64) -> At {
        At { sequence: SequenceNumber(0), time: Timestamp(time) }
    }

    fn task(id: &str) -> Task {
        Task {
            id: id.to_owned(),
            stream: "orders".parse().unwrap(),
            origin: Origin::Stream,
            window: Window::default(),
            ranges: vec![ShardRange { shard: ShardId(0), from: SequenceNumber(3), to: SequenceNumber(9) }],
            targets: vec!["table/orders".parse().unwrap(), "function/score".parse().unwrap()],
            append: false,
        }
    }

    fn begin(replays: &mut Replays, id: &str) -> Outcome {
        replays.apply(at(1), Command::Begin { task: task(id), rate: Some("5/s".parse().unwrap()) })
    }

    #[test]
    fn a_run_is_done_when_all_its_targets_are_and_never_changes_again() {
        let mut replays = Replays::default();
        begin(&mut replays, "a");
        let note = |target: &str, done| Command::Note {
            id: "a".to_owned(),
            target: target.parse().unwrap(),
            progress: Progress {
                next: BTreeMap::from([(ShardId(0), SequenceNumber(9))]),
                counts: Counts { read: 6, replaced: 2, ..Counts::default() },
                done,
            },
        };
        let stored = serde_json::to_vec(&note("table/orders", true)).unwrap();
        replays.apply(at(2), serde_json::from_slice(&stored).unwrap());
        assert_eq!(replays.get("a").unwrap().state, State::Running);
        replays.apply(at(3), Command::Pause { id: "a".to_owned() });
        replays.apply(at(7), Command::Resume { id: "a".to_owned() });
        replays.apply(at(9), note("function/score", true));
        let run = replays.get("a").unwrap().clone();
        assert_eq!((&run.state, run.paused_ms, run.ended_at), (&State::Done, 4, Some(Timestamp(9))));
        assert_eq!(replays.apply(at(10), Command::Cancel { id: "a".to_owned() }), Outcome::Over);
        assert_eq!(replays.apply(at(10), Command::Pause { id: "b".to_owned() }), Outcome::NoRun);
        assert_eq!(replays.get("a"), Some(&run));
        assert_eq!(Replays::restore(&replays.snapshot()).unwrap(), replays);
    }

    #[test]
    fn runs_are_bounded_at_once_and_in_the_history() {
        let mut replays = Replays::default();
        for id in 0..ACTIVE_MAX {
            assert!(matches!(begin(&mut replays, &format!("live-{id}")), Outcome::Run(_)));
        }
        assert_eq!(begin(&mut replays, "one-more"), Outcome::TooMany);
        replays.apply(at(2), Command::Cancel { id: "live-0".to_owned() });
        for id in 0..HISTORY_MAX + 5 {
            assert!(matches!(begin(&mut replays, &format!("{id}")), Outcome::Run(_)));
            replays.apply(at(3), Command::Fail { id: format!("{id}"), reason: "why".to_owned() });
        }
        assert_eq!(replays.runs().len(), HISTORY_MAX + ACTIVE_MAX - 1);
        assert_eq!(replays.active().count(), ACTIVE_MAX - 1);
        assert!(replays.get("live-0").is_none() && replays.get("live-1").is_some());
    }

    #[test]
    fn the_same_begin_again_is_the_same_run() {
        let mut replays = Replays::default();
        assert_eq!(begin(&mut replays, "a"), begin(&mut replays, "a"));
        assert_eq!(replays.runs().len(), 1);
    }
}

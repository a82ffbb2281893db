//! What can be done with runs.

use weir_machine::SubmitError;

use super::ask::Ask;
use super::machine::{ACTIVE_MAX, Command, Outcome, Run};
use super::rate::Rate;
use super::resolve::ResolveError;
use super::status::RunStatus;
use crate::node::Node;

/// The longest name of a run, in bytes.
const ID_BYTES_MAX: usize = 64;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Nothing can be replayed as it is asked for.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// There is no such run.
    #[error("there is no replay `{id}`; `weir replay list` lists them")]
    NoRun {
        /// As asked for.
        id: String,
    },
    /// Several runs' names begin so.
    #[error("the names of {count} replays begin with `{id}`")]
    Ambiguous {
        /// As asked for.
        id: String,
        /// How many.
        count: usize,
    },
    /// The run is over.
    #[error("replay `{id}` is over")]
    Over {
        /// Which.
        id: String,
    },
    /// There are too many.
    #[error("{ACTIVE_MAX} replays are not over, and no more may be at once: wait for one, or cancel one")]
    TooMany,
    /// A name that is none.
    #[error("a replay's name is 1 to {ID_BYTES_MAX} letters, digits, `-` and `_`, and begins with `replay-`")]
    Name,
    /// It could not be stored.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl Node {
    /// Begins a replay, and returns when that is durable. A call with the id of a run that is there changes nothing.
    ///
    /// # Errors
    /// See [`ReplayError`]; nothing is replayed then.
    pub async fn begin_replay(&self, ask: &Ask) -> Result<RunStatus, ReplayError> {
        if let Some(id) = &ask.id {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if !id.starts_with("replay-") || id.len() > ID_BYTES_MAX || !id.bytes().all(plain) {
                return Err(ReplayError::Name);
            }
            if let Some(run) = self.replaying().owner.read(|replays| replays.get(id).cloned()) {
                return Ok(self.status_of_run(&run));
            }
        }
        let resolved = self.resolve(ask).await?;
        let id = resolved.task.id.clone();
        self.submit_replay(id, Command::Begin { task: resolved.task, rate: ask.rate }).await
    }

    /// Returns all runs, the newest first.
    pub fn replays(&self) -> Vec<RunStatus> {
        let runs: Vec<Run> = self.replaying().owner.read(|replays| replays.runs().to_vec());
        runs.iter().rev().map(|run| self.status_of_run(run)).collect()
    }

    /// Returns one run, by its name or what only its name begins with.
    ///
    /// # Errors
    /// [`ReplayError::NoRun`] and [`ReplayError::Ambiguous`].
    pub fn replay(&self, id: &str) -> Result<RunStatus, ReplayError> {
        Ok(self.status_of_run(&self.run_named(id)?))
    }

    /// Lets a run wait. What it has read is committed and noted.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub async fn pause_replay(&self, id: &str) -> Result<RunStatus, ReplayError> {
        let id = self.run_named(id)?.task.id;
        self.submit_replay(id.clone(), Command::Pause { id }).await
    }

    /// Lets a paused run go on.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub async fn resume_replay(&self, id: &str) -> Result<RunStatus, ReplayError> {
        let id = self.run_named(id)?.task.id;
        self.submit_replay(id.clone(), Command::Resume { id }).await
    }

    /// Ends a run. What it has done stays.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub async fn cancel_replay(&self, id: &str) -> Result<RunStatus, ReplayError> {
        let id = self.run_named(id)?.task.id;
        self.submit_replay(id.clone(), Command::Cancel { id }).await
    }

    /// Sets a run's rate, or takes it away.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub async fn set_replay_rate(&self, id: &str, rate: Option<Rate>) -> Result<RunStatus, ReplayError> {
        let id = self.run_named(id)?.task.id;
        self.submit_replay(id.clone(), Command::Rate { id, rate }).await
    }

    fn run_named(&self, id: &str) -> Result<Run, ReplayError> {
        self.replaying().owner.read(|replays| {
            if let Some(run) = replays.get(id) {
                return Ok(run.clone());
            }
            let begins = |run: &&Run| {
                let name = run.task.id.as_str();
                !id.is_empty()
                    && (name.starts_with(id) || name.strip_prefix("replay-").is_some_and(|rest| rest.starts_with(id)))
            };
            let found: Vec<&Run> = replays.runs().iter().filter(begins).collect();
            match found.as_slice() {
                [run] => Ok((*run).clone()),
                [] => Err(ReplayError::NoRun { id: id.to_owned() }),
                more => Err(ReplayError::Ambiguous { id: id.to_owned(), count: more.len() }),
            }
        })
    }

    async fn submit_replay(&self, id: String, command: Command) -> Result<RunStatus, ReplayError> {
        let replaying = self.replaying();
        match replaying.shared.submit(&replaying.owner, command).await? {
            Outcome::Run(run) => Ok(self.status_of_run(&run)),
            Outcome::NoRun => Err(ReplayError::NoRun { id }),
            Outcome::Over => Err(ReplayError::Over { id }),
            Outcome::TooMany => Err(ReplayError::TooMany),
        }
    }
}

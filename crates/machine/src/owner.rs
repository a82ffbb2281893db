//! The one task that appends a machine's commands and applies them.
//!
//! Commands wait in a bounded queue; all that wait are appended together, on the condition that the log still ends where
//! this owner left it, and applied in order when they are durable. While one append is under way the next group gathers.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use weir_env::Env;
use weir_log::{AppendError, Block, Condition, Log, ReadError, ReadLimit};
use weir_types::{SequenceNumber, Timestamp, limits};

use crate::{At, Machine, RestoreError, SnapshotError, Snapshots};

/// Commands that may wait for one owner.
const QUEUE_COMMANDS_MAX: usize = 1024;
/// What one read of the replay asks for, in bytes.
const REPLAY_BYTES: usize = 1024 * 1024;

/// How often a machine is snapshotted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Commands between two snapshots. Restart replays up to twice as many.
    pub snapshot_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { snapshot_every: 10_000 }
    }
}

/// Why a machine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its log does not read.
    #[error("replay machine `{machine}`")]
    Read {
        /// The machine.
        machine: &'static str,
        /// The cause.
        #[source]
        source: ReadError,
    },
    /// Its snapshots can't be reached.
    #[error("open machine `{machine}`")]
    Snapshot {
        /// The machine.
        machine: &'static str,
        /// The cause.
        #[source]
        source: SnapshotError,
    },
    /// Its snapshot is of a newer weir, or of none.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A command in the log does not parse.
    #[error("the command at {at} of machine `{machine}` can't be read: {reason}")]
    Command {
        /// The machine.
        machine: &'static str,
        /// Its place.
        at: SequenceNumber,
        /// Why, in words.
        reason: String,
    },
    /// Commands are missing between the snapshot and the log.
    #[error(
        "machine `{machine}` has a snapshot up to {snapshot}, and its log begins at {head}: commands are missing between them"
    )]
    Gap {
        /// The machine.
        machine: &'static str,
        /// First command that the snapshot does not contain.
        snapshot: SequenceNumber,
        /// First command in the log.
        head: SequenceNumber,
    },
}

/// Why a command was not applied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// Somebody else owns the machine now. This owner is done.
    #[error("machine `{machine}` has another owner now")]
    Fenced {
        /// The machine.
        machine: &'static str,
    },
    /// The log did not take the command, which was not applied. It may be submitted again.
    #[error("store a command of machine `{machine}`")]
    Append {
        /// The machine.
        machine: &'static str,
        /// The cause.
        #[source]
        source: AppendError,
    },
    /// The owner is closed, or died of an error that its log can't explain. The command may have been stored.
    #[error("machine `{machine}` is closed")]
    Closed {
        /// The machine.
        machine: &'static str,
    },
}

/// A command as it stands in the log.
#[derive(Serialize, Deserialize)]
struct Stored<C> {
    time: Timestamp,
    command: C,
}

type Submission<M> = (<M as Machine>::Command, oneshot::Sender<Result<<M as Machine>::Outcome, SubmitError>>);

/// A machine that runs. Clones share it; it ends when the last one is dropped.
pub struct Owner<M: Machine> {
    state: Arc<RwLock<M>>,
    queue: mpsc::Sender<Submission<M>>,
}

impl<M: Machine> Clone for Owner<M> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), queue: self.queue.clone() }
    }
}

impl<M: Machine> std::fmt::Debug for Owner<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Owner({})", M::NAME)
    }
}

impl<M: Machine> Owner<M> {
    /// Rebuilds the state from its newest snapshot and its log, and takes commands from then on.
    ///
    /// Must be called within a tokio runtime, which runs the owner's task.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is changed then.
    pub async fn open(log: Arc<dyn Log>, snapshots: Snapshots, env: Env, options: Options) -> Result<Self, OpenError> {
        let Replayed { state, next, snapshot_at, time } = replay::<M>(&*log, &snapshots).await?;
        let state = Arc::new(RwLock::new(state));
        let (queue, submissions) = mpsc::channel(QUEUE_COMMANDS_MAX);
        let task = Task { state: state.clone(), log, snapshots, env, options, next, snapshot_at, time };
        tokio::spawn(task.run(submissions));
        Ok(Self { state, queue })
    }

    /// Appends a command, applies it once it is durable, and returns its outcome.
    ///
    /// # Errors
    /// See [`SubmitError`]. Dropping the future does not take the command back.
    pub async fn submit(&self, command: M::Command) -> Result<M::Outcome, SubmitError> {
        let closed = || SubmitError::Closed { machine: M::NAME };
        let (answer, answered) = oneshot::channel();
        self.queue.send((command, answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Reads the state as of the last applied command. `look` must be short: commands wait for it.
    pub fn read<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Replayed<M> {
    state: M,
    next: SequenceNumber,
    snapshot_at: SequenceNumber,
    time: Timestamp,
}

async fn replay<M: Machine>(log: &dyn Log, snapshots: &Snapshots) -> Result<Replayed<M>, OpenError> {
    let machine = M::NAME;
    let latest = snapshots.latest(machine).await.map_err(|source| OpenError::Snapshot { machine, source })?;
    let (mut state, mut next) = match latest {
        Some((next, bytes)) => (M::restore(&bytes)?, next),
        None => (M::default(), SequenceNumber::ZERO),
    };
    let snapshot_at = next;
    let mut time = Timestamp::default();
    let head = log.bounds().head;
    if head > next {
        return Err(OpenError::Gap { machine, snapshot: next, head });
    }
    loop {
        let blocks = match log.read(next, ReadLimit { bytes_max: REPLAY_BYTES }).await {
            Ok(blocks) => blocks,
            Err(ReadError::Lost { from, to, .. }) if to > next => {
                // Somebody has looked at the damage and repaired the log; what is gone can't be applied, and is told.
                tracing::error!(machine, %from, %to, "commands may be lost here: a repair could not read them");
                next = to;
                continue;
            }
            Err(source) => return Err(OpenError::Read { machine, source }),
        };
        if blocks.is_empty() {
            return Ok(Replayed { state, next, snapshot_at, time });
        }
        for block in blocks {
            let stored: Stored<M::Command> = serde_json::from_slice(&block.payload)
                .map_err(|error| OpenError::Command { machine, at: block.first, reason: error.to_string() })?;
            time = stored.time;
            state.apply(At { sequence: block.first, time }, stored.command);
            next = block.end();
        }
    }
}

struct Task<M: Machine> {
    state: Arc<RwLock<M>>,
    log: Arc<dyn Log>,
    snapshots: Snapshots,
    env: Env,
    options: Options,
    next: SequenceNumber,
    snapshot_at: SequenceNumber,
    time: Timestamp,
}

impl<M: Machine> Task<M> {
    async fn run(mut self, mut submissions: mpsc::Receiver<Submission<M>>) {
        let mut group = Vec::new();
        while submissions.recv_many(&mut group, QUEUE_COMMANDS_MAX).await > 0 {
            let mut waiting = std::mem::take(&mut group);
            while !waiting.is_empty() {
                match self.append(waiting).await {
                    Some(rest) => waiting = rest,
                    None => return,
                }
            }
            if self.next.since(self.snapshot_at) >= self.options.snapshot_every {
                self.snapshot().await;
            }
        }
    }

    /// Appends as many of a group as one append holds, applies them, and returns the rest; `None` when this owner's time is over.
    async fn append(&mut self, group: Vec<Submission<M>>) -> Option<Vec<Submission<M>>> {
        // The machine's time is stored with the command, so that every replay sees the same; it never goes back.
        let time = self.time.max(self.env.now());
        self.time = time;
        let mut blocks = Vec::with_capacity(group.len());
        let mut taken = Vec::with_capacity(group.len());
        let mut bytes = 0;
        let mut rest = Vec::new();
        for (command, answer) in group {
            let payload = match serde_json::to_vec(&Stored { time, command: &command }) {
                Ok(payload) if payload.len() <= limits::APPEND_BYTES_MAX => payload,
                Ok(payload) => {
                    let what = format!("{} bytes; {} may be stored", payload.len(), limits::APPEND_BYTES_MAX);
                    let source = AppendError::Limit { log: self.log.name().clone(), what };
                    let _ = answer.send(Err(SubmitError::Append { machine: M::NAME, source }));
                    continue;
                }
                Err(error) => {
                    let source = AppendError::Limit { log: self.log.name().clone(), what: error.to_string() };
                    let _ = answer.send(Err(SubmitError::Append { machine: M::NAME, source }));
                    continue;
                }
            };
            if !rest.is_empty() || bytes + payload.len() > limits::APPEND_BYTES_MAX {
                rest.push((command, answer));
                continue;
            }
            bytes += payload.len();
            blocks.push(Block { records: 1, payload: Bytes::from(payload) });
            taken.push((command, answer));
        }
        if taken.is_empty() {
            return Some(rest);
        }
        match self.log.append(blocks, Condition::TailIs(self.next)).await {
            Ok(_) => self.apply(time, taken),
            Err(source @ (AppendError::Busy { .. } | AppendError::DiskFull { .. } | AppendError::Limit { .. })) => {
                for (_, answer) in taken {
                    let _ = answer.send(Err(SubmitError::Append { machine: M::NAME, source: source.clone() }));
                }
            }
            Err(AppendError::Conflict { tail, .. }) => {
                tracing::error!(machine = M::NAME, %tail, expected = %self.next, "another owner has appended; stepping down");
                for (_, answer) in taken {
                    let _ = answer.send(Err(SubmitError::Fenced { machine: M::NAME }));
                }
                return None;
            }
            Err(error @ (AppendError::Closed | AppendError::Io { .. })) => {
                tracing::error!(machine = M::NAME, %error, "the log failed; the machine stops");
                return None;
            }
        }
        Some(rest)
    }

    fn apply(&mut self, time: Timestamp, taken: Vec<Submission<M>>) {
        let mut outcomes = Vec::with_capacity(taken.len());
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            for (command, answer) in taken {
                outcomes.push((state.apply(At { sequence: self.next, time }, command), answer));
                self.next = self.next + 1;
            }
        }
        for (outcome, answer) in outcomes {
            let _ = answer.send(Ok(outcome));
        }
    }

    async fn snapshot(&mut self) {
        let bytes = self.state.read().unwrap_or_else(PoisonError::into_inner).snapshot();
        let stored = self.snapshots.put(M::NAME, self.next, &bytes).await;
        self.snapshot_at = self.next;
        let trimmed = match stored {
            Ok(keep_from) => self.log.trim(keep_from).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = trimmed {
            tracing::warn!(machine = M::NAME, error, "no snapshot; the log keeps its commands until the next one");
        }
    }
}

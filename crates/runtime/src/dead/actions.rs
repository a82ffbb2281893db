//! The way to the actions: one decision at a time, each one append.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, watch};
use weir_env::Env;
use weir_log::AppendError;
use weir_stream::{Lot, SealedLot};
use weir_types::{SequenceNumber, ShardId};

use super::action::{self, Action};
use crate::streams::OpenStream;

/// The consumer that the carrier is, among the checkpoints.
pub(crate) const CARRIER: &str = "dead_letters/redrive";
/// The only shard of the stream: the order of the decisions.
pub(super) const SHARD: ShardId = ShardId(0);
/// How long an append waits for a log that is busy.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Whose turn it is to decide.
pub(super) type Turn = OwnedMutexGuard<()>;

/// What became of letters. Clones share it.
#[derive(Clone)]
pub(crate) struct Actions {
    stream: Arc<OpenStream>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How far the decisions are carried out.
    pub(super) carried: Arc<watch::Sender<SequenceNumber>>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Actions {
    pub fn new(stream: Arc<OpenStream>) -> Self {
        Self { stream, turn: Arc::default(), carried: Arc::new(watch::Sender::default()), trouble: Arc::default() }
    }

    pub fn stream(&self) -> &Arc<OpenStream> {
        &self.stream
    }

    /// Says why decisions are not carried out at the moment, if they are not.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_trouble(&self, what: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// Waits for the turn. Whoever has it sees what everybody before has decided, and nobody decides meanwhile.
    pub(super) async fn turn(&self) -> Turn {
        self.turn.clone().lock_owned().await
    }

    /// Stores decisions: all of them, or none; returns the place behind them. Goes on when the caller is gone, and holds the
    /// turn until it is known what came of it: whoever comes next sees it.
    pub(super) async fn decide(
        &self,
        env: &Env,
        turn: Turn,
        actions: &[Action],
    ) -> Result<SequenceNumber, AppendError> {
        let mut lot = Lot::default();
        for action in actions {
            lot.push(action::fingerprint(), action.id.as_bytes(), &action.encode());
        }
        let (env, stream, lot) = (env.clone(), self.stream.clone(), lot.seal());
        let count = actions.len() as u64;
        let task = tokio::spawn(async move {
            let appended = append(&env, &stream, &lot).await;
            drop(turn);
            appended
        });
        // An error says that the task panicked, or that the process ends.
        let first = task.await.unwrap_or(Err(AppendError::Closed))?;
        self.stream.counters.carried(count, 0);
        Ok(first + count)
    }
}

async fn append(env: &Env, stream: &OpenStream, lot: &SealedLot) -> Result<SequenceNumber, AppendError> {
    let deadline = env.elapsed() + BUSY_PATIENCE;
    loop {
        match stream.stream.append(SHARD, lot).await {
            Err(AppendError::Busy { .. }) if env.elapsed() < deadline => env.sleep(env.jitter(BUSY_PAUSE)).await,
            result => return result,
        }
    }
}

//! The task that takes a queue's dead letters to its dead-letter queue.
//!
//! Invariants: a message is in one of the two queues, never in both and never in none, whatever crashes in between; the
//! target changes only while nothing is between the two, for otherwise the new one could not know what the old one has
//! taken. A target that is not there is waited for: the messages stay, hidden, in the queue that gave them up. If the queue
//! shall have no dead-letter queue any more, they can be received again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};
use weir_env::Env;
use weir_types::QueueName;

use super::core::Core;
use super::hand_over::{BATCH_MAX, Origin, hand_over};
use crate::error::{QueueError, SendError};
use crate::queue::Queue;
use crate::transfer::Transfer;

/// How long a failed attempt waits for the next one: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How long the start waits for dead letters that were under way.
const RECOVER_WAIT: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub(crate) struct Carrier {
    source: Arc<Queue>,
    producer: String,
    env: Env,
    /// Numbers that the target has and the source may still remember. Empty whenever nobody holds it, unless something failed.
    between: Mutex<Vec<u64>>,
}

/// Why messages are not at the target.
#[derive(Debug, thiserror::Error)]
enum CarryError {
    #[error("there is no queue `{to}`")]
    NoTarget { to: QueueName },
    #[error("send to queue `{to}`")]
    Send {
        to: QueueName,
        #[source]
        source: SendError,
    },
    #[error(transparent)]
    Source(#[from] QueueError),
}

/// Holds a queue's dead letters where they are.
pub(crate) struct Held<'a> {
    _between: MutexGuard<'a, Vec<u64>>,
}

impl Carrier {
    pub(crate) fn new(source: Arc<Queue>, identity: u64, env: Env) -> Self {
        // A queue that is made anew counts from the beginning, so that its identity is a part of the name.
        let producer = format!("dead/{}/{identity:016x}", source.name());
        Self { source, producer, env, between: Mutex::default() }
    }

    /// Returns the queue whose dead letters are carried.
    pub(crate) fn source(&self) -> &Arc<Queue> {
        &self.source
    }

    /// Runs until the queue or the core is gone.
    pub(crate) async fn run(self: Arc<Self>, core: Weak<Core>, mut changed: watch::Receiver<u64>) {
        let mut pause = PAUSE_MIN;
        loop {
            changed.borrow_and_update();
            let attempt = match self.source.next_transfers(BATCH_MAX).await {
                Ok(transfers) => self.carry(&core, &transfers).await,
                Err(error) => Err(error.into()),
            };
            let error = match attempt {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    continue;
                }
                Err(CarryError::Source(error)) if error.is_closed() => return,
                Err(error) => error,
            };
            let source = self.source.name();
            tracing::warn!(queue = %source, error = &error as &dyn std::error::Error, "dead letters wait");
            // A target that is made, or named, is taken up at once.
            match self.env.within(pause, changed.changed()).await {
                Some(Ok(())) => pause = PAUSE_MIN,
                Some(Err(_)) => return,
                None => pause = (pause * 2).min(PAUSE_MAX),
            }
        }
    }

    /// Keeps the dead letters where they are until what is returned is dropped. Nothing is between the two queues then.
    pub(crate) async fn hold(&self) -> Result<Held<'_>, QueueError> {
        let mut between = self.between.lock().await;
        self.forget(&mut between).await?;
        Ok(Held { _between: between })
    }

    /// Forgets what was handed over before a crash. Called before anybody can name another target, with the one that is
    /// named if it is there.
    pub(crate) async fn recover(&self, target: Option<&Queue>) -> Result<(), QueueError> {
        // Numbers are handed over in their order: all up to the last one that anybody has are done.
        let taken = target.and_then(|target| target.last_stamp(&self.producer));
        let Some(last) = taken.max(self.source.last_stamp(&self.back())) else { return Ok(()) };
        if self.source.stats().exhausted == 0 {
            return Ok(());
        }
        // What waits for the table of dead letters is counted too, from when that was wanted: then none may come.
        let Some(transfers) = self.env.within(RECOVER_WAIT, self.source.next_transfers(BATCH_MAX)).await else {
            return Ok(());
        };
        let numbers = transfers?.into_iter().map(|transfer| transfer.number);
        let mut between = self.between.lock().await;
        // One batch is handed over at a time, so that there are no more of them.
        *between = numbers.filter(|number| *number <= last).collect();
        if let Err(error) = self.forget(&mut between).await {
            let (queue, error) = (self.source.name(), &error as &dyn std::error::Error);
            tracing::warn!(%queue, error, "dead letters that have arrived can't be forgotten yet");
        }
        Ok(())
    }

    async fn carry(&self, core: &Weak<Core>, transfers: &[Transfer]) -> Result<(), CarryError> {
        let mut between = self.between.lock().await;
        self.forget(&mut between).await?;
        let source = self.source.name();
        // Read while `between` is held: nobody changes it now.
        let Some(core) = core.upgrade() else { return Err(QueueError::Closed { queue: source.clone() }.into()) };
        let to = core.dead_letter_queue(source);
        let target = match &to {
            Some(to) => core.get(to).ok_or_else(|| CarryError::NoTarget { to: to.clone() })?,
            None => self.source.clone(),
        };
        drop(core);
        let (producer, origin) = match to {
            Some(_) => (self.producer.clone(), Origin::DeadLetter(source.clone())),
            // Nobody wants it as a dead letter any more: it can be received again.
            None => (self.back(), Origin::Returned),
        };
        let taken = match hand_over(&target, &producer, transfers, &origin, self.env.now()).await {
            Ok(taken) => taken,
            Err(source) => return Err(CarryError::Send { to: target.name().clone(), source }),
        };
        *between = transfers[..taken].iter().map(|transfer| transfer.number).collect();
        Ok(self.forget(&mut between).await?)
    }

    /// Under this name messages come back to the source.
    fn back(&self) -> String {
        format!("{}/back", self.producer)
    }

    async fn forget(&self, between: &mut Vec<u64>) -> Result<(), QueueError> {
        if !between.is_empty() {
            self.source.transferred(between.clone()).await?;
            between.clear();
        }
        Ok(())
    }
}

//! The task that takes a queue's dead letters to its dead-letter queue.
//!
//! Invariants: a message is in one of the two queues, never in both and never in none, whatever crashes in between; the
//! target changes only while nothing is between the two, for otherwise the new one could not know what the old one has
//! taken. A target that is not there is waited for: the messages stay, hidden, in the queue that gave them up.

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
    #[error("the queue has no dead-letter queue any more")]
    NoPolicy,
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

    /// Forgets what the target took before a crash. Called before anybody can name another target.
    pub(crate) async fn recover(&self, target: &Queue) -> Result<(), QueueError> {
        let Some(last) = target.last_stamp(&self.producer) else { return Ok(()) };
        let mut between = self.between.lock().await;
        // Ends: each round forgets some, or is the last one.
        while self.source.stats().exhausted > 0 {
            let transfers = self.source.next_transfers(BATCH_MAX).await?;
            let numbers = transfers.iter().map(|transfer| transfer.number);
            *between = numbers.filter(|number| *number <= last).collect();
            if between.is_empty() {
                break;
            }
            self.forget(&mut between).await?;
        }
        Ok(())
    }

    async fn carry(&self, core: &Weak<Core>, transfers: &[Transfer]) -> Result<(), CarryError> {
        let mut between = self.between.lock().await;
        self.forget(&mut between).await?;
        let source = self.source.name();
        // Read while `between` is held: nobody changes it now.
        let Some(core) = core.upgrade() else { return Err(QueueError::Closed { queue: source.clone() }.into()) };
        let Some(to) = core.dead_letter_queue(source) else { return Err(CarryError::NoPolicy) };
        let Some(target) = core.get(&to) else { return Err(CarryError::NoTarget { to }) };
        drop(core);
        let origin = Origin::DeadLetter(source.clone());
        let now = self.env.now();
        let taken = match hand_over(&target, &self.producer, transfers, &origin, now).await {
            Ok(taken) => taken,
            Err(source) => return Err(CarryError::Send { to, source }),
        };
        *between = transfers[..taken].iter().map(|transfer| transfer.number).collect();
        Ok(self.forget(&mut between).await?)
    }

    async fn forget(&self, between: &mut Vec<u64>) -> Result<(), QueueError> {
        if !between.is_empty() {
            self.source.transferred(between.clone()).await?;
            between.clear();
        }
        Ok(())
    }
}

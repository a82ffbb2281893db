//! The task of one move of messages from a queue to others.
//!
//! ```text
//! what a crash left under way --> steps: take, hand over, forget, wait as the rate says --> completed
//!                                   |                      |
//!                                   +-- cancelled          +-- no target: handed back to the source
//! ```
//!
//! Invariants: a message is in one queue alone, as for dead letters; whenever a step ends, nothing is under way, so that a
//! move can be cancelled between any two. A message whose target isn't there stays in the source, and the move goes on with
//! the others: it has failed when it ends, and says why.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use weir_env::Env;
use weir_types::{QueueName, SequenceNumber};

use super::core::{Core, Task};
use super::hand_over::{BATCH_MAX, Origin, hand_over};
use super::moves::{Ended, MoveTarget};
use super::registry::Command;
use crate::error::QueueError;
use crate::queue::Queue;
use crate::transfer::Transfer;

/// How often a move's count is made durable.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Steps of a second, if there is a rate: messages come evenly, not in one heap each second.
const STEPS_PER_SECOND: u32 = 10;
/// How long a failed attempt waits for the next one: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A move whose task runs.
pub(crate) struct Mover {
    pub(crate) source: QueueName,
    pub(crate) moved: Arc<AtomicU64>,
    stop: watch::Sender<Stop>,
    alive: watch::Receiver<()>,
    pub(crate) task: Task,
}

/// Whether a move should go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Cancel,
}

impl Mover {
    /// Starts the task of a move of `source`, which has moved so many before.
    pub(crate) fn start(core: &Arc<Core>, source: Arc<Queue>, identity: u64, number: u64, begun: Begun) -> Self {
        let moved = Arc::new(AtomicU64::new(begun.moved));
        let (stop, stopped) = watch::channel(if begun.cancelling { Stop::Cancel } else { Stop::No });
        let (here, alive) = watch::channel(());
        let name = source.name().clone();
        let work = Work {
            core: Arc::downgrade(core),
            env: core.env.clone(),
            producer: format!("move/{name}/{identity:016x}"),
            source,
            number,
            target: begun.target,
            moved: moved.clone(),
            saved_at: core.env.elapsed(),
            stopped,
            missing: BTreeMap::new(),
            _here: here,
        };
        Self { source: name, moved, stop, alive, task: Task::spawn(work.run()) }
    }

    /// Asks the task to end, and returns what fails to change once it has.
    pub(crate) fn cancel(&self) -> watch::Receiver<()> {
        self.stop.send_replace(Stop::Cancel);
        self.alive.clone()
    }
}

/// What a move has come to.
pub(crate) struct Begun {
    pub(crate) target: MoveTarget,
    pub(crate) moved: u64,
    pub(crate) cancelling: bool,
}

struct Work {
    core: Weak<Core>,
    env: Env,
    producer: String,
    source: Arc<Queue>,
    number: u64,
    target: MoveTarget,
    moved: Arc<AtomicU64>,
    saved_at: Duration,
    stopped: watch::Receiver<Stop>,
    /// Messages that stay, by the queue that isn't there; none: nobody knows which it was.
    missing: BTreeMap<Option<QueueName>, u64>,
    /// Dropped when the task ends, which tells who waits for it.
    _here: watch::Sender<()>,
}

/// The task has nobody to work for.
struct Gone;

impl Work {
    async fn run(mut self) {
        let Ok(ended) = self.work().await else { return };
        if self.end(ended).await.is_ok()
            && let Some(core) = self.core.upgrade()
        {
            // The last thing that this task does: it ends itself with what is removed.
            let mover = core.moving().remove(&self.number);
            drop(mover);
        }
    }

    async fn work(&mut self) -> Result<Ended, Gone> {
        loop {
            let left = self.retried(|| self.source.moving(BATCH_MAX)).await?;
            if left.is_empty() {
                break;
            }
            self.deliver(left).await?;
        }
        let mut next = Some(SequenceNumber::ZERO);
        while let Some(from) = next {
            if self.is_cancelled() {
                return Ok(Ended::Cancelled);
            }
            let max = self.step_max();
            let (below, filter) = (self.target.below, self.target.filter.as_ref());
            let step = self.retried(|| self.source.take_for_move(from, below, max, filter)).await?;
            next = step.next;
            let taken = step.transfers.len();
            self.deliver(step.transfers).await?;
            self.save().await?;
            if next.is_some() {
                self.pace(taken).await;
            }
        }
        Ok(match self.failure() {
            Some(reason) => Ended::Failed(reason),
            None => Ended::Completed,
        })
    }

    fn is_cancelled(&self) -> bool {
        *self.stopped.borrow() == Stop::Cancel
    }

    fn step_max(&self) -> usize {
        match self.target.rate_per_second {
            Some(rate) => (rate / STEPS_PER_SECOND).clamp(1, BATCH_MAX as u32) as usize,
            None => BATCH_MAX,
        }
    }

    /// Waits as long as the rate asks for after so many messages, or until the move is cancelled.
    async fn pace(&mut self, taken: usize) {
        if let Some(rate) = self.target.rate_per_second {
            self.rest(Duration::from_secs_f64(taken as f64 / f64::from(rate.max(1)))).await;
        } else {
            // Others shall have their turn.
            tokio::task::yield_now().await;
        }
    }

    async fn rest(&mut self, span: Duration) {
        let stopped = &mut self.stopped;
        // An error means that nobody knows the move any more; the next look at the core says so.
        let cancelled = async { drop(stopped.wait_for(|stop| *stop == Stop::Cancel).await) };
        let _ = self.env.within(span, cancelled).await;
    }

    /// Brings messages that are under way to their targets, each group of one target in the order of its numbers.
    async fn deliver(&mut self, transfers: Vec<Transfer>) -> Result<(), Gone> {
        let mut groups: BTreeMap<Option<QueueName>, Vec<Transfer>> = BTreeMap::new();
        for transfer in transfers {
            let to = self.target.to.clone().or_else(|| transfer.source.clone());
            groups.entry(to).or_default().push(transfer);
        }
        for (to, group) in groups {
            self.deliver_group(to, &group).await?;
        }
        Ok(())
    }

    async fn deliver_group(&mut self, to: Option<QueueName>, group: &[Transfer]) -> Result<(), Gone> {
        // What a crash left may have been handed back before its target was made anew. A name of its own for each target
        // keeps the numbers of this group apart from those of others.
        let back = format!("{}/back/{}", self.producer, to.as_ref().map_or("", QueueName::as_str));
        let returned = self.source.last_stamp(&back).unwrap_or(0);
        let (returned, mut rest) = group.split_at(group.partition_point(|transfer| transfer.number <= returned));
        self.forget(returned).await?;
        let mut pause = PAUSE_MIN;
        while !rest.is_empty() {
            let core = self.core.upgrade().ok_or(Gone)?;
            // A queue of the other kind can't have given it up; it was made anew since.
            let fits = |queue: &Arc<Queue>| queue.name().is_fifo() == self.source.name().is_fifo();
            let target = to.as_ref().and_then(|to| core.get(to)).filter(fits);
            drop(core);
            let (target, producer, origin) = match &target {
                Some(target) => (target, &self.producer, Origin::Moved),
                None => (&self.source, &back, Origin::Returned),
            };
            match hand_over(target, producer, rest, &origin, self.env.now()).await {
                Ok(taken) => {
                    let (done, later) = rest.split_at(taken);
                    rest = later;
                    self.forget(done).await?;
                    match origin {
                        Origin::Returned => *self.missing.entry(to.clone()).or_default() += taken as u64,
                        Origin::Moved | Origin::DeadLetter(_) => {
                            self.moved.fetch_add(taken as u64, Ordering::Relaxed);
                        }
                    }
                    pause = PAUSE_MIN;
                }
                Err(error) => {
                    if error.is_closed() && Arc::ptr_eq(target, &self.source) {
                        return Err(Gone);
                    }
                    let (queue, to) = (self.source.name(), target.name());
                    tracing::warn!(%queue, %to, error = &error as &dyn std::error::Error, "a move of messages waits");
                    self.env.sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        Ok(())
    }

    async fn forget(&self, done: &[Transfer]) -> Result<(), Gone> {
        if done.is_empty() {
            return Ok(());
        }
        let numbers: Vec<u64> = done.iter().map(|transfer| transfer.number).collect();
        self.retried(|| self.source.transferred(numbers.clone())).await
    }

    /// Asks the source for something until it answers.
    async fn retried<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Gone>
    where
        F: Future<Output = Result<T, QueueError>>,
    {
        let mut pause = PAUSE_MIN;
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_closed() => return Err(Gone),
                Err(error) => {
                    let queue = self.source.name();
                    tracing::warn!(%queue, error = &error as &dyn std::error::Error, "a move of messages waits");
                    self.env.sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Makes the count durable, if it was not for a while.
    async fn save(&mut self) -> Result<(), Gone> {
        let now = self.env.elapsed();
        if now.saturating_sub(self.saved_at) < PROGRESS_EVERY {
            return Ok(());
        }
        self.saved_at = now;
        let core = self.core.upgrade().ok_or(Gone)?;
        let moved = self.moved.load(Ordering::Relaxed);
        // It is for show, and the next one comes soon: what went wrong is seen when the move ends.
        let _ = core.registry.submit(Command::Progress { number: self.number, moved }).await;
        Ok(())
    }

    async fn end(&self, ended: Ended) -> Result<(), Gone> {
        let mut pause = PAUSE_MIN;
        loop {
            let moved = self.moved.load(Ordering::Relaxed);
            let command = Command::EndMove { number: self.number, moved, ended: ended.clone() };
            let registry = self.core.upgrade().ok_or(Gone)?.registry.clone();
            match registry.submit(command).await {
                // Refused: the source is deleted, and the move with it.
                Ok(Ok(_) | Err(_)) => return Ok(()),
                Err(weir_machine::SubmitError::Append { source: error, .. }) => {
                    let queue = self.source.name();
                    tracing::warn!(%queue, %error, "the end of a move can't be stored yet");
                    self.env.sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(_) => return Err(Gone),
            }
        }
    }

    /// Tells why messages stayed.
    fn failure(&self) -> Option<String> {
        let reasons = self.missing.iter().map(|(to, count)| match to {
            Some(to) => format!("{count} messages stay: there is no queue `{to}` that could take them"),
            None => format!("{count} messages stay: nobody knows which queue they were given up in"),
        });
        let reasons: Vec<String> = reasons.take(REASONS_MAX).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// Queues that a failure names.
const REASONS_MAX: usize = 5;

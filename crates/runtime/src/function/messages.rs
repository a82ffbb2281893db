//! A function over the messages of a queue: as many batches at once as there are environments, each within its lease.
//!
//! ```text
//! queue --receive (waits for arrival)--> batch --run--> outbox, then deleted
//!   ^                                      |
//!   +-- hidden for a while: failed alone --+-- failed too often --> dead letter
//! ```
//!
//! Invariants: a message is worked on by one batch at a time, also if its lease runs out; it is deleted only after what was
//! made of it is durable; it goes back only for a failure that it may have caused, or, in a FIFO queue, one before it in its
//! group. While the queue is empty, one receive waits, and nothing runs.
//!
//! A lease is as long as the queue's visibility timeout and renewed while its batch runs: after a crash, messages wait for no
//! longer than that.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use weir_env::Env;
use weir_queue::{DeadLetterTo, MessageId, Queue, ReceiptHandle, Receive, Received};

use super::failure;
use super::outbox::{Finished, Made, Outbox, Progress};
use super::records::backoff;
use super::step::{MessageStep, Split, StepError, Worked};
use super::{Counters, Rules, Trouble};
use crate::dead::{Cause, Letter};
use crate::pipeline::chain;

/// How long one receive waits for a message. It wakes at once when one comes; the time only bounds what a defect could cost.
const WAIT: Duration = Duration::from_secs(3600);
/// The shortest lease: a queue may hide messages for a moment only, and a renewal takes an append.
const LEASE_MIN: Duration = Duration::from_secs(10);
/// Renewals of one lease before it would run out.
const RENEWALS: u32 = 3;
/// A batch is cut at this many bytes of bodies: an event may have 6 MiB.
const BATCH_BYTES: usize = 3 * 1024 * 1024;
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What a runner needs.
pub(crate) struct Parts {
    pub env: Env,
    pub function: String,
    pub queue: Arc<Queue>,
    pub outbox: Outbox,
    pub step: Arc<dyn MessageStep>,
    pub rules: Rules,
    /// Batches that run at once.
    pub concurrency: usize,
    pub on_failure: bool,
    pub counters: Arc<Counters>,
    pub trouble: Arc<Trouble>,
}

struct Runner {
    parts: Parts,
    /// Messages that a batch has.
    held: Mutex<HashSet<MessageId>>,
}

/// What one batch still has to do.
struct Batch {
    /// Leases to be renewed: of messages that are neither done nor given back.
    leases: Mutex<HashMap<MessageId, ReceiptHandle>>,
    /// Groups of a FIFO queue of which a message went back: what is behind it goes back too.
    held_up: Mutex<HashSet<String>>,
}

impl Batch {
    fn new(messages: &[Received]) -> Self {
        let leases = messages.iter().map(|message| (message.id, message.receipt.clone())).collect();
        Self { leases: Mutex::new(leases), held_up: Mutex::default() }
    }

    fn settle(&self, message: MessageId) {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).remove(&message);
    }

    fn hold_up(&self, group: Option<&String>) {
        self.held_up.lock().unwrap_or_else(PoisonError::into_inner).extend(group.cloned());
    }

    fn is_held_up(&self, group: Option<&String>) -> bool {
        group.is_some_and(|group| self.held_up.lock().unwrap_or_else(PoisonError::into_inner).contains(group))
    }
}

/// Runs until `stopping` says so, or the queue is closed.
pub(crate) async fn run(parts: Parts, mut stopping: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(parts.concurrency.max(1)));
    let runner = Arc::new(Runner { parts, held: Mutex::default() });
    let mut batches = JoinSet::new();
    loop {
        let next = async {
            // An environment first: a lease must not run out while its message waits for one.
            let slot = slots.clone().acquire_owned().await;
            (slot, runner.receive().await)
        };
        let (slot, batch) = tokio::select! {
            next = next => next,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        while batches.try_join_next().is_some() {}
        let Some(batch) = batch else { return };
        if batch.is_empty() {
            continue;
        }
        let runner = runner.clone();
        batches.spawn(async move {
            let held: Vec<MessageId> = batch.iter().map(|message| message.id).collect();
            let state = Batch::new(&batch);
            tokio::select! {
                () = runner.work_off(&state, batch) => {}
                () = runner.renew(&state) => {}
            }
            runner.let_go(&held);
            drop::<Result<OwnedSemaphorePermit, _>>(slot);
        });
    }
}

impl Runner {
    fn lease(&self) -> Duration {
        self.parts.queue.settings().visibility_timeout.max(LEASE_MIN)
    }

    /// Renews leases without end.
    async fn renew(&self, batch: &Batch) {
        loop {
            let lease = self.lease();
            self.parts.env.sleep(lease / RENEWALS).await;
            let leases = batch.leases.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if !leases.is_empty() {
                self.hide(leases.into_values().map(|receipt| (receipt, lease)).collect()).await;
            }
        }
    }

    /// Waits for messages and gathers a batch; `None` when the queue is closed.
    async fn receive(&self) -> Option<Vec<Received>> {
        let parts = &self.parts;
        let mut batch = self.receive_once(parts.rules.size, WAIT).await?;
        if batch.is_empty() || parts.rules.window.is_zero() {
            return Some(batch);
        }
        let until = parts.env.elapsed() + parts.rules.window;
        loop {
            let bytes: usize = batch.iter().map(size_of).sum();
            let left = until.saturating_sub(parts.env.elapsed());
            if batch.len() >= parts.rules.size || bytes >= BATCH_BYTES || left.is_zero() {
                return Some(batch);
            }
            batch.extend(self.receive_once(parts.rules.size - batch.len(), left).await?);
        }
    }

    async fn receive_once(&self, max: usize, wait: Duration) -> Option<Vec<Received>> {
        // Renewals begin when the batch is whole.
        let hidden_for = self.lease() + self.parts.rules.window;
        let receive = Receive { max, hidden_for, wait, attempt: None };
        match self.parts.queue.receive(receive).await {
            Ok(received) => {
                self.parts.trouble.of_runner(None);
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                // A lease ran out under a batch that still runs: it is that batch's all the same.
                Some(received.into_iter().filter(|message| held.insert(message.id)).collect())
            }
            Err(error) if error.is_closed() => None,
            Err(error) => {
                tracing::error!(queue = %self.parts.queue.name(), error = chain(&error), "the function's queue can't be received from, which is tried again");
                self.parts.trouble.of_runner(Some(chain(&error)));
                self.parts.env.sleep(self.parts.env.jitter(RETRY_MAX)).await;
                Some(Vec::new())
            }
        }
    }

    fn let_go(&self, messages: &[MessageId]) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().for_each(|message| {
            held.remove(message);
        });
    }

    /// Works a batch off: on return each message is deleted, given back, or a dead letter.
    async fn work_off(&self, batch: &Batch, messages: Vec<Received>) {
        // Parts still to run, the first on top.
        let mut stack = cut(messages);
        stack.reverse();
        while let Some(part) = stack.pop() {
            let part = self.give_up_old(batch, part).await;
            let part = self.give_back_held_up(batch, part).await;
            if part.is_empty() {
                continue;
            }
            match self.run_patiently(&part).await {
                Ok(mut worked) => {
                    self.parts.counters.ran(part.len());
                    let split = Split::new(part, &mut worked);
                    let done = split.done.iter().map(|message| message.id).collect();
                    self.store(batch, done, worked.made, Vec::new()).await;
                    for (message, cause, error) in split.poisoned {
                        self.give_up(batch, message, cause, error).await;
                    }
                    for message in split.again {
                        self.give_back(batch, message, worked.error.clone()).await;
                    }
                }
                Err(StepError::TooLarge(error)) if part.len() == 1 => {
                    for message in part {
                        self.give_up(batch, message, Cause::FunctionFailed, error.clone()).await;
                    }
                }
                Err(error) if part.len() == 1 => {
                    self.parts.counters.failed();
                    for message in part {
                        self.give_back(batch, message, error.to_string()).await;
                    }
                }
                Err(error) => {
                    // One of them spoils it for the others: found by halves, so that those do not pay for it.
                    self.parts.counters.failed();
                    tracing::warn!(
                        function = self.parts.function,
                        messages = part.len(),
                        error = error.to_string(),
                        "a batch failed, and is tried in halves"
                    );
                    let mut part = part;
                    let rest = part.split_off(part.len() / 2);
                    stack.push(rest);
                    stack.push(part);
                }
            }
        }
    }

    /// Runs the step until it says something of the messages.
    async fn run_patiently(&self, part: &[Received]) -> Result<Worked, StepError> {
        let mut pause = RETRY;
        loop {
            match self.parts.step.run(part).await {
                Err(StepError::Halt(error)) => {
                    tracing::error!(function = self.parts.function, error, "the function stands still");
                    self.parts.trouble.of_runner(Some(error));
                    self.parts.env.sleep(self.parts.env.jitter(pause)).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                outcome => {
                    self.parts.trouble.of_runner(None);
                    return outcome;
                }
            }
        }
    }

    async fn hide(&self, changes: Vec<(ReceiptHandle, Duration)>) {
        match self.parts.queue.hide(changes).await {
            Ok(results) => {
                for error in results.into_iter().filter_map(Result::err) {
                    // It was purged, deleted by another client, or received elsewhere; the batch's own end will find out.
                    tracing::debug!(function = self.parts.function, %error, "a lease could not be changed");
                }
            }
            Err(error) => {
                tracing::warn!(function = self.parts.function, error = chain(&error), "leases could not be changed");
            }
        }
    }

    async fn give_back(&self, batch: &Batch, message: Received, error: String) {
        if let Some(attempts) = self.attempts()
            && message.receive_count >= attempts
        {
            return self.give_up(batch, message, Cause::FunctionFailed, error).await;
        }
        tracing::warn!(function = self.parts.function, message = %message.id, attempt = message.receive_count, error, "a message failed, and is tried again");
        if self.parts.queue.settings().fifo.is_some() {
            batch.hold_up(message.group.as_ref());
        }
        batch.settle(message.id);
        let pause = self.parts.env.jitter(backoff(message.receive_count));
        self.hide(vec![(message.receipt, pause)]).await;
    }

    /// Gives back what may not overtake a message of its group.
    async fn give_back_held_up(&self, batch: &Batch, part: Vec<Received>) -> Vec<Received> {
        let (held_up, part): (Vec<_>, Vec<_>) =
            part.into_iter().partition(|message| batch.is_held_up(message.group.as_ref()));
        if !held_up.is_empty() {
            held_up.iter().for_each(|message| batch.settle(message.id));
            self.hide(held_up.into_iter().map(|message| (message.receipt, Duration::ZERO)).collect()).await;
        }
        part
    }

    /// The queue's own rule, or else the function's.
    fn attempts(&self) -> Option<u32> {
        let of_queue = self.parts.queue.settings().dead_letter.map(|dead_letter| dead_letter.max_receives);
        of_queue.or(self.parts.rules.attempts)
    }

    async fn give_up_old(&self, batch: &Batch, part: Vec<Received>) -> Vec<Received> {
        let Some(age) = self.parts.rules.age else { return part };
        let eldest = self.parts.env.now().before(age);
        let (old, part): (Vec<_>, Vec<_>) = part.into_iter().partition(|message| message.sent_at < eldest);
        for message in old {
            let error =
                format!("it is older than {}, the most that the function takes", weir_types::span::display(age));
            self.give_up(batch, message, Cause::Expired, error).await;
        }
        part
    }

    /// Parks a message: in the queue's dead-letter queue, or else in the table of dead letters.
    async fn give_up(&self, batch: &Batch, message: Received, cause: Cause, error: String) {
        self.parts.counters.dead_lettered(1);
        let id = message.id;
        let to_queue = self
            .parts
            .queue
            .settings()
            .dead_letter
            .is_some_and(|dead_letter| matches!(dead_letter.to, DeadLetterTo::Queue(_)));
        let source = format!("queue/{}", self.parts.queue.name());
        let target = format!("function/{}", self.parts.function);
        let letter = Letter::of_message(&self.parts.env, source, &message, target, cause, error);
        let mut made = Vec::new();
        if self.parts.on_failure {
            made.push(failure::made(&letter));
        }
        if to_queue {
            made.push(failure::made_dead(&letter, &message, self.parts.queue.name()));
            self.store(batch, vec![id], made, Vec::new()).await;
        } else {
            self.store(batch, vec![id], made, vec![letter]).await;
        }
    }

    /// Stores what was made, and returns when it is durable and the messages are deleted.
    async fn store(&self, batch: &Batch, messages: Vec<MessageId>, made: Vec<Made>, letters: Vec<Letter>) {
        if messages.is_empty() {
            return;
        }
        // They stay hidden until they are deleted, however long the outbox takes.
        let stored = messages.clone();
        self.parts.counters.made(made.len());
        let (done, told) = oneshot::channel();
        let progress = Progress::Messages(messages);
        self.parts.outbox.store(Finished { progress, made, letters, counts: Vec::new(), done: Some(done) }).await;
        // An error says that the node closes: the messages are deleted at the next start.
        let _ = told.await;
        stored.into_iter().for_each(|message| batch.settle(message));
    }
}

/// Cuts a batch so that each part fits one event.
fn cut(batch: Vec<Received>) -> Vec<Vec<Received>> {
    let mut parts: Vec<Vec<Received>> = Vec::new();
    let mut bytes = 0;
    for message in batch {
        bytes += size_of(&message);
        match parts.last_mut() {
            Some(part) if bytes <= BATCH_BYTES => part.push(message),
            _ => {
                bytes = size_of(&message);
                parts.push(vec![message]);
            }
        }
    }
    parts
}

fn size_of(message: &Received) -> usize {
    message.body.len() + 1024
}

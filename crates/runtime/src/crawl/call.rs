//! One task's way: a permit, the call, what the answer means, and what is handed to the outbox.
//!
//! ```text
//! task --permit--> call --+--> data, ignored ----------------> items, children, next page; done
//!            ^            +--> failed, attempts left --------> the task again, one attempt on, after a while; done
//!            |            +--> failed for good --------------> a dead letter; done
//!            +------------+--- throttled, or the vendor down:  no attempt is used
//! ```
//!
//! Invariant: a task is done only by what is handed on, in one append; until then its message is leased, and comes again
//! after a crash.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use weir_budget::Permit;
use weir_crawl::progress::{Brought, Counted, Further};
use weir_crawl::{Answer, Page, Read, Request, RunValues, Task, TransportError};
use weir_queue::{MessageId, Received};

use super::crew::{Crew, Orders};
use super::{letters, task};
use crate::dead::{Cause, Letter};
use crate::function::outbox::{MADE_BYTES_MAX, Made};
use crate::pipeline::chain;

/// Receives after which a task is given up, whatever it says: it may be what ends the process.
const RECEIVES_MAX: u32 = 100;
/// The wait before a second attempt; it doubles with each further one.
pub(super) const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// What became of a task, on its way to the outbox.
pub(super) struct Done {
    pub message: MessageId,
    pub counted: Counted,
    pub made: Vec<Made>,
    pub letters: Vec<Letter>,
    /// Of the answer, until the outbox has what was made of it.
    pub _room: Option<OwnedSemaphorePermit>,
}

impl Done {
    fn new(message: &Received, counted: Counted) -> Self {
        Self { message: message.id, counted, made: Vec::new(), letters: Vec::new(), _room: None }
    }

    fn with(mut self, letter: Letter) -> Self {
        self.letters.push(letter);
        self
    }
}

/// The orders are others now: what waits is given back.
struct Recalled;

impl Crew {
    /// Works a task off, and hands on what came of it; or gives it back, where the orders change before it is called.
    pub async fn work(
        &self,
        values: &RunValues,
        message: Received,
        orders: watch::Receiver<Orders>,
        done: mpsc::Sender<Done>,
    ) {
        match self.call(values, &message, orders).await {
            // An error says that the node ends: the task comes again at the next start.
            Ok(what) => drop(done.send(what).await),
            Err(Recalled) => self.give_back(&message).await,
        }
    }

    async fn give_back(&self, message: &Received) {
        if let Some(receipt) = self.held.receipt(message.id)
            && let Err(error) = self.queue.hide(vec![(receipt, Duration::ZERO)]).await
        {
            tracing::debug!(
                crawl = self.crawl,
                error = chain(&error),
                "a task was not given back: its lease has to run out"
            );
        }
        self.held.let_go(&[message.id]);
    }

    async fn call(
        &self,
        values: &RunValues,
        message: &Received,
        mut orders: watch::Receiver<Orders>,
    ) -> Result<Done, Recalled> {
        let mut counted = Counted::new(values.run, self.env.now());
        let mut task: Task = match serde_json::from_slice(&message.body) {
            Ok(task) => task,
            Err(error) => {
                let letter = letters::of_task(&self.env, &self.crawl, message, Cause::Malformed, error.to_string());
                return Ok(Done::new(message, counted).with(letter));
            }
        };
        if letters::is_redriven(message) {
            // What was given up, in whichever run, is worked off by the one that is under way, as if it had never failed.
            (task.run, task.attempt) = (values.run, 0);
            counted.redriven(&task);
        } else if task.run != values.run {
            // Of a run that was ended: it is counted there.
            return Ok(Done::new(message, counted));
        }
        if message.receive_count > RECEIVES_MAX {
            counted.dead_uncalled(&task);
            let error = format!("it was received {} times, and never done", message.receive_count);
            let letter = letters::of_task(&self.env, &self.crawl, message, Cause::ReceivedTooOften, error);
            return Ok(Done::new(message, counted).with(letter));
        }
        let request = match self.plan.request(&task, values) {
            Ok(request) => request,
            Err(error) => {
                counted.dead_uncalled(&task);
                let letter = letters::of_task(&self.env, &self.crawl, message, Cause::CallFailed, error.to_string());
                return Ok(Done::new(message, counted).with(letter));
            }
        };
        let flow = self.flow(&task.tenant);
        loop {
            let turn = async {
                let mut room = self.answers.try_reserve(&task.resource);
                loop {
                    let permit = flow.permit().await;
                    if room.is_none() {
                        room = self.answers.try_reserve(&task.resource);
                    }
                    if room.is_some() {
                        return (permit, room);
                    }
                    // A permit is for a call that is made at once. There is too much in memory just now.
                    drop(permit);
                    room = self.answers.reserve(&task.resource).await;
                }
            };
            let (permit, room) = tokio::select! {
                biased;
                _ = orders.wait_for(|orders| orders.run() != Some(values.run)) => return Err(Recalled),
                turn = turn => turn,
            };
            let flight = self.flying.begin(&task.resource, &task.tenant);
            let (answer, read, vendor_down) = self.ask(&task, values, &request, permit).await;
            drop(flight);
            let failure = match read {
                Read::Data(page) => {
                    let latency = answer.as_ref().map_or(Duration::ZERO, |answer| answer.latency);
                    return Ok(self.take(message, &task, *page, latency, counted, room));
                }
                Read::Ignored { .. } => {
                    let latency = answer.as_ref().map_or(Duration::ZERO, |answer| answer.latency);
                    counted.answered(&task, Brought { latency, ..Brought::default() }, &[]);
                    return Ok(Done { _room: room, ..Done::new(message, counted) });
                }
                Read::Throttled(_) => {
                    counted.throttled(&task, 1);
                    continue;
                }
                Read::Retry(_) if vendor_down => {
                    counted.failed(&task);
                    continue;
                }
                Read::Retry(failure) if task.attempt + 1 < self.attempts_of(&task) => {
                    counted.retried(&task);
                    let again = Task { attempt: task.attempt + 1, ..task.clone() };
                    let wait = self.env.jitter(backoff(task.attempt));
                    tracing::debug!(crawl = self.crawl, resource = task.resource, attempt = again.attempt, %failure, "a call failed, and is made again");
                    let mut done = Done::new(message, counted);
                    // It is no larger than it was.
                    done.made.extend(task::made(&again, Some(self.env.now().after(wait))).ok());
                    return Ok(done);
                }
                Read::Retry(failure) | Read::Dead(failure) => failure,
            };
            counted.dead(&task);
            tracing::warn!(crawl = self.crawl, resource = task.resource, attempts = task.attempt + 1, %failure, "a task is a dead letter");
            let letter = letters::of_call(self, message, &task, &request, answer.as_ref(), failure.to_string());
            return Ok(Done { _room: room, ..Done::new(message, counted).with(letter) });
        }
    }

    /// Makes the call, tells the budget how it went, and returns what it means, and whether its failure is the vendor's.
    async fn ask(
        &self,
        task: &Task,
        values: &RunValues,
        request: &Request,
        permit: Permit,
    ) -> (Option<Answer>, Read, bool) {
        let answer: Result<Answer, TransportError> = self.transport.call(request.clone()).await;
        match answer {
            Ok(answer) => {
                self.answers.note(&task.resource, answer.body.len());
                let read = self.plan.read(task, values, &answer);
                let verdict = permit.end(self.plan.signal(&read, &answer, self.env.now()));
                (Some(answer), read, verdict.vendor_down)
            }
            Err(error) => {
                let verdict = permit.end(self.plan.signal_of_error(&error));
                (None, self.plan.failed(&error), verdict.vendor_down)
            }
        }
    }

    fn attempts_of(&self, task: &Task) -> u32 {
        self.attempts.get(&task.resource).copied().unwrap_or(1)
    }

    /// Turns a page into what is stored of it.
    fn take(
        &self,
        message: &Received,
        task: &Task,
        mut page: Page,
        latency: Duration,
        mut counted: Counted,
        room: Option<OwnedSemaphorePermit>,
    ) -> Done {
        let mut done = Done { _room: room, ..Done::new(message, Counted::new(counted.run, counted.at)) };
        let items = page.items.len();
        if let Some(form) = self.forms.get(&task.resource) {
            let encoded = form.encode(std::mem::take(&mut page.items));
            done.made = encoded.made;
            done.letters.extend(encoded.refused.into_iter().map(|(index, item, error)| {
                letters::of_item(&self.env, &self.crawl, message, task, (index, &item), error)
            }));
        }
        if page.problems_count > 0 {
            done.letters.push(letters::of_problems(&self.env, &self.crawl, message, task, &page));
        }
        let mut children = Vec::with_capacity(page.children.len());
        for child in page.children {
            match task::made(&child, None) {
                Ok(made) => {
                    done.made.push(made);
                    children.push(child);
                }
                Err(error) => {
                    let letter = letters::of_child(&self.env, &self.crawl, message, &child, error.to_string());
                    done.letters.push(letter);
                }
            }
        }
        let mut further = Further::Last;
        if let Some(next) = page.next {
            match task::made(&next, None) {
                Ok(made) => {
                    done.made.push(made);
                    further = Further::Page;
                }
                Err(error) => {
                    let letter = letters::of_child(&self.env, &self.crawl, message, &next, error.to_string());
                    done.letters.push(letter);
                }
            }
        }
        let bytes = done.bytes();
        if bytes > MADE_BYTES_MAX {
            counted.dead(task);
            let error = format!(
                "the answer's {items} items and {} tasks take {bytes} bytes, and {MADE_BYTES_MAX} are stored at once: ask for smaller \
                 pages, by the parameter that the vendor has for it (`limit` of an offset paginator, or one in `params`)",
                children.len(),
            );
            let letter = letters::of_task(&self.env, &self.crawl, message, Cause::CallFailed, error);
            return Done { made: Vec::new(), letters: vec![letter], counted, ..done };
        }
        let brought = Brought { items: items as u64, further, cursor: page.largest.as_ref(), latency };
        counted.answered(task, brought, &children);
        Done { counted, ..done }
    }
}

impl Done {
    /// Returns about how many bytes it takes in an append.
    pub fn bytes(&self) -> usize {
        let letters: usize = self.letters.iter().map(|letter| letter.payload.len() + letter.error.len() + 1024).sum();
        letters + self.made.iter().map(|made| made.body.len() + made.key.len() + 16).sum::<usize>()
    }
}

/// Returns the wait behind an attempt that failed, the first being zero.
fn backoff(attempt: u32) -> Duration {
    BACKOFF.saturating_mul(1 << attempt.min(16)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_ever_further_apart_up_to_a_limit() {
        let waits: Vec<u64> = [0, 1, 2, 8, 9, 40].map(|attempt| backoff(attempt).as_secs()).to_vec();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
    }
}

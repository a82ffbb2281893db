//! One queue: what others call.
//!
//! Checks and encodes in the caller's task, asks the owner, and reads payloads in the caller's task again, so that the owner
//! does as little as can be.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use weir_env::Env;
use weir_log::Log;
use weir_machine::Snapshots;
use weir_types::{QueueName, SequenceNumber, Timestamp};

use crate::error::{OpenError, QueueError, ReceiptError, ReceiveError, SendError};
use crate::id::{MessageId, ReceiptHandle};
use crate::limits::{HIDDEN_MAX, RECEIVE_INTERNAL_MAX};
use crate::message::{Message, Receive, Received, Sent, SentOnce, Stamp};
use crate::outgoing;
use crate::owner::{Ask, CALLS_MAX, Call, GivenUp, Leases, Owner, ask};
use crate::payloads::Payloads;
use crate::queues::MoveFilter;
use crate::read;
use crate::replay::replay;
use crate::settings::Settings;
use crate::shared::{self, Clock, lock};
use crate::snapshot::Store;
use crate::state::Kind;
use crate::transfer::{Adopted, MoveStep, Transfer};
use crate::tuning::Tuning;
use crate::turn::Outgoing;
use crate::upkeep::{Round, Upkeep};

/// A queue's numbers at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages that can be received.
    pub ready: u64,
    /// Messages that are hidden by a lease.
    pub in_flight: u64,
    /// Messages whose delay is not over.
    pub delayed: u64,
    /// Messages that were received as often as they may, and wait to be taken to the dead letters.
    pub exhausted: u64,
    /// When the oldest of them was sent.
    pub oldest_sent_at: Option<Timestamp>,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Messages sent since the start.
    pub sent: u64,
    /// Receives since the start, by message.
    pub received: u64,
    /// Messages deleted since the start.
    pub deleted: u64,
    /// Messages given up since the start.
    pub dead_lettered: u64,
    /// Messages that grew too old, since the start.
    pub expired: u64,
}

/// How much waits in a queue: what wakes whoever scales by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that can be received.
    pub ready: u64,
    /// Messages that are hidden by a lease.
    pub in_flight: u64,
}

/// A queue that is open. Everything that is acknowledged is durable.
pub struct Queue {
    shared: Arc<shared::Shared>,
    calls: mpsc::Sender<Call>,
    upkeep: tokio::sync::Mutex<Upkeep>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({})", self.shared.name)
    }
}

impl Queue {
    /// Returns the queue's name.
    pub fn name(&self) -> &QueueName {
        &self.shared.name
    }

    /// Returns its settings as they are now.
    pub fn settings(&self) -> Settings {
        Settings::clone(&self.shared.settings())
    }

    /// Returns its numbers.
    pub fn stats(&self) -> Stats {
        *lock(&self.shared.stats)
    }

    /// Returns a watch of its depth.
    pub fn depth(&self) -> watch::Receiver<Depth> {
        self.shared.depth.subscribe()
    }

    async fn ask<T, E: From<QueueError>>(&self, call: impl FnOnce(crate::owner::Answer<T, E>) -> Call) -> Result<T, E> {
        ask(&self.shared, &self.calls, call).await
    }

    async fn store(&self, stamp: Option<Stamp>, messages: Vec<Outgoing>) -> Result<SentOnce, SendError> {
        if messages.is_empty() && stamp.is_none() {
            return Ok(SentOnce::Stored(Vec::new()));
        }
        outgoing::check_together(&self.shared.name, &messages)?;
        self.ask(|answer| Call::Send { stamp, messages, answer }).await
    }

    /// Sends messages, all in one append. Dropping the future does not take them back.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, messages: Vec<Message>) -> Result<Vec<Sent>, SendError> {
        let messages = outgoing::encode(&self.shared.name, &self.shared.settings(), messages)?;
        match self.store(None, messages).await? {
            SentOnce::Stored(sent) => Ok(sent),
            // Without a stamp nothing is a repeat.
            SentOnce::Repeated => Ok(Vec::new()),
        }
    }

    /// Sends messages once, however often it is tried.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_once(&self, stamp: Stamp, messages: Vec<Message>) -> Result<SentOnce, SendError> {
        let messages = outgoing::encode(&self.shared.name, &self.shared.settings(), messages)?;
        self.store(Some(stamp), messages).await
    }

    /// Returns the number of the last stamped send of a producer.
    pub fn last_stamp(&self, producer: &str) -> Option<u64> {
        lock(&self.shared.stamps).get(producer).copied()
    }

    /// Receives messages; waits for the first one as long as it is told to. Dropping the future takes no message: what was on
    /// its way can be received at once, as if this receive had never been.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub async fn receive(&self, receive: Receive) -> Result<Vec<Received>, ReceiveError> {
        let Receive { max, hidden_for, wait, attempt } = receive;
        let (answer, answered) = oneshot::channel();
        let call = Call::Receive(Ask {
            max: max.clamp(1, RECEIVE_INTERNAL_MAX),
            hidden_for: hidden_for.min(HIDDEN_MAX),
            attempt: attempt.filter(|_| self.shared.name.is_fifo()),
            waits: !wait.is_zero(),
            answer,
        });
        self.calls.send(call).await.map_err(|_| self.shared.closed())?;
        let closed = |_| ReceiveError::from(self.shared.closed());
        let leases: Leases = if wait.is_zero() {
            answered.await.map_err(closed)??
        } else {
            match self.shared.env.within(wait, answered).await {
                Some(answer) => answer.map_err(closed)??,
                None => return Ok(Vec::new()),
            }
        };
        let received = read::readable(&self.shared, &self.calls, &leases.taken).await;
        if !matches!(&received, Err(error) if error.is_closed()) {
            // What does not read stays hidden like what does, so that it is not in the way of the others.
            leases.keep();
        }
        Ok(received?)
    }

    /// Deletes messages by their receipts. One that is gone already counts as deleted; one that a later receive has taken
    /// stays.
    ///
    /// # Errors
    /// [`QueueError`] for all; each receipt has its own outcome.
    pub async fn delete(&self, receipts: Vec<ReceiptHandle>) -> Result<Vec<Result<(), ReceiptError>>, QueueError> {
        self.ask(|answer| Call::Delete { receipts, answer }).await
    }

    /// Changes how long from now messages stay hidden: up to 12 hours from their receive.
    ///
    /// # Errors
    /// [`QueueError`] for all; each receipt has its own outcome.
    pub async fn hide(
        &self,
        changes: Vec<(ReceiptHandle, Duration)>,
    ) -> Result<Vec<Result<(), ReceiptError>>, QueueError> {
        self.ask(|answer| Call::Hide { changes, answer }).await
    }

    /// Deletes messages whoever holds them: what came of them is durable elsewhere. Unknown ids are passed over, and messages
    /// that are under way to another queue.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn settle(&self, messages: Vec<MessageId>) -> Result<(), QueueError> {
        self.ask(|answer| Call::Settle { ids: messages, answer }).await
    }

    /// Deletes all messages, but those that are given up already.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn purge(&self) -> Result<(), QueueError> {
        self.ask(|answer| Call::Purge { answer }).await
    }

    /// Ends all leases: for a queue of one receiver that is gone. What it had can be received at once, with the receives that it
    /// has; the old receipts do nothing any more once that happens.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn take_back(&self) -> Result<(), QueueError> {
        self.ask(|answer| Call::TakeBack { answer }).await
    }

    /// Reads up to `max` messages in the order of their places, from a place on, without taking a lease. Their receipts do
    /// nothing, and their sequence number is the place where they lie now: one more is where to go on.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn browse(&self, from: SequenceNumber, max: usize) -> Result<Vec<Received>, QueueError> {
        read::browse(&self.shared, &self.calls, from, max).await
    }

    /// Waits for messages that were received as often as they may, where those go to the table of dead letters, and returns
    /// up to `max`. They stay until they are settled.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn exhausted(&self, max: usize) -> Result<Vec<Received>, QueueError> {
        let taken = self.ask(|answer| Call::GivenUp { which: GivenUp::Exhausted, max, answer }).await?;
        read::received(&self.shared, &self.calls, &taken).await
    }
}

/// What `Queues` needs.
impl Queue {
    /// Opens a queue: from its newest snapshot that reads and the log behind it, or from the whole log.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) async fn open(
        log: Arc<dyn Log>,
        snapshots: Snapshots,
        env: Env,
        name: QueueName,
        settings: Settings,
        identity: u64,
        tuning: Tuning,
    ) -> Result<Arc<Self>, OpenError> {
        let store = Store::new(&snapshots, &name, identity);
        let kind = if name.is_fifo() { Kind::Fifo } else { Kind::Standard };
        let replayed = replay(&*log, &store, &name, kind, identity).await?;
        let mut state = replayed.state;
        let mut clock = Clock::new(env.clone(), state.clock);
        state.settle(clock.now());
        let upkeep = Upkeep {
            sweep: 0,
            snapshots: replayed.snapshots,
            seen_bytes: log.bytes().saturating_sub(replayed.bytes),
            snapshot_bytes: replayed.snapshot_bytes,
        };
        let stamps = state.stamps.iter().map(|(producer, last)| (producer.clone(), last.number)).collect();
        let shared = Arc::new(shared::Shared {
            payloads: Payloads::new(tuning.cache_bytes),
            settings: Mutex::new(Arc::new(settings)),
            stats: Mutex::default(),
            depth: watch::Sender::new(Depth::default()),
            stamps: Mutex::new(stamps),
            name,
            identity,
            log,
            store,
            env,
            tuning,
        });
        let (calls, asked) = mpsc::channel(CALLS_MAX);
        let owner = Owner::new(Arc::clone(&shared), state, clock, replayed.next);
        owner.show();
        tokio::spawn(owner.run(asked));
        Ok(Arc::new(Self { shared, calls, upkeep: tokio::sync::Mutex::new(upkeep) }))
    }

    /// Gives the queue other settings, from the next decision on.
    pub(crate) fn set_settings(&self, settings: Settings) {
        *lock(&self.shared.settings) = Arc::new(settings);
        // If the owner has more to do than fits its channel, it looks at them soon anyway.
        let _ = self.calls.try_send(Call::Wake);
    }

    /// Does what is due: retention, copying old messages forward, a snapshot, trimming. Bounded; one at a time.
    pub(crate) async fn upkeep(&self) {
        let Ok(mut upkeep) = self.upkeep.try_lock() else { return };
        Round { shared: &self.shared, calls: &self.calls, upkeep: &mut upkeep }.run().await;
    }

    /// Ends the queue: answers what was asked, and refuses what comes.
    pub(crate) async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.calls.send(Call::Close { answer }).await.is_ok() {
            // If it fails, the owner has ended by itself.
            let _ = answered.await;
        }
    }

    /// Ends the queue, and deletes its snapshots and all that is in its log.
    ///
    /// # Errors
    /// See [`QueueError`]; it may be called again then.
    pub(crate) async fn erase(&self) -> Result<(), QueueError> {
        self.close().await;
        // No upkeep is under way any more, or it fails at its next step.
        let _upkeep = self.upkeep.lock().await;
        let queue = self.shared.name.clone();
        let tail = self.shared.log.bounds().tail;
        self.shared.log.trim(tail).await.map_err(|source| QueueError::Trim { queue: queue.clone(), source })?;
        self.shared.store.erase().await.map_err(|source| QueueError::Snapshot { queue, source: Arc::new(source) })
    }

    /// Sends messages that come from another queue, once: they keep id, time and source. Repeats within five minutes are
    /// not looked for, nor are the limits of a message's size.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn adopt(&self, stamp: Stamp, messages: Vec<Adopted>) -> Result<SentOnce, SendError> {
        let messages = outgoing::adopt(self.shared.name.is_fifo(), messages);
        self.store(Some(stamp), messages).await
    }

    /// Waits for dead letters that go to another queue, and returns up to `max` of them by rising number; the same ones
    /// until they are forgotten.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub(crate) async fn next_transfers(&self, max: usize) -> Result<Vec<Transfer>, QueueError> {
        let taken = self.ask(|answer| Call::GivenUp { which: GivenUp::Dead, max, answer }).await?;
        read::transfers(&self.shared, &self.calls, &taken).await
    }

    /// Returns up to `max` messages that moves have taken and that are not forgotten, by rising number; none at once if
    /// there are none. A move that goes on after a restart begins here.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub(crate) async fn moving(&self, max: usize) -> Result<Vec<Transfer>, QueueError> {
        let taken = self.ask(|answer| Call::GivenUp { which: GivenUp::Moving, max, answer }).await?;
        read::transfers(&self.shared, &self.calls, &taken).await
    }

    /// Takes up to `max` messages that are ready, were sent before `until` (the tail when the move began) and pass the
    /// filter, for a move. Begins at `from`, zero at first; a step may take none and still have a next one.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub(crate) async fn take_for_move(
        &self,
        from: SequenceNumber,
        until: SequenceNumber,
        max: usize,
        filter: Option<&MoveFilter>,
    ) -> Result<MoveStep, QueueError> {
        read::take_for_move(&self.shared, &self.calls, from, until, max, filter).await
    }

    /// Returns the place that the next message will get: the bound of a move that begins now.
    pub(crate) fn tail(&self) -> SequenceNumber {
        self.shared.log.bounds().tail
    }

    /// Forgets transfers, dead letters and moved ones alike, durably: their targets have them. Unknown numbers are passed
    /// over.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub(crate) async fn transferred(&self, numbers: Vec<u64>) -> Result<(), QueueError> {
        self.ask(|answer| Call::Forget { transfers: numbers, answer }).await
    }
}

pub(crate) type Shared = Arc<Queue>;

#[cfg(test)]
mod tests;

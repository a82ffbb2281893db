//! One queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir_env::Env;
use weir_log::Log;
use weir_machine::Snapshots;
use weir_types::{QueueName, SequenceNumber, Timestamp};

use crate::error::{OpenError, QueueError, ReceiptError, ReceiveError, SendError};
use crate::id::{MessageId, ReceiptHandle};
use crate::message::{Message, Receive, Received, Sent, SentOnce, Stamp};
use crate::queues::MoveFilter;
use crate::settings::Settings;
use crate::transfer::{Adopted, MoveStep, Transfer};
use crate::tuning::Tuning;

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
    name: QueueName,
    settings: Settings,
    depth: watch::Sender<Depth>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({})", self.name)
    }
}

impl Queue {
    fn closed(&self) -> QueueError {
        QueueError::Closed { queue: self.name.clone() }
    }

    /// Returns the queue's name.
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// Returns its settings as they are now.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Returns its numbers.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Returns a watch of its depth.
    pub fn depth(&self) -> watch::Receiver<Depth> {
        self.depth.subscribe()
    }

    /// Sends messages, all in one append.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, messages: Vec<Message>) -> Result<Vec<Sent>, SendError> {
        drop(messages);
        Err(self.closed().into())
    }

    /// Sends messages once, however often it is tried.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_once(&self, stamp: Stamp, messages: Vec<Message>) -> Result<SentOnce, SendError> {
        drop((stamp, messages));
        Err(self.closed().into())
    }

    /// Returns the number of the last stamped send of a producer.
    pub fn last_stamp(&self, producer: &str) -> Option<u64> {
        let _ = producer;
        None
    }

    /// Receives messages; waits for the first one as long as it is told to. Dropping the future takes no message.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub async fn receive(&self, receive: Receive) -> Result<Vec<Received>, ReceiveError> {
        drop(receive);
        Err(self.closed().into())
    }

    /// Deletes messages by their receipts.
    ///
    /// # Errors
    /// [`QueueError`] for all; each receipt has its own outcome.
    pub async fn delete(&self, receipts: Vec<ReceiptHandle>) -> Result<Vec<Result<(), ReceiptError>>, QueueError> {
        drop(receipts);
        Err(self.closed())
    }

    /// Changes how long from now messages stay hidden.
    ///
    /// # Errors
    /// [`QueueError`] for all; each receipt has its own outcome.
    pub async fn hide(
        &self,
        changes: Vec<(ReceiptHandle, Duration)>,
    ) -> Result<Vec<Result<(), ReceiptError>>, QueueError> {
        drop(changes);
        Err(self.closed())
    }

    /// Deletes messages whoever holds them: what came of them is durable elsewhere. Unknown ids are passed over.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn settle(&self, messages: Vec<MessageId>) -> Result<(), QueueError> {
        drop(messages);
        Err(self.closed())
    }

    /// Deletes all messages.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn purge(&self) -> Result<(), QueueError> {
        Err(self.closed())
    }

    /// Reads up to `max` messages in the order of their places, from a place on, without taking a lease. Their receipts do
    /// nothing.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn browse(&self, from: SequenceNumber, max: usize) -> Result<Vec<Received>, QueueError> {
        let _ = (from, max);
        Err(self.closed())
    }

    /// Waits for messages that were received as often as they may, where those go to the table of dead letters, and returns
    /// up to `max`. They stay until they are settled.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn exhausted(&self, max: usize) -> Result<Vec<Received>, QueueError> {
        let _ = max;
        Err(self.closed())
    }
}

/// What `Queues` needs.
#[allow(dead_code, reason = "called by `Queues`")]
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
        drop((log, snapshots, env, identity, tuning));
        Ok(Arc::new(Self { name, settings, depth: watch::Sender::new(Depth::default()) }))
    }

    /// Gives the queue other settings, from the next decision on.
    pub(crate) fn set_settings(&self, settings: Settings) {
        drop(settings);
    }

    /// Does what is due: retention, copying old messages forward, a snapshot, trimming. Bounded.
    pub(crate) async fn upkeep(&self) {}

    /// Ends the queue: answers what was asked, and refuses what comes.
    pub(crate) async fn close(&self) {}

    /// Ends the queue, and deletes its snapshots and all that is in its log.
    ///
    /// # Errors
    /// See [`QueueError`]; it may be called again then.
    pub(crate) async fn erase(&self) -> Result<(), QueueError> {
        Err(self.closed())
    }

    /// Sends messages that come from another queue, once: they keep id, time and source. Repeats within five minutes are
    /// not looked for, nor are the limits of a message's size.
    ///
    /// # Errors
    /// See [`SendError`].
    pub(crate) async fn adopt(&self, stamp: Stamp, messages: Vec<Adopted>) -> Result<SentOnce, SendError> {
        drop((stamp, messages));
        Err(self.closed().into())
    }

    /// Waits for dead letters that go to another queue, and returns up to `max` of them by rising number; the same ones
    /// until they are forgotten.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub(crate) async fn next_transfers(&self, max: usize) -> Result<Vec<Transfer>, QueueError> {
        let _ = max;
        Err(self.closed())
    }

    /// Returns up to `max` messages that moves have taken and that are not forgotten, by rising number; none at once if
    /// there are none. A move that goes on after a restart begins here.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub(crate) async fn moving(&self, max: usize) -> Result<Vec<Transfer>, QueueError> {
        let _ = max;
        Err(self.closed())
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
        let _ = (from, until, max, filter);
        Err(self.closed())
    }

    /// Returns the place that the next message will get: the bound of a move that begins now.
    pub(crate) fn tail(&self) -> SequenceNumber {
        SequenceNumber::ZERO
    }

    /// Forgets transfers, dead letters and moved ones alike, durably: their targets have them. Unknown numbers are passed
    /// over.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub(crate) async fn transferred(&self, numbers: Vec<u64>) -> Result<(), QueueError> {
        drop(numbers);
        Err(self.closed())
    }
}

pub(crate) type Shared = Arc<Queue>;

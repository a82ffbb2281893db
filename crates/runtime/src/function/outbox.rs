//! The outbox: what a function has made, and how far it has come, in one append.
//!
//! ```text
//! lanes, messages --Finished--> [outbox] --one append--> shard of `_function-NAME`: outputs, letters, state
//!                                   |
//!                                   +--> then the queue's messages are deleted
//! ```
//!
//! Invariants: a batch is done when, and only when, its append is durable; the last record of every append is the state;
//! one task writes a shard, so that work on records which comes in twice is seen and dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use weir_env::Env;
use weir_ledger::{FunctionCounts, Reached};
use weir_log::{AppendError, ReadError};
use weir_queue::{MessageId, Queue};
use weir_stream::{Lot, SealedLot, Shard, Stream};
use weir_types::{Fingerprint, Hour, LogName, SequenceNumber, ShardId};
use xxhash_rust::xxh3::xxh3_128;

use super::Trouble;
use super::said::{Saying, Spoken};
use crate::dead::{self, Letter};
use crate::pipeline::chain;

/// The key of the state among a function's records. Outputs have their names, which have no such character.
pub(crate) const STATE_KEY: &[u8] = b"\0state";
/// The key of dead letters.
pub(crate) const LETTER_KEY: &[u8] = b"\0letter";
/// The key of what goes to the queue of failures.
pub(crate) const FAILURE_KEY: &[u8] = b"\0failure";

/// What one batch may make, in bytes: less than one append holds, so that what a batch makes is never torn.
pub(crate) const MADE_BYTES_MAX: usize = 6 * 1024 * 1024;
/// What is gathered for one append.
const APPEND_BYTES: usize = 2 * 1024 * 1024;
/// Finished batches that wait for the append before theirs.
const WAITING_MAX: usize = 16;
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// A record that a function has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// The output's name, or one of the keys above.
    pub key: Vec<u8>,
    /// Of the schema that `body` was written with; zero for JSON.
    pub fingerprint: Fingerprint,
    pub body: Vec<u8>,
}

/// What a batch was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Records of the shard, in order.
    Records(Vec<SequenceNumber>),
    /// All records of the shard below this one: they are gone, and can't be waited for.
    Passed(SequenceNumber),
    /// Messages of the queue.
    Messages(Vec<MessageId>),
    /// Messages of a queue that no book is kept of.
    Tasks(Vec<MessageId>),
    /// Nothing that could be asked for again.
    Nothing,
}

/// A batch that has been worked off.
#[derive(Debug)]
pub(crate) struct Finished {
    pub progress: Progress,
    pub made: Vec<Made>,
    pub letters: Vec<Letter>,
    /// What became of the records, by the hour of their arrival, for the ledger. Of messages it is counted here.
    pub counts: Vec<(Hour, FunctionCounts)>,
    /// Told when all of it is durable, and the messages are deleted.
    pub done: Option<oneshot::Sender<()>>,
}

/// How far a function has come on one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// Of a stream's shard: the log that the places below are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<LogName>,
    /// Every record below it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<SequenceNumber>,
    /// Records beyond `next` that are done: first and end of each range.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    done: BTreeMap<u64, u64>,
    /// Messages that are done, and may still be in the queue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsettled: Vec<MessageId>,
    /// Where it began on the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<SequenceNumber>,
    /// What the ledger has not taken over.
    #[serde(default)]
    saying: Saying,
}

impl State {
    /// Tells whether a record is done.
    pub fn has(&self, sequence: SequenceNumber) -> bool {
        self.next.is_some_and(|next| sequence < next)
            || self.done.range(..=sequence.0).next_back().is_some_and(|(_, end)| sequence.0 < *end)
    }

    /// Tells whether its places are of this log. A function may be put on another stream.
    pub fn is_of(&self, log: &LogName) -> bool {
        self.next.is_some() && self.log.as_ref() == Some(log)
    }

    /// Begins at a place of a log.
    pub fn begin(&mut self, log: LogName, next: SequenceNumber) {
        self.log = Some(log);
        self.next = Some(next);
        self.since = Some(next);
        self.done.clear();
    }

    /// Returns how far it has come, as the ledger sees it.
    fn reached(&self) -> Reached {
        let next = self.next.map_or(0, |next| next.0);
        Reached { next, done: self.done.iter().map(|(from, end)| (*from, *end)).collect() }
    }

    /// Returns the records below `to` that are not done.
    fn open_below(&self, to: SequenceNumber) -> Vec<(u64, u64)> {
        let mut open = Vec::new();
        let mut next = self.next.map_or(to.0, |next| next.0);
        for (from, end) in &self.done {
            open.push((next, (*from).min(to.0)));
            next = next.max(*end);
        }
        open.push((next, to.0));
        open.retain(|(from, end)| from < end);
        open
    }

    fn pass(&mut self, to: SequenceNumber) {
        if self.next.is_none_or(|next| next < to) {
            self.next = Some(to);
        }
        self.close_up();
    }

    fn add(&mut self, sequence: SequenceNumber) {
        if self.has(sequence) {
            return;
        }
        let mut from = sequence.0;
        let mut end = from + 1;
        if let Some((before, ended)) = self.done.range(..from).next_back().map(|(from, end)| (*from, *end))
            && ended == from
        {
            self.done.remove(&before);
            from = before;
        }
        if let Some(ended) = self.done.remove(&end) {
            end = ended;
        }
        self.done.insert(from, end);
        self.close_up();
    }

    /// Moves `next` over the ranges that it meets.
    fn close_up(&mut self) {
        let Some(mut next) = self.next else { return };
        while let Some((from, end)) = self.done.first_key_value().map(|(from, end)| (*from, *end)) {
            if from > next.0 {
                break;
            }
            next = next.max(SequenceNumber(end));
            self.done.remove(&from);
        }
        self.next = Some(next);
    }
}

/// An outbox that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// Its log does not read.
    #[error("read how far `{owner}` has come")]
    Read {
        /// Whose it is, such as `function/score` or `crawl/devices`.
        owner: String,
        /// The cause.
        #[source]
        source: ReadError,
    },
    /// What it says of itself is not understood.
    #[error("`{owner}` has a state at {at} that this weir can't read: {reason}")]
    State {
        /// Whose it is.
        owner: String,
        /// Its place in the owner's stream.
        at: SequenceNumber,
        /// Why, in words.
        reason: String,
    },
}

/// The way into one shard of a function's stream. Clones share it.
#[derive(Clone)]
pub(crate) struct Outbox {
    finished: mpsc::Sender<Finished>,
    /// The first record of the source that is not done.
    next: watch::Receiver<Option<SequenceNumber>>,
    spoken: Arc<tokio::sync::Mutex<Spoken>>,
}

/// Opens an outbox: reads the state that it was left in.
pub(crate) async fn read_state(owner: &str, shard: &Shard) -> Result<State, OutboxError> {
    let read = |source| OutboxError::Read { owner: owner.to_owned(), source };
    let page = match shard.read_last().await {
        Ok(page) => page,
        Err(ReadError::Lost { .. } | ReadError::Damaged { .. }) => return find_state(owner, shard).await,
        Err(source) => return Err(read(source)),
    };
    let Some(Ok(last)) = page.records().last() else { return Ok(State { version: 1, ..State::default() }) };
    parse_state(owner, last.sequence, last.body)
}

/// Finds the last state that reads, where damage has taken the last one: what was done since is done again.
async fn find_state(owner: &str, shard: &Shard) -> Result<State, OutboxError> {
    tracing::error!(owner, log = %shard.log().name(), "the last state is lost; using the one before: what it made since may be made twice");
    let mut state = State { version: 1, ..State::default() };
    let mut next = shard.bounds().head;
    loop {
        let page = match shard.read(next, APPEND_BYTES).await {
            Ok(page) if page.is_empty() => return Ok(state),
            Ok(page) => page,
            Err(ReadError::Lost { to, .. } | ReadError::Damaged { to, .. }) if to > next => {
                next = to;
                continue;
            }
            Err(source) => return Err(OutboxError::Read { owner: owner.to_owned(), source }),
        };
        for record in page.records().filter_map(Result::ok).filter(|record| record.key == Some(STATE_KEY)) {
            state = parse_state(owner, record.sequence, record.body)?;
        }
        next = page.end();
    }
}

fn parse_state(owner: &str, at: SequenceNumber, body: &[u8]) -> Result<State, OutboxError> {
    let refused = |reason: String| OutboxError::State { owner: owner.to_owned(), at, reason };
    let state: State = serde_json::from_slice(body).map_err(|error| refused(error.to_string()))?;
    if state.version != 1 {
        return Err(refused(format!("it has version {}, and 1 is known", state.version)));
    }
    Ok(state)
}

/// What an outbox needs.
pub(crate) struct Parts {
    pub env: Env,
    /// Whose it is, such as `function/score`: what its consumer of the stream is called.
    pub owner: String,
    pub stream: Arc<Stream>,
    pub shard: ShardId,
    /// The source, where it is a queue.
    pub queue: Option<Arc<Queue>>,
    pub trouble: Arc<Trouble>,
    /// The last number that the ledger has of this outbox.
    pub taken: u64,
}

impl Outbox {
    /// Starts the task that writes the shard, from the state that [`read_state`] found and the caller has begun.
    pub fn start(parts: Parts, mut state: State) -> (Self, JoinHandle<()>) {
        let (finished, incoming) = mpsc::channel(WAITING_MAX);
        let (moved, next) = watch::channel(state.next);
        let mut saying = std::mem::take(&mut state.saying);
        saying.meet(parts.taken);
        let source = match (&state.log, &parts.queue) {
            (Some(log), _) => Some(log.to_string()),
            (None, Some(queue)) => Some(format!("queue/{}", queue.name())),
            (None, None) => None,
        };
        // A state of a weir that kept no books says nothing of what was done before.
        let since = state.since.or(state.next).map_or(0, |since| since.0);
        let spoken = Arc::new(tokio::sync::Mutex::new(Spoken { saying, reached: state.reached(), since, source }));
        let task = Task { parts, state, moved, spoken: spoken.clone() };
        (Self { finished, next, spoken }, tokio::spawn(task.run(incoming)))
    }

    /// Returns what the ledger sees of it. Held by the outbox while it stores something.
    pub fn spoken(&self) -> &Arc<tokio::sync::Mutex<Spoken>> {
        &self.spoken
    }

    /// Hands on a batch that is worked off; waits while too many wait before it. It is done once its append is durable.
    pub async fn store(&self, finished: Finished) {
        // The task ends when the log is closed: nothing is done any more then.
        let _ = self.finished.send(finished).await;
    }

    /// Returns the first record of the source that is not done, and wakes whoever waits for it to move.
    pub fn next(&self) -> watch::Receiver<Option<SequenceNumber>> {
        self.next.clone()
    }
}

struct Task {
    parts: Parts,
    state: State,
    moved: watch::Sender<Option<SequenceNumber>>,
    spoken: Arc<tokio::sync::Mutex<Spoken>>,
}

impl Task {
    async fn run(mut self, mut incoming: mpsc::Receiver<Finished>) {
        let mut carried = None;
        loop {
            let Some(first) = (match carried.take() {
                Some(finished) => Some(finished),
                None => incoming.recv().await,
            }) else {
                return;
            };
            let mut lot = Lot::default();
            let mut settled = Vec::new();
            let mut told = Vec::new();
            let spoken = self.spoken.clone();
            let mut spoken = spoken.lock().await;
            self.state.saying.clone_from(&spoken.saying);
            told.extend(self.take(first, &mut lot, &mut settled));
            while lot.bytes() < APPEND_BYTES {
                let Ok(more) = incoming.try_recv() else { break };
                if lot.bytes() + size_of_finished(&more) > MADE_BYTES_MAX {
                    carried = Some(more);
                    break;
                }
                told.extend(self.take(more, &mut lot, &mut settled));
            }
            self.state.unsettled.clone_from(&settled);
            let state = serde_json::to_vec(&self.state).expect("numbers and ids serialise");
            lot.push(Fingerprint(0), STATE_KEY, &state);
            if !self.append(&lot.seal()).await {
                return;
            }
            spoken.saying = std::mem::take(&mut self.state.saying);
            spoken.reached = self.state.reached();
            drop(spoken);
            self.moved.send_replace(self.state.next);
            if !settled.is_empty() && !self.settle(settled).await {
                return;
            }
            for done in told {
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
    }

    /// Takes a batch into the append, unless it was done before, and returns who is to be told.
    fn take(&mut self, finished: Finished, lot: &mut Lot, settled: &mut Vec<MessageId>) -> Option<oneshot::Sender<()>> {
        match finished.progress {
            Progress::Records(records) => {
                if records.iter().all(|record| self.state.has(*record)) && !records.is_empty() {
                    return finished.done;
                }
                records.into_iter().for_each(|record| self.state.add(record));
                self.state.saying.add(&finished.counts);
            }
            Progress::Passed(to) => {
                for (from, end) in self.state.open_below(to) {
                    self.state.saying.lose(from, end);
                }
                self.state.pass(to);
            }
            Progress::Messages(messages) => {
                let mut counts = FunctionCounts::default();
                messages.iter().for_each(|message| counts.done.add(xxh3_128(message.to_string().as_bytes())));
                let dead = |made: &&Made| made.key == super::failure::DEAD_KEY;
                counts.letters = (finished.letters.len() + finished.made.iter().filter(dead).count()) as u64;
                count_made(&mut counts, &finished.made);
                self.state.saying.add(&[(Hour::of(self.parts.env.now()), counts)]);
                settled.extend(messages);
            }
            Progress::Tasks(messages) => settled.extend(messages),
            Progress::Nothing => {}
        }
        for letter in finished.letters {
            let letter = dead::encode(&letter);
            lot.push(dead::fingerprint(), LETTER_KEY, &letter);
        }
        for made in finished.made {
            lot.push(made.fingerprint, &made.key, &made.body);
        }
        finished.done
    }

    /// Appends until it is taken; false when the log is closed.
    async fn append(&self, lot: &SealedLot) -> bool {
        let mut pause = RETRY;
        loop {
            match self.parts.stream.append(self.parts.shard, lot).await {
                Ok(_) => {
                    self.parts.trouble.of_outbox(None);
                    return true;
                }
                Err(AppendError::Closed) => return false,
                Err(error) => {
                    tracing::error!(
                        owner = self.parts.owner,
                        error = chain(&error),
                        "what was made could not be stored, and is tried again"
                    );
                    self.parts.trouble.of_outbox(Some(chain(&error)));
                    self.parts.env.sleep(self.parts.env.jitter(pause)).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Deletes messages that are done; false when the queue is closed.
    async fn settle(&self, messages: Vec<MessageId>) -> bool {
        let Some(queue) = &self.parts.queue else { return true };
        settle(&self.parts.env, queue, messages, &self.parts.trouble).await
    }
}

/// Deletes messages, whoever holds them, until that is durable; false when the queue is closed.
pub(crate) async fn settle(env: &Env, queue: &Queue, messages: Vec<MessageId>, trouble: &Trouble) -> bool {
    let mut pause = RETRY;
    loop {
        match queue.settle(messages.clone()).await {
            Ok(()) => {
                trouble.of_outbox(None);
                return true;
            }
            Err(error) if error.is_closed() => return false,
            Err(error) => {
                tracing::error!(queue = %queue.name(), error = chain(&error), "messages that are done could not be deleted, which is tried again");
                trouble.of_outbox(Some(chain(&error)));
                env.sleep(env.jitter(pause)).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Counts what was made, by output. What goes elsewhere beside (failures, letters) is no output.
pub(super) fn count_made(counts: &mut FunctionCounts, made: &[Made]) {
    for made in made.iter().filter(|made| made.key.first() != Some(&0)) {
        *counts.made.entry(String::from_utf8_lossy(&made.key).into_owned()).or_default() += 1;
    }
}

fn size_of_finished(finished: &Finished) -> usize {
    let letters: usize = finished.letters.iter().map(|letter| letter.payload.len() + letter.error.len() + 1024).sum();
    letters + finished.made.iter().map(|made| made.body.len() + made.key.len() + 16).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_finish_out_of_order_close_up() {
        let mut state = State::default();
        let log: LogName = "stream/events/0".parse().unwrap();
        state.begin(log.clone(), SequenceNumber(10));
        for sequence in [12, 14, 13, 11] {
            state.add(SequenceNumber(sequence));
            assert_eq!(state.next, Some(SequenceNumber(10)));
        }
        assert_eq!(state.done, BTreeMap::from([(11, 15)]));
        assert!(state.has(SequenceNumber(3)) && state.has(SequenceNumber(14)));
        assert!(!state.has(SequenceNumber(10)) && !state.has(SequenceNumber(15)));
        state.add(SequenceNumber(10));
        assert_eq!((state.next, state.done.len()), (Some(SequenceNumber(15)), 0));
        state.add(SequenceNumber(20));
        state.pass(SequenceNumber(18));
        assert_eq!(state.next, Some(SequenceNumber(18)));
        state.pass(SequenceNumber(20));
        assert_eq!((state.next, state.done.len()), (Some(SequenceNumber(21)), 0));
        let other: LogName = "stream/others/0".parse().unwrap();
        assert!(state.is_of(&log) && !state.is_of(&other));
        state.add(SequenceNumber(30));
        state.begin(other.clone(), SequenceNumber(3));
        assert!(state.is_of(&other) && !state.has(SequenceNumber(30)) && !state.has(SequenceNumber(3)));
    }
}

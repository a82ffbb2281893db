//! The carrier: brings what was decided to be redriven to its targets.
//!
//! ```text
//! `dead_letter_actions` --block by block--> `_redrive-...` (key: decision and letter), stream (stamped batch),
//!          ^                                       |                                   queue (stamped send)
//!          +------------- checkpoint --------------+
//! ```
//!
//! Invariant: a decision is carried out as a whole before the checkpoint moves past it, and a start that repeats some finds
//! them at their targets. What a target does not take any more becomes a letter again, with an id made from the place of the
//! decision: it is open, and not lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_env::Env;
use weir_log::{AppendError, ReadError};
use weir_machine::Owner;
use weir_queue::{Message, Queue, SendError, Stamp};
use weir_schema::{Form, Lookup, Schema, wire};
use weir_stream::{
    CheckpointCommand, Checkpoints, Lot, ProducerError, Record, Records, Route, Shard, Stream, WriteError,
};
use weir_types::{Fingerprint, ProducerId, SequenceNumber, Timestamp};

use super::action::{self, Action, Onward};
use super::actions::{Actions, CARRIER, SHARD};
use super::letter::{FORM, REDRIVE_OF};
use super::way::{NoTarget, Target, Targets, Way};
use super::{ACTIONS, Cause, DeadLetterError, DeadLetters, Letter, given, message};
use crate::node::Node;
use crate::pipeline::chain;
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// What one page asks for, in bytes.
const PAGE_BYTES: usize = 1024 * 1024;
/// Messages of one send.
const SEND_MESSAGES: usize = 1000;
/// Who the carrier is to streams and queues that are written by others too.
const PRODUCER: &str = "_redrive";
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why a block could not be carried on.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error("the node is ending")]
    Closed,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Park(#[from] DeadLetterError),
    #[error("the decision at {0} is not understood by this weir: {1}")]
    Decision(SequenceNumber, String),
}

/// A decision to carry out.
struct Decided {
    at: SequenceNumber,
    arrived_at: Timestamp,
    action: Action,
    onward: Onward,
}

struct Carrier {
    env: Env,
    catalog: Catalog,
    actions: Actions,
    checkpoints: Owner<Checkpoints>,
    targets: Targets,
    dead_letters: DeadLetters,
    /// Per target that the carrier alone writes, the last decision that it has.
    given: BTreeMap<Way, Option<SequenceNumber>>,
}

impl Node {
    /// Starts the carrier. It ends with the log.
    pub(crate) fn start_carrying(&self) {
        let carrier = Carrier {
            env: self.env().clone(),
            catalog: self.registry().clone(),
            actions: self.actions().clone(),
            checkpoints: self.checkpoints().clone(),
            targets: Targets::of(self),
            dead_letters: self.dead_letters().clone(),
            given: BTreeMap::new(),
        };
        self.keep_task(tokio::spawn(carrier.run()));
    }
}

impl Carrier {
    async fn run(mut self) {
        let stream = self.actions.stream().stream.clone();
        let shard = &stream.shards()[SHARD.0 as usize];
        let checkpoint = self.checkpoints.read(|all| all.get(CARRIER, shard.log().name()));
        let mut next = checkpoint.map_or(SequenceNumber::ZERO, |at| at.next).max(shard.bounds().head);
        self.actions.carried.send_replace(next);
        let mut pause = RETRY;
        loop {
            shard.wait(next).await;
            if shard.bounds().tail <= next {
                // The log is closed.
                return;
            }
            match self.carry(shard, &mut next).await {
                Ok(()) => {
                    pause = RETRY;
                    self.actions.set_trouble(None);
                    self.actions.carried.send_replace(next);
                }
                Err(Halt::Closed) => return,
                Err(error) => {
                    tracing::error!(
                        error = chain(&error),
                        "redriven letters can't be carried on, which is tried again"
                    );
                    self.actions.set_trouble(Some(chain(&error)));
                    // What an append that failed has left is looked at again.
                    self.given.clear();
                    self.env.sleep(self.env.jitter(pause)).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Carries one page on, and moves the checkpoint.
    async fn carry(&mut self, shard: &Shard, next: &mut SequenceNumber) -> Result<(), Halt> {
        let page = match shard.read(*next, PAGE_BYTES).await {
            Ok(page) => page,
            Err(ReadError::Trimmed { head: to, .. } | ReadError::Lost { to, .. }) if to > *next => {
                tracing::error!(from = %next, %to, "decisions about dead letters are gone before they were carried out");
                *next = to;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        for block in page.blocks() {
            let (first, records) = block.map_err(|error| Halt::Decision(error.first, error.to_string()))?;
            for (way, decided) in by_way(first, records)? {
                self.bring(first, &way, decided).await?;
            }
        }
        *next = page.end();
        let read = vec![(shard.log().name().clone(), *next)];
        let command = CheckpointCommand::Set { consumer: CARRIER.to_owned(), read };
        if let Err(error) = self.checkpoints.submit(command).await {
            // The blocks are looked at once more after a start, and found at their targets.
            tracing::warn!(%error, "a checkpoint was not stored");
        }
        Ok(())
    }

    /// Brings the decisions of one block to one target.
    async fn bring(&mut self, first: SequenceNumber, way: &Way, decided: Vec<Decided>) -> Result<(), Halt> {
        match self.targets.get(way) {
            Ok(Target::Given(stream)) => self.give(way, &stream, &decided).await,
            Ok(Target::Stream(stream)) => self.write(first, &stream, decided).await,
            Ok(Target::Queue(queue)) => self.send(first, way, &queue, decided).await,
            Err(NoTarget::Gone(reason)) => self.park(decided, &reason).await,
            Err(NoTarget::Closed) => Err(Halt::Closed),
        }
    }

    /// Appends records to a stream that the carrier alone writes: all of them at once, without those that it has.
    async fn give(&mut self, way: &Way, stream: &Arc<Stream>, decided: &[Decided]) -> Result<(), Halt> {
        let last = match self.given.get(way) {
            Some(last) => *last,
            None => last_given(&stream.shards()[SHARD.0 as usize]).await?,
        };
        let mut lot = Lot::default();
        let mut end = last;
        for decided in decided.iter().filter(|decided| last.is_none_or(|last| decided.at > last)) {
            let key = given::key(decided.at, &decided.action.id);
            lot.push(decided.onward.fingerprint.unwrap_or(Fingerprint(0)), &key, &decided.onward.payload);
            end = Some(decided.at);
        }
        if lot.bytes() > 0 {
            stream.append(SHARD, &lot.seal()).await.map_err(closed_or_halt)?;
        }
        self.given.insert(way.clone(), end);
        Ok(())
    }

    /// Writes records to a stream of the plan, as one stamped batch.
    async fn write(&self, first: SequenceNumber, target: &OpenStream, decided: Vec<Decided>) -> Result<(), Halt> {
        let producer: ProducerId = PRODUCER.parse().expect("the producer's id is printable and short");
        let mut unread = Vec::new();
        let mut records: Vec<(Schema, Vec<u8>)> = Vec::new();
        for decided in decided {
            match self.records_of(&decided.onward) {
                Ok(found) => records.extend(found),
                Err(reason) => unread.push((decided, reason)),
            }
        }
        for (decided, reason) in unread {
            self.park(vec![decided], &reason).await?;
        }
        let mut writer = match target.stream.write(Some((producer, first.0))).await {
            Ok(writer) => writer,
            // A later block is there already, hence this one too.
            Err(WriteError::Producer(ProducerError::Stale { .. })) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut ranges = Vec::new();
        for (schema, record) in &records {
            ranges.clear();
            let key = target.key_of(schema).and_then(|extractor| {
                extractor.ranges(record, &mut ranges).ok()?;
                Some(&record[ranges.first()?.clone()])
            });
            if writer.push(key.map_or(Route::Spread, Route::Key), schema.fingerprint(), record) {
                writer.flush().await?;
            }
        }
        let receipt = writer.finish().await?;
        target.counters.carried(receipt.stored, receipt.repeated);
        Ok(())
    }

    /// Takes a payload apart: one record of a known schema, or single objects one behind the other.
    fn records_of(&self, onward: &Onward) -> Result<Vec<(Schema, Vec<u8>)>, String> {
        if let Some(fingerprint) = onward.fingerprint {
            let schema = self.catalog.by_fingerprint(fingerprint);
            let schema = schema.ok_or_else(|| format!("no schema is registered for fingerprint {fingerprint}"))?;
            return Ok(vec![(schema, onward.payload.clone())]);
        }
        let mut records = Vec::new();
        let mut rest = onward.payload.as_slice();
        while !rest.is_empty() {
            let message = wire::decode(Form::SingleObject, rest, &self.catalog).map_err(|error| error.to_string())?;
            rest = &rest[message.used..];
            records.push((message.schema, message.payload.to_vec()));
        }
        Ok(records)
    }

    /// Sends messages to a queue, in stamped sends.
    async fn send(
        &self,
        first: SequenceNumber,
        way: &Way,
        queue: &Queue,
        mut decided: Vec<Decided>,
    ) -> Result<(), Halt> {
        let fifo = queue.settings().fifo.is_some();
        let mut index = 0;
        while !decided.is_empty() {
            let rest = decided.split_off(decided.len().min(SEND_MESSAGES));
            // A block has fewer records than this many sends could carry: numbers of two blocks never meet.
            let stamp = Stamp { producer: PRODUCER.to_owned(), number: (first.0 << 16) + index };
            self.send_part(way, queue, &stamp, decided, fifo).await?;
            decided = rest;
            index += 1;
        }
        Ok(())
    }

    /// Sends messages at once. Those that the queue refuses become letters again, one by one, and the others are sent.
    async fn send_part(
        &self,
        way: &Way,
        queue: &Queue,
        stamp: &Stamp,
        mut decided: Vec<Decided>,
        fifo: bool,
    ) -> Result<(), Halt> {
        while !decided.is_empty() {
            let messages: Vec<Message> = decided
                .iter()
                .map(|decided| message::of_letter(decided.at, &decided.action, &decided.onward, fifo))
                .collect();
            let error = match queue.send_once(stamp.clone(), messages).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            match &error {
                SendError::TooLarge { index, .. }
                | SendError::NoGroup { index, .. }
                | SendError::NoDeduplication { index, .. }
                | SendError::Delay { index, .. }
                    if *index < decided.len() =>
                {
                    let refused = decided.remove(*index);
                    self.park(vec![refused], &error.to_string()).await?;
                }
                _ if error.is_closed() => match self.targets.get(way) {
                    Err(NoTarget::Gone(reason)) => return self.park(decided, &reason).await,
                    _ => return Err(Halt::Closed),
                },
                _ => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes letters of decisions that can't be carried out any more.
    async fn park(&self, decided: Vec<Decided>, reason: &str) -> Result<(), Halt> {
        let letters = decided.into_iter().map(|decided| {
            let Decided { at, arrived_at, action, onward } = decided;
            let headers: Option<BTreeMap<String, serde_json::Value>> =
                onward.headers.as_deref().and_then(|text| serde_json::from_str(text).ok());
            let headers = headers.unwrap_or_default().into_iter();
            let headers = headers.filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
            let mut headers: BTreeMap<String, String> = headers.collect();
            if onward.fingerprint.is_none() && onward.target.starts_with("stream/") {
                // Whatever the form was, it is this one now.
                headers.insert(FORM.to_owned(), Form::SingleObject.name().to_owned());
            }
            headers.insert(REDRIVE_OF.to_owned(), action.id);
            let source = format!("stream/{ACTIONS}/{SHARD}");
            let error = format!("it was redriven, and could not go there: {reason}");
            let place = (at, arrived_at);
            let letter =
                Letter::of_record(&self.env, source, place, onward.target, Cause::TargetGone, error, onward.payload);
            Letter { fingerprint: onward.fingerprint, headers: headers.into_iter().collect(), ..letter }
        });
        Ok(self.dead_letters.park(letters.collect()).await?)
    }
}

fn closed_or_halt(error: AppendError) -> Halt {
    match error {
        AppendError::Closed => Halt::Closed,
        error => Halt::Append(error),
    }
}

/// Reads a block's decisions that go on, by where they go.
fn by_way(first: SequenceNumber, records: Records<'_>) -> Result<BTreeMap<Way, Vec<Decided>>, Halt> {
    let mut by_way: BTreeMap<Way, Vec<Decided>> = BTreeMap::new();
    for record in records {
        let record: Record<'_> = record.map_err(|error| Halt::Decision(first, error.to_string()))?;
        let refused = |reason: String| Halt::Decision(record.sequence, reason);
        if record.fingerprint != action::fingerprint() {
            return Err(refused(format!("its schema is {}", record.fingerprint)));
        }
        let mut action = Action::decode(record.body).map_err(refused)?;
        let Some(onward) = action.onward.take() else { continue };
        let way = onward.target.parse().map_err(refused)?;
        let decided = Decided { at: record.sequence, arrived_at: record.arrived_at, action, onward };
        by_way.entry(way).or_default().push(decided);
    }
    Ok(by_way)
}

/// Finds the last decision that a stream of redriven records has.
async fn last_given(shard: &Shard) -> Result<Option<SequenceNumber>, ReadError> {
    let page = match shard.read_last().await {
        Ok(page) => page,
        Err(ReadError::Lost { .. } | ReadError::Damaged { .. }) => return search_given(shard).await,
        Err(error) => return Err(error),
    };
    let last = page.records().filter_map(Result::ok).last();
    Ok(last.and_then(|record| given::decision_of(record.key?)))
}

/// Finds it among all that reads, where damage has taken the last block: what that held may be given once more.
async fn search_given(shard: &Shard) -> Result<Option<SequenceNumber>, ReadError> {
    tracing::error!(log = %shard.log().name(), "the last redriven records are lost: some may be redriven twice");
    let mut last = None;
    let mut next = shard.bounds().head;
    loop {
        let page = match shard.read(next, PAGE_BYTES).await {
            Ok(page) if page.is_empty() => return Ok(last),
            Ok(page) => page,
            Err(ReadError::Lost { to, .. } | ReadError::Damaged { to, .. }) if to > next => {
                next = to;
                continue;
            }
            Err(error) => return Err(error),
        };
        let decisions = page.records().filter_map(Result::ok).filter_map(|record| given::decision_of(record.key?));
        last = last.max(decisions.max());
        next = page.end();
    }
}

//! A function over one shard of a stream: lanes, retries, and the search for the record that fails.
//!
//! ```text
//! pages of the shard --by key--> lane 0: batch after batch --> outbox
//!                            +-> lane 1: ...
//! ```
//!
//! Records with one key are in one lane, and a lane works on one batch at a time, so that their order is kept. Invariants:
//! no record is passed over before it is done or a dead letter; what is in memory is bounded by [`WINDOW_BYTES`] and by
//! batches; while nothing arrives, nothing runs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hashbrown::HashMap;
use tokio::sync::watch;
use weir_env::Env;
use weir_ledger::FunctionCounts;
use weir_log::ReadError;
use weir_schema::{Extractor, Lookup};
use weir_stream::{Stream, digest};
use weir_types::{Fingerprint, Hour, LogName, SequenceNumber, ShardId};
use xxhash_rust::xxh3::xxh3_64;

use super::failure;
use super::forward::key_of;
use super::outbox::{Finished, Outbox, Progress, State, count_made};
use super::step::{Item, RecordStep, Split, StepError};
use super::{Counters, Rules, Trouble};
use crate::dead::{Cause, Letter};
use crate::pipeline::chain;
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// What one page asks for, in bytes.
const PAGE_BYTES: usize = 1024 * 1024;
/// Records that wait in lanes or are worked on, in bytes.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// A batch is cut at this many bytes of Avro: as an event it is several times that, and an event may have 6 MiB.
const BATCH_BYTES: usize = 1024 * 1024;
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Dead letters of one append: what a batch that is given up as a whole is cut into.
const LETTERS_BYTES: usize = 2 * 1024 * 1024;

/// What a runner needs.
pub(crate) struct Parts {
    pub env: Env,
    pub function: String,
    /// What the records are, and where their key is.
    pub source: Arc<OpenStream>,
    /// Where they are read: the source's own stream, or that of its redrive.
    pub stream: Arc<Stream>,
    pub shard: ShardId,
    pub catalog: Catalog,
    pub outbox: Outbox,
    pub step: Arc<dyn RecordStep>,
    pub rules: Rules,
    pub on_failure: bool,
    pub counters: Arc<Counters>,
    pub trouble: Arc<Trouble>,
}

struct Lane {
    waiting: VecDeque<(Duration, Item)>,
    bytes: usize,
    busy: bool,
}

/// Records that are tried together.
struct Part {
    items: Vec<Item>,
    /// Runs that this very part has failed.
    tries: u32,
    /// Runs that these records were in.
    runs: u32,
    first_failed: Option<weir_types::Timestamp>,
}

struct Runner {
    parts: Arc<Parts>,
    lanes: Vec<Lane>,
    next: SequenceNumber,
    state: State,
    keys: HashMap<Fingerprint, Option<Extractor>>,
    /// Records and bytes in lanes and batches.
    held: usize,
    held_bytes: usize,
    spread: usize,
}

/// Runs until `stopping` says so, or the log is closed. `state` is what the outbox was opened with.
pub(crate) async fn run(parts: Parts, state: State, mut stopping: watch::Receiver<bool>) {
    let next = state.next.unwrap_or_default();
    let lanes = (0..parts.rules.parallel.max(1)).map(|_| Lane { waiting: VecDeque::new(), bytes: 0, busy: false });
    let lanes = lanes.collect();
    let parts = Arc::new(parts);
    let runner = Runner { parts, lanes, next, state, keys: HashMap::new(), held: 0, held_bytes: 0, spread: 0 };
    tokio::select! {
        () = runner.run() => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

impl Runner {
    async fn run(mut self) {
        let parts = self.parts.clone();
        let mut running = FuturesUnordered::new();
        let mut pause = RETRY;
        let mut read_again_at = Duration::ZERO;
        loop {
            let now = parts.env.elapsed();
            while self.has_room() && self.behind() && now >= read_again_at {
                match self.fill().await {
                    Ok(()) => pause = RETRY,
                    Err(error) => {
                        tracing::error!(
                            function = parts.function,
                            error = chain(&error),
                            "the function's source does not read"
                        );
                        parts.trouble.of_runner(Some(chain(&error)));
                        read_again_at = now + parts.env.jitter(pause);
                        pause = (pause * 2).min(RETRY_MAX);
                    }
                }
            }
            let now = parts.env.elapsed();
            for lane in 0..self.lanes.len() {
                if let Some(batch) = self.batch(lane, now) {
                    let (count, bytes) = (batch.len(), batch.iter().map(size_of).sum::<usize>());
                    let parts = parts.clone();
                    running.push(async move {
                        work_off(&parts, batch).await;
                        (lane, count, bytes)
                    });
                }
            }
            let due = self.due(now, read_again_at);
            let more = parts.stream.shards()[parts.shard.0 as usize].wait(self.next);
            tokio::select! {
                Some((lane, count, bytes)) = running.next(), if !running.is_empty() => {
                    self.lanes[lane].busy = false;
                    self.held -= count;
                    self.held_bytes -= bytes;
                }
                () = more, if self.has_room() && now >= read_again_at => {
                    if !self.behind() {
                        // The log is closed.
                        return;
                    }
                }
                () = parts.env.sleep(due.unwrap_or_default()), if due.is_some() => {}
            }
        }
    }

    fn has_room(&self) -> bool {
        let records_max = 2 * self.parts.rules.size * self.lanes.len();
        self.held < records_max.max(self.parts.rules.size + 1) && self.held_bytes < WINDOW_BYTES
    }

    fn behind(&self) -> bool {
        self.parts.stream.shards()[self.parts.shard.0 as usize].bounds().tail > self.next
    }

    /// Reads one page into the lanes.
    async fn fill(&mut self) -> Result<(), ReadError> {
        let parts = self.parts.clone();
        let shard = &parts.stream.shards()[parts.shard.0 as usize];
        let page = match shard.read(self.next, PAGE_BYTES).await {
            Ok(page) => page,
            Err(ReadError::Trimmed { head: to, .. } | ReadError::Lost { to, .. }) if to > self.next => {
                let lost = to.since(self.next);
                tracing::error!(function = parts.function, from = %self.next, %to, lost, "records are gone before the function had read them");
                parts.counters.lost(lost);
                parts.outbox.store(finished(Progress::Passed(to))).await;
                self.next = to;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let now = parts.env.elapsed();
        for record in page.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    // A block that the log's checksum vouches for, in a form that this weir does not know.
                    tracing::error!(function = parts.function, %error, "the function stands still");
                    parts.trouble.of_runner(Some(error.to_string()));
                    return Err(ReadError::Closed);
                }
            };
            if self.state.has(record.sequence) {
                continue;
            }
            let source = &parts.source;
            let extractor = self.keys.entry(record.fingerprint).or_insert_with(|| {
                let schema = parts.catalog.by_fingerprint(record.fingerprint)?;
                source.key_of(&schema)
            });
            let mut ranges = Vec::new();
            let key = key_of(extractor.as_ref(), record.body, &mut ranges).map(Bytes::copy_from_slice);
            let lane = match &key {
                Some(key) => (xxh3_64(key) % self.lanes.len() as u64) as usize,
                None => {
                    self.spread = (self.spread + 1) % self.lanes.len();
                    self.spread
                }
            };
            let item = Item {
                sequence: record.sequence,
                arrived_at: record.arrived_at,
                fingerprint: record.fingerprint,
                key,
                body: Bytes::copy_from_slice(record.body),
                redriven: record.key.map(Bytes::copy_from_slice),
            };
            self.held += 1;
            self.held_bytes += size_of(&item);
            self.lanes[lane].bytes += size_of(&item);
            self.lanes[lane].waiting.push_back((now, item));
        }
        self.next = page.end();
        Ok(())
    }

    /// Takes the next batch of a lane, if it is due.
    fn batch(&mut self, lane: usize, now: Duration) -> Option<Vec<Item>> {
        let rules = &self.parts.rules;
        let lane = &mut self.lanes[lane];
        let oldest = lane.waiting.front()?.0;
        let full = lane.waiting.len() >= rules.size || lane.bytes >= BATCH_BYTES;
        if lane.busy || !(full || now.saturating_sub(oldest) >= rules.window) {
            return None;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < rules.size && (batch.is_empty() || bytes < BATCH_BYTES) {
            let Some((_, item)) = lane.waiting.pop_front() else { break };
            bytes += size_of(&item);
            batch.push(item);
        }
        lane.bytes -= bytes;
        lane.busy = true;
        Some(batch)
    }

    /// Says when a lane's window ends, or the source is to be read again.
    fn due(&self, now: Duration, read_again_at: Duration) -> Option<Duration> {
        let idle = self.lanes.iter().filter(|lane| !lane.busy);
        let windows = idle.filter_map(|lane| Some(lane.waiting.front()?.0 + self.parts.rules.window));
        let retry = (read_again_at > now).then_some(read_again_at);
        windows.chain(retry).min().map(|at| at.saturating_sub(now))
    }
}

fn size_of(item: &Item) -> usize {
    item.body.len() + item.key.as_ref().map_or(0, Bytes::len) + 64
}

fn finished(progress: Progress) -> Finished {
    Finished { progress, made: Vec::new(), letters: Vec::new(), counts: Vec::new(), done: None }
}

/// Works a batch off: on return each of its records is in the outbox, as done or as a dead letter.
async fn work_off(parts: &Parts, items: Vec<Item>) {
    // Parts still to run, the first in the batch on top. Halving keeps at most log2(records) + 1 of them.
    let mut stack = vec![Part { items, tries: 0, runs: 0, first_failed: None }];
    while let Some(part) = stack.pop() {
        let part = give_up_old(parts, part).await;
        if part.items.is_empty() {
            continue;
        }
        match run_patiently(parts, &part.items).await {
            Ok(mut worked) => {
                parts.counters.ran(part.items.len());
                let split = Split::new(part.items, &mut worked);
                let progressed = !split.done.is_empty() || !split.poisoned.is_empty();
                let now = parts.env.now();
                let mut letters = Vec::new();
                let mut settled: Vec<Settled> = split.done.iter().map(Settled::of).collect();
                for (item, cause, error) in split.poisoned {
                    settled.push(Settled::of(&item));
                    letters.push(letter(parts, &item, cause, error, part.runs + 1, part.first_failed.unwrap_or(now)));
                }
                if progressed {
                    store(parts, settled, worked.made, letters).await;
                }
                if !split.again.is_empty() {
                    let tries = if progressed { 0 } else { part.tries };
                    let part = Part { items: split.again, tries, ..part };
                    failed(parts, &mut stack, part, worked.error).await;
                }
            }
            Err(error) => {
                if matches!(error, StepError::TooLarge(_)) && part.items.len() > 1 {
                    halve(&mut stack, part);
                } else {
                    let attempts = if matches!(error, StepError::TooLarge(_)) { Some(1) } else { parts.rules.attempts };
                    parts.counters.failed();
                    failed_within(parts, &mut stack, part, error.to_string(), attempts).await;
                }
            }
        }
    }
}

/// Runs the step until it says something of the items.
async fn run_patiently(parts: &Parts, items: &[Item]) -> Result<super::step::Worked, StepError> {
    let mut pause = RETRY;
    loop {
        match parts.step.run(items).await {
            Err(StepError::Halt(error)) => {
                tracing::error!(function = parts.function, error, "the function stands still");
                parts.trouble.of_runner(Some(error));
                parts.env.sleep(parts.env.jitter(pause)).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
            outcome => {
                parts.trouble.of_runner(None);
                return outcome;
            }
        }
    }
}

async fn failed(parts: &Parts, stack: &mut Vec<Part>, part: Part, error: String) {
    failed_within(parts, stack, part, error, parts.rules.attempts).await;
}

/// Decides what becomes of a part that failed: once more, in halves, or to the dead letters.
async fn failed_within(parts: &Parts, stack: &mut Vec<Part>, mut part: Part, error: String, attempts: Option<u32>) {
    part.tries += 1;
    part.runs += 1;
    part.first_failed.get_or_insert(parts.env.now());
    if part.items.len() > 1 && parts.rules.bisect {
        if part.tries > 1 || part.runs > 1 {
            return halve(stack, part);
        }
    } else if attempts.is_some_and(|attempts| part.tries >= attempts) {
        return give_up(parts, part, Cause::FunctionFailed, error).await;
    }
    tracing::warn!(
        function = parts.function,
        records = part.items.len(),
        tries = part.tries,
        error,
        "a batch failed, and is tried again"
    );
    parts.env.sleep(parts.env.jitter(backoff(part.tries))).await;
    stack.push(part);
}

fn halve(stack: &mut Vec<Part>, mut part: Part) {
    let rest = part.items.split_off(part.items.len() / 2);
    stack.push(Part { items: rest, tries: 0, ..part });
    stack.push(Part { tries: 0, ..part });
}

/// Parks the records that are older than the rules allow.
async fn give_up_old(parts: &Parts, part: Part) -> Part {
    let Some(age) = parts.rules.age else { return part };
    let eldest = parts.env.now().before(age);
    let (old, items): (Vec<Item>, Vec<Item>) = part.items.into_iter().partition(|item| item.arrived_at < eldest);
    if !old.is_empty() {
        let error = format!("it is older than {}, the most that the function takes", weir_types::span::display(age));
        let old = Part { items: old, tries: part.tries, runs: part.runs, first_failed: part.first_failed };
        give_up(parts, old, Cause::Expired, error).await;
    }
    Part { items, ..part }
}

async fn give_up(parts: &Parts, part: Part, cause: Cause, error: String) {
    let first_failed = part.first_failed.unwrap_or_else(|| parts.env.now());
    let mut lot = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for item in part.items {
        bytes += size_of(&item) + error.len();
        lot.0.push(Settled::of(&item));
        lot.1.push(letter(parts, &item, cause, error.clone(), part.runs, first_failed));
        if bytes >= LETTERS_BYTES {
            let (records, letters) = std::mem::take(&mut lot);
            store(parts, records, Vec::new(), letters).await;
            bytes = 0;
        }
    }
    if !lot.0.is_empty() {
        store(parts, lot.0, Vec::new(), lot.1).await;
    }
}

/// A record that is done, or given up.
struct Settled {
    sequence: SequenceNumber,
    hour: Hour,
    digest: u128,
}

impl Settled {
    fn of(item: &Item) -> Self {
        Self { sequence: item.sequence, hour: Hour::of(item.arrived_at), digest: digest(&item.body) }
    }
}

async fn store(parts: &Parts, settled: Vec<Settled>, mut made: Vec<super::outbox::Made>, letters: Vec<Letter>) {
    parts.counters.made(made.len());
    parts.counters.dead_lettered(letters.len());
    let counts = count(&settled, &made, &letters);
    if parts.on_failure {
        made.extend(letters.iter().map(failure::made));
    }
    let progress = Progress::Records(settled.into_iter().map(|record| record.sequence).collect());
    parts.outbox.store(Finished { progress, made, letters, counts, done: None }).await;
}

/// Counts for the ledger. What was made of records of several hours is put with the first.
fn count(settled: &[Settled], made: &[super::outbox::Made], letters: &[Letter]) -> Vec<(Hour, FunctionCounts)> {
    let mut hours: BTreeMap<Hour, FunctionCounts> = BTreeMap::new();
    for record in settled {
        hours.entry(record.hour).or_default().done.add(record.digest);
    }
    for letter in letters {
        if let Some((_, arrived_at)) = letter.place {
            hours.entry(Hour::of(arrived_at)).or_default().letters += 1;
        }
    }
    if let Some(mut first) = hours.first_entry() {
        count_made(first.get_mut(), made);
    }
    hours.into_iter().collect()
}

fn letter(
    parts: &Parts,
    item: &Item,
    cause: Cause,
    error: String,
    attempts: u32,
    first_failed: weir_types::Timestamp,
) -> Letter {
    let source = LogName::shard(parts.stream.name(), parts.shard).to_string();
    let letter = Letter::of_record(
        &parts.env,
        source,
        (item.sequence, item.arrived_at),
        format!("function/{}", parts.function),
        cause,
        error,
        item.body.to_vec(),
    );
    let letter = Letter { fingerprint: Some(item.fingerprint), attempts, first_failed_at: first_failed, ..letter };
    letter.redriven(item.redriven.as_deref())
}

/// Waits longer with each try.
pub(super) fn backoff(tries: u32) -> Duration {
    RETRY.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(RETRY_MAX)
}

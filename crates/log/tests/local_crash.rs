//! Crashes on files that lose, tear and reorder what was not synced: whatever was acknowledged is there, in order, once, and
//! nothing else. A failure prints its seed.
#![expect(clippy::unwrap_used, reason = "clippy does not know that a function which tests share is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use weir_env::{Env, Random};
use weir_log::local::files::{Crash, FaultyFiles, Files};
use weir_log::local::{Options, SEGMENT_BYTES_MIN, verify_on};
use weir_log::{AppendError, Block, Condition, Engine, LocalEngine, Log, ReadLimit, StoredBlock};
use weir_types::{LogName, SequenceNumber};

const SEEDS: u64 = 40;
const CRASHES_PER_SEED: u64 = 8;
const LOGS: usize = 5;

fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        allocate_bytes: 8192,
        group_bytes_max: 16 << 10,
        tail_cache_bytes_max: 4096,
        index_cache_bytes_max: 4096,
        dead_bytes_max: SEGMENT_BYTES_MIN,
        ..Options::default()
    }
}

fn name(log: usize) -> LogName {
    format!("stream/s{log}/0").parse().unwrap()
}

/// What the callers know of one log.
#[derive(Debug, Default)]
struct Model {
    /// Every append that was submitted, by its number: the blocks' records and payloads.
    submitted: BTreeMap<u64, Vec<(u32, Bytes)>>,
    /// Where the acknowledged ones are.
    acknowledged: BTreeMap<u64, SequenceNumber>,
    trim_acknowledged: u64,
    trim_submitted: u64,
}

impl Model {
    fn note_trim(&mut self, to: u64) {
        self.trim_submitted = self.trim_submitted.max(to);
    }
}

/// Payloads say which append and block they are.
fn payload(log: usize, append: u64, part: usize, random: &Random) -> Bytes {
    let mut text = format!("{log}/{append}/{part}/").into_bytes();
    let long = if random.next().is_multiple_of(8) { 9000 } else { 300 };
    text.resize(text.len() + (random.next() % long) as usize, b'.');
    text.into()
}

fn append_number(payload: &[u8]) -> (usize, u64, usize) {
    let text = String::from_utf8_lossy(payload);
    let mut parts = text.split('/');
    let mut next = || parts.next().unwrap().parse::<u64>().unwrap();
    (next() as usize, next(), next() as usize)
}

struct Worker {
    log: Arc<dyn Log>,
    number: usize,
    model: Arc<Mutex<Model>>,
    appends: Arc<AtomicU64>,
    random: Random,
}

impl Worker {
    /// Appends and trims until the power fails.
    async fn run(self) {
        let mut tail = self.log.bounds().tail;
        loop {
            let chance = self.random.next();
            if chance.is_multiple_of(16) {
                let bounds = self.log.bounds();
                // One log is never trimmed far, so that it would pin the segments of the others.
                let far = if self.number == 0 { 20 } else { 1 };
                let to = bounds.head + self.random.next() % (bounds.tail.since(bounds.head) / far + 1);
                self.model.lock().unwrap().note_trim(to.0);
                if self.log.trim(to).await.is_err() {
                    return;
                }
                let mut model = self.model.lock().unwrap();
                model.trim_acknowledged = model.trim_acknowledged.max(to.0);
                continue;
            }
            let append = self.appends.fetch_add(1, Ordering::Relaxed);
            let count = if chance.is_multiple_of(3) { 1 + (chance >> 8) % 6 } else { 1 } as usize;
            let blocks: Vec<Block> = (0..count)
                .map(|part| Block {
                    records: 1 + (self.random.next() % 5) as u32,
                    payload: payload(self.number, append, part, &self.random),
                })
                .collect();
            let known = blocks.iter().map(|block| (block.records, block.payload.clone())).collect();
            self.model.lock().unwrap().submitted.insert(append, known);
            let condition = if chance.is_multiple_of(2) { Condition::TailIs(tail) } else { Condition::Always };
            let records: u64 = blocks.iter().map(|block| u64::from(block.records)).sum();
            match self.log.append(blocks, condition).await {
                Ok(first) => {
                    self.model.lock().unwrap().acknowledged.insert(append, first);
                    tail = first + records;
                }
                Err(AppendError::Conflict { tail: found, .. }) => {
                    self.model.lock().unwrap().submitted.remove(&append);
                    tail = found;
                }
                Err(_) => return,
            }
        }
    }
}

async fn read_all(log: &Arc<dyn Log>) -> Vec<StoredBlock> {
    let bounds = log.bounds();
    let mut next = bounds.head;
    let mut blocks: Vec<StoredBlock> = Vec::new();
    while next < bounds.tail {
        let read = log.read(next, ReadLimit { bytes_max: 20_000 }).await.unwrap();
        assert!(!read.is_empty(), "nothing at {next} of {bounds:?}");
        for block in read {
            assert!(block.first <= next && block.end() > next, "a gap at {next}: {} to {}", block.first, block.end());
            next = block.end();
            blocks.push(block);
        }
    }
    blocks
}

/// Compares what a log holds with what its callers know.
async fn check(log: &Arc<dyn Log>, number: usize, model: &Mutex<Model>) {
    let blocks = read_all(log).await;
    let mut model = model.lock().unwrap();
    let bounds = log.bounds();
    assert!(bounds.head.0 >= model.trim_acknowledged, "a trim is lost: {bounds:?}");
    assert!(bounds.head.0 <= model.trim_submitted, "a trim is invented: {bounds:?}");
    model.trim_acknowledged = bounds.head.0;
    assert!(blocks.is_sorted_by_key(|block| block.appended_at));
    let mut found: BTreeMap<u64, (SequenceNumber, Vec<(u32, Bytes)>)> = BTreeMap::new();
    let mut order = Vec::new();
    for block in &blocks {
        let (log, append, _) = append_number(&block.payload);
        assert_eq!(log, number, "a record of another log");
        let entry = found.entry(append).or_insert_with(|| (block.first, Vec::new()));
        entry.1.push((block.records, block.payload.clone()));
        if order.last() != Some(&append) {
            order.push(append);
        }
    }
    let distinct: BTreeSet<u64> = order.iter().copied().collect();
    assert_eq!(distinct.len(), order.len(), "an append is there twice, or in parts");
    for (append, (first, parts)) in &found {
        let submitted = model.submitted.get(append).expect("an append that nobody made, or that was refused");
        if *first >= bounds.head && (parts.len() == submitted.len() || *first > bounds.head) {
            assert_eq!(parts, submitted, "append {append} is not whole");
        } else {
            assert!(submitted.ends_with(parts), "append {append} lost more than its trimmed front");
        }
    }
    for (append, first) in &model.acknowledged {
        let records: u64 = model.submitted[append].iter().map(|(records, _)| u64::from(*records)).sum();
        if *first >= bounds.head {
            assert_eq!(found.get(append).map(|(first, _)| first), Some(first), "append {append} was acknowledged");
        } else if *first + records > bounds.head {
            assert!(found.contains_key(append), "append {append} was acknowledged and is not trimmed");
        }
    }
    // What was in flight is decided now.
    for (append, (first, _)) in found {
        model.acknowledged.entry(append).or_insert(first);
    }
    let known: BTreeSet<u64> = model.acknowledged.keys().copied().collect();
    model.submitted.retain(|append, _| known.contains(append));
}

async fn rounds(seed: u64) -> (u64, u64) {
    let random = Random::seeded(seed);
    let files = FaultyFiles::new(seed);
    if seed.is_multiple_of(3) {
        files.be_short();
    }
    let models: Vec<Arc<Mutex<Model>>> = (0..LOGS).map(|_| Arc::default()).collect();
    let appends = Arc::new(AtomicU64::new(0));
    let (mut acknowledged, mut copies) = (0, 0);
    for _ in 0..CRASHES_PER_SEED {
        // Now and then the crash comes while the engine opens.
        let span = if random.next().is_multiple_of(8) { 8 } else { 1000 };
        files.crash_at(Crash::After(random.next() % span));
        if let Ok(engine) = LocalEngine::open_on(Arc::new(files.clone()), options(), Env::system()) {
            let engine = Arc::new(engine);
            let mut workers = Vec::new();
            for worker in 0..2 * LOGS {
                let number = worker % LOGS;
                let Ok(log) = engine.log(&name(number)).await else { break };
                // Some logs have two callers, who meet in its conditions.
                let worker = Worker {
                    log,
                    number,
                    model: Arc::clone(&models[number]),
                    appends: Arc::clone(&appends),
                    random: Random::seeded(random.next()),
                };
                if workers.len() < LOGS || number % 2 == 1 {
                    workers.push(tokio::spawn(worker.run()));
                }
            }
            for worker in workers {
                worker.await.unwrap();
            }
        }
        files.crash();
        let report = verify_on(&files).unwrap();
        assert!(report.is_clean() && report.losses.is_empty(), "{report:?}");
        let engine = LocalEngine::open_on(Arc::new(files.clone()), options(), Env::system()).unwrap();
        let names = engine.names();
        for (number, model) in models.iter().enumerate() {
            let made = !model.lock().unwrap().acknowledged.is_empty();
            if made || names.contains(&name(number)) {
                assert!(names.contains(&name(number)), "a log is lost");
                check(&engine.log(&name(number)).await.unwrap(), number, model).await;
            }
        }
        drop(engine);
        copies += files.list().unwrap().iter().filter(|file| file.ends_with(".cold")).count() as u64;
        acknowledged = models.iter().map(|model| model.lock().unwrap().acknowledged.len() as u64).sum();
    }
    (acknowledged, copies)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_appends_survive_crashes_whole_once_and_in_order() {
    let (mut acknowledged, mut copies) = (0, 0);
    for seed in 0..SEEDS {
        let round = tokio::spawn(rounds(seed)).await;
        let (more, cold) = round.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        acknowledged += more;
        copies += cold;
    }
    // The rounds must have had something to lose, and copies to confuse.
    assert!(acknowledged > 10_000, "only {acknowledged} appends");
    assert!(copies > 50, "only {copies} cold segments were seen");
}

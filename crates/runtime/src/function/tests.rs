//! Runs of a function that fails and dies at random, against what must be in its outbox.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::sync::watch;
use weir_env::{Env, ManualClock};
use weir_log::{Engine, MemoryEngine};
use weir_machine::{Options, Owner, Snapshots};
use weir_schema::{JsonEncoder, Registry, Schema};
use weir_stream::{Route, Settings, Start, Stream};
use weir_types::{Fingerprint, LogName, SequenceNumber, ShardId, StreamName, Timestamp};

use super::outbox::{self, LETTER_KEY, Made, Outbox, STATE_KEY, State, read_state};
use super::step::{Item, RecordStep, StepError, Worked};
use super::{Counters, Rules, Trouble, records};
use crate::dead::{self, Cause};
use crate::schemas::Catalog;
use crate::streams::OpenStream;

const SCHEMA: &str = r#"{"type": "record", "name": "Event", "fields": [
    {"name": "key", "type": "string"}, {"name": "number", "type": "long"}]}"#;
const KEYS: u64 = 7;

/// SplitMix64, so that a seed repeats a run.
fn mix(seed: u64) -> u64 {
    weir_env::Random::seeded(seed).next()
}

struct World {
    clock: ManualClock,
    env: Env,
    engine: Arc<dyn Engine>,
    snapshots: Snapshots,
    source: Arc<OpenStream>,
    catalog: Catalog,
    outbox: Arc<Stream>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let clock = ManualClock::at(Timestamp(1_700_000_000_000));
        let env = Env::seeded(clock.clone(), seed);
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new(env.clone()));
        let snapshots = Snapshots::new(Arc::new(InMemory::new()), Path::from("snapshots"));
        let open = |name: StreamName, retention| {
            let settings = Settings { shards: 1, retention, retention_bytes: None };
            let (engine, snapshots, env) = (engine.clone(), snapshots.clone(), env.clone());
            async move { Stream::open(&*engine, snapshots, env, name, settings).await.unwrap() }
        };
        let schema = Schema::parse(SCHEMA).unwrap();
        let stream = open("events".parse().unwrap(), Duration::from_secs(3600)).await;
        let source = Arc::new(OpenStream::new(stream, schema.clone(), Some("key".into()), None));
        let outbox = open(StreamName::of_function(&"score".parse().unwrap()), Duration::ZERO).await;
        let log = engine.log(&LogName::machine("schemas")).await.unwrap();
        let registry = Owner::<Registry>::open(log, snapshots.clone(), env.clone(), Options::default()).await.unwrap();
        let catalog = Catalog::new(registry);
        catalog.register("events-value".parse().unwrap(), SCHEMA.to_owned()).await.unwrap();
        Self { clock, env, engine, snapshots, source, catalog, outbox }
    }

    async fn send(&self, numbers: std::ops::Range<u64>) {
        let mut writer = self.source.stream.write(None).await.unwrap();
        let mut encoder = JsonEncoder::new(&self.source.schema);
        for number in numbers {
            let mut body = Vec::new();
            let json = format!(r#"{{"key": "k{}", "number": {number}}}"#, number % KEYS);
            encoder.encode(json.as_bytes(), &mut body).unwrap();
            writer.push(Route::Spread, self.source.schema.fingerprint(), &body);
        }
        writer.finish().await.unwrap();
    }

    /// Starts the outbox and the runner where they left off.
    async fn start(&self, step: Arc<Fickle>, rules: Rules) -> Running {
        let shard = &self.outbox.shards()[0];
        let mut state: State = read_state("score", shard).await.unwrap();
        let source = &self.source.stream.shards()[0];
        if !state.is_of(source.log().name()) {
            state.begin(source.log().name().clone(), source.resolve(Start::Oldest).await.unwrap());
        }
        let trouble = Arc::new(Trouble::default());
        let parts = outbox::Parts {
            env: self.env.clone(),
            owner: "score".into(),
            stream: self.outbox.clone(),
            shard: ShardId(0),
            queue: None,
            trouble: trouble.clone(),
            taken: 0,
        };
        let (outbox, outbox_task) = Outbox::start(parts, state.clone());
        let parts = records::Parts {
            env: self.env.clone(),
            function: "score".into(),
            source: self.source.clone(),
            stream: self.source.stream.clone(),
            shard: ShardId(0),
            catalog: self.catalog.clone(),
            outbox: outbox.clone(),
            step,
            rules,
            on_failure: false,
            counters: Arc::new(Counters::default()),
            trouble,
        };
        let (stop, stopping) = watch::channel(false);
        let runner = tokio::spawn(records::run(parts, state, stopping));
        Running { outbox, stop, tasks: vec![runner, outbox_task] }
    }

    /// Lets time pass until the function has come this far.
    async fn until_done(&self, running: &Running, to: SequenceNumber) {
        let next = running.outbox.next();
        for _ in 0..1_000_000 {
            if next.borrow().is_some_and(|next| next >= to) {
                return;
            }
            self.clock.advance(Duration::from_millis(50));
            tokio::task::yield_now().await;
        }
        panic!("the function came to {:?}, and not to {to}", *next.borrow());
    }

    /// Reads what the function has made, in order, and the numbers of its dead letters.
    async fn outcome(&self) -> (Vec<u64>, Vec<u64>) {
        let shard = &self.outbox.shards()[0];
        let (mut made, mut letters) = (Vec::new(), Vec::new());
        let mut next = shard.resolve(Start::Oldest).await.unwrap();
        loop {
            let page = shard.read(next, 1 << 20).await.unwrap();
            if page.is_empty() {
                return (made, letters);
            }
            for record in page.records() {
                let record = record.unwrap();
                match record.key.unwrap() {
                    STATE_KEY => {}
                    LETTER_KEY => {
                        assert_eq!(record.fingerprint, dead::fingerprint());
                        let mut text = Vec::new();
                        weir_schema::json::write(&dead::schema(), record.body, &mut text).unwrap();
                        let letter: serde_json::Value = serde_json::from_slice(&text).unwrap();
                        assert_eq!(letter["cause"], "function_failed");
                        assert!(letter["attempts"].as_u64().unwrap() >= 12, "{letter}");
                        // The payload is Avro binary, whose last field is the number: read it back by its sequence.
                        letters.push(letter["sequence"].as_u64().unwrap());
                    }
                    key => {
                        assert_eq!(key, b"default");
                        made.push(u64::from_le_bytes(record.body.try_into().unwrap()));
                    }
                }
            }
            next = page.end();
        }
    }
}

struct Running {
    outbox: Outbox,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    /// Ends it as a crash does: whatever is under way is gone.
    async fn kill(self) {
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            let _ = task.await;
        }
        drop(self.stop);
    }
}

/// A function that fails on poisoned records always, and on batches at random; that reports some failures by item; and
/// sometimes can't run at all.
struct Fickle {
    seed: u64,
    runs: AtomicU64,
    poison: BTreeSet<u64>,
    catalog: Catalog,
}

impl Fickle {
    fn number(&self, item: &Item) -> u64 {
        use weir_schema::Lookup;
        let schema = self.catalog.by_fingerprint(item.fingerprint).unwrap();
        let mut text = Vec::new();
        weir_schema::json::write(&schema, &item.body, &mut text).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["number"].as_u64().unwrap()
    }

    async fn work(&self, items: &[Item]) -> Result<Worked, StepError> {
        let chance = mix(self.seed ^ self.runs.fetch_add(1, Ordering::Relaxed));
        for _ in 0..chance % 5 {
            tokio::task::yield_now().await;
        }
        let numbers: Vec<u64> = items.iter().map(|item| self.number(item)).collect();
        let bad: Vec<usize> = (0..numbers.len()).filter(|index| self.poison.contains(&numbers[*index])).collect();
        match chance >> 8 & 15 {
            0 => return Err(StepError::Items("it died at random".into())),
            1 => return Err(StepError::Halt("there was no environment".into())),
            2 if items.len() > 1 => return Err(StepError::TooLarge("too much at once".into())),
            // Like a handler without partial responses.
            3..=9 if !bad.is_empty() => return Err(StepError::Items("poison".into())),
            _ => {}
        }
        let good = (0..numbers.len()).filter(|index| !bad.contains(index));
        let made = good.map(|index| Made {
            key: b"default".to_vec(),
            fingerprint: Fingerprint(1),
            body: numbers[index].to_le_bytes().to_vec(),
        });
        Ok(Worked { made: made.collect(), poisoned: Vec::new(), again: bad, error: "poison".into() })
    }
}

impl RecordStep for Fickle {
    fn run<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<Worked, StepError>> {
        self.work(items).boxed()
    }
}

fn rules(seed: u64) -> Rules {
    Rules {
        size: 1 + (seed % 40) as usize,
        window: Duration::from_millis(seed % 3 * 70),
        parallel: 1 + (seed % 4) as usize,
        // By chance, a good record fails a few times in a row: not this often.
        attempts: Some(12),
        age: None,
        bisect: true,
    }
}

#[tokio::test]
async fn what_a_fickle_function_makes_is_there_once_over_crashes() {
    for seed in 0..25 {
        let world = World::new(seed).await;
        let count = 300;
        world.send(0..count).await;
        let poison: BTreeSet<u64> = (0..5).map(|index| mix(seed * 31 + index) % count).collect();
        let step = Arc::new(Fickle {
            seed: seed << 32,
            runs: AtomicU64::new(0),
            poison: poison.clone(),
            catalog: world.catalog.clone(),
        });
        for crash in 0..6 {
            let running = world.start(step.clone(), rules(seed + crash)).await;
            for _ in 0..mix(seed * 77 + crash) % 300 {
                world.clock.advance(Duration::from_millis(50));
                tokio::task::yield_now().await;
            }
            running.kill().await;
        }
        let running = world.start(step, rules(seed)).await;
        world.until_done(&running, SequenceNumber(count)).await;
        running.kill().await;

        let (made, letters) = world.outcome().await;
        let expected: Vec<u64> = (0..count).filter(|number| !poison.contains(number)).collect();
        let mut sorted = made.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "seed {seed}");
        let found: BTreeSet<u64> = letters.iter().copied().collect();
        assert_eq!((found, letters.len()), (poison.clone(), poison.len()), "seed {seed}");
    }
}

#[tokio::test]
async fn records_of_one_key_stay_in_order_over_lanes() {
    for seed in 100..110 {
        let world = World::new(seed).await;
        world.send(0..400).await;
        let step = Arc::new(Fickle {
            seed: seed << 32,
            runs: AtomicU64::new(0),
            poison: BTreeSet::new(),
            catalog: world.catalog.clone(),
        });
        let rules = Rules { parallel: 4, size: 5, ..rules(seed) };
        let running = world.start(step, rules).await;
        world.until_done(&running, SequenceNumber(400)).await;
        running.kill().await;
        let (made, letters) = world.outcome().await;
        assert!(letters.is_empty());
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for number in made {
            let before = last.insert(number % KEYS, number);
            assert!(before.is_none_or(|before| before < number), "seed {seed}: {number} after {before:?}");
        }
    }
}

#[tokio::test]
async fn a_record_that_is_too_old_is_a_dead_letter_and_not_run() {
    let world = World::new(1).await;
    world.send(0..3).await;
    world.clock.advance(Duration::from_secs(120));
    world.send(3..5).await;
    let step =
        Arc::new(Fickle { seed: 0, runs: AtomicU64::new(0), poison: BTreeSet::new(), catalog: world.catalog.clone() });
    let rules = Rules { age: Some(Duration::from_secs(60)), ..rules(9) };
    let running = world.start(step, rules).await;
    world.until_done(&running, SequenceNumber(5)).await;
    running.kill().await;
    let shard = &world.outbox.shards()[0];
    let page = shard.read(shard.bounds().head, 1 << 20).await.unwrap();
    let mut causes = Vec::new();
    for record in page.records().map(Result::unwrap).filter(|record| record.key == Some(LETTER_KEY)) {
        let mut text = Vec::new();
        weir_schema::json::write(&dead::schema(), record.body, &mut text).unwrap();
        let letter: serde_json::Value = serde_json::from_slice(&text).unwrap();
        causes.push(letter["cause"].as_str().unwrap().to_owned());
    }
    assert_eq!(causes, [Cause::Expired.as_str(); 3]);
    // Reopening shows that the state went with them.
    let state = read_state("score", shard).await.unwrap();
    assert_eq!(state.next, Some(SequenceNumber(5)));
    let _ = (&world.engine, &world.snapshots);
}

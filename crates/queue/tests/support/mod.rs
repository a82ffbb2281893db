//! A node's queues over an engine in memory and a clock that stands still.

#![allow(dead_code, reason = "each test binary uses a part of it")]

mod flaky;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use weir_env::{Env, ManualClock};
use weir_log::{Engine, MemoryEngine};
use weir_machine::Snapshots;
use weir_queue::{DeadLetter, DeadLetterTo, Fifo, Message, Queue, Queues, Receive, Received, Settings, Tuning};
use weir_types::{QueueName, Timestamp};

use self::flaky::FlakyEngine;

/// Looks of [`eventually`]: each lets every task run once, so that this many are far more than any test needs.
const LOOKS_MAX: usize = 100_000;

/// What outlives the queues.
pub struct World {
    pub clock: ManualClock,
    pub env: Env,
    pub engine: Arc<dyn Engine>,
    pub store: Arc<InMemory>,
    pub tuning: Tuning,
    damaged: Vec<Path>,
}

impl World {
    pub fn new() -> Self {
        let clock = ManualClock::at(Timestamp(1_700_000_000_000));
        let env = Env::seeded(clock.clone(), 1);
        let engine = Arc::new(MemoryEngine::new(env.clone()));
        Self { clock, env, engine, store: Arc::new(InMemory::new()), tuning: Tuning::default(), damaged: Vec::new() }
    }

    /// With an engine that is slow, and refuses appends now and then.
    pub fn flaky(seed: u64, tuning: Tuning) -> Self {
        let clock = ManualClock::at(Timestamp(1_700_000_000_000));
        let env = Env::seeded(clock.clone(), seed);
        let engine = Arc::new(FlakyEngine::new(Arc::new(MemoryEngine::new(env.clone())), seed ^ 0xf1a4));
        Self { clock, env, engine, store: Arc::new(InMemory::new()), tuning, damaged: Vec::new() }
    }

    /// Flips a bit of a queue's newest snapshot, unless the one before it is damaged too. `chance` says which, and where.
    pub async fn damage_a_snapshot(&mut self, chance: u64) -> Option<String> {
        let objects: Vec<ObjectMeta> =
            self.store.list(Some(&Path::from("snapshots/queue"))).try_collect().await.unwrap();
        let indexes = objects.iter().filter(|object| object.location.as_ref().ends_with(".index"));
        let mut newest: BTreeMap<&str, &str> = BTreeMap::new();
        for index in indexes {
            // A name begins with the place, so that the greatest is the newest.
            let (folder, name) = index.location.as_ref().rsplit_once('/').unwrap();
            let newest = newest.entry(folder).or_default();
            *newest = name.strip_suffix(".index").unwrap().max(newest);
        }
        self.damaged.retain(|damaged| objects.iter().any(|object| object.location == *damaged));
        let sound = |folder: &&str| !self.damaged.iter().any(|damaged| damaged.as_ref().starts_with(*folder));
        let folders: Vec<&str> = newest.keys().copied().filter(sound).collect();
        let folder = *folders.get(chance as usize % folders.len().max(1))?;
        let prefix = format!("{folder}/{}", newest[folder]);
        let parts: Vec<&Path> =
            objects.iter().map(|object| &object.location).filter(|path| path.as_ref().starts_with(&prefix)).collect();
        let path = parts[(chance >> 8) as usize % parts.len()].clone();
        let mut bytes = self.store.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        let at = (chance >> 16) as usize % bytes.len();
        bytes[at] ^= 1 << (chance % 8);
        self.store.put(&path, bytes.into()).await.unwrap();
        let what = path.to_string();
        self.damaged.push(path);
        Some(what)
    }

    pub async fn open(&self) -> Arc<Queues> {
        let snapshots = Snapshots::new(self.store.clone(), Path::from("snapshots"));
        Queues::open_with(self.engine.clone(), snapshots, self.env.clone(), self.tuning.clone()).await.unwrap()
    }
}

pub fn name(text: &str) -> QueueName {
    text.parse().unwrap()
}

pub fn standard() -> Settings {
    Settings::default()
}

pub fn fifo() -> Settings {
    Settings { fifo: Some(Fifo::default()), ..Settings::default() }
}

/// Settings of a queue that gives messages up after so many receives.
pub fn dead_letters(settings: Settings, max_receives: u32, to: &str) -> Settings {
    let dead_letter = DeadLetter { max_receives, to: DeadLetterTo::Queue(name(to)) };
    Settings { dead_letter: Some(dead_letter), ..settings }
}

pub async fn create(queues: &Queues, queue: &str, settings: Settings) -> Arc<Queue> {
    queues.create(name(queue), settings, BTreeMap::new()).await.unwrap()
}

pub fn text(body: &str) -> Message {
    Message::new(body.as_bytes().to_vec())
}

pub async fn send(queue: &Queue, body: &str) {
    queue.send(vec![text(body)]).await.unwrap();
}

/// Asks until the log takes it: what was refused has changed nothing.
pub async fn insist<T, E: std::fmt::Debug>(ask: impl AsyncFn() -> Result<T, E>) -> T {
    let mut refused = None;
    for _ in 0..20 {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => refused = Some(error),
        }
    }
    panic!("refused time and again: {refused:?}");
}

/// Receives without waiting; what is received is hidden for a minute.
pub async fn receive(queue: &Queue, max: usize) -> Vec<Received> {
    let receive = Receive { max, hidden_for: Duration::from_secs(60), wait: Duration::ZERO, attempt: None };
    queue.receive(receive).await.unwrap()
}

pub fn bodies(received: &[Received]) -> Vec<String> {
    received.iter().map(|received| String::from_utf8(received.body.to_vec()).unwrap()).collect()
}

/// Lets the tasks run until something holds.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to this: {what}");
}

/// Lets the tasks run for a while, so that what must not happen would have happened.
pub async fn settle_down() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

//! A world in which a block can be begun again and again over the same log and the same store.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use weir_config::{BadRows, FilesFormat, FilesStart};
use weir_env::{Env, ManualClock};
use weir_log::{Engine, MemoryEngine};
use weir_machine::{Machine, Options, Owner, Snapshots};
use weir_queue::{Queue, Queues, Receive, Settings as QueueSettings};
use weir_schema::{Registry, Schema, json};
use weir_stream::{Settings, Stream};
use weir_types::{FilesName, LogName, SequenceNumber, StreamName, Timestamp};

use super::super::hints::Hints;
use super::super::look::Looks;
use super::super::machine::{Block, Files};
use super::super::place::Place;
use super::super::records::Records;
use super::super::reference::Reference;
use super::super::sweep::{Seen, Sweep, Way};
use crate::dead::{self, DeadLetters};
use crate::schemas::Catalog;
use crate::streams::OpenStream;

pub const EVERY: Duration = Duration::from_secs(30);
pub const SETTLE: Duration = Duration::from_secs(2);
pub const SCHEMA: &str = r#"{"type": "record", "name": "Row", "fields": [
    {"name": "id", "type": "long"}, {"name": "word", "type": ["null", "string"], "default": null}]}"#;
/// More rounds than any test needs.
const ROUNDS_MAX: usize = 1000;

pub struct World {
    pub clock: ManualClock,
    pub env: Env,
    pub engine: Arc<MemoryEngine>,
    pub objects: Arc<InMemory>,
    pub start: FilesStart,
    pub bad_rows: BadRows,
    pub shards: u32,
    pub snapshots: Snapshots,
}

/// A block that was begun, and what it writes to.
pub struct Running {
    pub sweep: Sweep,
    pub stream: Arc<OpenStream>,
    pub dead: Arc<OpenStream>,
    pub queue: Arc<Queue>,
    queues: Arc<Queues>,
}

impl World {
    pub fn new() -> Self {
        // Long before any file: what is new has no age.
        let clock = ManualClock::at(Timestamp(0));
        let env = Env::seeded(clock.clone(), 1);
        Self {
            engine: Arc::new(MemoryEngine::new(env.clone())),
            clock,
            env,
            objects: Arc::new(InMemory::new()),
            start: FilesStart::All,
            bad_rows: BadRows::Skip,
            shards: 1,
            snapshots: Snapshots::new(Arc::new(InMemory::new()), Path::default()),
        }
    }

    pub async fn put(&self, path: &str, text: impl Into<bytes::Bytes>) {
        self.objects.put(&Path::from(format!("in/{path}")), text.into().into()).await.unwrap();
    }

    pub async fn delete(&self, path: &str) {
        self.objects.delete(&Path::from(format!("in/{path}"))).await.unwrap();
    }

    async fn machine<M: Machine>(&self) -> Owner<M> {
        let log = self.engine.log(&LogName::machine(M::NAME)).await.unwrap();
        Owner::open(log, self.snapshots.clone(), self.env.clone(), Options { snapshot_every: 7 }).await.unwrap()
    }

    async fn stream(&self, name: StreamName, shards: u32, schema: Schema) -> Arc<OpenStream> {
        let settings = Settings { shards, retention: Duration::from_secs(3600), retention_bytes: None };
        let stream =
            Stream::open(&*self.engine, self.snapshots.clone(), self.env.clone(), name, settings).await.unwrap();
        Arc::new(OpenStream::new(stream, schema, Some("id".to_owned()), None))
    }

    /// Begins the block `in`: with a format its records are read, without one it is by reference.
    pub async fn begin(&self, format: Option<FilesFormat>) -> Running {
        self.begin_in(self.objects.clone(), format).await
    }

    pub async fn begin_in(&self, store: Arc<dyn ObjectStore>, format: Option<FilesFormat>) -> Running {
        let files: FilesName = "in".parse().unwrap();
        let owner: Owner<Files> = self.machine().await;
        let stream = self.stream(StreamName::of_files(&files), self.shards, Schema::parse(SCHEMA).unwrap()).await;
        let dead = self.stream("dead_letters".parse().unwrap(), 1, dead::schema()).await;
        let engine: Arc<dyn Engine> = self.engine.clone();
        let queues = Queues::open(engine, self.snapshots.clone(), self.env.clone()).await.unwrap();
        let queue = queues.ensure("told".parse().unwrap(), QueueSettings::default()).await.unwrap();
        let way = match format {
            None => Way::Reference(Reference::new(files.clone(), vec![queue.clone()])),
            Some(format) => Way::Records(Records {
                env: self.env.clone(),
                files: files.clone(),
                format,
                bad_rows: self.bad_rows,
                stream: stream.clone(),
                catalog: Catalog::new(self.machine::<Registry>().await),
                dead_letters: DeadLetters::new(dead.clone()),
            }),
        };
        let sweep = Sweep {
            env: self.env.clone(),
            place: Arc::new(Place::in_store(store, "s3://bucket/in/", None)),
            start: self.start,
            every: EVERY,
            way,
            owner,
            seen: Arc::<Mutex<Seen>>::default(),
            looks: Looks::new(self.env.clone(), files.clone(), SETTLE),
            files,
            ready: VecDeque::new(),
            tried: None,
            resumed: None,
            absent: None,
            compare: false,
            hints: Arc::new(Hints::new()),
            hinted: None,
            unsettled: BTreeSet::new(),
            hint: 0,
            full_at: Duration::ZERO,
            took: Duration::ZERO,
        };
        let mut running = Running { sweep, stream, dead, queue, queues };
        running.sweep.take_up();
        running
    }
}

impl Running {
    /// Runs rounds until there is nothing to do, and returns for how long.
    pub async fn drain(&mut self) -> Duration {
        for _ in 0..ROUNDS_MAX {
            if let Some(wait) = self.sweep.round().await.unwrap() {
                return wait;
            }
        }
        panic!("the block has no end of work");
    }

    /// Looks, lets what is new settle, and takes it.
    pub async fn take_all(&mut self, world: &World) {
        self.drain().await;
        world.clock.advance(SETTLE);
        self.drain().await;
    }

    /// Follows the hints that there are, as the task does when it is woken.
    pub async fn hinted(&mut self, wait: Duration) {
        self.sweep.hints.note([]);
        self.sweep.wait(wait).await;
    }

    /// Ends everything that the block had open, as a stop would; what it has begun stays begun.
    pub async fn end(self) {
        self.queues.close().await;
    }

    pub fn block(&self) -> Block {
        let files = &self.sweep.files;
        self.sweep.owner.read(|all| all.block(files).cloned()).unwrap_or_default()
    }

    pub async fn rows(&self) -> Vec<String> {
        read(&self.stream).await
    }

    /// The dead letters' sources, errors and payloads.
    pub async fn letters(&self) -> Vec<(String, String, String)> {
        let letters = read(&self.dead).await;
        letters
            .iter()
            .map(|letter| {
                let letter: serde_json::Value = serde_json::from_str(letter).unwrap();
                let text = |name: &str| letter[name].as_str().unwrap().to_owned();
                (text("source"), text("error"), text("payload"))
            })
            .collect()
    }

    /// The events in the function's queue.
    pub async fn events(&self) -> Vec<serde_json::Value> {
        let mut events = Vec::new();
        loop {
            let receive =
                Receive { max: 10, hidden_for: Duration::from_secs(600), wait: Duration::ZERO, attempt: None };
            let received = self.queue.receive(receive).await.unwrap();
            if received.is_empty() {
                return events;
            }
            events.extend(
                received.iter().map(|message| serde_json::from_slice::<serde_json::Value>(&message.body).unwrap()),
            );
        }
    }
}

/// Returns all records of a stream as JSON, shard by shard.
async fn read(stream: &OpenStream) -> Vec<String> {
    let mut found = Vec::new();
    for shard in stream.stream.shards() {
        let mut next = SequenceNumber(0);
        loop {
            let page = shard.read(next, 1 << 20).await.unwrap();
            if page.is_empty() {
                break;
            }
            for record in page.records() {
                let mut text = Vec::new();
                json::write(&stream.schema, record.unwrap().body, &mut text).unwrap();
                found.push(String::from_utf8(text).unwrap());
            }
            next = page.end();
        }
    }
    found
}

/// Lines of NDJSON with these ids.
pub fn lines(ids: std::ops::Range<i64>) -> String {
    ids.map(|id| format!("{{\"id\":{id}}}\n")).collect()
}

/// The records of [`lines`], as they are read back.
pub fn records(ids: impl IntoIterator<Item = i64>) -> Vec<String> {
    ids.into_iter().map(|id| format!("{{\"id\":{id},\"word\":null}}")).collect()
}

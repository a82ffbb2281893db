//! A stream, a clock, and an object store that fails by a seed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use weir_env::{Env, ManualClock, Random};
use weir_log::{Engine, MemoryEngine};
use weir_machine::Snapshots;
use weir_schema::{JsonEncoder, Lookup, Schema, SchemaId};
use weir_stream::{Lot, Route, Settings, Stream};
use weir_types::{Fingerprint, Hour, SequenceNumber, ShardId, Timestamp};

use crate::{Archive, OnDamage, OpenError, Page, Selection, Spec};

/// 2026-11-26T10:00:00Z.
pub const START: Timestamp = Timestamp(1_795_687_200_000);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);

/// An object store that fails before or after it has done what it was asked, as its seed has it.
#[derive(Debug)]
pub struct Faulty {
    inner: InMemory,
    random: Random,
    on: AtomicBool,
    /// Calls that fail, of a thousand.
    permille: u64,
    pub failed: AtomicU64,
}

impl Faulty {
    fn new(seed: u64, permille: u64) -> Self {
        let (inner, random) = (InMemory::new(), Random::seeded(seed));
        Self { inner, random, on: AtomicBool::new(false), permille, failed: AtomicU64::new(0) }
    }

    pub fn set(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    fn strikes(&self) -> bool {
        let strikes = self.on.load(Ordering::Relaxed) && self.random.next() % 1000 < self.permille;
        self.failed.fetch_add(u64::from(strikes), Ordering::Relaxed);
        strikes
    }

    fn fault(what: &str) -> Error {
        Error::Generic { store: "faulty", source: what.into() }
    }

    /// Fails before or behind the work.
    async fn around<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.strikes() {
            return Err(Self::fault("refused"));
        }
        let done = work.await;
        if self.strikes() { Err(Self::fault("the reply was lost")) } else { done }
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.around(self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.around(self.inner.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.strikes() {
            return Box::pin(futures::stream::once(async { Err(Self::fault("refused")) }));
        }
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.strikes() {
            return Box::pin(futures::stream::once(async { Err(Self::fault("refused")) }));
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.around(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Schemas by fingerprint.
#[derive(Debug, Default, Clone)]
pub struct Schemas(HashMap<Fingerprint, Schema>);

impl Lookup for Schemas {
    fn by_fingerprint(&self, fingerprint: Fingerprint) -> Option<Schema> {
        self.0.get(&fingerprint).cloned()
    }

    fn by_id(&self, _: SchemaId) -> Option<Schema> {
        None
    }

    fn by_md5(&self, _: &[u8; 16]) -> Option<Schema> {
        None
    }
}

/// A record as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    pub sequence: SequenceNumber,
    pub arrived_at: Timestamp,
    pub fingerprint: Fingerprint,
    pub key: Option<Vec<u8>>,
    pub body: Vec<u8>,
}

pub struct World {
    pub clock: ManualClock,
    pub env: Env,
    /// Its logs close with it.
    _engine: Arc<dyn Engine>,
    pub stream: Arc<Stream>,
    pub store: Arc<Faulty>,
    pub schemas: Schemas,
    pub prints: Vec<Fingerprint>,
    encoders: Vec<Schema>,
    pub random: Random,
}

impl World {
    pub async fn new(shards: u32, seed: u64, permille: u64) -> Self {
        let clock = ManualClock::at(START);
        let env = Env::seeded(clock.clone(), seed);
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new(env.clone()));
        let stream = open_stream(&*engine, &env, shards).await;
        let field = |name: &str| {
            let text = format!(
                r#"{{"type": "record", "name": "R", "fields": [{{"name": "{name}", "type": "string"}}, {{"name": "n", "type": "long"}}]}}"#
            );
            Schema::parse(&text).unwrap()
        };
        let encoders: Vec<Schema> = ["a", "b", "c"].into_iter().map(field).collect();
        let prints: Vec<Fingerprint> = encoders.iter().map(Schema::fingerprint).collect();
        let schemas = Schemas(encoders.iter().map(|schema| (schema.fingerprint(), schema.clone())).collect());
        let store = Arc::new(Faulty::new(seed, permille));
        Self {
            clock,
            env,
            _engine: engine,
            stream,
            store,
            schemas,
            prints,
            encoders,
            random: Random::seeded(seed ^ 0xa5),
        }
    }

    pub fn spec(&self) -> Spec {
        let shards = self.stream.shards().len() as u32;
        Spec::new(self.stream.name().clone(), shards, Duration::from_secs(400 * 86_400))
    }

    pub async fn open(&self, spec: Spec) -> Result<Archive, OpenError> {
        self.open_knowing(spec, &BTreeMap::new()).await
    }

    pub async fn open_knowing(
        &self,
        spec: Spec,
        known: &BTreeMap<ShardId, SequenceNumber>,
    ) -> Result<Archive, OpenError> {
        Archive::open(spec, self.store.clone(), root(), self.env.clone(), known).await
    }

    /// A record's binary form.
    pub fn body(&self, schema: usize, number: u64) -> Vec<u8> {
        let mut encoder = JsonEncoder::new(&self.encoders[schema]);
        let name = ["a", "b", "c"][schema];
        let mut body = Vec::new();
        let filler = "x".repeat((number % 40) as usize);
        encoder.encode(format!(r#"{{"{name}": "{filler}", "n": {number}}}"#).as_bytes(), &mut body).unwrap();
        body
    }

    /// Stores records of one schema, spread by their numbers.
    pub async fn send(&self, schema: usize, numbers: std::ops::Range<u64>) {
        let mut writer = self.stream.write(None).await.unwrap();
        for number in numbers {
            let key = number.to_le_bytes();
            if writer.push(Route::Key(&key), self.prints[schema], &self.body(schema, number)) {
                writer.flush().await.unwrap();
            }
        }
        writer.finish().await.unwrap();
    }

    /// Stores records with keys, of schemas that take turns; those of schema 3 are of one that nobody knows.
    pub async fn send_lot(&self, shard: u32, schemas: &[usize], numbers: std::ops::Range<u64>) {
        let mut lot = Lot::default();
        for number in numbers {
            let schema = schemas[number as usize % schemas.len()];
            let key = format!("k{}", number % 3);
            match schema {
                3 => lot.push(Fingerprint(0xdead), key.as_bytes(), &number.to_be_bytes()),
                known => lot.push(self.prints[known], key.as_bytes(), &self.body(known, number)),
            }
        }
        self.stream.append(ShardId(shard), &lot.seal()).await.unwrap();
    }

    /// What the log has of each shard.
    pub async fn sent(&self) -> Vec<Vec<Sent>> {
        let mut shards = Vec::new();
        for shard in self.stream.shards() {
            let mut records = Vec::new();
            let mut next = shard.bounds().head;
            while next < shard.bounds().tail {
                let page = shard.read(next, 1 << 20).await.unwrap();
                records.extend(page.records().map(|record| {
                    let record = record.unwrap();
                    Sent {
                        sequence: record.sequence,
                        arrived_at: record.arrived_at,
                        fingerprint: record.fingerprint,
                        key: record.key.map(<[u8]>::to_vec),
                        body: record.body.to_vec(),
                    }
                }));
                next = page.end();
            }
            shards.push(records);
        }
        shards
    }

    /// Writes all that is in the log, and closes what can be closed.
    pub async fn write_all(&self, archive: &Archive) {
        for shard in self.stream.shards() {
            while archive.advance(shard, &self.schemas).await.unwrap().is_some() {}
        }
        archive.close_hours(self.stream.shards()).await.unwrap();
    }

    /// The names of all objects, without the root.
    pub async fn names(&self) -> Vec<String> {
        let objects: Vec<_> = self.store.inner.list(Some(&root())).try_collect().await.unwrap();
        let root = format!("{}/", root());
        let mut names: Vec<String> =
            objects.iter().map(|object| object.location.as_ref().strip_prefix(&root).unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    }

    pub async fn bytes_of(&self, name: &str) -> Bytes {
        self.store.inner.get(&path_of(name)).await.unwrap().bytes().await.unwrap()
    }

    pub async fn overwrite(&self, name: &str, bytes: impl Into<PutPayload>) {
        self.store.inner.put(&path_of(name), bytes.into()).await.unwrap();
    }

    pub async fn delete(&self, name: &str) {
        self.store.inner.delete(&path_of(name)).await.unwrap();
    }

    /// The one object whose name ends so.
    pub async fn named(&self, end: &str) -> String {
        let mut names = self.names().await.into_iter().filter(|name| name.ends_with(end));
        let name = names.next().unwrap_or_else(|| panic!("nothing is named {end}"));
        assert_eq!(names.next(), None);
        name
    }
}

pub async fn open_stream(engine: &dyn Engine, env: &Env, shards: u32) -> Arc<Stream> {
    let snapshots = Snapshots::new(Arc::new(InMemory::new()), Path::from("snapshots"));
    let settings = Settings { shards, retention: Duration::from_secs(86_400), retention_bytes: None };
    Stream::open(engine, snapshots, env.clone(), "flights".parse().unwrap(), settings).await.unwrap()
}

pub fn root() -> Path {
    Path::from("archive/flights")
}

fn path_of(name: &str) -> Path {
    format!("{}/{name}", root()).into()
}

pub fn hour(text: &str) -> Hour {
    text.parse().unwrap()
}

/// Every hour that there may be.
pub const ALL: (Hour, Hour) = (Hour(0), Hour(10_000_000));

/// What the archive has of each shard, and checks what pages promise.
pub async fn archived(archive: &Archive, selection: Selection, bytes_max: usize) -> Vec<Vec<Sent>> {
    let mut shards = vec![Vec::new(); archive.spec().shards as usize];
    let mut reader = archive.read(selection, OnDamage::Stop).await.unwrap();
    while let Some(page) = reader.next(bytes_max).await.unwrap() {
        take(&page, &mut shards);
    }
    shards
}

pub fn take(page: &Page, shards: &mut [Vec<Sent>]) {
    for record in page.records() {
        assert_eq!(record.schema.is_some(), record.fingerprint != Fingerprint(0xdead));
        assert!(record.schema.is_none_or(|schema| schema.fingerprint() == record.fingerprint));
        shards[record.shard.0 as usize].push(Sent {
            sequence: record.sequence,
            arrived_at: record.arrived_at,
            fingerprint: record.fingerprint,
            key: record.key.map(<[u8]>::to_vec),
            body: record.body.to_vec(),
        });
    }
}

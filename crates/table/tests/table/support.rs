//! What the tests share: rows, stores that fail, clocks that don't wait.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use weir_env::{Clock, Env};
use weir_table::{PartitionBy, SourceId, Spec, Table, View};
use weir_types::Timestamp;

/// 2013-01-01T00:00:00Z in microseconds.
pub const START: i64 = 1_356_998_400_000_000;
pub const MINUTE: i64 = 60_000_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// One row: carrier and flight and time are its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    pub carrier: String,
    pub flight: i32,
    pub at: Option<i64>,
    pub distance: i64,
}

pub fn row(carrier: &str, flight: i32, at: i64, distance: i64) -> Row {
    Row { carrier: carrier.to_owned(), flight, at: Some(at), distance }
}

pub fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("carrier", DataType::Utf8, false),
        Field::new("flight", DataType::Int32, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("distance", DataType::Int64, true),
    ]))
}

pub fn batch(rows: &[Row]) -> RecordBatch {
    RecordBatch::try_new(
        columns(),
        vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.carrier.as_str()))),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.flight))),
            Arc::new(rows.iter().map(|row| row.at).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.distance))),
        ],
    )
    .unwrap()
}

pub fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let (carrier, flight) = (column("carrier").as_string::<i32>(), column("flight").as_primitive::<Int32Type>());
    let (at, distance) =
        (column("at").as_primitive::<TimestampMicrosecondType>(), column("distance").as_primitive::<Int64Type>());
    (0..batch.num_rows())
        .map(|row| Row {
            carrier: carrier.value(row).to_owned(),
            flight: flight.value(row),
            at: at.is_valid(row).then(|| at.value(row)),
            distance: distance.value(row),
        })
        .collect()
}

/// A table of flights by day, in 4 buckets, unique by carrier, flight and time.
pub fn spec() -> Spec {
    Spec {
        partition_by: PartitionBy::Day("at".into()),
        buckets: 4,
        unique_by: vec!["carrier".into(), "flight".into(), "at".into()],
        ..Spec::new("flights".parse().unwrap(), columns())
    }
}

pub async fn open(spec: Spec, store: Arc<dyn ObjectStore>, env: &Env) -> Table {
    Table::open(spec, store, "memory:///tables/flights".parse().unwrap(), env.clone()).await.unwrap()
}

pub fn memory() -> Arc<InMemory> {
    Arc::new(InMemory::new())
}

pub fn source() -> SourceId {
    SourceId::new("stream/flights/0")
}

pub async fn read_file(store: &dyn ObjectStore, path: &Path) -> Vec<RecordBatch> {
    let bytes = store.get(path).await.unwrap().bytes().await.unwrap();
    ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().map(|batch| batch.unwrap()).collect()
}

/// All rows of a view, sorted, buffered ones too.
pub async fn rows_in(view: &View, store: &dyn ObjectStore) -> Vec<Row> {
    let mut rows = Vec::new();
    for file in view.files.iter() {
        let before = rows.len();
        for batch in read_file(store, &file.location).await {
            rows.extend(rows_of(&batch));
        }
        assert_eq!(file.rows, Some((rows.len() - before) as u64), "{}", file.path);
    }
    for batch in &view.buffered {
        assert_eq!(batch.schema(), view.schema);
        rows.extend(rows_of(batch));
    }
    rows.sort();
    rows
}

/// A clock that starts in February 2013 and never waits: who sleeps moves it.
#[derive(Debug, Default)]
pub struct Hasty {
    elapsed: AtomicU64,
}

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        Timestamp(START / 1000 + 31 * 86_400_000).after(self.elapsed())
    }
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed.load(Ordering::Relaxed))
    }
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.elapsed.fetch_add(span.as_millis() as u64, Ordering::Relaxed);
        std::future::ready(()).boxed()
    }
}

pub fn env(seed: u64) -> Env {
    Env::seeded(Hasty::default(), seed)
}

pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It is refused.
    Before,
    /// It is done, and an error is returned.
    LostReply,
}

/// A store whose writes fail as told. After a crash nothing works any more through this handle, as for a process that
/// is gone.
pub struct Faulty {
    pub inner: Arc<dyn ObjectStore>,
    dice: Mutex<Dice>,
    /// One in so many writes fails, half of them after they were done; 0 for none, 1 for all (before).
    one_in: AtomicU64,
    /// Writes until the crash.
    crash_after: AtomicU64,
    crash_is_late: AtomicBool,
    pub writes: AtomicU64,
    pub reads: Mutex<BTreeMap<String, u64>>,
}

impl Faulty {
    pub fn over(inner: Arc<dyn ObjectStore>, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            inner,
            dice: Mutex::new(Dice::new(seed)),
            one_in: AtomicU64::new(0),
            crash_after: AtomicU64::new(u64::MAX),
            crash_is_late: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            reads: Mutex::default(),
        })
    }
    pub fn fail_one_in(&self, n: u64) {
        self.one_in.store(n, Ordering::Relaxed);
    }
    /// Lets so many writes happen; the next one is the last, and is done or not.
    pub fn crash_after(&self, writes: u64, late: bool) {
        self.crash_is_late.store(late, Ordering::Relaxed);
        self.crash_after.store(self.writes.load(Ordering::Relaxed) + writes, Ordering::Relaxed);
    }
    pub fn is_dead(&self) -> bool {
        self.writes.load(Ordering::Relaxed) > self.crash_after.load(Ordering::Relaxed)
    }
    fn error() -> object_store::Error {
        object_store::Error::Generic { store: "Faulty", source: "as planned".into() }
    }
    fn alive(&self) -> Result<()> {
        if self.is_dead() { Err(Self::error()) } else { Ok(()) }
    }
    fn fault(&self) -> Fault {
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        let crash = self.crash_after.load(Ordering::Relaxed);
        if write > crash {
            return Fault::Before;
        }
        if write == crash {
            return if self.crash_is_late.load(Ordering::Relaxed) { Fault::LostReply } else { Fault::Before };
        }
        let one_in = self.one_in.load(Ordering::Relaxed);
        if one_in == 0 {
            return Fault::None;
        }
        if one_in == 1 {
            return Fault::Before;
        }
        match self.dice.lock().unwrap().below(2 * one_in) {
            0 => Fault::Before,
            1 => Fault::LostReply,
            _ => Fault::None,
        }
    }
    pub fn reads_of(&self, suffix: &str) -> u64 {
        self.reads.lock().unwrap().iter().filter(|(path, _)| path.ends_with(suffix)).map(|(_, reads)| reads).sum()
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}
impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match self.fault() {
            Fault::Before => Err(Self::error()),
            Fault::None => self.inner.put_opts(location, payload, opts).await,
            Fault::LostReply => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(Self::error())
            }
        }
    }
    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        match self.fault() {
            Fault::None => self.inner.put_multipart_opts(location, opts).await,
            _ => Err(Self::error()),
        }
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        *self.reads.lock().unwrap().entry(location.to_string()).or_default() += 1;
        self.inner.get_opts(location, options).await
    }
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.alive()?;
        *self.reads.lock().unwrap().entry(location.to_string()).or_default() += 1;
        self.inner.get_ranges(location, ranges).await
    }
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.is_dead() {
            return futures::stream::once(std::future::ready(Err(Self::error()))).boxed();
        }
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.is_dead() {
            return futures::stream::once(std::future::ready(Err(Self::error()))).boxed();
        }
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}

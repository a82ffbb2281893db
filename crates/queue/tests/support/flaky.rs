//! An engine that takes its time, and that is full now and then: as a disk is, but by a seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use tokio::sync::watch;
use weir_env::Random;
use weir_log::{
    AppendError, Block, Bounds, Condition, Engine, EngineError, Log, MemoryEngine, ReadError, ReadLimit, StoredBlock,
    TrimError,
};
use weir_types::{LogName, SequenceNumber, Timestamp};

/// One append in so many to a queue's log is refused.
const FULL_ONE_IN: u64 = 40;
/// Turns of other tasks that an append waits for, at most, before and after it is stored.
const TURNS_MAX: u64 = 4;

/// See the module's documentation. Handles of one log share its order.
pub struct FlakyEngine {
    inner: Arc<MemoryEngine>,
    random: Arc<Random>,
    order: Mutex<BTreeMap<LogName, Arc<tokio::sync::Mutex<()>>>>,
}

struct FlakyLog {
    inner: Arc<dyn Log>,
    random: Arc<Random>,
    /// Appends are stored in the order in which they came: the lock is fair.
    order: Arc<tokio::sync::Mutex<()>>,
}

impl FlakyEngine {
    pub fn new(inner: Arc<MemoryEngine>, seed: u64) -> Self {
        Self { inner, random: Arc::new(Random::seeded(seed)), order: Mutex::default() }
    }
}

impl Engine for FlakyEngine {
    fn log(&self, name: &LogName) -> BoxFuture<'_, Result<Arc<dyn Log>, EngineError>> {
        let name = name.clone();
        Box::pin(async move {
            let inner = self.inner.log(&name).await?;
            let order = self.order.lock().unwrap().entry(name).or_default().clone();
            Ok(Arc::new(FlakyLog { inner, random: self.random.clone(), order }) as Arc<dyn Log>)
        })
    }

    fn names(&self) -> Vec<LogName> {
        self.inner.names()
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        self.inner.close()
    }
}

impl FlakyLog {
    async fn wait(&self) {
        for _ in 0..self.random.next() % (TURNS_MAX + 1) {
            tokio::task::yield_now().await;
        }
    }
}

impl Log for FlakyLog {
    fn name(&self) -> &LogName {
        self.inner.name()
    }

    fn append(&self, blocks: Vec<Block>, condition: Condition) -> BoxFuture<'_, Result<SequenceNumber, AppendError>> {
        Box::pin(async move {
            let _turn = self.order.lock().await;
            self.wait().await;
            if self.name().as_str().starts_with("queue/") && self.random.next().is_multiple_of(FULL_ONE_IN) {
                return Err(AppendError::DiskFull { log: self.name().clone() });
            }
            let stored = self.inner.append(blocks, condition).await;
            self.wait().await;
            stored
        })
    }

    fn read(&self, from: SequenceNumber, limit: ReadLimit) -> BoxFuture<'_, Result<Vec<StoredBlock>, ReadError>> {
        self.inner.read(from, limit)
    }

    fn bounds(&self) -> Bounds {
        self.inner.bounds()
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn seek(&self, time: Timestamp) -> BoxFuture<'_, Result<SequenceNumber, ReadError>> {
        self.inner.seek(time)
    }

    fn trim(&self, to: SequenceNumber) -> BoxFuture<'_, Result<(), TrimError>> {
        self.inner.trim(to)
    }

    fn tail(&self) -> watch::Receiver<SequenceNumber> {
        self.inner.tail()
    }
}

//! An engine that keeps everything in memory, for tests and simulation.
//!
//! Keeps the whole contract but one part: "durable" lasts as long as the engine. Its bytes are bounded: an append that
//! would pass the bound is refused as on a full disk, and taken again after a trim.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::watch;
use weir_env::Env;
use weir_types::{LogName, SequenceNumber, Timestamp};

use crate::limits::{LOGS_MAX, check};
use crate::{
    AppendError, Block, Bounds, Condition, Engine, EngineError, Log, ReadError, ReadLimit, StoredBlock, TrimError,
};

/// The bound unless another is given: 256 MiB.
pub const BYTES_MAX_DEFAULT: u64 = 256 << 20;

/// Logs in memory.
#[derive(Debug)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
    logs: Mutex<BTreeMap<LogName, Arc<MemoryLog>>>,
}

#[derive(Debug)]
struct Shared {
    env: Env,
    bytes: AtomicU64,
    bytes_max: u64,
    closed: AtomicBool,
}

impl MemoryEngine {
    /// An empty engine that holds up to [`BYTES_MAX_DEFAULT`] bytes of payload.
    pub fn new(env: Env) -> Self {
        Self::bounded(env, BYTES_MAX_DEFAULT)
    }

    /// An empty engine that holds up to `bytes_max` bytes of payload.
    pub fn bounded(env: Env, bytes_max: u64) -> Self {
        let shared = Shared { env, bytes: AtomicU64::new(0), bytes_max, closed: AtomicBool::new(false) };
        Self { shared: Arc::new(shared), logs: Mutex::default() }
    }

    fn open(&self, name: &LogName) -> Result<Arc<dyn Log>, EngineError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(EngineError::Closed);
        }
        let mut logs = lock(&self.logs);
        if let Some(log) = logs.get(name) {
            return Ok(Arc::<MemoryLog>::clone(log));
        }
        if logs.len() >= LOGS_MAX {
            return Err(EngineError::TooManyLogs { log: name.clone(), logs_max: LOGS_MAX });
        }
        let log = Arc::new(MemoryLog {
            name: name.clone(),
            shared: Arc::clone(&self.shared),
            records: Mutex::default(),
            tail: watch::Sender::new(SequenceNumber::ZERO),
        });
        logs.insert(name.clone(), Arc::clone(&log));
        Ok(log)
    }
}

impl Engine for MemoryEngine {
    fn log(&self, name: &LogName) -> BoxFuture<'_, Result<Arc<dyn Log>, EngineError>> {
        let name = name.clone();
        Box::pin(async move { self.open(&name) })
    }

    fn names(&self) -> Vec<LogName> {
        lock(&self.logs).keys().cloned().collect()
    }

    fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async {
            self.shared.closed.store(true, Ordering::Release);
            Ok(())
        })
    }
}

impl Drop for MemoryEngine {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}

#[derive(Debug)]
struct MemoryLog {
    name: LogName,
    shared: Arc<Shared>,
    records: Mutex<Records>,
    tail: watch::Sender<SequenceNumber>,
}

#[derive(Debug, Default)]
struct Records {
    head: SequenceNumber,
    tail: SequenceNumber,
    last_at: Option<Timestamp>,
    bytes: u64,
    blocks: VecDeque<StoredBlock>,
}

impl MemoryLog {
    fn store(&self, blocks: Vec<Block>, condition: Condition) -> Result<SequenceNumber, AppendError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(AppendError::Closed);
        }
        let bytes = check(&self.name, &blocks)? as u64;
        let mut records = lock(&self.records);
        let first = records.tail;
        if let Condition::TailIs(expected) = condition
            && expected != first
        {
            return Err(AppendError::Conflict { log: self.name.clone(), expected, tail: first });
        }
        let fits = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= self.shared.bytes_max);
        if self.shared.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return Err(AppendError::DiskFull { log: self.name.clone() });
        }
        let now = self.shared.env.now();
        let appended_at = records.last_at.map_or(now, |last| last.max(now));
        records.last_at = Some(appended_at);
        records.bytes += bytes;
        for Block { records: count, payload } in blocks {
            let block = StoredBlock { first: records.tail, records: count, appended_at, payload };
            records.tail = block.end();
            records.blocks.push_back(block);
        }
        self.tail.send_replace(records.tail);
        Ok(first)
    }

    fn fetch(&self, from: SequenceNumber, limit: ReadLimit) -> Result<Vec<StoredBlock>, ReadError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(ReadError::Closed);
        }
        let records = lock(&self.records);
        if from < records.head {
            return Err(ReadError::Trimmed { log: self.name.clone(), asked: from, head: records.head });
        }
        let start = records.blocks.partition_point(|block| block.end() <= from);
        let mut room = limit.bytes_max;
        let mut found = Vec::new();
        for block in records.blocks.range(start..) {
            if !found.is_empty() && block.payload.len() > room {
                break;
            }
            room = room.saturating_sub(block.payload.len());
            found.push(block.clone());
        }
        Ok(found)
    }

    fn forget(&self, to: SequenceNumber) -> Result<(), TrimError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(AppendError::Closed.into());
        }
        let mut records = lock(&self.records);
        if to > records.tail {
            return Err(TrimError::PastTail { log: self.name.clone(), asked: to, tail: records.tail });
        }
        records.head = records.head.max(to);
        while let Some(block) = records.blocks.pop_front_if(|block| block.end() <= to) {
            let bytes = block.payload.len() as u64;
            records.bytes -= bytes;
            self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    fn find(&self, time: Timestamp) -> Result<SequenceNumber, ReadError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(ReadError::Closed);
        }
        let records = lock(&self.records);
        let index = records.blocks.partition_point(|block| block.appended_at < time);
        Ok(records.blocks.get(index).map_or(records.tail, |block| block.first.max(records.head)))
    }
}

impl Log for MemoryLog {
    fn name(&self) -> &LogName {
        &self.name
    }

    fn append(&self, blocks: Vec<Block>, condition: Condition) -> BoxFuture<'_, Result<SequenceNumber, AppendError>> {
        Box::pin(async move { self.store(blocks, condition) })
    }

    fn read(&self, from: SequenceNumber, limit: ReadLimit) -> BoxFuture<'_, Result<Vec<StoredBlock>, ReadError>> {
        Box::pin(async move { self.fetch(from, limit) })
    }

    fn bounds(&self) -> Bounds {
        let records = lock(&self.records);
        Bounds { head: records.head, tail: records.tail }
    }

    fn bytes(&self) -> u64 {
        lock(&self.records).bytes
    }

    fn seek(&self, time: Timestamp) -> BoxFuture<'_, Result<SequenceNumber, ReadError>> {
        Box::pin(async move { self.find(time) })
    }

    fn trim(&self, to: SequenceNumber) -> BoxFuture<'_, Result<(), TrimError>> {
        Box::pin(async move { self.forget(to) })
    }

    fn tail(&self) -> watch::Receiver<SequenceNumber> {
        self.tail.subscribe()
    }
}

/// Nothing in here panics while it holds a lock, so that a poisoned one still guards a whole state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_env::ManualClock;

    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        conformance::all(async || Arc::new(MemoryEngine::new(Env::system())) as Arc<dyn Engine>).await;
    }

    #[tokio::test]
    async fn a_full_engine_refuses_appends_until_it_is_trimmed() {
        let engine = MemoryEngine::bounded(Env::seeded(ManualClock::at(Timestamp(0)), 1), 100);
        let log = engine.log(&"stream/a/0".parse().unwrap()).await.unwrap();
        let block = || vec![Block { records: 1, payload: Bytes::from(vec![0; 60]) }];
        log.append(block(), Condition::Always).await.unwrap();
        assert!(matches!(log.append(block(), Condition::Always).await, Err(AppendError::DiskFull { .. })));
        log.trim(SequenceNumber(1)).await.unwrap();
        assert_eq!(log.append(block(), Condition::Always).await.unwrap(), SequenceNumber(1));
    }
}

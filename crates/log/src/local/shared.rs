//! What the writer, the readers and the tidier of one engine share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use weir_env::Env;

use super::files::Files;
use super::index::Index;
use super::options::Options;
use super::queue::Queue;
use super::sealed::SealedCache;
use super::segment::SegmentFile;
use super::tail_cache::TailCache;
use super::tidy::TidyQueue;

#[derive(Debug)]
pub(crate) struct Shared {
    pub files: Arc<dyn Files>,
    pub options: Options,
    pub env: Env,
    pub salt: u64,
    pub queue: Queue,
    pub tidy: TidyQueue,
    index: RwLock<Index>,
    active: RwLock<SegmentFile>,
    cache: Mutex<TailCache>,
    sealed: Mutex<SealedCache>,
    closed: AtomicBool,
}

impl Shared {
    pub(crate) fn new(files: Arc<dyn Files>, options: Options, env: Env, index: Index, active: SegmentFile) -> Self {
        Self {
            salt: active.seed.salt,
            queue: Queue::new(options.queue_bytes_max),
            tidy: TidyQueue::new(),
            index: RwLock::new(index),
            active: RwLock::new(active),
            cache: Mutex::new(TailCache::new(options.tail_cache_bytes_max)),
            sealed: Mutex::new(SealedCache::new(options.index_cache_bytes_max)),
            closed: AtomicBool::new(false),
            files,
            options,
            env,
        }
    }

    // Nobody panics while holding one of these locks, so that a poisoned one still guards a whole state.

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the segment that takes appends.
    pub(crate) fn active(&self) -> SegmentFile {
        self.active.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_active(&self, segment: SegmentFile) {
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = segment;
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, TailCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sealed(&self) -> MutexGuard<'_, SealedCache> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Answers nothing more.
    pub(crate) fn set_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

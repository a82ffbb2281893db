//! How far a crawl is: its stream, folded, with a snapshot now and then.
//!
//! Invariants: every event up to [`Fold::place`] is counted, once; the stream is kept from the last snapshot on. With nothing
//! to read it waits for an append, and no timer runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use weir_crawl::progress::{Event, Progress};
use weir_env::Env;
use weir_log::ReadError;
use weir_machine::{SnapshotError, Snapshots};
use weir_stream::{Page, Shard, Stream};
use weir_types::{SequenceNumber, ShardId};

use super::sink::COUNTED_KEY;
use crate::pipeline::chain;

/// What one page asks for, in bytes.
const PAGE_BYTES: usize = 1024 * 1024;
/// Bytes that are read between two snapshots: what a start reads again.
const SNAPSHOT_BYTES: u64 = 16 * 1024 * 1024;
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How far a crawl is.
pub(super) struct Fold {
    progress: Mutex<Progress>,
    /// Everything below it is counted.
    place: watch::Sender<SequenceNumber>,
    /// Where a start would begin to read.
    kept: AtomicU64,
}

impl Fold {
    /// Reads the last snapshot; one that does not read costs a longer way.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn open(snapshots: &Snapshots, crawl: &str, shard: &Shard) -> Result<Self, SnapshotError> {
        let latest = snapshots.latest(&snapshot_name(crawl)).await?;
        let restored = latest.and_then(|(place, bytes)| match Progress::restore(&bytes) {
            Ok(progress) => Some((place, progress)),
            Err(error) => {
                tracing::error!(
                    crawl,
                    error = chain(&error),
                    "the snapshot of the crawl's progress does not read; reading its stream instead"
                );
                None
            }
        });
        let head = shard.bounds().head;
        let (place, progress) = restored.unwrap_or_else(|| (head, Progress::default()));
        // What the snapshot before this one needs is kept until there is a newer one.
        let kept = AtomicU64::new(head.0);
        Ok(Self { progress: Mutex::new(progress), place: watch::Sender::new(place.max(head)), kept })
    }

    /// Reads the progress. `look` must be short: the fold waits for it.
    pub fn read<T>(&self, look: impl FnOnce(&Progress) -> T) -> T {
        look(&self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns up to where everything is counted, and wakes whoever waits for more.
    pub fn place(&self) -> watch::Receiver<SequenceNumber> {
        self.place.subscribe()
    }

    /// Waits until everything that is in the shard now is counted.
    pub async fn catch_up(&self, shard: &Shard) {
        let tail = shard.bounds().tail;
        // An error says that the node ends.
        let _ = self.place().wait_for(|place| *place >= tail).await;
    }

    /// Returns the first record that a start would need.
    pub fn needs_from(&self) -> SequenceNumber {
        SequenceNumber(self.kept.load(Ordering::Relaxed))
    }

    fn count(&self, page: &Page) -> Result<(), String> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        for record in page.records() {
            let record = record.map_err(|error| error.to_string())?;
            if record.key != Some(COUNTED_KEY) {
                continue;
            }
            match Event::decode(record.body) {
                Ok(event) => progress.apply(record.sequence, &event),
                Err(error) => return Err(format!("what was counted at {}: {}", record.sequence, chain(&error))),
            }
        }
        Ok(())
    }
}

/// What the fold's task needs.
pub(super) struct Parts {
    pub env: Env,
    pub crawl: String,
    pub stream: Arc<Stream>,
    pub shard: ShardId,
    pub snapshots: Snapshots,
    pub fold: Arc<Fold>,
}

/// Runs until `stopping` says so, or the log is closed.
pub(super) async fn run(parts: Parts, mut stopping: watch::Receiver<bool>) {
    let shard = &parts.stream.shards()[parts.shard.0 as usize];
    let mut next = *parts.fold.place.borrow();
    let mut unkept = 0;
    let mut pause = RETRY;
    loop {
        let read = async {
            shard.wait(next).await;
            if shard.bounds().tail <= next { None } else { Some(shard.read(next, PAGE_BYTES).await) }
        };
        let read = tokio::select! {
            read = read => read,
            // A sender that is gone is as good as a crash: there is nobody to wait for a snapshot.
            clean = async { stopping.wait_for(|stop| *stop).await.is_ok() } => {
                if clean && unkept > 0 {
                    keep(&parts, next).await;
                }
                return;
            }
        };
        let counted = match read {
            // The log is closed.
            None => return,
            Some(Ok(page)) => parts.fold.count(&page).map(|()| (page.end(), page.bytes())),
            Some(Err(ReadError::Trimmed { head: to, .. } | ReadError::Lost { to, .. })) if to > next => {
                tracing::error!(crawl = parts.crawl, from = %next, %to, "what was counted there is lost: the crawl's numbers are too small");
                Ok((to, 0))
            }
            Some(Err(error)) => Err(chain(&error)),
        };
        match counted {
            Ok((end, bytes)) => {
                pause = RETRY;
                next = end;
                unkept += bytes as u64;
                parts.fold.place.send_replace(next);
                if unkept >= SNAPSHOT_BYTES && keep(&parts, next).await {
                    unkept = 0;
                }
            }
            Err(error) => {
                tracing::error!(crawl = parts.crawl, error, "the crawl's progress can't be read, which is tried again");
                tokio::select! {
                    () = parts.env.sleep(parts.env.jitter(pause)) => {}
                    _ = stopping.wait_for(|stop| *stop) => return,
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Writes a snapshot; false if that failed, which costs only a longer way at the next start.
async fn keep(parts: &Parts, place: SequenceNumber) -> bool {
    let bytes = parts.fold.read(Progress::snapshot);
    match parts.snapshots.put(&snapshot_name(&parts.crawl), place, &bytes).await {
        Ok(kept) => {
            parts.fold.kept.store(kept.0, Ordering::Relaxed);
            true
        }
        Err(error) => {
            tracing::warn!(crawl = parts.crawl, error = chain(&error), "no snapshot of the crawl's progress");
            false
        }
    }
}

fn snapshot_name(crawl: &str) -> String {
    format!("crawl/{crawl}")
}

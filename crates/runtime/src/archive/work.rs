//! The task that keeps an archive up.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use weir_archive::{Archive, CloseError, Due, OpenError, RetainError, WriteError};
use weir_log::ReadError;
use weir_stream::Shard;

use super::{OpenArchive, WRITERS};
use crate::pipeline::chain;

/// How often it is looked whether a chunk is due. Costs a glance at each shard.
const ROUND: Duration = Duration::from_secs(2);
/// How often old hours are looked for.
const RETAIN_ROUND: Duration = Duration::from_secs(600);
const RETRY: Duration = Duration::from_secs(1);
/// A chunk that can't be stored is gathered from the log again by the next try.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Why a round was not whole.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("open the archive")]
    Open(#[from] OpenError),
    #[error("read the log for the archive")]
    Due(#[from] ReadError),
    #[error("write to the archive")]
    Write(#[from] WriteError),
    #[error("close an hour of the archive")]
    Close(#[from] CloseError),
    #[error("delete old hours of the archive")]
    Retain(#[from] RetainError),
}

impl OpenArchive {
    /// Keeps the archive up until the task is ended, which may be at any moment.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut pause = RETRY;
        let mut retained: Option<Duration> = None;
        loop {
            let wait = match self.round(&mut retained).await {
                Ok(()) => {
                    self.lock().trouble = None;
                    pause = RETRY;
                    ROUND
                }
                Err(error) => {
                    let trouble = chain(&error);
                    tracing::error!(stream = %self.spec.stream, error = trouble, "an archive stands still, and is tried again");
                    self.lock().trouble = Some(trouble);
                    let wait = pause;
                    pause = (pause * 2).min(RETRY_MAX);
                    wait
                }
            };
            self.env.sleep(self.env.jitter(wait)).await;
        }
    }

    async fn round(&self, retained: &mut Option<Duration>) -> Result<(), RoundError> {
        let archive = self.opened().await?;
        let (wrote, mut failed) = self.write_due(&archive).await;
        // One shard that can't be archived does not keep the others' hours from being looked at.
        match archive.close_hours(self.stream.shards()).await {
            Ok(closed) => {
                for hour in closed {
                    tracing::info!(stream = %self.spec.stream, hour = %hour.hour, records = hour.totals.records.count, files = hour.totals.files, "an hour is archived");
                }
            }
            Err(error) => failed = failed.or(Some(error.into())),
        }
        if wrote {
            self.checkpoint(&archive).await;
        }
        let now = self.env.elapsed();
        if retained.is_none_or(|last| now.saturating_sub(last) >= RETAIN_ROUND) {
            match archive.retain().await {
                Ok(expired) => {
                    if expired.objects > 0 {
                        tracing::info!(stream = %self.spec.stream, hours = expired.hours, objects = expired.objects, "old hours were deleted from the archive");
                    }
                    // As many as one call deletes: there may be more.
                    *retained = (expired.hours == 0).then_some(now);
                }
                Err(error) => failed = failed.or(Some(error.into())),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes what is due; says whether anything was written, and the first thing that failed.
    async fn write_due(&self, archive: &Archive) -> (bool, Option<RoundError>) {
        let shards = self.stream.shards().iter();
        let writing: Vec<_> = shards.map(|shard| self.write_shard(archive, shard).boxed()).collect();
        let mut writing = stream::iter(writing).buffer_unordered(WRITERS);
        let (mut wrote, mut failed) = (false, None);
        while let Some((some, error)) = writing.next().await {
            wrote |= some;
            failed = failed.or(error);
        }
        (wrote, failed)
    }

    async fn write_shard(&self, archive: &Archive, shard: &Shard) -> (bool, Option<RoundError>) {
        let mut wrote = false;
        loop {
            let due = match archive.due(shard).await {
                Ok(None) => return (wrote, None),
                Ok(Some(due)) => due,
                Err(error) => return (wrote, Some(error.into())),
            };
            // The node's semaphore is never closed.
            let Ok(_writer) = self.writers.acquire().await else { return (wrote, None) };
            match archive.advance(shard, &self.catalog).await {
                Ok(Some(written)) => {
                    wrote = true;
                    tracing::debug!(stream = %self.spec.stream, shard = %shard.id(), ?due, records = written.totals.records.count, bytes = written.totals.bytes, "archived");
                }
                Ok(None) => return (wrote, None),
                Err(error) => return (wrote, Some(error.into())),
            }
            // What is due by age is due up to now, and not again for what comes meanwhile.
            if due == Due::Interval {
                return (wrote, None);
            }
        }
    }
}

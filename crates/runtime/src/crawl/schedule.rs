//! A crawl's schedule: each time that is due asks for a run. Between two times one timer waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use weir_crawl::runs::{By, Command, Outcome, Overlap, Runs, Start};
use weir_env::Env;
use weir_machine::{Owner, SubmitError};
use weir_schedule::{Missed, Schedule};
use weir_types::Timestamp;

use crate::pipeline::chain;

/// The longest that a timer waits before the clock is looked at again: it may have been set meanwhile.
const LOOK: Duration = Duration::from_secs(3600);
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What a crawl's schedule needs.
pub(super) struct Scheduled {
    pub env: Env,
    pub crawl: String,
    pub schedule: Schedule,
    pub overlap: Overlap,
    pub runs: Owner<Runs>,
    /// Whom to tell that the machine has changed.
    pub changed: Arc<Notify>,
}

impl Scheduled {
    /// Returns up to when it is dealt with. A schedule that is new begins now.
    async fn begin(&self) -> Result<Timestamp, SubmitError> {
        let seen = self.runs.read(|runs| runs.crawl(&self.crawl).and_then(weir_crawl::runs::CrawlRuns::seen));
        if let Some(seen) = seen {
            return Ok(seen);
        }
        let time = self.env.now();
        self.runs.submit(Command::Seen { crawl: self.crawl.clone(), time }).await?;
        Ok(time)
    }

    async fn ask(&self, time: Timestamp) -> Result<(), SubmitError> {
        let start = Start {
            crawl: self.crawl.clone(),
            by: By::Schedule(time),
            params: Default::default(),
            tenants: None,
            request: None,
            overlap: self.overlap,
        };
        let outcome = self.runs.submit(Command::Start(start)).await?;
        if let Outcome::Skipped { under_way, .. } = outcome {
            tracing::warn!(crawl = self.crawl, run = under_way, "a run was left out: the one before is under way");
        }
        self.changed.notify_one();
        Ok(())
    }
}

/// Runs until `stopping` says so, or there is no further time.
pub(super) async fn run(parts: Scheduled, mut stopping: watch::Receiver<bool>) {
    let mut pause = RETRY;
    let mut begun = None;
    loop {
        let wait = match round(&parts, &mut begun).await {
            Ok(Some(wait)) => {
                pause = RETRY;
                wait
            }
            Ok(None) | Err(SubmitError::Closed { .. } | SubmitError::Fenced { .. }) => return,
            Err(error) => {
                tracing::error!(
                    crawl = parts.crawl,
                    error = chain(&error),
                    "a run could not be asked for, which is tried again"
                );
                let wait = parts.env.jitter(pause);
                pause = (pause * 2).min(RETRY_MAX);
                wait
            }
        };
        tokio::select! {
            () = parts.env.sleep(wait) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Asks for what is due, and returns how long to wait; none: for ever. `begun` is the schedule as it counts, and up to when it
/// is dealt with.
async fn round(parts: &Scheduled, begun: &mut Option<(Schedule, Timestamp)>) -> Result<Option<Duration>, SubmitError> {
    if begun.is_none() {
        let seen = parts.begin().await?;
        // What a rate counts from: the last time that was asked for, or else when the schedule began.
        *begun = Some((parts.schedule.clone().anchored(seen), seen));
    }
    let Some((schedule, last)) = begun else { return Ok(None) };
    // One run after a time that nobody saw: a crawl brings what there is.
    let due = schedule.due(*last, parts.env.now(), Missed::Once);
    for time in due.fire {
        parts.ask(time).await?;
        *last = time;
    }
    *last = (*last).max(due.seen);
    Ok(due.next.map(|next| {
        let left = next.0.saturating_sub(parts.env.now().0).max(0);
        Duration::from_millis(left.unsigned_abs()).min(LOOK)
    }))
}

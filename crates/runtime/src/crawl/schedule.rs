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

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use weir_crawl::runs::State;
    use weir_env::ManualClock;
    use weir_log::{Engine, MemoryEngine};
    use weir_machine::{Machine, Options, Snapshots};
    use weir_types::LogName;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// Lets tasks run until something holds, or they had many turns.
    async fn until(holds: impl Fn() -> bool) -> bool {
        for _ in 0..1000 {
            if holds() {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }

    #[tokio::test]
    async fn each_time_asks_for_one_run_over_restarts_and_times_that_nobody_saw_for_one() {
        let clock = ManualClock::at(Timestamp(1_700_000_000_000));
        let env = Env::seeded(clock.clone(), 1);
        let log = MemoryEngine::new(env.clone()).log(&LogName::machine(Runs::NAME)).await.unwrap();
        let snapshots = Snapshots::new(Arc::new(InMemory::new()), object_store::path::Path::default());
        let runs: Owner<Runs> = Owner::open(log, snapshots, env.clone(), Options::default()).await.unwrap();
        let known = || runs.read(|runs| runs.crawl("fleet").map(|runs| (runs.active().is_some(), runs.skipped())));
        let seen = || runs.read(|runs| runs.crawl("fleet").and_then(weir_crawl::runs::CrawlRuns::seen));
        let start = || {
            let (stop, stopping) = watch::channel(false);
            let scheduled = Scheduled {
                env: env.clone(),
                crawl: "fleet".to_owned(),
                schedule: Schedule::parse("cron(0 2 * * ? *)", None).unwrap(),
                overlap: Overlap::Skip,
                runs: runs.clone(),
                changed: Arc::new(Notify::new()),
            };
            (stop, tokio::spawn(run(scheduled, stopping)))
        };
        let (stop, task) = start();
        assert!(until(|| seen().is_some()).await);
        assert_eq!(known(), Some((false, 0)), "a schedule that is new has no past");
        // The longest that a timer waits is an hour.
        for _ in 0..25 {
            clock.advance(DAY / 24);
            until(|| known() == Some((true, 0))).await;
        }
        assert_eq!(known(), Some((true, 0)));
        assert_eq!(runs.read(|runs| runs.crawl("fleet").unwrap().active().unwrap().state), State::Running);
        stop.send_replace(true);
        task.await.unwrap();
        // Three times pass while nothing runs: one of them asks, and is left out for the run that is under way.
        clock.advance(3 * DAY);
        let (_stop, _task) = start();
        assert!(until(|| known() == Some((true, 1))).await, "{:?}", known());
        until(|| known() != Some((true, 1))).await;
        assert_eq!(known(), Some((true, 1)));
    }
}

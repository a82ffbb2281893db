//! The keeper of a crawl: brings runs from their start to their end, as the machine of runs says.
//!
//! ```text
//! running --(not begun)--> marker, roots: one append --> workers --(nothing open)--> marker: one append --> complete
//! paused ---> workers hold
//! cancelling --> workers hold --(nothing held)--> marker: one append, purge --> cancelled
//! ```
//!
//! Invariants: what is decided here is decided from the machine and the fold alone, when the fold has seen everything that was
//! stored: so a crash at any point is followed by the same step. A run ends when its marker is durable; the machine hears of it
//! afterwards. It sleeps until something changes, or a run's time is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use weir_crawl::RunValues;
use weir_crawl::progress::{self, Event, Step};
use weir_crawl::runs::{Change, Command, Run, Runs, State};
use weir_machine::{Owner, SubmitError};
use weir_stream::Stream;
use weir_types::{Fingerprint, ShardId, Timestamp};

use super::api::RunAsk;
use super::crew::{Crew, Orders};
use super::fold::Fold;
use super::marker::{End, Mark, Marker, RUN_KEY};
use super::{sink, task};
use crate::function::outbox::{Finished, MADE_BYTES_MAX, Made, Outbox, Progress};
use crate::pipeline::chain;

const RETRY: Duration = Duration::from_secs(1);

/// What a keeper needs.
pub(super) struct Keeper {
    pub crew: Arc<Crew>,
    pub stream: Arc<Stream>,
    pub shard: ShardId,
    pub fold: Arc<Fold>,
    pub outbox: Outbox,
    pub runs: Owner<Runs>,
    pub orders: watch::Sender<Orders>,
    /// Told whenever the machine has changed, or the last leased task is done.
    pub changed: Arc<Notify>,
    /// How long a run may take.
    pub timeout: Option<Duration>,
}

/// Why a step could not be taken.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error("the node ends")]
    Closed,
}

/// What the keeper waits for.
enum Next {
    /// A change, or the end of a span.
    Change(Option<Duration>),
    /// Nothing: there is more to do.
    Now,
}

impl Keeper {
    /// Runs until `stopping` says so.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let keep = async {
            self.fold.catch_up(&self.stream.shards()[self.shard.0 as usize]).await;
            let mut place = self.fold.place();
            loop {
                place.mark_unchanged();
                match self.step().await {
                    Ok(Next::Now) => {}
                    Ok(Next::Change(within)) => {
                        let timer = async {
                            match within {
                                Some(within) => self.crew.env.sleep(within).await,
                                None => std::future::pending().await,
                            }
                        };
                        tokio::select! {
                            () = self.changed.notified() => {}
                            counted = place.changed() => if counted.is_err() { return },
                            () = timer => {}
                        }
                    }
                    Err(Halt::Closed | Halt::Submit(SubmitError::Closed { .. } | SubmitError::Fenced { .. })) => return,
                    Err(error) => {
                        tracing::error!(
                            crawl = self.crew.crawl,
                            error = chain(&error),
                            "a run can't go on, which is tried again"
                        );
                        self.crew.env.sleep(self.crew.env.jitter(RETRY)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = keep => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }

    fn order(&self, orders: Orders) {
        self.orders.send_if_modified(|before| {
            let changes = before.run() != orders.run();
            if changes {
                *before = orders;
            }
            changes
        });
    }

    async fn step(&self) -> Result<Next, Halt> {
        let active = self.runs.read(|runs| runs.crawl(&self.crew.crawl).and_then(|runs| runs.active().cloned()));
        let Some(run) = active else {
            self.order(Orders::Hold);
            return Ok(Next::Change(None));
        };
        let known = self.fold.read(|progress| progress.run(run.number).map(|run| (run.ended(), run.open_tasks())));
        match (known, run.state) {
            (Some((Some((how, _)), _)), _) => self.tell(&run, how).await,
            (None, State::Cancelling) => self.end(&run, End::Cancelled).await,
            (None, _) => self.begin(&run).await,
            (Some((None, _)), State::Cancelling) => {
                self.order(Orders::Hold);
                if self.crew.held.len() > 0 {
                    return Ok(Next::Change(None));
                }
                self.end(&run, End::Cancelled).await
            }
            (Some((None, _)), State::Paused) => {
                self.order(Orders::Hold);
                Ok(Next::Change(None))
            }
            (Some((None, 0)), _) => {
                self.order(Orders::Hold);
                if self.crew.held.len() > 0 {
                    // A task that was redriven may still make others.
                    return Ok(Next::Change(None));
                }
                self.catch_up().await;
                match self.fold.read(|progress| progress.open_tasks(run.number)) {
                    Some(0) => self.end(&run, End::Complete).await,
                    _ => Ok(Next::Now),
                }
            }
            (Some(_), _) => {
                if let Some(left) = self.time_left(&run) {
                    if left.is_zero() {
                        let reason = "it took longer than its `timeout`".to_owned();
                        self.change(&run, Change::Cancel { reason: Some(reason) }).await?;
                        return Ok(Next::Now);
                    }
                    self.order(Orders::Work(Arc::new(values(&run))));
                    return Ok(Next::Change(Some(left)));
                }
                self.order(Orders::Work(Arc::new(values(&run))));
                Ok(Next::Change(None))
            }
        }
    }

    async fn catch_up(&self) {
        self.fold.catch_up(&self.stream.shards()[self.shard.0 as usize]).await;
    }

    fn time_left(&self, run: &Run) -> Option<Duration> {
        let ends = run.started_at?.after(self.timeout?).after(Duration::from_millis(run.paused_ms));
        Some(Duration::from_millis(u64::try_from(ends.0.saturating_sub(self.crew.env.now().0)).unwrap_or(0)))
    }

    /// Stores a run's beginning: its marker, what it begins with, and its first tasks.
    async fn begin(&self, run: &Run) -> Result<Next, Halt> {
        self.order(Orders::Hold);
        let values = values(run);
        let problems: Vec<String> = match self.crew.plan.check(&values) {
            Ok(()) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        };
        if !problems.is_empty() {
            return self.fail(run, problems.join("; ")).await;
        }
        let roots = self.crew.plan.roots(&values);
        let steps = self.crew.plan.shape().iter();
        let steps = steps.map(|step| Step { resource: step.resource.clone(), parent: step.parent.clone() }).collect();
        let mut made = vec![
            marker(run.number, Mark::Started),
            sink::event(&Event::started(run.number, self.crew.env.now(), steps, &roots)),
        ];
        for root in &roots {
            match task::made(root, None) {
                Ok(task) => made.push(task),
                Err(error) => return self.fail(run, error.to_string()).await,
            }
        }
        let bytes: usize = made.iter().map(|made| made.body.len() + 32).sum();
        if bytes > MADE_BYTES_MAX {
            return self.fail(run, format!("its {} first tasks are too many to begin with", roots.len())).await;
        }
        tracing::info!(crawl = self.crew.crawl, run = run.number, tasks = roots.len(), "a run begins");
        self.store(made).await?;
        self.catch_up().await;
        Ok(Next::Now)
    }

    async fn fail(&self, run: &Run, reason: String) -> Result<Next, Halt> {
        tracing::error!(crawl = self.crew.crawl, run = run.number, reason, "a run can't begin");
        self.change(run, Change::Fail { reason, counts: Default::default() }).await?;
        Ok(Next::Now)
    }

    /// Stores a run's end.
    async fn end(&self, run: &Run, end: End) -> Result<Next, Halt> {
        let how = match end {
            End::Complete => progress::End::Complete,
            End::Cancelled => progress::End::Cancelled,
            End::Failed => progress::End::Failed,
        };
        let begun = self.fold.read(|progress| progress.run(run.number).is_some());
        if begun {
            let event = Event::Ended { run: run.number, at: self.crew.env.now(), how };
            // The marker before the event: whoever is told of the end by the fold finds the marker.
            self.store(vec![marker(run.number, Mark::Ended(end)), sink::event(&event)]).await?;
            self.catch_up().await;
            Ok(Next::Now)
        } else {
            // It never began.
            self.tell(run, how).await
        }
    }

    /// Tells the machine that a run's end is durable.
    async fn tell(&self, run: &Run, how: progress::End) -> Result<Next, Halt> {
        self.order(Orders::Hold);
        let known =
            self.fold.read(|progress| progress.run(run.number).map(|run| (run.counts(), run.cursors().0.clone())));
        let (counts, cursors) = known.unwrap_or_default();
        let change = match how {
            progress::End::Complete => Change::Complete { counts, cursors },
            progress::End::Cancelled => {
                if let Err(error) = self.crew.queue.purge().await {
                    if error.is_closed() {
                        return Err(Halt::Closed);
                    }
                    // They are dropped one by one, when they are met.
                    tracing::warn!(
                        crawl = self.crew.crawl,
                        error = chain(&error),
                        "the tasks of a cancelled run could not be deleted at once"
                    );
                }
                Change::Cancelled { counts }
            }
            progress::End::Failed => Change::Fail { reason: "it could not go on".to_owned(), counts },
        };
        tracing::info!(crawl = self.crew.crawl, run = run.number, ?how, "a run is over");
        self.change(run, change).await?;
        Ok(Next::Now)
    }

    async fn change(&self, run: &Run, change: Change) -> Result<(), Halt> {
        let crawl = self.crew.crawl.clone();
        let outcome = self.runs.submit(Command::Change { crawl, run: run.number, change }).await?;
        tracing::debug!(crawl = self.crew.crawl, run = run.number, ?outcome, "a run changed");
        Ok(())
    }

    /// Stores records, and returns when they are durable.
    async fn store(&self, made: Vec<Made>) -> Result<(), Halt> {
        let (done, told) = oneshot::channel();
        let (progress, letters, counts) = (Progress::Nothing, Vec::new(), Vec::new());
        self.outbox.store(Finished { progress, made, letters, counts, done: Some(done) }).await;
        told.await.map_err(|_| Halt::Closed)
    }
}

fn marker(run: u64, mark: Mark) -> Made {
    Made { key: RUN_KEY.to_vec(), fingerprint: Fingerprint(0), body: Marker { run, mark }.encode() }
}

/// Returns what a run that is asked for would give to templates.
pub(super) fn values_of(ask: &RunAsk, now: Timestamp) -> RunValues {
    RunValues { params: ask.params.clone(), tenants: ask.tenants.clone().unwrap_or_default(), ..RunValues::new(0, now) }
}

/// Returns what a run gives to templates.
pub(super) fn values(run: &Run) -> RunValues {
    RunValues {
        run: run.number,
        started: run.started_at.unwrap_or(run.asked_at),
        params: run.params.clone(),
        tenants: run.tenants.clone().unwrap_or_default(),
        starts: run.starts.clone(),
    }
}

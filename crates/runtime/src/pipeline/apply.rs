//! The writing half: batches into the table, and commits by size and age.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use weir_stream::CheckpointCommand;
use weir_table::{AppendError, Appended, CommitError, Committed, Refused, ReshapeError, Rule, SourceId, Table};
use weir_types::SequenceNumber;

use super::aside::Into;
use super::read::{By, Prepared};
use super::{OnRepeat, Parts, Told, Trouble, Work};
use crate::dead::Letter;
use crate::ledger::CoveredPage;

/// How long places wait for a commit when no rows do: after repeats only, say.
const PLACES_LINGER: Duration = Duration::from_secs(30);
pub(super) const RETRY: Duration = Duration::from_millis(200);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(30);

type Commit = JoinHandle<Result<Committed, CommitError>>;

pub(super) struct Applier {
    pub(super) parts: Arc<Parts>,
    incoming: mpsc::Receiver<Work>,
    applied: watch::Sender<Vec<SequenceNumber>>,
    /// Counted up by every commit.
    commits: watch::Sender<u64>,
    pub(super) trouble: Arc<Trouble>,
    pub(super) stopping: watch::Receiver<bool>,
    commit: Option<Commit>,
    pause: Duration,
    /// When a commit that failed is tried again.
    retry_at: Option<Duration>,
    places_since: Option<Duration>,
}

/// Why the pipeline is over.
pub(super) enum Over {
    /// The table has another owner.
    Fenced,
    /// It is to end, and can't finish what it is at.
    Stopped,
}

impl Applier {
    pub fn new(
        parts: Arc<Parts>,
        incoming: mpsc::Receiver<Work>,
        applied: watch::Sender<Vec<SequenceNumber>>,
        commits: watch::Sender<u64>,
        trouble: Arc<Trouble>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            parts,
            incoming,
            applied,
            commits,
            trouble,
            stopping,
            commit: None,
            pause: RETRY,
            retry_at: None,
            places_since: None,
        }
    }

    pub async fn run(mut self) {
        if let Err(Over::Fenced) = self.work().await {
            tracing::error!(table = %self.parts.name, "another process writes this table; stepping down until restart");
        }
    }

    async fn work(&mut self) -> Result<(), Over> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            reshaped = self.reshape() => reshaped?,
            // What is rewritten already is found by the next start.
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        }
        loop {
            let due = self.due();
            tokio::select! {
                work = self.incoming.recv() => match work {
                    Some(Work::Page(prepared)) => self.apply(*prepared).await?,
                    // One that failed waits for its time.
                    Some(Work::Commit) if self.retry_at.is_none() => self.begin_commit(),
                    Some(Work::Commit) => {}
                    None => break,
                },
                result = finished(&mut self.commit), if self.commit.is_some() => {
                    self.commit = None;
                    self.committed(result).await?;
                }
                () = self.parts.env.sleep(due.unwrap_or_default()), if due.is_some() => self.begin_commit(),
            }
        }
        self.drain().await
    }

    /// Lets the files follow the columns, if they have to before the table takes rows.
    async fn reshape(&mut self) -> Result<(), Over> {
        self.reshape_table(self.parts.table.clone()).await?;
        match &self.parts.aside {
            Some(aside) => self.reshape_table(aside.table.clone()).await,
            None => Ok(()),
        }
    }

    async fn reshape_table(&mut self, table: Arc<Table>) -> Result<(), Over> {
        let mut pause = RETRY;
        while let Some(reshaping) = table.reshaping() {
            tracing::info!(table = %table.spec().name, files = reshaping.files, bytes = reshaping.bytes, %reshaping, "files are written anew");
            match table.reshape().await {
                Ok(()) => self.trouble.of_applier(None),
                Err(error) => {
                    self.trouble.of_applier(Some(chain(&error)));
                    if let ReshapeError::Commit(CommitError::Fenced { .. }) = error {
                        return Err(Over::Fenced);
                    }
                    tracing::error!(table = %self.parts.name, error = chain(&error), "files could not be written anew, which is tried again");
                    self.parts.env.sleep(self.parts.env.jitter(pause)).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
        Ok(())
    }

    /// Says when the next commit is due; `None` if there is nothing to commit or one is under way.
    fn due(&mut self) -> Option<Duration> {
        if self.commit.is_some() {
            return None;
        }
        let pending = self.parts.fed().pending();
        let now = self.parts.env.elapsed();
        if let Some(at) = self.retry_at {
            return Some(at.saturating_sub(now));
        }
        if pending.bytes >= self.parts.commit_bytes {
            return Some(Duration::ZERO);
        }
        match pending.oldest {
            Some(age) => Some(self.parts.freshness.saturating_sub(age)),
            None if pending.moved => {
                let since = *self.places_since.get_or_insert(now);
                Some(PLACES_LINGER.saturating_sub(now.saturating_sub(since)))
            }
            None => {
                self.places_since = None;
                None
            }
        }
    }

    fn begin_commit(&mut self) {
        if self.commit.is_none() {
            let table = self.parts.fed().clone();
            self.commit = Some(tokio::spawn(async move { table.commit().await }));
        }
    }

    async fn committed(&mut self, result: Result<Committed, CommitFailed>) -> Result<(), Over> {
        match result {
            Ok(committed) => {
                self.pause = RETRY;
                self.retry_at = None;
                self.places_since = None;
                self.trouble.of_applier(None);
                tracing::debug!(table = %self.parts.name, version = committed.version, rows = committed.rows, files = committed.files, "committed");
                self.checkpoint().await;
                self.told_commit();
                Ok(())
            }
            Err(error @ CommitFailed::Table(CommitError::Fenced { .. })) => {
                self.trouble.of_applier(Some(chain(&error)));
                Err(Over::Fenced)
            }
            Err(error) => {
                tracing::error!(table = %self.parts.name, error = chain(&error), "a commit failed, and is tried again");
                self.trouble.of_applier(Some(chain(&error)));
                self.pause = (self.pause * 2).min(RETRY_MAX);
                self.retry_at = Some(self.parts.env.elapsed() + self.pause);
                Ok(())
            }
        }
    }

    /// Wakes whoever waits for a commit.
    pub(super) fn told_commit(&self) {
        self.commits.send_modify(|commits| *commits += 1);
    }

    /// Waits for the commit that is under way, if one is.
    pub(super) async fn finish_commit(&mut self) -> Result<(), Over> {
        if self.commit.is_none() {
            return Ok(());
        }
        let result = finished(&mut self.commit).await;
        self.commit = None;
        self.committed(result).await
    }

    /// Tells the checkpoints how far the table is. The table itself is what counts: one that is missed is no loss.
    async fn checkpoint(&self) {
        let sources = self.parts.sources.iter();
        let read = sources
            .filter_map(|source| Some((source.shard().log().name().clone(), self.parts.committed(source)?)))
            .collect();
        let consumer = format!("table/{}", self.parts.name);
        if let Err(error) = self.parts.checkpoints.submit(CheckpointCommand::Set { consumer, read }).await {
            tracing::warn!(table = %self.parts.name, %error, "a checkpoint was not stored");
        }
    }

    async fn apply(&mut self, prepared: Prepared) -> Result<(), Over> {
        let Prepared { by, into, from, next, hour, mut counts, rows, letters, on_repeat } = prepared;
        self.park(letters).await;
        let source = match &by {
            By::Reader(index) => self.parts.sources[*index].source(),
            By::Replay { source, .. } => source.clone(),
        };
        let seen = [(source, next.0)];
        let rows = rows.unwrap_or_else(|| arrow::array::RecordBatch::new_empty(self.parts.columns.clone()));
        #[cfg(test)]
        let rows = match self.parts.drop_row.load(std::sync::atomic::Ordering::Relaxed) && rows.num_rows() > 0 {
            true => {
                self.parts.drop_row.store(false, std::sync::atomic::Ordering::Relaxed);
                rows.slice(0, rows.num_rows() - 1)
            }
            false => rows,
        };
        // A commit under way could take these places before the letters of refused rows are durable.
        let spec = self.parts.table.spec();
        if spec.late == Rule::DeadLetter || spec.timeless == Rule::DeadLetter {
            self.finish_commit().await?;
        }
        let parts = self.parts.clone();
        let appended = match (&parts.aside, into, &by) {
            (Some(aside), Into::Aside, _) => self.append_to(&aside.table, &rows, &seen).await?,
            (Some(aside), Into::Between, By::Reader(index)) => self.append_between(aside, *index, &rows, next).await?,
            (Some(_), Into::Marker(_), _) => Appended::default(),
            (Some(_), ..) => self.append_to(&parts.table, &rows, &seen).await?,
            (None, ..) => self.append(&rows, &seen, on_repeat).await?,
        };
        counts.added = appended.added;
        counts.repeats = appended.repeats;
        counts.replaced = appended.replaced;
        counts.refused = appended.refused.len() as u64;
        counts.late = appended.late;
        if matches!(by, By::Reader(_)) && self.parts.books.are_kept() {
            // At once: a commit that has these rows waits for it.
            let page = CoveredPage { from: from.0, to: next.0, hour, counts };
            parts.covered_of(into).push(seen[0].0.as_str(), page);
        }
        match (&parts.aside, into, &by) {
            (Some(aside), Into::Marker(marker), By::Reader(index)) => {
                self.mark(aside, *index, marker, next).await?;
            }
            // What is redriven is few, and nothing else makes the table commit.
            (Some(_), Into::Table, _) => self.commit_table().await?,
            _ => {}
        }
        self.park(self.letters_of(&rows, &appended.refused)).await;
        match by {
            By::Reader(index) => {
                if on_repeat == OnRepeat::Replace {
                    self.parts.replayed.count(&appended);
                }
                self.applied.send_modify(|applied| applied[index] = next);
            }
            By::Replay { told, .. } => {
                // A replay that is gone finds its place in the table.
                let _ = told.send(Told { next, rows: rows.num_rows() as u64, appended });
            }
        }
        Ok(())
    }

    /// Appends until it is taken: a full buffer waits for its commit, a store that is down for its return.
    async fn append(
        &mut self,
        rows: &arrow::array::RecordBatch,
        seen: &[(SourceId, u64)],
        on_repeat: OnRepeat,
    ) -> Result<Appended, Over> {
        let table = self.parts.table.clone();
        let append = || async {
            match on_repeat {
                OnRepeat::Keep => table.append(rows.clone(), seen).await,
                OnRepeat::Replace => table.append_replacing(rows.clone(), seen).await,
            }
        };
        self.until_taken(append).await
    }

    /// Appends to one of the pipeline's tables, likewise.
    pub(super) async fn append_to(
        &mut self,
        table: &Table,
        rows: &arrow::array::RecordBatch,
        seen: &[(SourceId, u64)],
    ) -> Result<Appended, Over> {
        self.until_taken(|| table.append(rows.clone(), seen)).await
    }

    async fn until_taken<F>(&mut self, append: impl Fn() -> F) -> Result<Appended, Over>
    where
        F: Future<Output = Result<Appended, AppendError>>,
    {
        let mut pause = RETRY;
        loop {
            match append().await {
                Ok(appended) => return Ok(appended),
                Err(AppendError::Full { .. }) => {
                    self.begin_commit();
                    let result = finished(&mut self.commit).await;
                    self.commit = None;
                    self.committed(result).await?;
                    if self.retry_at.is_some() {
                        self.parts.env.sleep(self.pause).await;
                    }
                }
                Err(error) => {
                    tracing::error!(table = %self.parts.name, error = chain(&error), "an append failed, and is tried again");
                    self.trouble.of_applier(Some(chain(&error)));
                    self.parts.env.sleep(self.parts.env.jitter(pause)).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Keeps letters until they are durable: their records must not be passed over before.
    async fn park(&self, letters: Vec<Letter>) {
        if letters.is_empty() {
            return;
        }
        let Some(dead_letters) = &self.parts.dead_letters else {
            // The dead letters' own pipeline has none to turn to.
            tracing::error!(
                count = letters.len(),
                first = letters[0].error,
                "dead letters that can't be read are dropped"
            );
            return;
        };
        let mut pause = RETRY;
        while let Err(error) = dead_letters.park(letters.clone()).await {
            tracing::error!(table = %self.parts.name, error = chain(&error), "dead letters could not be stored, and are tried again");
            self.trouble.of_applier(Some(chain(&error)));
            self.parts.env.sleep(self.parts.env.jitter(pause)).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    fn letters_of(&self, rows: &arrow::array::RecordBatch, refused: &[Refused]) -> Vec<Letter> {
        let source = format!("stream/{}", self.parts.stream.stream.name());
        let target = format!("table/{}", self.parts.name);
        let letter = |refused: &Refused| {
            let row = row_as_json(rows, refused.row);
            Letter::of_row(&self.parts.env, source.clone(), target.clone(), refused.reason.to_string(), row)
        };
        refused.iter().map(letter).collect()
    }

    /// The reader has ended: what was applied is committed, within the time that the caller gives.
    async fn drain(&mut self) -> Result<(), Over> {
        self.finish_commit().await?;
        let fed = self.parts.fed().clone();
        let pending = fed.pending();
        if pending.rows > 0 || pending.moved {
            let result = fed.commit().await;
            self.committed(result.map_err(CommitFailed::Table)).await?;
        }
        Ok(())
    }
}

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
enum CommitFailed {
    #[error(transparent)]
    Table(#[from] CommitError),
    /// A defect. What the commit was about is still pending, and tried again.
    #[error("the commit panicked: {0}")]
    Panicked(String),
}

async fn finished(commit: &mut Option<Commit>) -> Result<Committed, CommitFailed> {
    match commit {
        Some(task) => match task.await {
            Ok(result) => Ok(result?),
            Err(panic) => Err(CommitFailed::Panicked(panic.to_string())),
        },
        None => std::future::pending().await,
    }
}

fn row_as_json(rows: &arrow::array::RecordBatch, row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
    let written = writer.write(&rows.slice(row, 1)).and_then(|()| writer.finish());
    if let Err(error) = written {
        return format!("the row can't be written as JSON: {error}").into_bytes();
    }
    out
}

/// Writes an error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

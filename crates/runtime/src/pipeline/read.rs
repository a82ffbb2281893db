//! The reading half: pages of the shards into batches of rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::{mpsc, watch};
use weir_ledger::Counts;
use weir_log::ReadError;
use weir_stream::Page;
use weir_table::SourceId;
use weir_types::{Hour, SequenceNumber};

use super::aside::{self, Into};
use super::prepare::{Halt, Preparer};
use super::{OnRepeat, Parts, Told, Trouble, Work};
use crate::dead::Letter;

/// What one page asks for, in bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Rows of one page, and how far it read its shard.
pub(crate) struct Prepared {
    pub by: By,
    pub into: Into,
    pub from: SequenceNumber,
    pub next: SequenceNumber,
    /// The hour in which the records arrived; none: they were gone before they could be read.
    pub hour: Option<Hour>,
    /// What became of the records so far.
    pub counts: Counts,
    /// None if the page gave no rows.
    pub rows: Option<RecordBatch>,
    pub letters: Vec<Letter>,
    pub on_repeat: OnRepeat,
}

/// Who has read a page.
pub(crate) enum By {
    /// The pipeline's own reader, from this one of its sources.
    Reader(usize),
    /// A replay, which has places of its own in the table and is told what became of the page.
    Replay { source: SourceId, told: mpsc::UnboundedSender<Told> },
}

pub(super) struct Reader {
    parts: Arc<Parts>,
    next: Vec<SequenceNumber>,
    work: mpsc::Sender<Work>,
    trouble: Arc<Trouble>,
    stopping: watch::Receiver<bool>,
}

impl Reader {
    pub fn new(
        parts: Arc<Parts>,
        next: Vec<SequenceNumber>,
        work: mpsc::Sender<Work>,
        trouble: Arc<Trouble>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { parts, next, work, trouble, stopping }
    }

    pub async fn run(mut self) {
        let mut preparer = match Preparer::new(self.parts.clone()) {
            Ok(preparer) => preparer,
            // The plan was checked against the same mapping.
            Err(error) => return self.trouble.of_reader(Some(error.to_string())),
        };
        let mut stopping = self.stopping.clone();
        let mut pause = RETRY;
        loop {
            let work = async {
                let mut moved = false;
                for index in 0..self.next.len() {
                    moved |= self.read_shard(index, &mut preparer).await?;
                }
                Ok::<bool, Halt>(moved)
            };
            let outcome = tokio::select! {
                outcome = work => outcome,
                _ = stopping.wait_for(|stop| *stop) => return,
            };
            let wait = async {
                match outcome {
                    Ok(true) => pause = RETRY,
                    Ok(false) => self.wait_for_more().await,
                    Err(halt) => {
                        tracing::error!(table = %self.parts.name, error = %halt, "a pipeline stands still");
                        self.trouble.of_reader(Some(halt.to_string()));
                        self.parts.env.sleep(self.parts.env.jitter(pause)).await;
                        pause = (pause * 2).min(RETRY_MAX);
                    }
                }
            };
            tokio::select! {
                () = wait => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            if self.work.is_closed() {
                return;
            }
        }
    }

    async fn wait_for_more(&self) {
        let sources = self.parts.sources.iter().zip(&self.next);
        let read = sources.filter(|(source, _)| !self.parts.holds_back(source));
        let waits = read.map(|(source, next)| Box::pin(source.shard().wait(*next)));
        futures::future::select_all(waits).await;
    }

    /// Reads one page of a shard, if it has more, and hands on what became of it.
    async fn read_shard(&mut self, index: usize, preparer: &mut Preparer) -> Result<bool, Halt> {
        let parts = self.parts.clone();
        let shard = parts.sources[index].shard();
        let from = self.next[index];
        if shard.bounds().tail <= from || parts.holds_back(&parts.sources[index]) {
            return Ok(false);
        }
        let page = match shard.read(from, PAGE_BYTES).await {
            Ok(page) => page,
            // What can't come back must not hold up what is there; it is counted, and the log says which records.
            Err(ReadError::Trimmed { head: to, .. } | ReadError::Lost { to, .. }) if to > from => {
                let lost = to.since(from);
                tracing::error!(shard = %shard.log().name(), %from, %to, lost, "records are gone before the table had read them");
                self.parts.lost.fetch_add(lost, Ordering::Relaxed);
                // The table's place moves too, so that queries don't wait for what can't come, and a restart is past it.
                let (rows, letters, counts) = (None, Vec::new(), Counts::default());
                let (by, on_repeat) = (By::Reader(index), parts.sources[index].on_repeat);
                let into = parts.lands(&parts.sources[index]);
                let gone = Prepared { by, into, from, next: to, hour: None, counts, rows, letters, on_repeat };
                let _ = self.work.send(Work::Page(Box::new(gone))).await;
                self.next[index] = to;
                return Ok(true);
            }
            Err(error) => return Err(Halt::Read(error)),
        };
        if page.is_empty() {
            return Ok(false);
        }
        #[cfg(test)]
        if parts.skip_page.swap(false, Ordering::Relaxed) {
            self.next[index] = page.end();
            return Ok(true);
        }
        // An hour is an account: what a function makes of records of two could not be told apart.
        let page = page.of_one_hour();
        if parts.books.are_kept() {
            let noted = parts.books.shards.note(shard, &page);
            noted.map_err(|error| Halt::Columns(format!("{}: {error}", shard.log().name())))?;
        }
        let source = &parts.sources[index];
        let pages = page.split_by(|block| source.on_repeat_of(block));
        let pages = pages.map_err(|error| Halt::Columns(format!("{}: {error}", shard.log().name())))?;
        for (on_repeat, page) in pages {
            match &parts.aside {
                Some(aside) if parts.is_gathered(source) => {
                    let taken = parts.table.positions().get(&aside::taken(source)).copied().unwrap_or(0);
                    let cut = aside::cut(&page, aside.is_under_way(), SequenceNumber(taken));
                    let cut = cut.map_err(|error| Halt::Columns(format!("{}: {error}", shard.log().name())))?;
                    for (into, page) in cut.parts {
                        self.hand_on(index, into, on_repeat, page, preparer).await?;
                    }
                    aside.set_under_way(cut.within);
                }
                _ => self.hand_on(index, Into::Table, on_repeat, page, preparer).await?,
            }
        }
        Ok(true)
    }

    /// Makes rows of a page and hands them on.
    async fn hand_on(
        &mut self,
        index: usize,
        into: Into,
        on_repeat: OnRepeat,
        page: Page,
        preparer: &mut Preparer,
    ) -> Result<(), Halt> {
        let (from, next, hour) = (self.next[index], page.end(), page.hour());
        let parts = self.parts.clone();
        let made = preparer.prepare(&parts.sources[index], &page).await?;
        self.trouble.of_reader(None);
        let (by, counts, rows, letters) = (By::Reader(index), made.counts, made.rows, made.letters);
        let prepared = Prepared { by, into, from, next, hour, counts, rows, letters, on_repeat };
        // A closed channel ends the loop in `run`.
        let _ = self.work.send(Work::Page(Box::new(prepared))).await;
        self.next[index] = next;
        Ok(())
    }
}

//! The reading half: pages of the shards into batches of rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use hashbrown::HashMap;
use tokio::sync::{mpsc, watch};
use weir_function::{Lookups, RunError, isolate};
use weir_log::ReadError;
use weir_schema::{ColumnDecoder, Lookup, Schema};
use weir_stream::{Page, Record};
use weir_table::SourceId;
use weir_types::{Fingerprint, SequenceNumber};

use super::{OnRepeat, Parts, SourceShard, Told, Trouble, Work, chain};
use crate::dead::{Cause, Letter};

/// What one page asks for, in bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Rows of one page, and how far it read its shard.
pub(crate) struct Prepared {
    pub from: From,
    pub next: SequenceNumber,
    /// None if the page gave no rows.
    pub rows: Option<RecordBatch>,
    pub letters: Vec<Letter>,
    pub on_repeat: OnRepeat,
}

/// Who has read a page.
pub(crate) enum From {
    /// The pipeline's own reader, from this one of its sources.
    Live(usize),
    /// A replay, which has places of its own in the table and is told what became of the page.
    Replay { source: SourceId, told: mpsc::UnboundedSender<Told> },
}

pub(super) struct Reader {
    parts: Arc<Parts>,
    next: Vec<SequenceNumber>,
    work: mpsc::Sender<Work>,
    trouble: Arc<Trouble>,
    stopping: watch::Receiver<bool>,
    rows: Rows,
}

/// Makes rows of records: decodes them, and runs the function.
pub(crate) struct Rows {
    parts: Arc<Parts>,
    /// The replay that the records are read for, if it is one.
    replay: Option<String>,
    writers: HashMap<Fingerprint, Option<Schema>>,
}

/// Why a page could not be prepared, by no fault of a record.
pub(crate) enum Halt {
    Read(ReadError),
    Run(RunError),
    Columns(String),
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => f.write_str(&chain(error)),
            Self::Run(error) => f.write_str(&chain(error)),
            Self::Columns(error) => f.write_str(error),
        }
    }
}

impl Reader {
    pub fn new(
        parts: Arc<Parts>,
        next: Vec<SequenceNumber>,
        work: mpsc::Sender<Work>,
        trouble: Arc<Trouble>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let rows = Rows::new(parts.clone(), None);
        Self { parts, next, work, trouble, stopping, rows }
    }

    pub async fn run(mut self) {
        let mut decoder = match ColumnDecoder::new(&self.parts.stream.schema) {
            Ok(decoder) => decoder,
            // The plan was checked against the same mapping.
            Err(error) => return self.trouble.of_reader(Some(error.to_string())),
        };
        let mut stopping = self.stopping.clone();
        let mut pause = RETRY;
        loop {
            let work = async {
                let mut moved = false;
                for index in 0..self.next.len() {
                    moved |= self.read_shard(index, &mut decoder).await?;
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
        let sources = self.parts.sources.iter();
        let waits = sources.zip(&self.next).map(|(source, next)| Box::pin(source.shard().wait(*next)));
        futures::future::select_all(waits).await;
    }

    /// Reads one page of a shard, if it has more, and hands on what became of it.
    async fn read_shard(&mut self, index: usize, decoder: &mut ColumnDecoder) -> Result<bool, Halt> {
        let parts = self.parts.clone();
        let shard = parts.sources[index].shard();
        let from = self.next[index];
        if shard.bounds().tail <= from {
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
                let on_repeat = parts.sources[index].on_repeat;
                let nothing =
                    Prepared { from: From::Live(index), next: to, rows: None, letters: Vec::new(), on_repeat };
                let _ = self.work.send(Work::Page(Box::new(nothing))).await;
                self.next[index] = to;
                return Ok(true);
            }
            Err(error) => return Err(Halt::Read(error)),
        };
        if page.is_empty() {
            return Ok(false);
        }
        let source = &parts.sources[index];
        let pages = page.split_by(|block| source.on_repeat_of(block));
        for (on_repeat, page) in pages.map_err(|error| Halt::Columns(format!("shard {}: {error}", source.id)))? {
            let mut letters = Vec::new();
            let (batch, places) = self.rows.decode(source, &page, decoder, &mut letters)?;
            let rows = match batch {
                Some(batch) => self.rows.transform(source, batch, &places, &page, &mut letters).await?,
                None => None,
            };
            let next = page.end();
            self.trouble.of_reader(None);
            // A closed channel ends the loop in `run`.
            let prepared = Prepared { from: From::Live(index), next, rows, letters, on_repeat };
            let _ = self.work.send(Work::Page(Box::new(prepared))).await;
            self.next[index] = next;
        }
        Ok(true)
    }
}

impl Rows {
    pub fn new(parts: Arc<Parts>, replay: Option<String>) -> Self {
        Self { parts, replay, writers: HashMap::new() }
    }

    /// Decodes a page; the places say which record each row came from.
    pub fn decode(
        &mut self,
        source: &SourceShard,
        page: &Page,
        decoder: &mut ColumnDecoder,
        letters: &mut Vec<Letter>,
    ) -> Result<(Option<RecordBatch>, Vec<SequenceNumber>), Halt> {
        let mut places = Vec::new();
        for record in page.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => return Err(Halt::Columns(format!("shard {}: {error}", source.id))),
            };
            if source.only.is_some() && source.only.as_deref() != record.key {
                continue;
            }
            let catalog = &self.parts.catalog;
            let writer =
                self.writers.entry(record.fingerprint).or_insert_with(|| catalog.by_fingerprint(record.fingerprint));
            let Some(writer) = writer else {
                // It may be registered by the time that the next one comes.
                self.writers.remove(&record.fingerprint);
                let error = format!("no schema is registered for fingerprint {}", record.fingerprint);
                letters.push(self.letter(source, &record, Cause::UnknownSchema, error));
                continue;
            };
            match decoder.push(writer, record.body) {
                Ok(()) => places.push(record.sequence),
                Err(error) => letters.push(self.letter(source, &record, Cause::Malformed, error.to_string())),
            }
        }
        if places.is_empty() {
            return Ok((None, places));
        }
        let batch = decoder.flush().map_err(|error| Halt::Columns(error.to_string()))?;
        Ok((Some(batch), places))
    }

    /// Runs the function over a decoded page, if there is one.
    pub async fn transform(
        &self,
        source: &SourceShard,
        batch: RecordBatch,
        places: &[SequenceNumber],
        page: &Page,
        letters: &mut Vec<Letter>,
    ) -> Result<Option<RecordBatch>, Halt> {
        let Some(function) = &self.parts.function else { return Ok(Some(batch)) };
        let lookups: Arc<Lookups> = self.parts.lookups.current();
        let mut output = Vec::new();
        let mut settled = 0;
        while settled < batch.num_rows() {
            let rest = batch.slice(settled, batch.num_rows() - settled);
            let isolated = isolate(&**function, &rest, &lookups).await.map_err(Halt::Run)?;
            for failed in &isolated.failed {
                let place = places[settled + failed.row];
                let record = page.records().filter_map(Result::ok).find(|record| record.sequence == place);
                if let Some(record) = record {
                    letters.push(self.letter(source, &record, Cause::FunctionFailed, chain(&failed.error)));
                }
            }
            output.extend(isolated.output.into_iter().filter(|rows| rows.num_rows() > 0));
            // At least one row is settled by every call; a function that breaks this must not hang the flow.
            settled += isolated.settled.max(1);
        }
        one_batch(output).map_err(|error| Halt::Columns(error.to_string()))
    }

    fn letter(&self, source: &SourceShard, record: &Record<'_>, cause: Cause, error: String) -> Letter {
        let log = source.shard().log().name().to_string();
        let target = format!("table/{}", self.parts.name);
        let place = (record.sequence, record.arrived_at);
        let letter = Letter::of_record(&self.parts.env, log, place, target, cause, error, record.body.to_vec());
        let letter = Letter { fingerprint: Some(record.fingerprint), ..letter }.redriven(record.key);
        match &self.replay {
            Some(replay) => letter.replayed(replay),
            None => letter,
        }
    }
}

/// Joins batches to one, since rows and place must enter the table together.
fn one_batch(mut batches: Vec<RecordBatch>) -> Result<Option<RecordBatch>, arrow::error::ArrowError> {
    if batches.len() <= 1 {
        return Ok(batches.pop());
    }
    let schema: SchemaRef = batches[0].schema();
    concat_batches(&schema, &batches).map(Some)
}

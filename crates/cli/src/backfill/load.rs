//! Loading files: several at once, each in lanes.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::stream::{self, StreamExt};
use indicatif::ProgressBar;
use serde_json::Value;
use tokio::sync::{OnceCell, mpsc};
use weir_env::Env;
use weir_runtime::Rate;
use weir_schema::Schema;
use weir_server::ErrorCode;
use weir_types::StreamName;
use xxhash_rust::xxh3::xxh3_128;

use super::find::Found;
use super::rows::{RefusedRow, Rows};
use super::{Failed, Format};
use crate::client::{Client, Refused};
use crate::send::batch::{Batch, Batches};
use crate::send::source::Source;
use crate::send::{self, Answer, Sender, Totals, Watch};

/// Lanes of one file. Part of what a batch is known by: never to be changed.
const LANES: u64 = 4;
/// Batches that wait for their lane.
const WAITING: usize = 2;

/// What was cut from a file.
struct Piece {
    number: u64,
    batch: Batch,
    refused: Vec<RefusedRow>,
}

/// Sends files to one stream.
pub struct Loader {
    client: Client,
    stream: StreamName,
    rate: Option<Rate>,
    retry_for: Duration,
    watch: Watch,
    env: Env,
    /// The stream's schema, once a file needs it.
    schema: OnceCell<Schema>,
    /// When the next records are due, by the clock that never goes back.
    due: Mutex<Duration>,
    /// Bytes of files that are done, and how far those at hand are.
    done: AtomicU64,
    at_hand: Mutex<Vec<Arc<AtomicU64>>>,
    records: AtomicU64,
    /// Refusals that were told of.
    shown: Mutex<u64>,
}

/// How a file ended.
enum Ended {
    Whole(Totals),
    /// It does not read to its end, or the server takes nothing more of it.
    Cut(Totals, String),
}

/// Why a lane ended early.
enum Broken {
    /// The file is at fault.
    File(String),
    /// Nothing can go on.
    All(anyhow::Error),
}

impl Loader {
    pub fn new(
        client: Client,
        stream: StreamName,
        rate: Option<Rate>,
        retry_for: Duration,
        bar: ProgressBar,
        env: Env,
    ) -> Self {
        Self {
            client,
            stream,
            rate,
            retry_for,
            watch: Watch::of(bar),
            env,
            schema: OnceCell::new(),
            due: Mutex::default(),
            done: AtomicU64::new(0),
            at_hand: Mutex::default(),
            records: AtomicU64::new(0),
            shown: Mutex::default(),
        }
    }

    /// Returns how many bytes were read, and how many records the server has looked at.
    pub fn progress(&self) -> (u64, u64) {
        let at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let at_hand: u64 = at_hand.iter().map(|position| position.load(Ordering::Relaxed)).sum();
        (self.done.load(Ordering::Relaxed) + at_hand, self.records.load(Ordering::Relaxed))
    }

    /// Loads files, `jobs` of them at once.
    pub async fn load(&self, files: Vec<Found>, jobs: usize) -> anyhow::Result<(Totals, Vec<Failed>)> {
        let (mut totals, mut failed) = (Totals::default(), Vec::new());
        let loads = files.into_iter().map(|file| async move {
            let name = file.path.display().to_string();
            let ended = self.load_file(&file).await.with_context(|| format!("send `{name}`"));
            ended.map(|ended| (name, ended))
        });
        let mut loads = stream::iter(loads).buffer_unordered(jobs);
        while let Some(ended) = loads.next().await {
            let (file, ended) = ended?;
            let of_file = match ended {
                Ended::Whole(totals) => totals,
                Ended::Cut(totals, reason) => {
                    failed.push(Failed { file, reason });
                    totals
                }
            };
            totals.merge(&of_file);
        }
        failed.sort_by(|a, b| a.file.cmp(&b.file));
        Ok((totals, failed))
    }

    async fn load_file(&self, file: &Found) -> anyhow::Result<Ended> {
        let schema = match file.format {
            Format::Parquet => Some(self.schema().await?),
            _ => None,
        };
        let position = Arc::new(AtomicU64::new(0));
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner).push(position.clone());
        let producer = match producer(&self.stream, file, schema.as_ref()) {
            Ok(producer) => producer,
            Err(error) => return Ok(Ended::Cut(Totals::default(), format!("{error:#}"))),
        };
        let (to_lanes, lanes): (Vec<_>, Vec<_>) = (0..LANES).map(|_| mpsc::channel(WAITING)).unzip();
        let of_reader = position.clone();
        let (path, format) = (file.path.clone(), file.format);
        let reader = tokio::task::spawn_blocking(move || read(&path, format, schema, &of_reader, &to_lanes));
        let name = file.path.display().to_string();
        let lanes = (0..LANES).zip(lanes).map(|(lane, pieces)| self.send(&name, format!("{producer}-{lane}"), pieces));
        let sent = futures::future::join_all(lanes).await;
        // A lane that ends early lets the reader end: its next piece finds nobody.
        let read = reader.await.context("read the file")?;
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, &position));
        self.done.fetch_add(file.bytes, Ordering::Relaxed);
        let mut totals = Totals::default();
        let mut cut = None;
        for (of_lane, broken) in sent {
            totals.merge(&of_lane);
            match broken {
                None => {}
                Some(Broken::File(reason)) => cut = cut.or(Some(reason)),
                Some(Broken::All(error)) => return Err(error),
            }
        }
        // What the server says of a file comes before the reader's own end, which it may have caused.
        let cut = cut.or_else(|| read.err().map(|error| format!("{error:#}")));
        Ok(match cut {
            None => Ended::Whole(totals),
            Some(reason) => Ended::Cut(totals, reason),
        })
    }

    /// Sends the pieces of one lane, one after the other.
    async fn send(&self, name: &str, producer: String, mut pieces: mpsc::Receiver<Piece>) -> (Totals, Option<Broken>) {
        let sender = Sender::new(self.client.clone(), self.stream.as_str(), Some(producer), self.retry_for);
        let mut totals = Totals::default();
        let mut sent_before = None;
        while let Some(Piece { number, batch, refused }) = pieces.recv().await {
            totals.received += refused.len() as u64;
            totals.refused += refused.len() as u64;
            self.tell(name, &refused);
            if batch.body.is_empty() {
                continue;
            }
            if sent_before.is_some_and(|last| number < last) {
                totals.batches_skipped += 1;
                continue;
            }
            self.wait_until_due().await;
            match sender.deliver(&batch, number, &self.watch).await {
                Ok(Answer::Taken(report)) => {
                    self.records.fetch_add(report.received, Ordering::Relaxed);
                    self.note_sent(report.received);
                    let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                    send::take(&mut totals, &report, &batch, name, &mut shown, &self.watch);
                }
                Ok(Answer::SentBefore(last)) => {
                    sent_before = Some(last);
                    totals.batches_skipped += 1;
                }
                Err(error) => return (totals, Some(judge(error))),
            }
        }
        (totals, None)
    }

    fn tell(&self, name: &str, refused: &[RefusedRow]) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for RefusedRow { row, error } in refused {
            if send::is_shown(&mut shown, &self.watch) {
                send::tell_refusal(&self.watch, name, *row, &error.field, &error.reason);
            }
        }
    }

    async fn wait_until_due(&self) {
        if self.rate.is_some() {
            let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
            self.env.sleep(due.saturating_sub(self.env.elapsed())).await;
        }
    }

    fn note_sent(&self, records: u64) {
        if let Some(rate) = self.rate {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            *due = (*due).max(self.env.elapsed()) + rate.time_of(records);
        }
    }

    /// Asks for the stream's schema, once.
    async fn schema(&self) -> anyhow::Result<Schema> {
        let schema = self.schema.get_or_try_init(|| async {
            let response = self.client.send(self.client.get(&format!("/v1/schemas/{}-value", self.stream))).await;
            let response = response.with_context(|| format!("ask for the schema of stream `{}`", self.stream))?;
            let answer: Value = serde_json::from_slice(&response.bytes().await?)?;
            let latest = answer["versions"].as_array().and_then(|versions| versions.last());
            let latest = latest.context("the server's answer has no version of the schema")?;
            Schema::parse(&latest["schema"].to_string()).map_err(|error| anyhow!("the stream's schema: {error}"))
        });
        schema.await.cloned()
    }
}

/// Tells what ends a file from what ends all.
fn judge(error: anyhow::Error) -> Broken {
    match error.downcast_ref::<Refused>() {
        Some(Refused(body)) if matches!(body.code, ErrorCode::InvalidBody) => Broken::File(body.message.clone()),
        _ => Broken::All(error),
    }
}

/// Names the producer that a file is: the same file, not changed since, is the same producer.
fn producer(stream: &StreamName, file: &Found, schema: Option<&Schema>) -> anyhow::Result<String> {
    let path = std::fs::canonicalize(&file.path).context("open")?;
    let metadata = std::fs::metadata(&path).context("open")?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let schema = schema.map_or(0, |schema| schema.fingerprint().0);
    let identity = format!(
        "{stream}\0{}\0{}\0{}\0{:?}\0{schema:x}",
        path.display(),
        metadata.len(),
        modified.unwrap_or_default().as_nanos(),
        file.format
    );
    Ok(format!("backfill-{:032x}", xxh3_128(identity.as_bytes())))
}

/// Reads a file and deals its batches to the lanes.
fn read(
    path: &Path,
    format: Format,
    schema: Option<Schema>,
    position: &Arc<AtomicU64>,
    lanes: &[mpsc::Sender<Piece>],
) -> anyhow::Result<()> {
    let mut dealt = 0;
    // Whether somebody is there to take it.
    let mut deal = |batch: Batch, refused: Vec<RefusedRow>| {
        let piece = Piece { number: dealt / LANES, batch, refused };
        let taken = lanes[(dealt % LANES) as usize].blocking_send(piece).is_ok();
        dealt += 1;
        taken
    };
    match (format.of_send(), schema) {
        (Some(format), _) => {
            let source = Source::open(path, Some(format))?;
            let read = source.position.clone();
            for batch in Batches::of(source) {
                if !deal(batch?, Vec::new()) {
                    return Ok(());
                }
                position.store(read.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        (None, Some(schema)) => {
            let mut rows = Rows::open(path, schema, position.clone())?;
            while let Some((batch, refused)) = rows.next()? {
                if !deal(batch, refused) {
                    return Ok(());
                }
            }
        }
        (None, None) => return Err(anyhow!("its form needs the stream's schema")),
    }
    Ok(())
}

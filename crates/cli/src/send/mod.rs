//! `weir send`: files of records to a stream.
//!
//! A file is cut into batches at records, and each batch carries the producer's name and a number. A batch is sent again
//! until it is acknowledged, however the connection breaks; the server stores it once. With `--producer` the numbers are
//! the same at every run, so that a run that was killed is simply started again.

pub(crate) mod batch;
pub(crate) mod source;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use weir_env::Env;
use weir_server::{ErrorBody, ErrorCode};
use weir_types::span;

use self::batch::{Batch, Batches};
use self::source::Source;
use crate::client::{self, Client, Foreign, Refused, ServerArgs};
use crate::exit::Exit;
use crate::output;

const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Refusals that are shown one by one.
const SHOWN_MAX: u64 = 20;

/// The forms of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object per line
    Ndjson,
    /// A JSON array of objects, or one object
    Json,
    /// A header and rows
    Csv,
    /// An Avro container file
    Avro,
}

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The stream
    stream: String,
    /// The files; `-` is stdin. gzip and zstd are recognised
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    /// The form of the records [default: by the file's name]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// A name for this load: started again with the same name and files, it goes on where it was
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// How long to try again when the server is away or busy
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = parse_span)]
    retry_for: Duration,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

fn parse_span(text: &str) -> Result<Duration, String> {
    span::parse(text).map_err(|error| error.to_string())
}

/// What became of the records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Records that the server looked at.
    pub received: u64,
    /// Records that are durable by this run.
    pub stored: u64,
    /// Records that an earlier try had stored.
    pub repeated: u64,
    /// Records that were refused.
    pub refused: u64,
    /// Records of unknown schemas, kept as dead letters.
    pub dead_lettered: u64,
    /// Batches that an earlier run of the same producer had sent; their records are not counted.
    pub batches_skipped: u64,
}

impl Totals {
    /// Adds others.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.received += other.received;
        self.stored += other.stored;
        self.repeated += other.repeated;
        self.refused += other.refused;
        self.dead_lettered += other.dead_lettered;
        self.batches_skipped += other.batches_skipped;
    }
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.server)?;
    let sender = Sender::new(client, &args.stream, args.producer.clone(), args.retry_for);
    let watch = if output::is_watched() { Watch::shown() } else { Watch::hidden() };
    let totals = client::block_on(sender.send(&args.files, args.format, &watch))?;
    watch.bar.finish_and_clear();
    if args.json {
        output::data(&format!("{}\n", serde_json::to_string(&totals)?))?;
    } else {
        output::note(&summary(&args.stream, &totals));
    }
    Ok(if totals.refused > 0 { Exit::Refused } else { Exit::Done })
}

pub(crate) fn summary(stream: &str, totals: &Totals) -> String {
    let mut text = format!("{} records stored in {stream}", output::count(totals.stored));
    for (count, what) in [
        (totals.repeated, "stored before"),
        (totals.refused, "refused"),
        (totals.dead_lettered, "kept as dead letters"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", output::count(count)));
        }
    }
    if totals.batches_skipped > 0 {
        text.push_str(&format!(" ({} batches had been sent by an earlier run)", output::count(totals.batches_skipped)));
    }
    text
}

/// The progress that a person sees.
pub struct Watch {
    bar: ProgressBar,
}

impl Watch {
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    pub fn shown() -> Self {
        let bar = ProgressBar::new(0);
        let style = "{prefix} {bar:30} {bytes}/{total_bytes}  {binary_bytes_per_sec}  {msg}  eta {eta}";
        // The template is a constant, and right.
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Shows itself in a bar of somebody else's.
    pub(crate) fn of(bar: ProgressBar) -> Self {
        Self { bar }
    }

    /// Ends the display.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// The part of the server's report that counts.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    pub received: u64,
    stored: u64,
    repeated: u64,
    refused: u64,
    dead_lettered: u64,
    #[serde(default)]
    refusals: Vec<Refusal>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    line: u64,
    field: String,
    reason: String,
}

pub(crate) enum Answer {
    Taken(Report),
    /// The producer's last batch is this one, later than what was sent.
    SentBefore(u64),
}

/// Sends batches one after the other, under one producer's name.
pub struct Sender {
    client: Client,
    env: Env,
    path: String,
    producer: String,
    retry_for: Duration,
}

impl Sender {
    pub fn new(client: Client, stream: &str, producer: Option<String>, retry_for: Duration) -> Self {
        let env = Env::system();
        let producer = producer.unwrap_or_else(|| format!("send-{:016x}{:016x}", env.random(), env.random()));
        Self { client, env, path: format!("/v1/streams/{stream}/records"), producer, retry_for }
    }

    /// Sends files, and returns what became of their records.
    pub async fn send(&self, files: &[PathBuf], format: Option<Format>, watch: &Watch) -> anyhow::Result<Totals> {
        let mut totals = Totals::default();
        let mut number = 0;
        let mut sent_before = None;
        let mut shown = 0;
        for file in files {
            let source = Source::open(file, format)?;
            let name = source.name.clone();
            watch.bar.set_prefix(name.clone());
            watch.bar.set_length(source.bytes.unwrap_or(0));
            watch.bar.set_position(0);
            let position = source.position.clone();
            for batch in Batches::of(source) {
                let batch = batch.with_context(|| format!("read `{name}`"))?;
                if sent_before.is_some_and(|last| number < last) {
                    totals.batches_skipped += 1;
                } else {
                    match self.deliver(&batch, number, watch).await.with_context(|| format!("send `{name}`"))? {
                        Answer::Taken(report) => take(&mut totals, &report, &batch, &name, &mut shown, watch),
                        Answer::SentBefore(last) => {
                            sent_before = Some(last);
                            totals.batches_skipped += 1;
                        }
                    }
                }
                number += 1;
                watch.bar.set_position(position.load(Ordering::Relaxed));
                watch.bar.set_message(format!("{} records", output::count(totals.received)));
            }
        }
        Ok(totals)
    }

    /// Sends a batch until it is acknowledged, refused for good, or the time is over.
    pub(crate) async fn deliver(&self, batch: &Batch, number: u64, watch: &Watch) -> anyhow::Result<Answer> {
        let deadline = self.env.elapsed() + self.retry_for;
        let mut pause = RETRY;
        loop {
            let error = match self.try_once(batch, number).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !is_passing(&error) || self.env.elapsed() >= deadline {
                return Err(error);
            }
            if pause == RETRY {
                let text = format!("{error}; trying again for up to {}", span::display(self.retry_for));
                watch.bar.suspend(|| output::note(&text));
            }
            self.env.sleep(self.env.jitter(pause)).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn try_once(&self, batch: &Batch, number: u64) -> anyhow::Result<Answer> {
        let request = self
            .client
            .post(&self.path)
            .header("content-type", batch.content_type)
            .header("weir-producer-id", &self.producer)
            .header("weir-batch-number", number)
            .body(batch.body.clone());
        let (status, body) = self.client.send_any(request).await?;
        // 422 is a report as well: every record was refused.
        if status.is_success() || status.as_u16() == 422 {
            return Ok(Answer::Taken(serde_json::from_slice(&body).context("read the server's answer")?));
        }
        let error = client::refusal(status, &body);
        match error.downcast_ref::<Refused>() {
            Some(Refused(ErrorBody { code: ErrorCode::ProducerOutOfOrder, last: Some(last), .. }))
                if number < *last =>
            {
                Ok(Answer::SentBefore(*last))
            }
            _ => Err(error),
        }
    }
}

/// Says whether trying again may help: the connection broke, or the server says so.
fn is_passing(error: &anyhow::Error) -> bool {
    if let Some(Refused(body)) = error.downcast_ref::<Refused>() {
        return body.retryable;
    }
    if let Some(foreign) = error.downcast_ref::<Foreign>() {
        return foreign.status.is_server_error() || matches!(foreign.status.as_u16(), 408 | 429);
    }
    !error.chain().any(|cause| cause.is::<serde_json::Error>())
}

/// Adds what became of a batch, and tells of the first refusals.
pub(crate) fn take(totals: &mut Totals, report: &Report, batch: &Batch, name: &str, shown: &mut u64, watch: &Watch) {
    totals.received += report.received;
    totals.stored += report.stored;
    totals.repeated += report.repeated;
    totals.refused += report.refused;
    totals.dead_lettered += report.dead_lettered;
    for refusal in &report.refusals {
        if !is_shown(shown, watch) {
            continue;
        }
        let place = batch.line_in_file(refusal.line);
        tell_refusal(watch, name, place, &refusal.field, &refusal.reason);
    }
}

/// Tells whether one more refusal is shown.
pub(crate) fn is_shown(shown: &mut u64, watch: &Watch) -> bool {
    if *shown == SHOWN_MAX {
        watch.bar.suspend(|| output::note("more refusals follow; they are counted"));
    }
    *shown += 1;
    *shown <= SHOWN_MAX
}

pub(crate) fn tell_refusal(watch: &Watch, name: &str, place: u64, field: &str, reason: &str) {
    let field = if field.is_empty() { String::new() } else { format!("field `{field}`: ") };
    watch.bar.suspend(|| output::note(&format!("refused: {name}:{place}: {field}{reason}")));
}

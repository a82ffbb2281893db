//! `weir backfill`: files of a user's past, through the same door as everything else, at full speed.
//!
//! ```text
//! file --cut at records--> batch 0, 1, 2, ... --by number--> 4 lanes, each a producer of its own --> door
//! ```
//!
//! Several files are read at once, and each file's batches go out in lanes. Lanes and numbers follow from the file alone, so
//! that a command that was killed is simply started again, with the same or another number of jobs: the server says which
//! batches it has. What is refused is told by file and line, and the rest goes on; a file that does not read to its end is
//! named, and the other files go on.

mod find;
mod load;
mod rows;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use weir_env::Env;
use weir_runtime::Rate;
use weir_types::{StreamName, span};

use self::load::Loader;
use crate::client::{self, Client, ServerArgs};
use crate::exit::Exit;
use crate::output;
use crate::send::{self, Totals};

/// Files that failed and are named one by one.
const NAMED_MAX: usize = 20;
/// How often the progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(200);
/// Files that may be read at once.
const JOBS_MAX: usize = 64;

/// The forms of files.
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
    /// A Parquet file; its columns are found by name
    Parquet,
}

impl Format {
    /// Tells the form by the file's name.
    pub fn by_name(name: &str) -> Option<Self> {
        if name.to_ascii_lowercase().ends_with(".parquet") {
            return Some(Self::Parquet);
        }
        Some(match send::source::by_name(name)? {
            send::Format::Ndjson => Self::Ndjson,
            send::Format::Json => Self::Json,
            send::Format::Csv => Self::Csv,
            send::Format::Avro => Self::Avro,
        })
    }

    /// Returns what `weir send` calls it; none for what that does not know.
    pub fn of_send(self) -> Option<send::Format> {
        match self {
            Self::Ndjson => Some(send::Format::Ndjson),
            Self::Json => Some(send::Format::Json),
            Self::Csv => Some(send::Format::Csv),
            Self::Avro => Some(send::Format::Avro),
            Self::Parquet => None,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The stream
    stream: StreamName,
    /// Files, folders, or patterns in quotes, such as 'past/**/*.parquet'. gzip and zstd are recognised
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The form of the files [default: by each one's name]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Records in a time at most, such as 50000/s
    #[arg(long)]
    rate: Option<Rate>,
    /// Files that are read at once [default: one for each core]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// How long to try again when the server is away or busy
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = parse_span)]
    retry_for: Duration,
    /// List the files, and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

fn parse_span(text: &str) -> Result<Duration, String> {
    span::parse(text).map_err(|error| error.to_string())
}

/// What became of all files.
#[derive(Debug, Default, Serialize)]
struct Summary {
    files: usize,
    bytes: u64,
    #[serde(flatten)]
    records: Totals,
    failed: Vec<Failed>,
    seconds: f64,
}

/// A file that was not read to its end. What was read before is stored.
#[derive(Debug, Clone, Serialize)]
struct Failed {
    file: String,
    reason: String,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let found = find::files(&args.files, args.format)?;
    if args.dry_run {
        for file in &found {
            output::data(&format!("{}\n", file.path.display()))?;
        }
        return Ok(Exit::Done);
    }
    let env = Env::system();
    let bytes = found.iter().map(|file| file.bytes).sum();
    let bar = if output::is_watched() { shown(bytes) } else { ProgressBar::hidden() };
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    anyhow::ensure!((1..=JOBS_MAX).contains(&jobs), "--jobs is {jobs}, and may be 1 to {JOBS_MAX}");
    let client = Client::new(&args.server)?;
    let loader = Loader::new(client, args.stream.clone(), args.rate, args.retry_for, bar.clone(), env.clone());
    let started = env.elapsed();
    let files = found.len();
    let loaded = client::block_on(async {
        let load = loader.load(found, jobs);
        let show = async {
            loop {
                env.sleep(SHOWN_EVERY).await;
                let (read, records) = loader.progress();
                bar.set_position(read);
                bar.set_message(format!("{} records", output::count(records)));
            }
        };
        tokio::select! {
            loaded = load => loaded,
            () = show => unreachable!("it shows until it is dropped"),
        }
    });
    bar.finish_and_clear();
    let (records, failed) = loaded?;
    let seconds = (env.elapsed() - started).as_secs_f64();
    let summary = Summary { files, bytes, records, failed, seconds };
    if args.json {
        output::data(&format!("{}\n", serde_json::to_string(&summary)?))?;
    } else {
        tell(&args.stream, &summary);
    }
    let whole = summary.failed.is_empty() && summary.records.refused == 0;
    Ok(if whole { Exit::Done } else { Exit::Refused })
}

fn tell(stream: &StreamName, summary: &Summary) {
    for failed in summary.failed.iter().take(NAMED_MAX) {
        output::note(&format!("not read to its end: {}: {}", failed.file, failed.reason));
    }
    if summary.failed.len() > NAMED_MAX {
        output::note(&format!("... and {} more; --json names them all", summary.failed.len() - NAMED_MAX));
    }
    let files = match summary.files {
        1 => "1 file".to_owned(),
        files => format!("{} files", output::count(files as u64)),
    };
    let failed = match summary.failed.len() {
        0 => String::new(),
        failed => format!(", {failed} not to the end"),
    };
    output::note(&format!("{files} read{failed}: {}", send::summary(stream.as_str(), &summary.records)));
    let records = summary.records.stored as f64 / summary.seconds.max(0.001);
    output::note(&format!("in {:.1} s, {} records/s", summary.seconds, output::count(records as u64)));
}

fn shown(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let style = "{bar:30} {bytes}/{total_bytes}  {binary_bytes_per_sec}  {msg}  eta {eta}";
    // The template is a constant, and right.
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

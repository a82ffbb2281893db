//! Compaction of 200 small files with repeats into few sorted ones: time, CPU seconds and peak memory.
//!
//! ```text
//! compact_bench make FOLDER [ROWS]    writes the files: FOLDER/in/*.parquet, as any writer would
//! compact_bench run FOLDER [MiB]      adds them to a table and rebuilds its one partition; prints one JSON object
//! compact_bench [ROWS...]             both, in a child process each, in a temporary folder
//! ```
//!
//! `bench/compact_peer.py` does the same to the same files with DuckDB and Polars.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark reports by printing, and stops at the first error"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use weir_env::Env;
use weir_table::{LocalStore, PartitionBy, Place, Spec, Table};

const FILES: usize = 200;
const ROWS: usize = 5_000_000;
/// 2013-01-01T00:00:00Z in microseconds.
const START: i64 = 1_356_998_400_000_000;
const DAY: i64 = 86_400_000_000;
/// Rows that repeat an earlier one, and that come hours late, of 100.
const REPEATS: u64 = 10;
const LATE: u64 = 5;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("device", DataType::Utf8, true),
        Field::new("sequence", DataType::Int64, true),
        Field::new("value", DataType::Float64, true),
        Field::new("quality", DataType::Int32, true),
        Field::new("session", DataType::Utf8, true),
        Field::new("payload", DataType::Utf8, true),
    ]))
}

/// Rows `first..first + rows` of a day of `of`, in the order that they arrive: each some seconds after its event, a few
/// some hours.
fn batch(first: usize, rows: usize, of: usize, random: &mut Random) -> RecordBatch {
    let range = first..first + rows;
    let hex =
        |random: &mut Random, words: usize| (0..words).map(|_| format!("{:016x}", random.next())).collect::<String>();
    let times: Vec<i64> = range
        .clone()
        .map(|n| {
            let arrives = n as i64 * DAY / of as i64;
            let late =
                if random.below(100) < LATE { random.below(20 * 3_600_000_000) } else { random.below(30_000_000) };
            START + (arrives - late as i64).max(0)
        })
        .collect();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(range.clone().map(|_| hex(random, 2)))),
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values(range.clone().map(|_| format!("device-{:06}", random.below(50_000))))),
        Arc::new(Int64Array::from_iter_values(range.clone().map(|n| n as i64))),
        Arc::new(Float64Array::from_iter_values(range.clone().map(|_| random.below(1 << 40) as f64 * 0.25))),
        Arc::new(Int32Array::from_iter_values(range.clone().map(|n| (n % 5) as i32))),
        Arc::new(StringArray::from_iter_values(range.clone().map(|_| hex(random, 4)))),
        Arc::new(StringArray::from_iter_values(range.map(|_| hex(random, 12)))),
    ];
    RecordBatch::try_new(columns(), arrays).unwrap()
}

fn make(folder: &Path, rows: usize) -> Value {
    let input = folder.join("in");
    std::fs::create_dir_all(&input).unwrap();
    let mut random = Random(88_172_645_463_325_252);
    let files = FILES.max(rows.div_ceil(ROWS / FILES));
    let per_file = rows / files;
    let repeats = per_file * REPEATS as usize / 100;
    let new = per_file - repeats;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_created_by("compact_bench".to_owned())
        .build();
    let mut before: Option<RecordBatch> = None;
    let mut bytes = 0;
    for file in 0..files {
        let fresh = batch(file * new, new, files * new, &mut random);
        // Repeats of what came in this file and the one before, among the others.
        let known = match &before {
            Some(before) => arrow::compute::concat_batches(&columns(), [before, &fresh]).unwrap(),
            None => fresh.clone(),
        };
        let own = known.num_rows() - new;
        let mut order: Vec<u32> = (own..known.num_rows()).map(|row| row as u32).collect();
        for _ in 0..repeats {
            let at = random.below(order.len() as u64 + 1) as usize;
            let known_by_then = (own + at.max(1)).min(known.num_rows());
            order.insert(at.max(1), random.below(known_by_then as u64) as u32);
        }
        let all = take_record_batch(&known, &UInt32Array::from(order)).unwrap();
        let path = input.join(format!("{file:05}.parquet"));
        let out = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(out, columns(), Some(properties.clone())).unwrap();
        writer.write(&all).unwrap();
        writer.close().unwrap();
        bytes += std::fs::metadata(&path).unwrap().len();
        before = Some(fresh);
    }
    json!({"files": files, "rows": files * per_file, "bytes": bytes})
}

/// Makes the files a part of the table, as a foreign writer would: by a version that names them.
fn add(table: &Path, input: &Path) -> (u64, u64) {
    let partition = table.join("_day=2013-01-01");
    std::fs::create_dir_all(&partition).unwrap();
    let mut files: Vec<PathBuf> = std::fs::read_dir(input).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut lines = vec![json!({"commitInfo": {"timestamp": 0, "operation": "WRITE", "engineInfo": "bench"}})];
    let mut bytes = 0;
    for (number, file) in files.iter().enumerate() {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        std::fs::hard_link(file, partition.join(&name)).unwrap();
        let size = std::fs::metadata(file).unwrap().len();
        bytes += size;
        lines.push(json!({"add": {
            "path": format!("_day=2013-01-01/{name}"), "partitionValues": {"_day": "2013-01-01"}, "size": size,
            "modificationTime": 1_000 + number as i64, "dataChange": true,
        }}));
    }
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(table.join("_delta_log/00000000000000000001.json"), text.join("\n")).unwrap();
    (files.len() as u64, bytes)
}

/// The process's CPU seconds so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// The most memory that the process has had, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn spec(memory: Option<u64>, scratch: &Path) -> Spec {
    let spec = Spec {
        partition_by: PartitionBy::Day("at".into()),
        unique_by: vec!["id".into()],
        scratch: Some(scratch.to_owned()),
        ..Spec::new("bench".parse().unwrap(), columns())
    };
    Spec { compact_bytes: memory.map_or(spec.compact_bytes, |mib| mib << 20), ..spec }
}

async fn run(folder: &Path, memory: Option<u64>) -> Value {
    let (folder, env) = (folder.canonicalize().unwrap(), Env::system());
    let (table, scratch) = (folder.join("table"), folder.join("scratch"));
    let _ = std::fs::remove_dir_all(&table);
    std::fs::create_dir_all(&scratch).unwrap();
    let root = url::Url::from_directory_path(&table).unwrap();
    let open = || Table::open(spec(memory, &scratch), Arc::new(LocalStore::new()), root.clone(), env.clone());
    drop(open().await.unwrap());
    let (files, bytes) = add(&table, &folder.join("in"));
    let opened = open().await.unwrap();
    let (since, cpu): (Duration, f64) = (env.elapsed(), cpu_seconds());
    let done = opened.rebuild(Place { day: Some((START / DAY) as i32), hour: None, bucket: 0 }).await.unwrap();
    let seconds = (env.elapsed() - since).as_secs_f64();
    assert_eq!(done.files_in, files);
    let report = json!({
        "seconds": seconds, "cpu_seconds": cpu_seconds() - cpu, "peak_mib": peak_mib(),
        "files_in": files, "bytes_in": bytes, "files_out": done.files_out, "bytes_out": done.bytes_out,
        "rows_out": done.rows, "repeats": done.removed, "spilled_bytes": done.spilled,
        "mb_per_second": bytes as f64 / 1e6 / seconds,
    });
    drop(opened);
    std::fs::remove_dir_all(&table).unwrap();
    report
}

fn child(arguments: &[&str]) -> Value {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stderr(std::process::Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let report = match arguments.as_slice() {
        ["make", folder] => make(Path::new(folder), ROWS),
        ["make", folder, rows] => make(Path::new(folder), rows.parse().unwrap()),
        ["run", folder, rest @ ..] => {
            let memory = rest.first().map(|mib| mib.parse().unwrap());
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap()
                .block_on(run(Path::new(folder), memory))
        }
        sizes => {
            let sizes: Vec<usize> =
                if sizes.is_empty() { vec![ROWS] } else { sizes.iter().map(|rows| rows.parse().unwrap()).collect() };
            let runs = sizes.into_iter().map(|rows| {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().to_str().unwrap();
                let made = child(&["make", path, &rows.to_string()]);
                json!({"rows": made["rows"], "weir": child(&["run", path])})
            });
            Value::Array(runs.collect())
        }
    };
    println!("{report:#}");
}

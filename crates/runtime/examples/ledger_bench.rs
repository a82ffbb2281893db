//! Measures what the ledger costs of ingest: the whole node, from the door to committed tables, with and without books.
//!
//! `ledger_bench [--quick]` prints JSON. Rounds with and without alternate, and the least of each counts: others use the
//! machine too. The door's digests are part of a block's format and can't be left out; they are measured by themselves, and
//! are counted as a cost of the ledger.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use weir_config::{Inputs, load};
use weir_env::Env;
use weir_runtime::{Delivery, Encoding, Format, LedgerKeeping, Node, Options};
use weir_schema::{JsonEncoder, Schema};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SCHEMA: &str = r#"{"type": "record", "name": "Reading", "fields": [
  {"name": "device", "type": "string"},
  {"name": "sequence", "type": "long"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["temperature", "humidity", "pressure"]}},
  {"name": "value", "type": "double"},
  {"name": "quality", "type": ["null", "int"], "default": null},
  {"name": "site", "type": "string"},
  {"name": "note", "type": ["null", "string"], "default": null}]}"#;
const HCL: &str = r#"
stream "readings" {
  schema = "reading.avsc"
  key    = "device"
  time   = "at"
  id     = ["device", "sequence", "at"]
  shards = 2
}
table "readings" {
  from         = stream.readings
  partition_by = "day(at)"
  buckets      = 2
  freshness    = "1s"
}
"#;
/// Records of one body.
const BODY_RECORDS: u64 = 20_000;
/// How long a round may take to be committed.
const PATIENCE: Duration = Duration::from_secs(300);

/// One record of 200 bytes as a line of NDJSON, its end included.
fn record(number: u64) -> String {
    let head = format!(
        "{{\"device\":\"device-{:05}\",\"sequence\":{number},\"at\":{},\"kind\":\"humidity\",\"value\":{}.25,\"quality\":{},\"site\":\"site-{:03}\",\"note\":\"",
        number % 5000,
        1_700_000_000_000u64 + number,
        number % 100,
        number % 5,
        number % 200
    );
    let padding = 200usize.saturating_sub(head.len() + 3);
    let text: String = "the quick brown fox jumps over the lazy dog ".chars().cycle().take(padding).collect();
    format!("{head}{text}\"}}\n")
}

/// CPU seconds of this process so far.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

/// Seconds of CPU and of time from the first body to the last commit.
async fn round(config: &Path, bodies: &[Bytes], keeping: LedgerKeeping) -> Result<(f64, f64)> {
    let data = tempfile::tempdir()?;
    let plan =
        load(config, &Inputs::default()).map_err(|found| found.iter().map(|one| one.render()).collect::<String>())?;
    let options = Options { ledger: keeping, ..Options::default() };
    let node = Node::start(plan, &data.path().join("weir"), Env::system(), options).await?;
    let (started, began) = (Instant::now(), cpu());
    for body in bodies {
        let delivery =
            Delivery { stream: "readings".parse()?, format: Format::Ndjson, encoding: Encoding::Identity, batch: None };
        node.deliver(delivery, futures::stream::iter([Ok(body.clone())])).await.map_err(|failed| failed.to_string())?;
    }
    let records = bodies.len() as u64 * BODY_RECORDS;
    loop {
        let status = node.status();
        let table = status.tables.iter().find(|table| table.name == "readings").ok_or("no table")?;
        if table.rows == records && table.pending == 0 {
            break;
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("{} of {records} rows were committed", table.rows).into());
        }
        node.env().sleep(Duration::from_millis(5)).await;
    }
    let took = (cpu() - began, started.elapsed().as_secs_f64());
    node.close().await?;
    Ok(took)
}

/// Seconds for the digests of all records, as the door makes them.
fn digests(bodies: &[Bytes]) -> Result<f64> {
    let schema = Schema::parse(SCHEMA)?;
    let mut encoder = JsonEncoder::new(&schema);
    let mut records = Vec::new();
    for line in bodies[0].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut body = Vec::new();
        encoder.encode(line, &mut body)?;
        records.push(body);
    }
    let mut least = f64::MAX;
    for _ in 0..20 {
        let started = Instant::now();
        let sum = records.iter().fold(0u128, |sum, body| sum.wrapping_add(weir_stream::digest(body)));
        std::hint::black_box(sum);
        least = least.min(started.elapsed().as_secs_f64());
    }
    Ok(least * bodies.len() as f64)
}

fn least(rounds: &[(f64, f64)], of: fn(&(f64, f64)) -> f64) -> f64 {
    rounds.iter().map(of).fold(f64::MAX, f64::min)
}

#[tokio::main]
async fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (count, rounds) = if quick { (10, 2) } else { (50, 7) };
    let config = tempfile::tempdir()?;
    std::fs::write(config.path().join("weir.hcl"), HCL)?;
    std::fs::write(config.path().join("reading.avsc"), SCHEMA)?;
    let bodies: Vec<Bytes> = (0..count)
        .map(|body| (body * BODY_RECORDS..(body + 1) * BODY_RECORDS).map(record).collect::<String>().into())
        .collect();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    // One of each before, for the caches of disk and memory.
    round(config.path(), &bodies[..2], LedgerKeeping::On).await?;
    for _ in 0..rounds {
        without.push(round(config.path(), &bodies, LedgerKeeping::Off).await?);
        with.push(round(config.path(), &bodies, LedgerKeeping::On).await?);
    }
    let digests = digests(&bodies)?;
    let (cpu_with, cpu_without) = (least(&with, |round| round.0), least(&without, |round| round.0) - digests);
    let (time_with, time_without) = (least(&with, |round| round.1), least(&without, |round| round.1) - digests);
    let figures = json!({
        "records": count * BODY_RECORDS,
        "rounds": rounds,
        "cpu_s_with": cpu_with,
        "cpu_s_without": cpu_without,
        "door_digests_s": digests,
        "cost_of_cpu": cpu_with / cpu_without - 1.0,
        "seconds_with": time_with,
        "seconds_without": time_without,
        "cost_of_time": time_with / time_without - 1.0,
    });
    println!("{}", serde_json::to_string_pretty(&figures)?);
    Ok(())
}

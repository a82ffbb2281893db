//! Measures replays beside a fresh ingest of the same records from the same log: `replay_bench [RECORDS]`.
//!
//! Prints JSON. Fresh: a table that is new reads a full log. Then the same range is replayed by the same function (all rows
//! are there), by a function that changes every row, and once more while records arrive, to see what these get.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream;
use serde_json::json;
use weir_config::Inputs;
use weir_env::Env;
use weir_runtime::{Delivery, Encoding, Format, Handlers, Node, Options, ReplayAsk, RunStatus};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const RECORDS: u64 = 1_000_000;
/// Records of one delivery.
const BATCH: u64 = 10_000;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(1800);

const SCHEMA: &str = r#"{"type": "record", "name": "Reading", "fields": [
  {"name": "device", "type": "string"},
  {"name": "sequence", "type": "long"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "value", "type": "double"},
  {"name": "site", "type": "string"},
  {"name": "note", "type": ["null", "string"], "default": null}]}"#;

const STREAM: &str = r#"
stream "readings" {
  schema = "reading.avsc"
  key    = "device"
  time   = "at"
  id     = ["device", "sequence", "at"]
  shards = 2
}
"#;

fn with_table(value: &str) -> String {
    format!(
        r#"{STREAM}
function "measure" {{
  on  = stream.readings
  sql = "select device, sequence, at, {value} as value, site, note from input"
  to  = table.readings
}}
table "readings" {{
  partition_by = "day(at)"
  freshness    = "5s"
}}
"#
    )
}

/// About 200 bytes of JSON; ten days of event time over all.
fn lines(first: u64, records: u64, all: u64) -> String {
    let mut text = String::new();
    for number in first..first + records {
        let at = 1_767_225_600_000 + number * 864_000_000 / all.max(1);
        text.push_str(&format!(
            "{{\"device\":\"device-{:05}\",\"sequence\":{number},\"at\":{at},\"value\":{}.25,\"site\":\"site-{:03}\",\"note\":\"the quick brown fox jumps over the lazy dog, and then it jumps once more\"}}\n",
            number % 5000,
            number % 100,
            number % 200
        ));
    }
    text
}

struct World {
    config: tempfile::TempDir,
    data: tempfile::TempDir,
}

impl World {
    fn plan(&self, hcl: &str) -> Result<()> {
        std::fs::write(self.config.path().join("reading.avsc"), SCHEMA)?;
        Ok(std::fs::write(self.config.path().join("weir.hcl"), hcl)?)
    }

    async fn start(&self) -> Result<Arc<Node>> {
        let plan = weir_config::load(self.config.path(), &Inputs::default());
        let plan = plan.map_err(|found| found.iter().map(|one| one.render()).collect::<String>())?;
        let options = Options {
            handlers: Handlers { launcher: vec!["nobody".into()], ..Handlers::default() },
            ..Options::default()
        };
        let data: &Path = self.data.path();
        Ok(Node::start(plan, &data.join("weir"), Env::system(), options).await?)
    }
}

async fn deliver(node: &Node, first: u64, records: u64, all: u64) -> Result<()> {
    for from in (first..first + records).step_by(BATCH as usize) {
        let body = lines(from, BATCH.min(first + records - from), all);
        let stream = "readings".parse()?;
        let delivery = Delivery { stream, format: Format::Ndjson, encoding: Encoding::Identity, batch: None };
        let report = node.deliver(delivery, stream::iter([Ok(body.into())])).await?;
        if report.refused > 0 {
            return Err(format!("{} records were refused", report.refused).into());
        }
    }
    Ok(())
}

/// Waits until a table has committed all of its stream.
async fn committed(node: &Node, rows: u64) -> Result<()> {
    let started = Instant::now();
    loop {
        let status = node.status();
        let table = status.tables.iter().find(|table| table.name == "readings").ok_or("no table")?;
        if table.rows >= rows && table.pending == 0 && table.behind == 0 {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("the table has {} of {rows} rows: {:?}", table.rows, table.trouble).into());
        }
        node.env().sleep(Duration::from_millis(5)).await;
    }
}

async fn replay(node: &Node) -> Result<(f64, RunStatus)> {
    let started = Instant::now();
    let ask = ReplayAsk { function: Some("measure".parse()?), ..ReplayAsk::default() };
    let id = node.begin_replay(&ask).await?.id;
    loop {
        let run = node.replay(&id)?;
        match run.state {
            "done" => return Ok((started.elapsed().as_secs_f64(), run)),
            "running" if started.elapsed() < PATIENCE => node.env().sleep(Duration::from_millis(5)).await,
            state => return Err(format!("the replay is {state}: {:?}", run.reason).into()),
        }
    }
}

/// CPU seconds of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

async fn measure(records: u64) -> Result<()> {
    let world = World { config: tempfile::tempdir()?, data: tempfile::tempdir()? };
    world.plan(STREAM)?;
    let node = world.start().await?;
    deliver(&node, 0, records, records).await?;
    node.close().await?;
    drop(node);

    world.plan(&with_table("value"))?;
    let node = world.start().await?;
    let (started, cpu_before) = (Instant::now(), cpu());
    committed(&node, records).await?;
    let (fresh, fresh_cpu) = (started.elapsed().as_secs_f64(), cpu() - cpu_before);
    let cpu_before = cpu();
    let (same, run) = replay(&node).await?;
    let same_cpu = cpu() - cpu_before;
    if run.targets[0].counts.unchanged != records {
        return Err(format!("not all rows were there: {run:?}").into());
    }
    // Live records beside a replay, until they are committed.
    let lot = (records / 10).max(1);
    deliver(&node, records, lot, records).await?;
    committed(&node, records + lot).await?;
    let (beside, (with_live, _)) = futures::future::try_join(
        async {
            let started = Instant::now();
            deliver(&node, records + lot, lot, records).await?;
            committed(&node, records + 2 * lot).await?;
            Ok::<f64, Box<dyn std::error::Error>>(started.elapsed().as_secs_f64())
        },
        replay(&node),
    )
    .await?;
    node.close().await?;
    drop(node);

    let all = records + 2 * lot;
    world.plan(&with_table("value + 1"))?;
    let node = world.start().await?;
    let cpu_before = cpu();
    let (changed, run) = replay(&node).await?;
    let changed_cpu = cpu() - cpu_before;
    if run.targets[0].counts.replaced != all {
        return Err(format!("not all rows were replaced: {run:?}").into());
    }
    node.close().await?;

    let speed = |records: u64, seconds: f64| (records as f64 / seconds).round();
    let fresh_speed = records as f64 / fresh;
    println!(
        "{}",
        json!({
            "records": records,
            "fresh_records_per_s": speed(records, fresh),
            "fresh_cpu_s": fresh_cpu,
            "replay_all_there_records_per_s": speed(records, same),
            "replay_all_there_of_fresh": records as f64 / same / fresh_speed,
            "replay_all_there_cpu_s": same_cpu,
            "replay_all_changed_records_per_s": speed(all, changed),
            "replay_all_changed_of_fresh": all as f64 / changed / fresh_speed,
            "replay_all_changed_cpu_s": changed_cpu,
            "live_beside_a_replay_records_per_s": speed(lot, beside),
            "replay_beside_live_records_per_s": speed(records + lot, with_live),
        })
    );
    Ok(())
}

fn main() -> Result<()> {
    let records = match std::env::args().nth(1) {
        Some(records) => records.parse()?,
        None => RECORDS,
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(records))
}

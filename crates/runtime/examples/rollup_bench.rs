//! What a rollup costs after a change in one of 1,000 partitions, beside computing all of it again.
//!
//! ```text
//! cargo run --release -p weir-runtime --example rollup_bench [-- --rows-per-day N] [--days N]
//! ```
//!
//! A table of [`DAYS`] days, and a rollup of it by hour and shop. Two figures stand for a full recomputation: the same query
//! over the whole table in one piece, whose rows are not stored; and the rollup's own, partition by partition, each stored.
//! A change is one record for a random day, from the door to the rollup's Delta log: acknowledged, committed to the
//! table, found to be stale, computed and committed. Times are the clock's, and the process's on the processors. Prints one
//! line of JSON; medians of [`CHANGES`] changes.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use serde_json::json;
use weir_config::Inputs;
use weir_env::Env;
use weir_runtime::{Delivery, Encoding, Folder, Format, Node, Options};
use weir_table::{LocalStore, PartitionBy, Spec, Table};
use weir_types::TableName;

const DAYS: i64 = 1000;
const ROWS_PER_DAY: i64 = 10_000;
const CHANGES: usize = 21;
const DAY_US: i64 = 86_400_000_000;
/// 2020-01-01, in days.
const FIRST_DAY: i64 = 18_262;
/// Days of one append.
const DAYS_AT_ONCE: i64 = 20;

const SALE: &str = r#"{"type": "record", "name": "Sale", "fields": [
    {"name": "id", "type": "long"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "shop", "type": "string"},
    {"name": "cents", "type": "long"}]}"#;

const HCL: &str = r#"
stream "sales" {
  schema = "sale.avsc"
  time   = "at"
  id     = ["id"]
}
table "sales" {
  from         = stream.sales
  partition_by = "day(at)"
  freshness    = "100ms"
}
"#;

const SQL: &str = "select date_trunc('hour', at) as hour, shop, count(*) as sales, sum(cents) as cents, max(cents) as most \
                   from sales group by 1, 2";

type Failure = Box<dyn Error>;

fn argument(name: &str, default: i64) -> i64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn rows(first_day: i64, days: i64, per_day: i64) -> Result<RecordBatch, Failure> {
    let count = days * per_day;
    let ids = || (0..count).map(move |n| first_day * per_day + n);
    let at = ids().map(|id| (FIRST_DAY + id / per_day) * DAY_US + id % per_day * (DAY_US / per_day));
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(ids().collect::<Int64Array>())),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC"))),
        ("shop", Arc::new(StringArray::from_iter_values(ids().map(|id| format!("shop {}", id * 7919 % 50))))),
        ("cents", Arc::new(ids().map(|id| id * 104_729 % 10_000).collect::<Int64Array>())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Fills the table of a data folder that no node uses now.
async fn fill(data: &Path, env: &Env, days: i64, per_day: i64) -> Result<(), Failure> {
    let mut spec = Spec::new("sales".parse()?, rows(0, 1, 1)?.schema());
    spec.partition_by = PartitionBy::Day("at".to_owned());
    spec.unique_by = vec!["id".to_owned()];
    let path = Folder::open(data)?.table("sales");
    std::fs::create_dir_all(&path)?;
    let root = url::Url::from_directory_path(&path).map_err(|()| "the folder's path is not absolute")?;
    let table = Table::open(spec, Arc::new(LocalStore::new()), root, env.clone()).await?;
    for first in (0..days).step_by(usize::try_from(DAYS_AT_ONCE)?) {
        table.append(rows(first, DAYS_AT_ONCE.min(days - first), per_day)?, &[]).await?;
        table.commit().await?;
    }
    Ok(())
}

async fn start(config: &Path, data: &Path, env: &Env) -> Result<Arc<Node>, Failure> {
    let plan = weir_config::load(config, &Inputs::default()).map_err(|found| found[0].render())?;
    Ok(Node::start(plan, data, env.clone(), Options::default()).await?)
}

/// The processors' time of this process.
fn processor_time() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = fields.get(11).ok_or("no utime")?.parse::<u64>()? + fields.get(12).ok_or("no stime")?.parse::<u64>()?;
    // Linux counts in hundredths of a second.
    Ok(Duration::from_millis(ticks * 10))
}

/// Returns how long something took, by the clock and on the processors.
async fn timed<T>(env: &Env, work: impl Future<Output = Result<T, Failure>>) -> Result<(Duration, Duration), Failure> {
    let (started, cpu) = (env.elapsed(), processor_time()?);
    work.await?;
    Ok((env.elapsed() - started, processor_time()?.saturating_sub(cpu)))
}

async fn refresh(node: &Node) -> Result<(), Failure> {
    let name: TableName = "hourly".parse()?;
    loop {
        match node.refresh(&name).await {
            // A full recomputation may take longer than one request waits.
            Err(weir_runtime::RefreshError::Time { .. }) => {}
            other => return Ok(other?),
        }
    }
}

async fn whole(node: &Node) -> Result<u64, Failure> {
    let mut answer = node.query(SQL).await?;
    let mut rows = 0;
    while let Some(batch) = answer.next().await {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}

async fn change(node: &Node, id: i64, day: i64) -> Result<(), Failure> {
    let at = (FIRST_DAY + day) * DAY_US + 5;
    let line = format!("{{\"id\":{id},\"at\":{at},\"shop\":\"shop 1\",\"cents\":1}}\n");
    let delivery =
        Delivery { stream: "sales".parse()?, format: Format::Ndjson, encoding: Encoding::Identity, batch: None };
    node.deliver(delivery, futures::stream::iter([Ok(Bytes::from(line))])).await?;
    refresh(node).await
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn main() -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(bench())
}

async fn bench() -> Result<(), Failure> {
    let (days, per_day) = (argument("--days", DAYS), argument("--rows-per-day", ROWS_PER_DAY));
    let (config, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let data = data.path().join("weir");
    let env = Env::system();
    std::fs::write(config.path().join("sale.avsc"), SALE)?;
    std::fs::write(config.path().join("weir.hcl"), HCL)?;
    // Makes the data folder, and the stream.
    start(config.path(), &data, &env).await?.close().await?;
    fill(&data, &env, days, per_day).await?;
    let rollup = format!(
        "{HCL}\ntable \"hourly\" {{\n  sql = \"{SQL}\"\n  partition_by = \"day(hour)\"\n  freshness = \"100ms\"\n}}\n"
    );
    std::fs::write(config.path().join("weir.hcl"), rollup)?;
    let node = start(config.path(), &data, &env).await?;
    let (by_partition, by_partition_cpu) = timed(&env, refresh(&node)).await?;
    let mut full = Vec::new();
    for _ in 0..3 {
        full.push(timed(&env, whole(&node)).await?);
    }
    let (mut clock, mut cpu) = (Vec::new(), Duration::ZERO);
    for n in 0..CHANGES {
        let day = env.random().cast_signed().rem_euclid(days);
        let (took, on_cpu) = timed(&env, change(&node, days * per_day + n as i64, day)).await?;
        clock.push(took);
        cpu += on_cpu;
    }
    let computed = node.status().tables.into_iter().find_map(|table| Some(table.rollup?.computed)).unwrap_or_default();
    let expected = days.unsigned_abs() + CHANGES as u64;
    if computed != expected {
        return Err(format!("{computed} partitions were computed, and {expected} had changed").into());
    }
    node.close().await?;
    let full_s = median(full.iter().map(|(clock, _)| *clock).collect());
    let full_cpu_s = median(full.iter().map(|(_, cpu)| *cpu).collect());
    let (change_s, change_cpu_s) = (median(clock), cpu.as_secs_f64() / CHANGES as f64);
    let figures = json!({
        "partitions": days,
        "rows": days * per_day,
        "full_query_s": full_s,
        "full_query_cpu_s": full_cpu_s,
        "full_by_partition_s": by_partition.as_secs_f64(),
        "full_by_partition_cpu_s": by_partition_cpu.as_secs_f64(),
        "change_s": change_s,
        "change_cpu_s": change_cpu_s,
        "percent_of_full_query": 100.0 * change_s / full_s,
        "percent_of_full_query_cpu": 100.0 * change_cpu_s / full_cpu_s,
        "percent_of_full_by_partition": 100.0 * change_s / by_partition.as_secs_f64(),
        "percent_of_full_by_partition_cpu": 100.0 * change_cpu_s / by_partition_cpu.as_secs_f64(),
    });
    #[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
    {
        println!("{figures}");
    }
    Ok(())
}

//! Rows per second into a table, beside a bare Parquet writer of the same batches with the same properties, on one
//! thread each.
//!
//! `cargo run --release -p weir-table --example table_bench -- [ROWS] [FOLDER]` prints one JSON object; the tables stay
//! in FOLDER if one is given.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark reports by printing, and stops at the first error"
)]

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use weir_env::Env;
use weir_table::{LocalStore, PartitionBy, SourceId, Spec, Table, writer_properties};

const BATCH_ROWS: usize = 8192;
const START: i64 = 1_356_998_400_000_000;

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("device", DataType::Utf8, true),
        Field::new("sequence", DataType::Int64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("kind", DataType::Utf8, true),
        Field::new("value", DataType::Float64, true),
        Field::new("quality", DataType::Int32, true),
        Field::new("session", DataType::Utf8, true),
        Field::new("message", DataType::Utf8, true),
    ]))
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// About 200 bytes a row, in order of time over a day.
fn batch(first: usize, rows: usize, of: usize, random: &mut Random) -> RecordBatch {
    let range = first..first + rows;
    let text = |make: &mut dyn FnMut(usize) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(range.clone().map(make)))
    };
    let arrays: Vec<ArrayRef> = vec![
        text(&mut |n| format!("device-{:06}", n % 50_000)),
        Arc::new(Int64Array::from_iter_values(range.clone().map(|n| n as i64))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(
                range.clone().map(|n| START + n as i64 * 86_400_000_000 / of as i64),
            )
            .with_timezone("UTC"),
        ),
        text(&mut |n| ["temperature", "pressure", "humidity", "vibration"][n % 4].to_owned()),
        Arc::new(Float64Array::from_iter_values(range.clone().map(|n| (n % 10_007) as f64 * 0.25))),
        Arc::new(Int32Array::from_iter_values(range.clone().map(|n| (n % 5) as i32))),
        text(&mut |_| format!("{:016x}{:016x}", random.next(), random.next())),
        text(&mut |n| {
            format!("reading {n} of the line at hall {} was taken by the second shift and is within its limits", n % 97)
        }),
    ];
    RecordBatch::try_new(columns(), arrays).unwrap()
}

fn spec(buckets: u32) -> Spec {
    Spec {
        partition_by: PartitionBy::Day("at".into()),
        buckets,
        unique_by: vec!["device".into(), "sequence".into(), "at".into()],
        ..Spec::new("bench".parse().unwrap(), columns())
    }
}

fn seconds(env: &Env, since: Duration) -> f64 {
    (env.elapsed() - since).as_secs_f64()
}

/// The process's CPU seconds so far: what "per core" means however many threads took part.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Writes the batches with nothing around, in files of the size that commits have. Returns seconds, CPU seconds and
/// bytes.
fn write_bare(env: &Env, batches: &[RecordBatch], properties: WriterProperties) -> (f64, f64, usize) {
    let (since, cpu) = (env.elapsed(), cpu_seconds());
    let mut bytes = 0;
    for part in batches.chunks(64) {
        let mut writer = ArrowWriter::try_new(Vec::new(), columns(), Some(properties.clone())).unwrap();
        for batch in part {
            writer.write(batch).unwrap();
        }
        bytes += writer.into_inner().unwrap().len();
    }
    (seconds(env, since), cpu_seconds() - cpu, bytes)
}

/// Sends the batches as rows that replace what is there. Returns how many did, and how many were equal.
async fn replay(table: &Table, batches: &[RecordBatch]) -> (u64, u64) {
    let (mut replaced, mut repeats) = (0, 0);
    for batch in batches {
        let appended = table.append_replacing(batch.clone(), &[]).await.unwrap();
        replaced += appended.replaced;
        repeats += appended.repeats;
        if table.pending().bytes >= table.spec().commit_bytes {
            table.commit().await.unwrap();
        }
    }
    table.commit().await.unwrap();
    (replaced, repeats)
}

/// The same rows with another value in one column.
fn changed(batch: &RecordBatch) -> RecordBatch {
    let mut arrays = batch.columns().to_vec();
    arrays[5] = Arc::new(Int32Array::from_iter_values((0..batch.num_rows()).map(|n| (n % 5) as i32 + 10)));
    RecordBatch::try_new(columns(), arrays).unwrap()
}

async fn load(table: &Table, batches: &[RecordBatch], positions_from: u64) -> u64 {
    let source = SourceId::new("bench");
    let mut at = positions_from;
    let mut repeats = 0;
    for batch in batches {
        at += batch.num_rows() as u64;
        repeats += table.append(batch.clone(), &[(source.clone(), at)]).await.unwrap().repeats;
        if table.pending().bytes >= table.spec().commit_bytes {
            table.commit().await.unwrap();
        }
    }
    table.commit().await.unwrap();
    repeats
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().map_or(2_000_000, |rows| rows.parse().unwrap());
    let keep = arguments.next();
    let folder = keep
        .as_ref()
        .map_or_else(std::env::temp_dir, Into::into)
        .join(format!("weir-table-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let env = Env::system();
    let mut random = Random(88_172_645_463_325_252);
    let batches: Vec<RecordBatch> = (0..rows)
        .step_by(BATCH_ROWS)
        .map(|first| batch(first, BATCH_ROWS.min(rows - first), rows, &mut random))
        .collect();
    let arrow_bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();

    // Once for nothing: the first run pays for the pages of the allocator.
    write_bare(&env, &batches, writer_properties());
    let (bare, bare_cpu, bare_bytes) = write_bare(&env, &batches, writer_properties());
    let levels: Vec<_> = [1, 3, 6]
        .into_iter()
        .map(|level| {
            let compression = Compression::ZSTD(ZstdLevel::try_new(level).unwrap());
            let properties = writer_properties().into_builder().set_compression(compression).build();
            let (_, cpu_seconds, bytes) = write_bare(&env, &batches, properties);
            serde_json::json!({"level": level, "cpu_seconds": cpu_seconds, "bytes": bytes})
        })
        .collect();

    let mut results = Vec::new();
    for buckets in [1, 4] {
        let root = url::Url::from_directory_path(folder.join(format!("buckets-{buckets}"))).unwrap();
        let table = Table::open(spec(buckets), Arc::new(LocalStore::new()), root, env.clone()).await.unwrap();
        let (since, cpu) = (env.elapsed(), cpu_seconds());
        assert_eq!(load(&table, &batches, 0).await, 0);
        let (wall, table_cpu) = (seconds(&env, since), cpu_seconds() - cpu);
        let stats = table.stats();
        let (since, cpu) = (env.elapsed(), cpu_seconds());
        assert_eq!(load(&table, &batches, rows as u64).await, rows as u64);
        let (again, again_cpu) = (seconds(&env, since), cpu_seconds() - cpu);
        let (since, files) = (env.elapsed(), table.stats().files);
        while table.merge().await.unwrap().files_in > 0 {}
        let (merge_seconds, files_after_merge) = (seconds(&env, since), table.stats().files);
        let cpu = cpu_seconds();
        assert_eq!(replay(&table, &batches).await, (0, rows as u64));
        let equal_cpu = cpu_seconds() - cpu;
        let others: Vec<RecordBatch> = batches.iter().map(changed).collect();
        let cpu = cpu_seconds();
        assert_eq!(replay(&table, &others).await, (rows as u64, 0));
        let replaced_cpu = cpu_seconds() - cpu;
        results.push(serde_json::json!({
            "buckets": buckets,
            "seconds": wall, "cpu_seconds": table_cpu,
            "rows_per_second": rows as f64 / wall, "rows_per_cpu_second": rows as f64 / table_cpu,
            "ratio_to_bare_per_core": bare_cpu / table_cpu,
            "files": files, "bytes": stats.bytes,
            "all_repeats": {"seconds": again, "cpu_seconds": again_cpu, "rows_per_cpu_second": rows as f64 / again_cpu},
            "merge_seconds": merge_seconds, "files_after_merge": files_after_merge,
            "replayed_equal": {"cpu_seconds": equal_cpu, "ratio_to_load": table_cpu / equal_cpu},
            "replayed_changed": {"cpu_seconds": replaced_cpu, "ratio_to_load": table_cpu / replaced_cpu},
        }));
    }
    let report = serde_json::json!({
        "rows": rows, "arrow_bytes": arrow_bytes,
        "bare_parquet": {"seconds": bare, "cpu_seconds": bare_cpu, "rows_per_cpu_second": rows as f64 / bare_cpu, "bytes": bare_bytes},
        "zstd_levels": levels,
        "table": results,
    });
    println!("{report:#}");
    if keep.is_none() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

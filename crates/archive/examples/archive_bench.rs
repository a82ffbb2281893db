//! CPU seconds of a table alone, of an archive alone, and of both at once, over the same records from the same log.
//!
//! `cargo run --release -p weir-archive --example archive_bench -- [RECORDS]` prints one JSON object.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark reports by printing, and stops at the first error"
)]

use std::collections::BTreeMap;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use url::Url;
use weir_archive::{Archive, Codec, OnDamage, Selection, Spec};
use weir_env::Env;
use weir_log::{Engine, LocalEngine};
use weir_machine::Snapshots;
use weir_schema::{ColumnDecoder, JsonEncoder, Lookup, Schema, SchemaId, arrow_schema};
use weir_stream::{Route, Settings, Stream};
use weir_table::{LocalStore, PartitionBy, SourceId, Spec as TableSpec, Table};
use weir_types::Fingerprint;

const SHARDS: u32 = 2;
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// As the runtime's.
const COMMIT_BYTES: u64 = 48 * 1024 * 1024;
const ROUNDS: usize = 3;

const SCHEMA: &str = r#"{"type": "record", "name": "Reading", "fields": [
    {"name": "device", "type": "string"}, {"name": "sequence", "type": "long"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "kind", "type": "string"}, {"name": "value", "type": "double"}, {"name": "quality", "type": "int"},
    {"name": "session", "type": "string"}, {"name": "message", "type": "string"}]}"#;

struct Known(Schema);

impl Lookup for Known {
    fn by_fingerprint(&self, fingerprint: Fingerprint) -> Option<Schema> {
        (self.0.fingerprint() == fingerprint).then(|| self.0.clone())
    }
    fn by_id(&self, _: SchemaId) -> Option<Schema> {
        None
    }
    fn by_md5(&self, _: &[u8; 16]) -> Option<Schema> {
        None
    }
}

/// The process's CPU seconds so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Fills the stream with records of about 200 bytes, in order of time over a day. Returns their bytes.
async fn fill(stream: &Arc<Stream>, schema: &Schema, records: u64) -> u64 {
    let mut encoder = JsonEncoder::new(schema);
    let mut random = 88_172_645_463_325_252u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut bytes = 0;
    let mut writer = stream.write(None).await.unwrap();
    for n in 0..records {
        let at = 1_356_998_400_000_000 + n * (86_400_000_000 / records);
        let json = format!(
            r#"{{"device": "device-{:06}", "sequence": {n}, "at": {at}, "kind": "{}", "value": {}, "quality": {}, "session": "{:016x}{:016x}", "message": "reading {n} of the line at hall {} was taken by the second shift and is within its limits"}}"#,
            n % 50_000,
            ["temperature", "pressure", "humidity", "vibration"][n as usize % 4],
            (n % 10_007) as f64 * 0.25,
            n % 5,
            next(),
            next(),
            n % 97
        );
        let mut body = Vec::new();
        encoder.encode(json.as_bytes(), &mut body).unwrap();
        bytes += body.len() as u64;
        if writer.push(Route::Spread, schema.fingerprint(), &body) {
            writer.flush().await.unwrap();
        }
    }
    writer.finish().await.unwrap();
    bytes
}

/// Takes everything into a new table, as the runtime's pipeline does.
async fn into_table(stream: Arc<Stream>, schema: Schema, folder: std::path::PathBuf, env: Env) {
    std::fs::create_dir_all(&folder).unwrap();
    let spec = TableSpec {
        partition_by: PartitionBy::Day("at".into()),
        unique_by: vec!["device".into(), "sequence".into(), "at".into()],
        commit_bytes: COMMIT_BYTES,
        ..TableSpec::new("bench".parse().unwrap(), arrow_schema(&schema).unwrap())
    };
    let root = Url::from_directory_path(&folder).unwrap();
    let table = Table::open(spec, Arc::new(LocalStore::new()), root, env).await.unwrap();
    let mut decoder = ColumnDecoder::new(&schema).unwrap();
    for shard in stream.shards() {
        let source = SourceId::new(shard.log().name().as_str());
        let mut next = shard.bounds().head;
        while next < shard.bounds().tail {
            let page = shard.read(next, PAGE_BYTES).await.unwrap();
            for record in page.records() {
                decoder.push(&schema, record.unwrap().body).unwrap();
            }
            next = page.end();
            table.append(decoder.flush().unwrap(), &[(source.clone(), next.0)]).await.unwrap();
            if table.pending().bytes >= COMMIT_BYTES {
                table.commit().await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }
    table.commit().await.unwrap();
}

async fn open_archive(stream: &Stream, folder: &FsPath, codec: Codec, env: &Env) -> Archive {
    std::fs::create_dir_all(folder).unwrap();
    let spec = Spec { codec, ..Spec::new(stream.name().clone(), SHARDS, Duration::from_secs(400 * 86_400)) };
    let root = Path::from_absolute_path(folder).unwrap();
    Archive::open(spec, Arc::new(LocalStore::new()), root, env.clone(), &BTreeMap::new()).await.unwrap()
}

/// Takes everything into a new archive. Returns the bytes of its files.
async fn into_archive(stream: Arc<Stream>, schema: Schema, folder: std::path::PathBuf, codec: Codec, env: Env) -> u64 {
    let archive = open_archive(&stream, &folder, codec, &env).await;
    let known = Known(schema);
    for shard in stream.shards() {
        while archive.advance(shard, &known).await.unwrap().is_some() {}
    }
    archive.stats().held.bytes
}

/// Reads an archive back. Returns how many records it has.
async fn read_back(stream: &Stream, folder: &FsPath, env: &Env) -> u64 {
    let archive = open_archive(stream, folder, Codec::Zstandard, env).await;
    let mut reader = archive.read(Selection::default(), OnDamage::Stop).await.unwrap();
    let mut records = 0;
    while let Some(page) = reader.next(PAGE_BYTES).await.unwrap() {
        records += page.len() as u64;
    }
    records
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let records: u64 = std::env::args().nth(1).map_or(2_000_000, |records| records.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let at = |name: String| folder.path().join(name);
    let env = Env::system();
    std::fs::create_dir_all(at("log".into())).unwrap();
    let engine = Arc::new(LocalEngine::open(&at("log".into()), Default::default(), env.clone()).unwrap());
    let snapshots = Snapshots::new(Arc::new(object_store::memory::InMemory::new()), Path::default());
    let settings = Settings { shards: SHARDS, retention: Duration::from_secs(86_400), retention_bytes: None };
    let name = "readings".parse().unwrap();
    let stream = Stream::open(&*engine, snapshots, env.clone(), name, settings).await.unwrap();
    let schema = Schema::parse(SCHEMA).unwrap();
    let body_bytes = fill(&stream, &schema, records).await;

    let (mut table, mut archive, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    let mut file_bytes = 0;
    for round in 0..ROUNDS {
        let cpu = cpu_seconds();
        into_table(stream.clone(), schema.clone(), at(format!("table-{round}")), env.clone()).await;
        table.push(cpu_seconds() - cpu);

        let cpu = cpu_seconds();
        let zstd =
            into_archive(stream.clone(), schema.clone(), at(format!("archive-{round}")), Codec::Zstandard, env.clone());
        file_bytes = zstd.await;
        archive.push(cpu_seconds() - cpu);

        let cpu = cpu_seconds();
        let rows =
            tokio::spawn(into_table(stream.clone(), schema.clone(), at(format!("table-both-{round}")), env.clone()));
        let files = into_archive(
            stream.clone(),
            schema.clone(),
            at(format!("archive-both-{round}")),
            Codec::Zstandard,
            env.clone(),
        );
        let files = tokio::spawn(files);
        rows.await.unwrap();
        files.await.unwrap();
        both.push(cpu_seconds() - cpu);
        ratios.push(both[round] / table[round]);
    }
    let mut others = serde_json::Map::new();
    for (name, codec) in [("snappy", Codec::Snappy), ("deflate", Codec::Deflate), ("none", Codec::Null)] {
        let cpu = cpu_seconds();
        let bytes =
            into_archive(stream.clone(), schema.clone(), at(format!("archive-{name}")), codec, env.clone()).await;
        let used = cpu_seconds() - cpu;
        others.insert(name.to_owned(), serde_json::json!({ "cpu_s": used, "file_mb": bytes / 1_000_000 }));
    }
    let cpu = cpu_seconds();
    assert_eq!(read_back(&stream, &at("archive-0".into()), &env).await, records);
    let read = cpu_seconds() - cpu;
    let result = serde_json::json!({
        "bench": "archive",
        "records": records,
        "body_mb": body_bytes / 1_000_000,
        "table_cpu_s": median(table.clone()),
        "archive_cpu_s": median(archive),
        "both_cpu_s": median(both),
        "both_of_table": median(ratios),
        "archive_file_mb": file_bytes / 1_000_000,
        "read_back_cpu_s": read,
        "other_codecs": others,
    });
    println!("{}", serde_json::to_string_pretty(&result).unwrap());
    engine.close().await.unwrap();
}

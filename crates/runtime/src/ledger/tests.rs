//! Whole nodes: what is planted is found and named, and nothing is reported where nothing was planted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use weir_config::{Inputs, load};
use weir_env::{Env, Random};
use weir_ledger::{Choice, Fault, Finding, Hop, Wrong};

use super::{Depth, LedgerReport};
use crate::{Delivery, Encoding, Format, Node, Options, Report};

/// How long anything may take until a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const SCHEMA: &str = r#"{"type": "record", "name": "Event", "fields": [
    {"name": "id", "type": "long"}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "word", "type": "string"}]}"#;
const HCL: &str = r#"
stream "events" {
  schema = "event.avsc"
  time   = "at"
  id     = ["id", "at"]
  shards = 2
  archive       = "400d"
  archive_every = "1s"
}
table "events" {
  from         = stream.events
  partition_by = "day(at)"
  buckets      = 2
  freshness    = "100ms"
}
function "loud" {
  on  = stream.events
  sql = "select id, at, upper(word) as word, 100 / (id % 1000 - 500) as odd from input where id % 3 <> 0"
  to  = table.loud
}
table "loud" {
  unique_by    = ["id", "at"]
  partition_by = "day(at)"
  freshness    = "100ms"
}
"#;

struct World {
    root: TempDir,
    random: Random,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("weir.hcl"), HCL).unwrap();
        std::fs::write(root.path().join("event.avsc"), SCHEMA).unwrap();
        Self { root, random: Random::seeded(seed), seed }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    async fn start(&self) -> Arc<Node> {
        let env = Env::system();
        let started = env.elapsed();
        loop {
            let plan = load(self.root.path(), &Inputs::default());
            let plan =
                plan.unwrap_or_else(|found| panic!("{}", found.iter().map(|one| one.render()).collect::<String>()));
            match Node::start(plan, &self.data(), env.clone(), Options::default()).await {
                Ok(node) => return node,
                Err(error) if env.elapsed() - started < PATIENCE && error.to_string().contains("in use") => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
            }
        }
    }

    /// Sends events of three days. Every tenth is a repeat.
    async fn send(&self, node: &Node, ids: std::ops::Range<u64>) -> Report {
        let mut lines = String::new();
        for id in ids {
            let id = if self.random.next().is_multiple_of(10) { id.saturating_sub(1) } else { id };
            let at = 1_700_000_000_000u64 + (id % 3) * 86_400_000;
            lines.push_str(&format!("{{\"id\": {id}, \"at\": {at}, \"word\": \"w{id}\"}}\n"));
        }
        let stream = "events".parse().unwrap();
        let delivery = Delivery { stream, format: Format::Ndjson, encoding: Encoding::Identity, batch: None };
        node.deliver(delivery, futures::stream::iter([Ok(Bytes::from(lines))])).await.unwrap()
    }

    /// Waits until everything that was sent is committed.
    async fn settle(&self, node: &Node) {
        let started = node.env().elapsed();
        loop {
            let waits = |pipeline: &crate::pipeline::Pipeline| {
                let pending = pipeline.table().pending();
                pipeline.behind() > 0 || pending.rows > 0 || pending.moved
            };
            if !node.pipelines().values().any(waits) {
                return;
            }
            assert!(node.env().elapsed() - started < PATIENCE, "seed {}: the tables did not catch up", self.seed);
            node.env().sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn verify(node: &Node) -> LedgerReport {
    let report = node.ledger(&Choice::default(), Depth::Files).await;
    assert_eq!(report.unchecked, Vec::<String>::new());
    report
}

#[track_caller]
fn assert_balanced(report: &LedgerReport, seed: u64) {
    assert_eq!(report.findings, [], "seed {seed}");
    assert_eq!(report.incidents, [], "seed {seed}");
    for line in &report.lines {
        assert_eq!(line.balance, 0, "seed {seed}: {line:?}");
    }
    assert!(report.balanced);
}

fn data_files(folder: &Path, found: &mut Vec<PathBuf>) {
    find(folder, "parquet", found);
    found.retain(|path| !path.components().any(|part| part.as_os_str() == "_delta_log"));
}

fn find(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, extension, found);
        } else if path.extension().is_some_and(|of| of == extension) {
            found.push(path);
        }
    }
    found.sort();
}

fn of(report: &LedgerReport, fault: Fault) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.fault == fault).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_where_nothing_was_planted_over_crashes() {
    for seed in 1..4 {
        let world = World::new(seed);
        let mut sent = 0;
        let mut node = world.start().await;
        for round in 0..6u64 {
            let count = 200 + world.random.next() % 800;
            let report = world.send(&node, sent..sent + count).await;
            assert_eq!(report.stored, count);
            sent += count;
            match world.random.next() % 4 {
                0 => world.settle(&node).await,
                1 => {
                    node.close().await.unwrap();
                    drop(node);
                    node = world.start().await;
                }
                2 => {
                    // As a crash: the tasks end wherever they are.
                    node.abort_tasks().await;
                    drop(node);
                    node = world.start().await;
                }
                _ => assert_balanced(&node.ledger(&Choice::default(), Depth::Books).await, seed * 100 + round),
            }
        }
        world.settle(&node).await;
        let report = verify(&node).await;
        assert_balanced(&report, seed);
        let total = |hop, name: &str, of: fn(&weir_ledger::Line) -> u64| -> u64 {
            report.lines.iter().filter(|line| line.hop == hop && line.name == name).map(of).sum()
        };
        assert_eq!(total(Hop::Stream, "events", |line| line.records_in), sent);
        assert_eq!(total(Hop::Table, "events", |line| line.records_in), sent);
        let rows = node.pipelines()[&"events".parse().unwrap()].table().stats().rows;
        assert_eq!(total(Hop::Table, "events", |line| line.out), rows);
        assert_eq!(total(Hop::Table, "events", |line| line.deduplicated), sent - rows);
        // One record of a thousand divides by zero: a letter each.
        assert!(total(Hop::Table, "loud", |line| line.dead_lettered) > 0, "seed {seed}");
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_file_is_found_and_its_rows_are_named() {
    let world = World::new(5);
    let node = world.start().await;
    world.send(&node, 0..60).await;
    world.settle(&node).await;
    assert_balanced(&verify(&node).await, 5);
    let mut files = Vec::new();
    data_files(&world.data().join("tables/events"), &mut files);
    std::fs::remove_file(&files[0]).unwrap();
    // The books alone can't see it: the Delta log still names the file.
    assert_balanced(&node.ledger(&Choice::default(), Depth::Books).await, 5);
    let report = verify(&node).await;
    assert!(!report.balanced);
    let gone = of(&report, Fault::File);
    assert_eq!(gone.len(), 1, "{:?}", report.findings);
    assert!(files[0].ends_with(gone[0].source.as_ref().unwrap()), "{gone:?}");
    let stock = of(&report, Fault::Stock);
    assert_eq!(stock.len(), 1);
    assert_eq!((stock[0].hop, stock[0].name.as_str()), (Hop::Table, "events"));
    assert_eq!(stock[0].missing, gone[0].missing);
    assert_eq!(stock[0].ids.len() as u64, stock[0].missing);
    assert!(stock[0].hour.is_some(), "all records arrived in one hour, or two: {:?}", stock[0]);
    for id in &stock[0].ids {
        assert_eq!(id.wrong, Wrong::Missing);
        // The named record is the named row.
        let row: serde_json::Value = serde_json::from_str(&id.id).unwrap();
        assert!(row["id"].as_u64().unwrap() < 60);
        let log = id.log.as_deref().unwrap();
        assert!(log.starts_with("stream/events/"), "{log}");
    }
    // Somebody has looked at it, and lives with what is there.
    node.accept_table("events", "the file is gone for good").await.unwrap();
    let report = verify(&node).await;
    assert_eq!(of(&report, Fault::Stock).len(), 0, "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_file_is_found() {
    let world = World::new(6);
    let node = world.start().await;
    world.send(&node, 0..60).await;
    world.settle(&node).await;
    let mut files = Vec::new();
    data_files(&world.data().join("tables/loud"), &mut files);
    let bytes = std::fs::read(&files[0]).unwrap();
    std::fs::write(&files[0], &bytes[..bytes.len() / 2]).unwrap();
    let report = verify(&node).await;
    let broken = of(&report, Fault::File);
    assert_eq!(broken.len(), 1, "{:?}", report.findings);
    assert_eq!((broken[0].hop, broken[0].name.as_str()), (Hop::Table, "loud"));
    assert!(broken[0].partition.is_some() && broken[0].what.contains("bytes"), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_passed_over_is_found_and_its_records_are_named() {
    let world = World::new(7);
    let node = world.start().await;
    world.send(&node, 0..50).await;
    world.settle(&node).await;
    let table = "events".parse().unwrap();
    node.pipelines()[&table].parts().skip_page.store(true, Ordering::Relaxed);
    let lost = world.send(&node, 5000..5010).await;
    // Nobody waits for them: they are passed.
    while node.pipelines()[&table].parts().skip_page.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
    for more in 0..8 {
        world.send(&node, 6000 + 10 * more..6010 + 10 * more).await;
    }
    world.settle(&node).await;
    let report = node.ledger(&Choice::default(), Depth::Books).await;
    let skipped = of(&report, Fault::Skipped);
    assert_eq!(skipped.len(), 1, "{:?}", report.findings);
    assert_eq!((skipped[0].hop, skipped[0].name.as_str()), (Hop::Table, "events"));
    let missing = skipped[0].missing;
    assert!(missing > 0 && missing <= 10);
    let source = skipped[0].source.clone().unwrap();
    for id in &skipped[0].ids {
        let sequence = id.sequence.unwrap();
        let sent = lost.places.iter().any(|place| {
            source == format!("stream/events/{}", place.shard)
                && (place.first.0..place.first.0 + place.records).contains(&sequence)
        });
        assert!(sent, "{id:?} in {:?}", lost.places);
    }
    // Looking into the files names the rows.
    let report = verify(&node).await;
    let skipped = of(&report, Fault::Skipped);
    let id: serde_json::Value = serde_json::from_str(&skipped[0].ids[0].id).unwrap();
    assert!((4999..5010).contains(&id["id"].as_u64().unwrap()), "{id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_vanishes_on_the_way_to_the_table_is_found() {
    let world = World::new(8);
    let node = world.start().await;
    world.send(&node, 0..50).await;
    world.settle(&node).await;
    let table = "loud".parse().unwrap();
    node.pipelines()[&table].parts().drop_row.store(true, Ordering::Relaxed);
    world.send(&node, 7000..7020).await;
    world.settle(&node).await;
    let report = verify(&node).await;
    let rows = of(&report, Fault::Rows);
    assert_eq!(rows.len(), 1, "{:?}", report.findings);
    assert_eq!((rows[0].hop, rows[0].name.as_str(), rows[0].missing), (Hop::Table, "loud", 1));
    assert!(rows[0].hour.is_some());
    assert_eq!(rows[0].ids.len(), 1, "{rows:?}");
    let id: serde_json::Value = serde_json::from_str(&rows[0].ids[0].id).unwrap();
    assert!((6999..7020).contains(&id["id"].as_u64().unwrap()), "{id}");
    assert!(rows[0].ids[0].sequence.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_rolled_back_is_noticed_and_the_table_heals() {
    let world = World::new(9);
    let node = world.start().await;
    for round in 0..4 {
        world.send(&node, 100 * round..100 * round + 50).await;
        world.settle(&node).await;
    }
    let before = node.pipelines()[&"events".parse().unwrap()].table().stats().rows;
    node.close().await.unwrap();
    drop(node);
    // The newest version of the table is deleted by hand.
    let log = world.data().join("tables/events/_delta_log");
    let mut versions: Vec<PathBuf> = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    versions.sort();
    std::fs::remove_file(versions.last().unwrap()).unwrap();
    let node = world.start().await;
    world.settle(&node).await;
    let report = verify(&node).await;
    let incidents: Vec<_> = report.incidents.iter().filter(|incident| incident.name == "events").collect();
    assert!(!incidents.is_empty(), "{:?}", report.findings);
    assert!(incidents[0].what.contains("its last 1 are gone"), "{}", incidents[0].what);
    assert_eq!(incidents[0].hop, Hop::Table);
    assert!(incidents[0].hours.is_some());
    // Its records were read again, and each counts once.
    assert_eq!(report.findings, []);
    assert_eq!(node.pipelines()[&"events".parse().unwrap()].table().stats().rows, before);
    for incident in report.incidents {
        node.accept_incident(incident.number, "I deleted it".into()).await.unwrap();
    }
    assert_balanced(&verify(&node).await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_file_that_is_gone_is_found() {
    let world = World::new(12);
    let node = world.start().await;
    world.send(&node, 0..50).await;
    world.settle(&node).await;
    let (stream, started) = ("events".parse().unwrap(), node.env().elapsed());
    let archived = || node.archive(&stream).is_ok_and(|archive| archive.stats().held.records.count == 50);
    while !archived() {
        assert!(node.env().elapsed() - started < PATIENCE, "nothing was archived");
        node.env().sleep(Duration::from_millis(20)).await;
    }
    let report = verify(&node).await;
    assert_balanced(&report, 12);
    let lines = report.lines.iter().filter(|line| line.hop == Hop::Archive && line.name == "events");
    assert_eq!(lines.map(|line| line.out).sum::<u64>(), 50);
    let mut files = Vec::new();
    find(&world.data(), "avro", &mut files);
    std::fs::remove_file(&files[0]).unwrap();
    let report = verify(&node).await;
    let gone = of(&report, Fault::Archive);
    assert_eq!(gone.len(), 1, "{:?}", report.findings);
    assert_eq!((gone[0].hop, gone[0].name.as_str()), (Hop::Archive, "events"));
    assert!(gone[0].hour.is_some(), "{gone:?}");
    assert!(files[0].ends_with(Path::new(gone[0].source.as_ref().unwrap()).file_name().unwrap()), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_put_back_is_noticed() {
    let world = World::new(10);
    let node = world.start().await;
    world.send(&node, 0..50).await;
    world.settle(&node).await;
    node.close().await.unwrap();
    drop(node);
    // A book that is ahead of its log, as after an older copy of the streams alone.
    let node = world.start().await;
    let shard = node.streams()[&"events".parse().unwrap()].stream.shards()[0].log().name().clone();
    let tail = node.streams()[&"events".parse().unwrap()].stream.shards()[0].bounds().tail.0;
    let sum = weir_types::Tally { count: 5, sum: 99 };
    let hours = vec![(weir_types::Hour(1_000_000), weir_ledger::ShardHour::of(tail, tail + 5, sum))];
    let streamed = weir_ledger::Streamed { log: shard.clone(), from: tail, to: tail + 5, hours };
    node.book(super::Count::All).await.unwrap();
    node.books().submit(weir_ledger::Command::Streamed(vec![streamed])).await.unwrap();
    let report = node.ledger(&Choice::default(), Depth::Books).await;
    assert_eq!((report.findings[0].hop, report.findings[0].missing), (Hop::Stream, 5));
    node.close().await.unwrap();
    drop(node);
    let node = world.start().await;
    let report = node.ledger(&Choice::default(), Depth::Books).await;
    assert_eq!(report.incidents.len(), 1);
    assert!(report.incidents[0].what.contains(&format!("`{shard}` ends at {tail}")), "{}", report.incidents[0].what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_a_table_and_partitions_say_how_often_they_changed() {
    let world = World::new(11);
    let node = world.start().await;
    for round in 0..3 {
        world.send(&node, 100 * round..100 * round + 30).await;
        world.settle(&node).await;
    }
    let ask = async |sql: &str| {
        let batches = node.query(sql).await.unwrap().collect().await.unwrap();
        let mut out = Vec::new();
        let mut writer = arrow::json::ArrayWriter::new(&mut out);
        writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
        writer.finish().unwrap();
        serde_json::from_slice::<serde_json::Value>(&out).unwrap()
    };
    let rows =
        ask("select sum(records_in) as n, sum(balance) as b from weir.ledger where hop = 'table' and name = 'events'")
            .await;
    assert_eq!((rows[0]["n"].as_u64(), rows[0]["b"].as_i64()), (Some(90), Some(0)));
    let rows = ask("select min(changes) as least from weir.partitions where \"table\" = 'events'").await;
    assert!(rows[0]["least"].as_u64().unwrap() >= 1, "{rows}");
}

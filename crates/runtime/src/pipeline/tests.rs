//! Whole nodes whose table takes whole runs: readers see all of a run or nothing of it, through crashes, and the books balance.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use tempfile::TempDir;
use weir_config::{IfEmpty, Inputs, Keep, Plan, TableSource, Visible, load};
use weir_env::{Env, Random};
use weir_ledger::Choice;
use weir_stream::{Lot, Stream};
use weir_types::{CrawlName, ShardId, StreamName, TableName};

use crate::crawl::{End, Mark, Marker, RUN_KEY};
use crate::ledger::Depth;
use crate::node::StartError;
use crate::{Node, Options};

/// How long anything may take until a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const SCHEMA: &str = r#"{"type": "record", "name": "Device", "fields": [
    {"name": "id", "type": "long"}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "run", "type": "long"}]}"#;
const HCL: &str = r#"
stream "items" {
  schema = "item.avsc"
  shards = 1
}
table "devices" {
  from         = stream.items
  partition_by = "day(at)"
  freshness    = "100ms"
}
"#;
const KEY: &[u8] = b"device";

/// How the table of a world is.
#[derive(Clone)]
struct Shape {
    visible: Visible,
    if_empty: IfEmpty,
    unique_by: Vec<String>,
    keep: Keep,
}

impl Shape {
    fn of(visible: Visible) -> Self {
        Self { visible, if_empty: IfEmpty::Keep, unique_by: Vec::new(), keep: Keep::First }
    }
}

struct World {
    root: TempDir,
    shape: Shape,
}

fn table() -> TableName {
    "devices".parse().unwrap()
}

fn crawl() -> StreamName {
    StreamName::of_crawl(&"fleet".parse::<CrawlName>().unwrap())
}

impl World {
    fn new(shape: Shape) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("weir.hcl"), HCL).unwrap();
        std::fs::write(root.path().join("item.avsc"), SCHEMA).unwrap();
        Self { root, shape }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The plan of a crawl whose calls nobody makes: what they would give is appended by the tests.
    fn plan(&self) -> Plan {
        let plan = load(self.root.path(), &Inputs::default());
        let mut plan =
            plan.unwrap_or_else(|found| panic!("{}", found.iter().map(|one| one.render()).collect::<String>()));
        let mut stream = plan.streams.remove(&"items".parse().unwrap()).unwrap();
        stream.name = crawl();
        plan.streams.insert(crawl(), stream);
        let table = plan.tables.get_mut(&table()).unwrap();
        table.source = TableSource::Crawl { crawl: "fleet".parse().unwrap(), resource: "device".to_owned() };
        table.stream = None;
        let Shape { visible, if_empty, unique_by, keep } = self.shape.clone();
        (table.visible, table.if_empty, table.unique_by, table.compaction.keep) = (visible, if_empty, unique_by, keep);
        plan
    }

    async fn try_start(&self) -> Result<Arc<Node>, StartError> {
        let env = Env::system();
        let started = env.elapsed();
        loop {
            match Node::start(self.plan(), &self.data(), env.clone(), Options::default()).await {
                // The one that crashed lets go of the folder as its tasks end.
                Err(error) if env.elapsed() - started < PATIENCE && error.to_string().contains("in use") => {
                    tokio::task::yield_now().await;
                }
                started => return started,
            }
        }
    }

    async fn start(&self) -> Arc<Node> {
        self.try_start().await.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
    }
}

fn zigzag(out: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A device as Avro, on one of three days.
fn body(id: u64, run: u64) -> Vec<u8> {
    let mut out = Vec::new();
    zigzag(&mut out, id as i64);
    zigzag(&mut out, 1_700_000_000_000 + (id as i64 % 3) * 86_400_000);
    zigzag(&mut out, run as i64);
    out
}

fn stream_of(node: &Node) -> (Arc<Stream>, weir_types::Fingerprint) {
    let open = node.stream(&crawl()).unwrap();
    (open.stream.clone(), open.schema.fingerprint())
}

async fn append(stream: &Stream, lot: Lot) {
    stream.append(ShardId(0), &lot.seal()).await.unwrap();
}

fn push_marker(lot: &mut Lot, run: u64, mark: Mark) {
    lot.push(weir_types::Fingerprint(0), RUN_KEY, &Marker { run, mark }.encode());
}

async fn mark(node: &Node, run: u64, mark: Mark) {
    let mut lot = Lot::default();
    push_marker(&mut lot, run, mark);
    append(&stream_of(node).0, lot).await;
}

/// Appends devices, among records that are nobody's rows.
async fn items(node: &Node, run: u64, ids: std::ops::Range<u64>) {
    if ids.is_empty() {
        return;
    }
    let (stream, fingerprint) = stream_of(node);
    let mut lot = Lot::default();
    for id in ids {
        lot.push(fingerprint, KEY, &body(id, run));
        if id % 4 == 0 {
            lot.push(weir_types::Fingerprint(0), b"\0state", b"{}");
        }
    }
    append(&stream, lot).await;
}

async fn a_run(node: &Node, run: u64, devices: u64, end: End) {
    mark(node, run, Mark::Started).await;
    let half = devices / 2;
    items(node, run, 0..half).await;
    items(node, run, half..devices).await;
    mark(node, run, Mark::Ended(end)).await;
}

/// Rows per run, as a query sees them.
async fn runs(node: &Node) -> BTreeMap<u64, u64> {
    let sql = "select run, count(*), count(distinct id) from devices group by run";
    let mut answer = node.query(sql).await.unwrap();
    let mut runs = BTreeMap::new();
    while let Some(batch) = answer.next().await {
        let batch = batch.unwrap();
        let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().clone();
        for row in 0..batch.num_rows() {
            assert_eq!(column(1).value(row), column(2).value(row), "a device is there twice");
            runs.insert(column(0).value(row) as u64, column(1).value(row) as u64);
        }
    }
    runs
}

/// Waits until everything that was appended is applied, and committed.
async fn settle(node: &Node) {
    let started = node.env().elapsed();
    let pipeline = &node.pipelines()[&table()];
    let waits = || {
        let pending = pipeline.parts().fed().pending();
        pipeline.behind() > 0 || pending.rows > 0
    };
    while waits() {
        assert!(node.env().elapsed() - started < PATIENCE, "the table did not catch up: {:?}", pipeline.trouble());
        pipeline.parts().fed().commit().await.unwrap();
        node.env().sleep(Duration::from_millis(5)).await;
    }
}

/// The books balance, down to the files, for what is committed.
async fn balanced(node: &Node) {
    node.pipelines()[&table()].parts().fed().commit().await.unwrap();
    let report = node.ledger(&Choice::default(), Depth::Files).await;
    assert_eq!(report.unchecked, Vec::<String>::new());
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert!(report.incidents.is_empty(), "{:#?}", report.incidents);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_seen_when_it_is_complete_and_then_alone() {
    let world = World::new(Shape::of(Visible::Instead));
    let node = world.start().await;
    a_run(&node, 1, 30, End::Complete).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 30)]));
    mark(&node, 2, Mark::Started).await;
    items(&node, 2, 0..50).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 30)]));
    settle(&node).await;
    let aside = node.pipelines()[&table()].aside().unwrap();
    assert_eq!((aside.run(), aside.table.stats().rows), (Some(2), 50));
    balanced(&node).await;
    // The end may stand in one append with the last items and the next run's beginning.
    let (stream, fingerprint) = stream_of(&node);
    let mut lot = Lot::default();
    lot.push(fingerprint, KEY, &body(50, 2));
    push_marker(&mut lot, 2, Mark::Ended(End::Complete));
    push_marker(&mut lot, 3, Mark::Started);
    lot.push(fingerprint, KEY, &body(0, 3));
    append(&stream, lot).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(2, 51)]));
    node.close().await.unwrap();
    drop(node);
    let node = world.start().await;
    assert_eq!(runs(&node).await, BTreeMap::from([(2, 51)]));
    mark(&node, 3, Mark::Ended(End::Complete)).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(3, 1)]));
    settle(&node).await;
    assert_eq!(node.pipelines()[&table()].aside().unwrap().table.stats().rows, 0);
    balanced(&node).await;
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_run_that_was_not_completed_are_dropped() {
    let world = World::new(Shape::of(Visible::Instead));
    let node = world.start().await;
    a_run(&node, 1, 30, End::Complete).await;
    a_run(&node, 2, 10, End::Cancelled).await;
    a_run(&node, 3, 10, End::Failed).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 30)]));
    let note = node.pipelines()[&table()].aside().unwrap().note().unwrap();
    assert!(note.starts_with("run 3 was not completed: its 10 rows were dropped"), "{note}");
    a_run(&node, 4, 5, End::Complete).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(4, 5)]));
    assert_eq!(node.pipelines()[&table()].aside().unwrap().note(), None);
    settle(&node).await;
    balanced(&node).await;
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_brought_nothing_replaces_nothing_unless_it_may() {
    for (if_empty, left) in [(IfEmpty::Keep, 30), (IfEmpty::Replace, 0)] {
        let world = World::new(Shape { if_empty, ..Shape::of(Visible::Instead) });
        let node = world.start().await;
        a_run(&node, 1, 30, End::Complete).await;
        a_run(&node, 2, 0, End::Complete).await;
        assert_eq!(runs(&node).await.values().sum::<u64>(), left);
        assert_eq!(node.pipelines()[&table()].aside().unwrap().note().is_some(), left > 0);
        settle(&node).await;
        balanced(&node).await;
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withheld_runs_are_added_when_they_are_complete() {
    let world = World::new(Shape::of(Visible::Complete));
    let node = world.start().await;
    a_run(&node, 1, 30, End::Complete).await;
    a_run(&node, 2, 10, End::Cancelled).await;
    a_run(&node, 3, 20, End::Complete).await;
    a_run(&node, 4, 0, End::Complete).await;
    mark(&node, 5, Mark::Started).await;
    items(&node, 5, 0..7).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 30), (3, 20)]));
    settle(&node).await;
    balanced(&node).await;
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_no_run_are_seen_at_once_and_once() {
    let world = World::new(Shape::of(Visible::Instead));
    let node = world.start().await;
    a_run(&node, 1, 30, End::Complete).await;
    // A redriven task's, say.
    items(&node, 9, 100..103).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 30), (9, 3)]));
    // A crash before the place aside is durable.
    drop(node);
    let node = world.start().await;
    items(&node, 9, 103..105).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 30), (9, 5)]));
    settle(&node).await;
    balanced(&node).await;
    a_run(&node, 2, 4, End::Complete).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(2, 4)]));
    settle(&node).await;
    balanced(&node).await;
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_redriven_waits_for_the_end_of_the_run_and_stays() {
    let world = World::new(Shape::of(Visible::Instead));
    let node = world.start().await;
    a_run(&node, 1, 30, End::Complete).await;
    mark(&node, 2, Mark::Started).await;
    items(&node, 2, 0..10).await;
    settle_items(&node).await;
    let sources = node.pipelines()[&table()].sources();
    let redrive = sources.iter().find(|source| source.stream.name() != &crawl()).unwrap().stream.clone();
    let mut lot = Lot::default();
    lot.push(stream_of(&node).1, b"", &body(500, 8));
    append(&redrive, lot).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 30)]), "a query does not wait for what is held back");
    mark(&node, 2, Mark::Ended(End::Complete)).await;
    settle(&node).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(2, 10), (8, 1)]));
    balanced(&node).await;
    node.close().await.unwrap();
}

/// Waits until the crawl's own records are applied.
async fn settle_items(node: &Node) {
    runs(node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_whole_runs_does_not_take_rows_as_they_come_later() {
    let world = World::new(Shape::of(Visible::Instead));
    let node = world.start().await;
    a_run(&node, 1, 30, End::Complete).await;
    settle(&node).await;
    node.close().await.unwrap();
    drop(node);
    let world = World { shape: Shape::of(Visible::AtOnce), ..world };
    let refused = world.try_start().await;
    assert!(matches!(refused, Err(StartError::TookWholeRuns { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_took_rows_as_they_came_takes_whole_runs_later() {
    let world = World::new(Shape::of(Visible::AtOnce));
    let node = world.start().await;
    a_run(&node, 1, 30, End::Complete).await;
    mark(&node, 2, Mark::Started).await;
    items(&node, 2, 0..10).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 30), (2, 10)]));
    settle(&node).await;
    node.close().await.unwrap();
    drop(node);
    let world = World { shape: Shape::of(Visible::Instead), ..world };
    let node = world.start().await;
    // Its beginning was not seen: what is missing of it is added, and nothing is lost.
    items(&node, 2, 10..15).await;
    mark(&node, 2, Mark::Ended(End::Complete)).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 30), (2, 15)]));
    a_run(&node, 3, 3, End::Complete).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(3, 3)]));
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merged_table_has_the_last_row_of_each_key() {
    let unique_by = vec!["id".to_owned()];
    let world = World::new(Shape { unique_by, keep: Keep::Last, ..Shape::of(Visible::AtOnce) });
    let node = world.start().await;
    a_run(&node, 1, 30, End::Complete).await;
    a_run(&node, 2, 10, End::Complete).await;
    // Twice within one append: the last stays.
    let (stream, fingerprint) = stream_of(&node);
    let mut lot = Lot::default();
    lot.push(fingerprint, KEY, &body(0, 3));
    lot.push(fingerprint, KEY, &body(0, 4));
    append(&stream, lot).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 20), (2, 9), (4, 1)]));
    drop(node);
    let node = world.start().await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 20), (2, 9), (4, 1)]));
    a_run(&node, 5, 25, End::Complete).await;
    assert_eq!(runs(&node).await, BTreeMap::from([(1, 5), (5, 25)]));
    settle(&node).await;
    balanced(&node).await;
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_moment_leaves_all_of_one_run() {
    for seed in 1..=12 {
        let random = Random::seeded(seed);
        let world = World::new(Shape::of(Visible::Instead));
        let mut node = world.start().await;
        let mut expected = BTreeMap::new();
        let mut whole = vec![expected.clone()];
        for run in 1..=6u64 {
            let devices = 1 + random.next() % 40;
            let end = if random.next().is_multiple_of(3) { End::Cancelled } else { End::Complete };
            if end == End::Complete {
                expected = BTreeMap::from([(run, devices)]);
                whole.push(expected.clone());
            }
            a_run(&node, run, devices, end).await;
            for _ in 0..random.next() % 3 {
                // As far as it gets by then.
                node.env().sleep(Duration::from_millis(random.next() % 30)).await;
                drop(node);
                node = world.start().await;
                let view = node.pipelines()[&table()].table().view();
                let rows: u64 = view.files.iter().filter_map(|file| file.rows).sum();
                let sums: Vec<u64> = whole.iter().map(|runs| runs.values().sum()).collect();
                assert!(sums.contains(&rows), "seed {seed}: {rows} rows are of no run: {sums:?}");
            }
        }
        assert_eq!(runs(&node).await, expected, "seed {seed}");
        settle(&node).await;
        balanced(&node).await;
        node.close().await.unwrap();
    }
}

//! A stream's archive in a whole node, on a clock that is moved by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use weir_archive::{Depth, OnDamage, Selection};
use weir_config::{Inputs, load};
use weir_env::{Env, ManualClock};
use weir_runtime::{ArchiveError, ArchiveStatus, Delivery, Encoding, Format, Node, Options, StartError, StreamStatus};
use weir_types::{Hour, StreamName, Timestamp};

/// 2026-11-26T10:00:00Z.
const START: Timestamp = Timestamp(1_795_687_200_000);
/// Steps of the clock until a test gives up.
const STEPS_MAX: usize = 5000;
/// How long each step leaves the node to itself.
const STEP: Duration = Duration::from_millis(2);
const SCHEMA: &str = r#"{"type": "record", "name": "Row", "fields": [{"name": "id", "type": "long"}]}"#;

struct World {
    root: TempDir,
    clock: ManualClock,
    env: Env,
    /// The machine's clock, for waiting.
    machine: Env,
}

impl World {
    fn new(stream: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let hcl = format!("stream \"rows\" {{\n  schema = \"row.avsc\"\n  shards = 2\n  {stream}\n}}\n");
        let hcl = hcl.replace("ROOT", root.path().to_str().unwrap());
        std::fs::write(root.path().join("weir.hcl"), hcl).unwrap();
        std::fs::write(root.path().join("row.avsc"), SCHEMA).unwrap();
        let clock = ManualClock::at(START);
        let env = Env::seeded(clock.clone(), 7);
        Self { root, clock, env, machine: Env::system() }
    }

    fn data(&self) -> std::path::PathBuf {
        Path::new(self.root.path()).join("data")
    }

    async fn start(&self) -> Arc<Node> {
        for _ in 0..STEPS_MAX {
            let plan = load(self.root.path(), &Inputs::default()).unwrap();
            match Node::start(plan, &self.data(), self.env.clone(), Options::default()).await {
                Ok(node) => return node,
                // The one before lets go of its folder when its tasks have ended.
                Err(StartError::Log(_)) => self.machine.sleep(STEP).await,
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("the folder was never free");
    }

    /// Moves the clock until the archive says so.
    async fn until(&self, node: &Node, wanted: impl Fn(&ArchiveStatus) -> bool) -> ArchiveStatus {
        for _ in 0..STEPS_MAX {
            let status = stream(node).archive.unwrap();
            if wanted(&status) {
                return status;
            }
            self.clock.advance(Duration::from_secs(1));
            self.machine.sleep(STEP).await;
        }
        panic!("{:?}", stream(node));
    }
}

fn rows() -> StreamName {
    "rows".parse().unwrap()
}

fn stream(node: &Node) -> StreamStatus {
    node.status().streams.into_iter().find(|stream| stream.name == "rows").unwrap()
}

async fn send(node: &Node, ids: std::ops::Range<u64>) {
    let lines: String = ids.map(|id| format!("{{\"id\": {id}}}\n")).collect();
    let encoding = Encoding::Identity;
    let delivery = Delivery { stream: rows(), format: Format::Ndjson, encoding, batch: None };
    node.deliver(delivery, futures::stream::iter([Ok(Bytes::from(lines))])).await.unwrap();
}

async fn archived(node: &Node) -> BTreeSet<Vec<u8>> {
    let archive = node.archive(&rows()).unwrap();
    let mut reader = archive.read(Selection::default(), OnDamage::Stop).await.unwrap();
    let mut bodies = BTreeSet::new();
    while let Some(page) = reader.next(1 << 20).await.unwrap() {
        for record in page.records() {
            assert!(bodies.insert(record.body.to_vec()), "a record is there twice");
        }
    }
    bodies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_forgotten_before_it_is_archived_and_then_it_is() {
    let world = World::new("archive = \"400d\"\n  retention = \"1m\"");
    let node = world.start().await;
    for batch in 0..5u64 {
        send(&node, batch * 100..batch * 100 + 100).await;
        // Far beyond the retention at once: whoever looks first, the log or the archive.
        world.clock.advance(Duration::from_secs(600));
        world.until(&node, |status| status.behind == 0).await;
    }
    let status = world.until(&node, |status| status.records == 500).await;
    assert_eq!((status.missing, status.trouble), (0, None));
    assert_eq!(archived(&node).await.len(), 500);
    for _ in 0..STEPS_MAX {
        if stream(&node).records == 0 {
            break;
        }
        world.clock.advance(Duration::from_secs(5));
        world.machine.sleep(STEP).await;
    }
    assert_eq!(stream(&node).records, 0, "the log has let go of them");
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_whose_place_is_not_usable_holds_the_log_and_not_the_door() {
    let world = World::new("archive = \"400d\"\n  retention = \"1m\"\n  archive_location = \"file://ROOT/archive\"");
    let place = world.root.path().join("archive");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("archive.json"), r#"{"format": 1, "stream": "others"}"#).unwrap();
    let node = world.start().await;
    send(&node, 0..100).await;
    let status = world.until(&node, |status| status.trouble.is_some()).await;
    assert!(status.trouble.unwrap().contains("`others`"));
    assert!(matches!(node.archive(&rows()), Err(ArchiveError::NotOpen { .. })));
    for _ in 0..100 {
        world.clock.advance(Duration::from_secs(10));
        world.machine.sleep(STEP).await;
    }
    send(&node, 100..200).await;
    assert_eq!(stream(&node).records, 200);
    // The place is made usable, and all is well without a restart.
    std::fs::remove_file(place.join("archive.json")).unwrap();
    let status = world.until(&node, |status| status.records == 200 && status.trouble.is_none()).await;
    assert_eq!(status.missing, 0);
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hours_are_closed_kept_over_restarts_and_deleted_when_they_are_old() {
    let world = World::new("archive = \"3h\"");
    let mut node = world.start().await;
    for hour in 0..5u64 {
        send(&node, hour * 10..hour * 10 + 10).await;
        world.clock.advance(Duration::from_secs(3600));
        let closed = Hour(Hour::of(START).0 + hour as i64).to_string();
        world.until(&node, |status| status.closed.as_ref() == Some(&closed)).await;
        if hour % 2 == 0 {
            node.close().await.unwrap();
            drop(node);
            node = world.start().await;
        }
    }
    let folders = || {
        let folders = std::fs::read_dir(world.data().join("archive/rows")).unwrap().flatten();
        folders.filter(|entry| entry.file_name().to_str().unwrap().starts_with("hour=")).count()
    };
    // Until it is open it says nothing of what it holds. The clock stands when this is so: nothing more becomes too old.
    world
        .until(&node, |_| {
            let kept = Hour::of(world.env.now().before(Duration::from_secs(3 * 3600)));
            let archive = node.archive(&rows());
            archive.is_ok_and(|archive| archive.stats().retained_from == Some(kept)) && folders() <= 4
        })
        .await;
    let status = stream(&node).archive.unwrap();
    assert!((20..50).contains(&status.records), "{status:?}");
    let archive = node.archive(&rows()).unwrap();
    let verdict = archive.verify(Hour(0), Hour(1_000_000), Depth::Records).await.unwrap();
    assert!(verdict.is_well(), "{:?}", verdict.findings);
    let read = archived(&node).await.len() as u64;
    assert_eq!((verdict.totals.records.count, status.records), (read, read));
    node.close().await.unwrap();
}

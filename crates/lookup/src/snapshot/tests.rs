//! What is kept, and what is given back.

use object_store::memory::InMemory;
use weir_env::Env;

use super::*;
use crate::{Database, Files, Query, Source, load};

const DAY: Timestamp = Timestamp(1_767_225_600_000);

fn later(seconds: i64) -> Timestamp {
    Timestamp(DAY.0 + seconds * 1000)
}

struct Kept {
    folder: tempfile::TempDir,
    store: Arc<InMemory>,
    snapshots: Snapshots,
    env: Env,
}

impl Kept {
    fn new() -> Self {
        let store = Arc::new(InMemory::new());
        let snapshots = Snapshots::new(store.clone());
        Self { folder: tempfile::tempdir().unwrap(), store, snapshots, env: Env::system() }
    }

    fn spec(&self) -> Spec {
        let files = Files::at_path(&self.folder.path().join("a.csv")).unwrap();
        Spec::new("airlines".parse().unwrap(), Source::Files(files))
    }

    async fn keep(&self, text: &str, now: Timestamp) -> Version {
        std::fs::write(self.folder.path().join("a.csv"), text).unwrap();
        let loaded = load(&self.spec(), None, &self.env).await.unwrap();
        self.snapshots.keep(&self.spec(), &loaded, now).await.unwrap()
    }

    async fn last(&self) -> Option<Snapshot> {
        self.snapshots.last(&self.spec()).await.unwrap()
    }

    async fn objects(&self) -> Vec<String> {
        let objects: Vec<_> = self.store.list(None).try_collect().await.unwrap();
        let mut paths: Vec<String> = objects.iter().map(|object| object.location.to_string()).collect();
        paths.sort();
        paths
    }
}

#[tokio::test]
async fn the_last_reading_comes_back_with_its_columns_and_age() {
    let kept = Kept::new();
    assert!(kept.last().await.is_none());
    let version = kept.keep("id,day,rate\n1,2026-01-31,1.5\n2,,\n", DAY).await;
    let last = kept.last().await.unwrap();
    assert_eq!((last.version, last.loaded_at, last.confirmed_at), (version, DAY, DAY));
    let again = load(&kept.spec(), None, &kept.env).await.unwrap();
    assert_eq!((&last.columns, last.rows), (&again.columns, 2));
    assert_eq!(last.batches[0], again.batches[0]);
    kept.snapshots.confirm(&kept.spec().name, version, later(60)).await.unwrap();
    assert_eq!(kept.last().await.unwrap().confirmed_at, later(60));
}

#[tokio::test]
async fn two_are_kept_and_numbers_go_on() {
    let kept = Kept::new();
    for number in 1..=4 {
        let version = kept.keep(&format!("id\n{number}\n"), later(number)).await;
        assert_eq!(version.number, number as u64);
    }
    let objects = kept.objects().await;
    let begins = |at: usize, number: &str| objects[at].starts_with(&format!("lookups/airlines/{number:0>20}-"));
    assert!(objects.len() == 2 && begins(0, "3") && begins(1, "4"), "{objects:?}");
    assert_eq!(kept.snapshots.newest(&kept.spec().name).await.unwrap(), 4);
}

#[tokio::test]
async fn a_damaged_snapshot_is_passed_over() {
    let kept = Kept::new();
    let first = kept.keep("id\n1\n", DAY).await;
    kept.keep("id\n2\n", later(1)).await;
    let path = Path::from(kept.objects().await[1].as_str());
    let whole = kept.store.get(&path).await.unwrap().bytes().await.unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 0x10;
        kept.store.put(&path, damaged.into()).await.unwrap();
        assert_eq!(kept.last().await.unwrap().version, first, "byte {at}");
    }
    kept.store.put(&path, whole.slice(..whole.len() / 2).into()).await.unwrap();
    assert_eq!(kept.last().await.unwrap().version, first);
    kept.store.put(&path, whole.into()).await.unwrap();
    assert_eq!(kept.last().await.unwrap().version.number, 2);
}

#[tokio::test]
async fn another_definition_does_not_get_it_and_another_host_does() {
    let kept = Kept::new();
    kept.keep("id\n1\n", DAY).await;
    let mut other = kept.spec();
    other.key = vec!["id".to_owned()];
    assert!(kept.snapshots.last(&other).await.unwrap().is_none());

    let query = |url: &str, sql: &str| {
        let database = Database::parse(url, Some("hunter2".to_owned())).unwrap();
        Spec::new("x".parse().unwrap(), Source::Query(Query { database, sql: sql.to_owned() })).definition()
    };
    let one = query("postgres://ann@db1/shop", "select 1");
    assert_eq!(one, query("postgres://bob@db2:5433/shop", "select 1"));
    assert_ne!(one, query("postgres://ann@db1/shop", "select 2"));
    assert_ne!(one, query("postgres://ann@db1/shop2", "select 1"));
    assert_ne!(one, query("mysql://ann@db1/shop", "select 1"));
}

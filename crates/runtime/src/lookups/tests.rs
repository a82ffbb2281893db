//! What functions see while a source comes, goes and changes.

use std::path::PathBuf;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use weir_config::{Inputs, Plan};
use weir_env::ManualClock;

use super::keep::backoff;
use super::*;

const NOON: Timestamp = Timestamp(1_767_268_800_000);

/// A folder with one lookup, `rates`, of a column `id`.
struct Source {
    folder: tempfile::TempDir,
    store: Arc<InMemory>,
    clock: ManualClock,
    env: Env,
}

impl Source {
    fn new() -> Self {
        let clock = ManualClock::at(NOON);
        let source = Self {
            folder: tempfile::tempdir().unwrap(),
            store: Arc::new(InMemory::new()),
            env: Env::seeded(clock.clone(), 7),
            clock,
        };
        source.write("id\n1\n2\n");
        source
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rates.csv")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }

    fn plan(&self) -> Plan {
        let hcl = "lookup \"rates\" {\n  file = \"rates.csv\"\n  refresh = \"5m\"\n}\n";
        std::fs::write(self.folder.path().join("weir.hcl"), hcl).unwrap();
        weir_config::load(self.folder.path(), &Inputs::default()).unwrap()
    }

    async fn open_as(&self, plan: Plan) -> Result<Arc<LookupSet>, LookupError> {
        let snapshots = Snapshots::new(self.store.clone() as Arc<dyn ObjectStore>);
        LookupSet::open(&self.env, snapshots, plan.lookups).await.map(Arc::new)
    }

    async fn open(&self) -> Arc<LookupSet> {
        self.open_as(self.plan()).await.unwrap()
    }
}

fn rates() -> LookupName {
    "rates".parse().unwrap()
}

fn seen(set: &LookupSet) -> (Vec<i64>, u64) {
    let now = set.now();
    let batches = now.lookups.get(&rates()).unwrap().clone();
    let ids = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    (ids, now.versions[&rates()].number)
}

fn fresh(set: &LookupSet) -> Freshness {
    set.freshness().next().unwrap().1
}

#[tokio::test]
async fn a_version_changes_with_the_rows_and_not_with_their_order() {
    let source = Source::new();
    let set = source.open().await;
    assert_eq!(seen(&set), (vec![1, 2], 1));
    source.clock.advance(Duration::from_secs(300));
    source.write("id\n2\n1\n");
    set.refresh(&rates()).await.unwrap();
    assert_eq!(seen(&set), (vec![1, 2], 1));
    assert_eq!((fresh(&set).loaded_at, fresh(&set).confirmed_at), (NOON, NOON.after(Duration::from_secs(300))));
    source.write("id\n3\n");
    set.refresh(&rates()).await.unwrap();
    assert_eq!(seen(&set), (vec![3], 2));
}

#[tokio::test]
async fn a_reading_that_fails_changes_nothing_but_the_age() {
    let source = Source::new();
    let set = source.open().await;
    for text in ["id\nx\n", "id\n007\n", "other\n1\n", "id,more\n1\n", ""] {
        source.clock.advance(Duration::from_secs(300));
        source.write(text);
        assert!(matches!(set.refresh(&rates()).await, Err(RefreshFailed::Load { .. })), "{text}");
        assert_eq!(seen(&set), (vec![1, 2], 1), "{text}");
    }
    std::fs::remove_file(source.path()).unwrap();
    assert!(set.refresh(&rates()).await.is_err());
    assert_eq!((fresh(&set).failures, fresh(&set).confirmed_at), (6, NOON));
    assert!(fresh(&set).failing.unwrap().contains("rates.csv"));
    source.write("id\n4\n");
    set.refresh(&rates()).await.unwrap();
    assert_eq!((seen(&set), fresh(&set).failing, fresh(&set).failures), ((vec![4], 2), None, 6));
}

#[tokio::test]
async fn a_column_that_is_added_waits_for_a_restart() {
    let source = Source::new();
    let set = source.open().await;
    source.write("more,id\nx,5\n");
    set.refresh(&rates()).await.unwrap();
    assert_eq!((seen(&set), fresh(&set).new_columns), ((vec![5], 2), vec!["more".to_owned()]));
    let again = source.open().await;
    assert_eq!(again.columns()[&rates()].fields().len(), 2);
}

#[tokio::test]
async fn a_restart_with_the_source_gone_starts_from_the_last_snapshot() {
    let source = Source::new();
    let set = source.open().await;
    source.write("id\n6\n");
    set.refresh(&rates()).await.unwrap();
    source.clock.advance(Duration::from_secs(3600));
    let plan = source.plan();
    std::fs::remove_file(source.path()).unwrap();
    let again = source.open_as(plan).await.unwrap();
    assert_eq!(seen(&again), (vec![6], 2));
    assert_eq!((fresh(&again).confirmed_at, fresh(&again).failures), (NOON, 1));
    source.write("id\n7\n");
    again.refresh(&rates()).await.unwrap();
    assert_eq!(seen(&again), (vec![7], 3));
}

#[tokio::test]
async fn a_start_without_source_and_snapshot_is_refused_by_name() {
    let source = Source::new();
    let plan = source.plan();
    std::fs::remove_file(source.path()).unwrap();
    let refused = source.open_as(plan).await.err().unwrap().to_string();
    assert_eq!(refused, "lookup `rates` can't be read, and there is no snapshot to start from");
}

#[tokio::test]
async fn a_restart_with_the_same_rows_goes_on_with_the_same_version() {
    let source = Source::new();
    source.open().await;
    source.clock.advance(Duration::from_secs(60));
    let again = source.open().await;
    assert_eq!((seen(&again), fresh(&again).loaded_at), ((vec![1, 2], 1), NOON));
}

#[tokio::test]
async fn a_lookup_is_read_when_it_is_due_and_sooner_after_a_failure() {
    let source = Source::new();
    let set = source.open().await;
    let task = tokio::spawn(set.clone().keep_fresh(rates()));
    let until = async |wanted: &dyn Fn() -> bool| {
        for _ in 0..100_000 {
            if wanted() {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    };
    let waits = || fresh(&set).next_at.is_some();
    assert!(until(&waits).await);
    assert_eq!(fresh(&set).next_at, Some(NOON.after(Duration::from_secs(300))));
    task.abort();
}

#[test]
fn waits_double_up_to_a_minute() {
    let waits: Vec<u64> = [1, 2, 3, 6, 7, 8, 100, u32::MAX].map(|failures| backoff(failures).as_secs()).to_vec();
    assert_eq!(waits, [1, 2, 4, 32, 60, 60, 60, 60]);
}

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use weir_env::{Env, ManualClock};
use weir_log::{Block, Condition, Engine, MemoryEngine};
use weir_types::{LogName, Timestamp};

use crate::{At, Machine, OpenError, Options, Owner, RestoreError, Snapshots, SubmitError};

/// Adds up what it is given, and remembers when it last was.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    total: i64,
    applied: u64,
    last: Timestamp,
}

impl Machine for Sum {
    const NAME: &'static str = "sum";
    type Command = i64;
    type Outcome = i64;

    fn apply(&mut self, at: At, command: i64) -> i64 {
        assert_eq!(at.sequence.0, self.applied, "commands are applied in order, each once");
        self.total += command;
        self.applied += 1;
        self.last = at.time;
        self.total
    }

    fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap()
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        serde_json::from_slice(bytes).map_err(|error| RestoreError { machine: Self::NAME, reason: error.to_string() })
    }
}

struct World {
    clock: ManualClock,
    env: Env,
    engine: MemoryEngine,
    store: Arc<InMemory>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(Timestamp(1_000));
        let env = Env::seeded(clock.clone(), 1);
        Self { engine: MemoryEngine::new(env.clone()), clock, env, store: Arc::new(InMemory::new()) }
    }

    async fn open(&self, snapshot_every: u64) -> Result<Owner<Sum>, OpenError> {
        let log = self.engine.log(&LogName::machine(Sum::NAME)).await.unwrap();
        let snapshots = Snapshots::new(self.store.clone(), Path::from("snapshots"));
        Owner::open(log, snapshots, self.env.clone(), Options { snapshot_every }).await
    }
}

#[tokio::test]
async fn state_is_the_same_after_reopening_with_or_without_snapshots() {
    for snapshot_every in [3, 1000] {
        let world = World::new();
        let owner = world.open(snapshot_every).await.unwrap();
        for number in 1..=20 {
            world.clock.advance(std::time::Duration::from_millis(7));
            owner.submit(number).await.unwrap();
        }
        let before = owner.read(Sum::clone);
        assert_eq!((before.total, before.applied, before.last), (210, 20, Timestamp(1_140)));
        drop(owner);
        let again = world.open(snapshot_every).await.unwrap();
        assert_eq!(again.read(Sum::clone), before);
        assert_eq!(again.submit(1).await.unwrap(), 211);
    }
}

#[tokio::test]
async fn many_submitters_each_get_the_outcome_of_their_own_command() {
    let world = World::new();
    let owner = world.open(7).await.unwrap();
    let submits = (0..200).map(|_| owner.submit(1));
    let mut outcomes: Vec<i64> = futures::future::join_all(submits).await.into_iter().map(Result::unwrap).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn snapshots_trim_the_log_and_only_two_stay() {
    let world = World::new();
    let owner = world.open(5).await.unwrap();
    for _ in 0..50 {
        owner.submit(1).await.unwrap();
    }
    // The last snapshot may still be on its way when the last command is answered; one more command waits for it.
    owner.submit(1).await.unwrap();
    let log = world.engine.log(&LogName::machine(Sum::NAME)).await.unwrap();
    assert!(log.bounds().head.0 >= 40, "{:?}", log.bounds());
    let objects = world.store.list_with_delimiter(Some(&Path::from("snapshots/sum"))).await.unwrap().objects;
    assert_eq!(objects.len(), 2);
}

#[tokio::test]
async fn a_damaged_newest_snapshot_costs_a_longer_replay_and_nothing_else() {
    let world = World::new();
    let owner = world.open(5).await.unwrap();
    for _ in 0..23 {
        owner.submit(2).await.unwrap();
    }
    let before = owner.read(Sum::clone);
    drop(owner);
    let folder = Path::from("snapshots/sum");
    let mut objects = world.store.list_with_delimiter(Some(&folder)).await.unwrap().objects;
    objects.sort_by(|a, b| a.location.cmp(&b.location));
    let newest = objects.pop().unwrap().location;
    let mut bytes = world.store.get(&newest).await.unwrap().bytes().await.unwrap().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    world.store.put(&newest, Bytes::from(bytes).into()).await.unwrap();
    assert_eq!(world.open(5).await.unwrap().read(Sum::clone), before);
}

#[tokio::test]
async fn an_owner_that_was_replaced_steps_down() {
    let world = World::new();
    let old = world.open(100).await.unwrap();
    old.submit(1).await.unwrap();
    let new = world.open(100).await.unwrap();
    new.submit(10).await.unwrap();
    assert!(matches!(old.submit(100).await, Err(SubmitError::Fenced { .. })));
    assert!(matches!(old.submit(100).await, Err(SubmitError::Closed { .. })));
    assert_eq!(new.submit(1).await.unwrap(), 12);
}

#[tokio::test]
async fn a_command_that_does_not_parse_is_named() {
    let world = World::new();
    world.open(100).await.unwrap().submit(1).await.unwrap();
    let log = world.engine.log(&LogName::machine(Sum::NAME)).await.unwrap();
    log.append(vec![Block { records: 1, payload: Bytes::from_static(b"{}") }], Condition::Always).await.unwrap();
    let error = world.open(100).await.unwrap_err().to_string();
    assert!(error.starts_with("the command at 1 of machine `sum` can't be read"), "{error}");
}

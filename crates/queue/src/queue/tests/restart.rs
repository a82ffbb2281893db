//! Restarts: snapshots, damage, copying forward, trimming, refused appends, closing.

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::*;

#[tokio::test]
async fn a_queue_is_after_a_restart_what_it_was() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send((0..100).map(|index| grouped(&format!("g{}", index % 7), format!("{index}"))).collect()).await.unwrap();
    let held = queue.receive(now(50)).await.unwrap();
    queue.delete(held[..20].iter().map(|held| held.receipt.clone()).collect()).await.unwrap();
    queue.send(vec![Message { delay: Some(99 * SECOND), ..message("late") }]).await.unwrap();
    let before = queue.stats();
    queue.close().await;
    for _ in 0..3 {
        let queue = world.open().await;
        let now = queue.stats();
        assert_eq!(
            (now.ready, now.in_flight, now.delayed, now.bytes, now.oldest_sent_at),
            (before.ready, before.in_flight, before.delayed, before.bytes, before.oldest_sent_at)
        );
        // The first restart is from the log alone.
        queue.upkeep().await;
        queue.close().await;
    }
    let queue = world.open().await;
    assert_eq!(queue.delete(vec![held[30].receipt.clone()]).await.unwrap(), [Ok(())]);
    world.clock.advance(100 * SECOND);
    assert_eq!(queue.receive(now(100)).await.unwrap().len(), 80);
}

#[tokio::test]
async fn leases_that_are_taken_back_wait_for_no_clock_and_stay_counted() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue
        .send((0..20_100).map(|index| grouped(&format!("g{}", index % 7), format!("{index}"))).collect())
        .await
        .unwrap();
    for _ in 0..3 {
        queue.receive(Receive { hidden_for: HIDDEN_MAX, ..now(10_000) }).await.unwrap();
    }
    queue.close().await;
    let queue = world.open().await;
    assert_eq!((queue.stats().ready, queue.stats().in_flight), (0, 20_100));
    queue.take_back().await.unwrap();
    let mut again = Vec::new();
    while again.len() < 20_100 {
        again.extend(queue.receive(waiting(10_000)).await.unwrap());
    }
    assert!(again.iter().all(|received| received.receive_count == 2));
    // With none that is held there is nothing to do, and nothing is stored.
    queue.delete(again.into_iter().map(|received| received.receipt).collect()).await.unwrap();
    let tail = world.log().await.bounds().tail;
    queue.take_back().await.unwrap();
    assert_eq!(world.log().await.bounds().tail, tail);
}

#[tokio::test]
async fn the_log_is_trimmed_and_one_old_message_does_not_hold_it() {
    let world = World::new("orders");
    let queue = world.open().await;
    let old = queue.send(vec![grouped("old", "old")]).await.unwrap();
    let held = queue.receive(Receive { hidden_for: HIDDEN_MAX, ..now(1) }).await.unwrap();
    for round in 0..100 {
        queue.send((0..20).map(|index| message(format!("{round}-{index}"))).collect()).await.unwrap();
        let received = queue.receive(now(100)).await.unwrap();
        assert_eq!(received.len(), 20);
        queue.delete(received.into_iter().map(|received| received.receipt).collect()).await.unwrap();
        queue.upkeep().await;
    }
    let log = world.log().await;
    assert!(log.bytes() < 10_000, "{} bytes", log.bytes());
    assert!(log.bounds().head > old[0].sequence);
    queue.close().await;
    let queue = world.open().await;
    assert_eq!((queue.stats().in_flight, queue.stats().bytes > 0), (1, true));
    world.clock.advance(HIDDEN_MAX);
    let received = queue.receive(now(10)).await.unwrap().remove(0);
    assert_eq!((received.id, received.sequence, received.receive_count), (old[0].id, old[0].sequence, 2));
    assert_eq!(received.group.as_deref(), Some("old"));
    assert_eq!(queue.delete(vec![held[0].receipt.clone()]).await.unwrap(), [Err(ReceiptError::Replaced)]);
    assert_eq!(queue.browse(SequenceNumber(0), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_idle_queue_writes_nothing_however_often_it_is_looked_after() {
    let world = World::new("orders");
    let queue = world.open().await;
    for _ in 0..50 {
        queue.send((0..20).map(|_| message("x".repeat(100))).collect()).await.unwrap();
        queue.purge().await.unwrap();
    }
    for _ in 0..10 {
        queue.upkeep().await;
    }
    let (tail, objects) = (world.log().await.bounds().tail, names(&world).await);
    queue.upkeep().await;
    assert_eq!((world.log().await.bounds().tail, names(&world).await), (tail, objects));
    assert!(world.log().await.bytes() < 3000, "{}", world.log().await.bytes());
}

#[tokio::test]
async fn stamps_and_transfer_numbers_outlive_the_log_that_had_them() {
    let world = World::new("orders").dead_letters(1, DeadLetterTo::Queue("dead".parse().unwrap()));
    let queue = world.open().await;
    let stamp = Stamp { producer: "p".to_owned(), number: 7 };
    queue.send_once(stamp.clone(), vec![message("a")]).await.unwrap();
    queue.receive(now(1)).await.unwrap();
    world.clock.advance(30 * SECOND);
    assert_eq!(queue.next_transfers(1).await.unwrap()[0].number, 1);
    queue.transferred(vec![1]).await.unwrap();
    for _ in 0..50 {
        queue.send((0..10).map(|_| message("x".repeat(50))).collect()).await.unwrap();
        queue.purge().await.unwrap();
        queue.upkeep().await;
    }
    assert!(world.log().await.bounds().head.0 > 300);
    queue.close().await;
    erase(&world, |_| true).await;
    let queue = world.open().await;
    assert_eq!(queue.send_once(stamp, vec![message("a")]).await.unwrap(), SentOnce::Repeated);
    queue.send(vec![message("b")]).await.unwrap();
    queue.receive(now(1)).await.unwrap();
    world.clock.advance(30 * SECOND);
    assert_eq!(queue.next_transfers(1).await.unwrap()[0].number, 2);
}

async fn names(world: &World) -> Vec<object_store::path::Path> {
    let objects: Vec<_> = world.store.list(None).try_collect().await.unwrap();
    let mut names: Vec<_> = objects.into_iter().map(|object| object.location).collect();
    names.sort();
    names
}

async fn erase(world: &World, which: impl Fn(&str) -> bool) {
    for path in names(world).await {
        if which(path.as_ref()) {
            world.store.delete(&path).await.unwrap();
        }
    }
}

/// Sends, receives and deletes so that there are two snapshots, and returns what is left.
async fn two_snapshots(world: &World) -> u64 {
    let queue = world.open().await;
    for _ in 0..6 {
        queue.send((0..40).map(|index| message(format!("{index}"))).collect()).await.unwrap();
        let received = queue.receive(now(20)).await.unwrap();
        queue.delete(received.into_iter().map(|received| received.receipt).collect()).await.unwrap();
        queue.upkeep().await;
    }
    let ready = queue.stats().ready;
    queue.close().await;
    assert_eq!(names(world).await.iter().filter(|path| path.as_ref().ends_with(".index")).count(), 2);
    ready
}

#[tokio::test]
async fn a_damaged_snapshot_costs_a_longer_replay_and_nothing_else() {
    for damaged in ["newest", "missing part", "all", "none left"] {
        let world = World::new("orders");
        let ready = two_snapshots(&world).await;
        let paths = names(&world).await;
        let newest = paths.iter().rfind(|path| path.as_ref().ends_with(".index")).unwrap().as_ref().to_owned();
        match damaged {
            "missing part" => erase(&world, |path| path == newest.replace(".index", "-000000.part")).await,
            "none left" => erase(&world, |_| true).await,
            _ => {
                for path in paths.iter().filter(|path| damaged == "all" || path.as_ref() == newest) {
                    let mut object = world.store.get(path).await.unwrap().bytes().await.unwrap().to_vec();
                    let middle = object.len() / 2;
                    object[middle] ^= 1;
                    world.store.put(path, PutPayload::from(object)).await.unwrap();
                }
            }
        }
        let queue = world.open().await;
        assert_eq!(queue.stats().ready, ready, "{damaged}");
        assert_eq!(queue.receive(now(1000)).await.unwrap().len() as u64, ready, "{damaged}");
    }
}

#[tokio::test]
async fn a_snapshot_is_right_whatever_happens_while_it_is_written() {
    let world = World::new("orders");
    let queue = world.open().await;
    for _ in 0..12 {
        queue.send((0..4096).map(|_| message("x")).collect()).await.unwrap();
    }
    let receive = async || queue.receive(now(1000)).await.unwrap();
    let early = receive().await;
    let (globals, first) = queue.ask::<_, QueueError>(|answer| Call::Globals { answer }).await.unwrap();
    let (mut cursor, mut part) = (Some(first), 0);
    let store = &queue.shared.store;
    let mut deleted = 0;
    while let Some(at) = cursor {
        let (object, next) = queue.ask::<_, QueueError>(|answer| Call::Part { cursor: at, answer }).await.unwrap();
        store.put_part(globals.at, part, object).await.unwrap();
        (cursor, part) = (next, part + 1);
        // Messages of parts that are written and of parts that are not are received, deleted and sent in between.
        let held = receive().await;
        let early = early[part * 100..(part + 1) * 100].iter();
        let receipts: Vec<_> = held.iter().take(500).chain(early).map(|held| held.receipt.clone()).collect();
        deleted += receipts.len() as u64;
        queue.delete(receipts).await.unwrap();
        queue.send((0..700).map(|_| message("y")).collect()).await.unwrap();
    }
    store.put_index(globals.at, globals.encode(part)).await.unwrap();
    let before = queue.stats();
    queue.close().await;
    let queue = world.open().await;
    let after = queue.stats();
    assert_eq!((after.ready, after.in_flight, after.bytes), (before.ready, before.in_flight, before.bytes));
    assert_eq!(after.ready + after.in_flight, before.sent - deleted);
    assert!(part >= 3);
}

#[tokio::test]
async fn a_purge_ends_a_snapshot_that_is_under_way() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send(vec![message("a")]).await.unwrap();
    let (_, first) = queue.ask::<_, QueueError>(|answer| Call::Globals { answer }).await.unwrap();
    queue.purge().await.unwrap();
    let (part, next) = queue.ask::<_, QueueError>(|answer| Call::Part { cursor: first, answer }).await.unwrap();
    assert!(part.is_empty() && next.is_none());
}

#[tokio::test]
async fn an_append_that_is_refused_changes_nothing() {
    let mut world = World::new("orders");
    world.engine = MemoryEngine::bounded(world.env.clone(), 3000);
    let queue = world.open().await;
    let stamp = Stamp { producer: "p".to_owned(), number: 1 };
    queue.send(vec![message("a"), message("b")]).await.unwrap();
    let held = queue.receive(now(1)).await.unwrap();
    let large = || vec![message("x".repeat(900))];
    queue.send(large()).await.unwrap();
    let filler = world.engine.log(&"stream/other/0".parse().unwrap()).await.unwrap();
    let rest = (3000 - world.engine.bytes()) as usize;
    let block = weir_log::Block { records: 1, payload: vec![0; rest].into() };
    filler.append(vec![block], weir_log::Condition::Always).await.unwrap();
    let before = queue.stats();
    let refused = queue.send_once(stamp.clone(), large()).await;
    assert!(matches!(refused, Err(SendError::Queue(QueueError::Append { .. }))), "{refused:?}");
    assert!(queue.delete(vec![held[0].receipt.clone()]).await.is_err());
    assert!(queue.receive(now(10)).await.is_err());
    assert!(queue.purge().await.is_err());
    filler.trim(SequenceNumber(1)).await.unwrap();
    assert_eq!(queue.last_stamp("p"), None);
    let received = queue.receive(now(10)).await.unwrap();
    assert_eq!(received.len() as u64, before.ready);
    assert!(received.iter().all(|received| received.receive_count == 1));
    assert_eq!(queue.delete(vec![held[0].receipt.clone()]).await.unwrap(), [Ok(())]);
    assert!(matches!(queue.send_once(stamp, large()).await.unwrap(), SentOnce::Stored(_)));
}

#[tokio::test]
async fn another_owner_of_the_log_ends_the_first() {
    let world = World::new("orders");
    let first = world.open().await;
    first.send(vec![message("a")]).await.unwrap();
    let second = world.open().await;
    second.send(vec![message("b")]).await.unwrap();
    assert!(first.send(vec![message("c")]).await.unwrap_err().is_closed());
    assert!(first.receive(now(1)).await.unwrap_err().is_closed());
    assert_eq!(take(&second, 10).await, ["a", "b"]);
}

#[tokio::test]
async fn a_log_that_does_not_read_as_a_queue_is_refused_with_its_place() {
    let world = World::new("orders");
    world.open().await.send(vec![message("a")]).await.unwrap();
    let block = weir_log::Block { records: 1, payload: vec![99, 1, 2].into() };
    world.log().await.append(vec![block], weir_log::Condition::Always).await.unwrap();
    let snapshots = Snapshots::new(world.store.clone(), object_store::path::Path::from("snapshots"));
    let (name, settings) = (world.name.clone(), world.settings.clone());
    let opened = Queue::open(world.log().await, snapshots, world.env.clone(), name, settings, 42, Tuning::default());
    assert!(matches!(opened.await, Err(OpenError::Format { at: SequenceNumber(1), .. })));
}

#[tokio::test]
async fn an_erased_queue_leaves_nothing() {
    let world = World::new("orders");
    two_snapshots(&world).await;
    let queue = world.open().await;
    queue.erase().await.unwrap();
    assert!(queue.send(vec![message("a")]).await.unwrap_err().is_closed());
    queue.erase().await.unwrap();
    assert!(names(&world).await.is_empty());
    let log = world.log().await;
    assert_eq!((log.bytes(), log.bounds().head), (0, log.bounds().tail));
    let again = world.open().await;
    assert_eq!((again.stats().ready, again.stats().bytes), (0, 0));
}

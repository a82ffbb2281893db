//! Standard queues: leases, receipts, delays, fairness, retention.

use super::*;

#[tokio::test]
async fn a_message_is_hidden_until_it_is_deleted_or_its_lease_ends() {
    let world = World::new("orders");
    let queue = world.open().await;
    let sent = queue.send(vec![message("a"), message("b")]).await.unwrap();
    let first = queue.receive(now(1)).await.unwrap();
    assert_eq!((bodies(&first), first[0].id, first[0].receive_count), (vec!["a".to_owned()], sent[0].id, 1));
    assert_eq!(take(&queue, 10).await, ["b"]);
    assert_eq!(take(&queue, 10).await, [""; 0]);
    assert_eq!((queue.stats().in_flight, queue.stats().ready), (2, 0));
    assert_eq!(queue.delete(vec![first[0].receipt.clone()]).await.unwrap(), [Ok(())]);
    world.clock.advance(31 * SECOND);
    let again = queue.receive(now(10)).await.unwrap();
    assert_eq!((bodies(&again), again[0].receive_count), (vec!["b".to_owned()], 2));
    assert_eq!(again[0].first_received_at, again[0].sent_at);
}

#[tokio::test]
async fn a_receipt_works_until_a_later_receive_replaces_it() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send(vec![message("a"), message("b")]).await.unwrap();
    let old = queue.receive(now(10)).await.unwrap();
    world.clock.advance(31 * SECOND);
    let later = queue.receive(now(1)).await.unwrap();
    let (replaced, expired) = if later[0].id == old[0].id { (&old[0], &old[1]) } else { (&old[1], &old[0]) };
    let hidden = queue.hide(vec![(replaced.receipt.clone(), SECOND), (expired.receipt.clone(), SECOND)]).await.unwrap();
    assert_eq!(hidden, [Err(ReceiptError::Replaced), Err(ReceiptError::NotInFlight)]);
    let outcomes = queue.delete(vec![replaced.receipt.clone(), expired.receipt.clone()]).await.unwrap();
    assert_eq!(outcomes, [Err(ReceiptError::Replaced), Ok(())]);
    assert_eq!(queue.delete(vec![expired.receipt.clone()]).await.unwrap(), [Ok(())], "gone is deleted");
    assert_eq!(queue.hide(vec![(expired.receipt.clone(), SECOND)]).await.unwrap(), [Err(ReceiptError::Replaced)]);
    assert_eq!(queue.delete(vec!["x".parse().unwrap()]).await.unwrap(), [Err(ReceiptError::Invalid)]);
    assert_eq!(queue.stats().in_flight, 1);
}

#[tokio::test]
async fn hiding_changes_when_a_lease_ends_and_zero_ends_it_at_once() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send(vec![message("a")]).await.unwrap();
    let received = queue.receive(now(1)).await.unwrap().remove(0);
    queue.hide(vec![(received.receipt.clone(), 100 * SECOND)]).await.unwrap();
    world.clock.advance(99 * SECOND);
    assert!(take(&queue, 1).await.is_empty());
    assert_eq!(queue.hide(vec![(received.receipt.clone(), Duration::ZERO)]).await.unwrap(), [Ok(())]);
    assert_eq!(queue.hide(vec![(received.receipt, SECOND)]).await.unwrap(), [Err(ReceiptError::NotInFlight)]);
    let at_once = Receive { hidden_for: Duration::ZERO, ..now(10) };
    for count in 2..5 {
        let received = queue.receive(at_once.clone()).await.unwrap();
        assert_eq!((received.len(), received[0].receive_count), (1, count), "once in each receive");
    }
}

#[tokio::test]
async fn no_lease_lasts_longer_than_twelve_hours_from_its_receive() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send(vec![message("a")]).await.unwrap();
    let received = queue.receive(now(1)).await.unwrap().remove(0);
    queue.hide(vec![(received.receipt.clone(), HIDDEN_MAX)]).await.unwrap();
    world.clock.advance(HIDDEN_MAX - SECOND);
    queue.hide(vec![(received.receipt, HIDDEN_MAX)]).await.unwrap();
    assert!(take(&queue, 1).await.is_empty());
    world.clock.advance(SECOND);
    assert_eq!(take(&queue, 1).await, ["a"]);
}

#[tokio::test]
async fn a_delayed_message_comes_when_its_delay_is_over() {
    let mut world = World::new("orders");
    world.settings.delay = 5 * SECOND;
    let queue = world.open().await;
    let longest = crate::limits::DELAY_INTERNAL_MAX;
    let delayed = |delay, body: &str| Message { delay: Some(delay), ..message(body) };
    let all = vec![message("as the queue says"), delayed(longest, "late"), delayed(Duration::ZERO, "at once")];
    queue.send(all).await.unwrap();
    assert_eq!(queue.stats().delayed, 2);
    assert_eq!(take(&queue, 10).await, ["at once"]);
    world.clock.advance(5 * SECOND);
    assert_eq!(take(&queue, 10).await, ["as the queue says"]);
    let refused = queue.send(vec![delayed(longest + SECOND, "x")]).await;
    assert!(matches!(refused, Err(SendError::Delay { index: 0, .. })));
    world.clock.advance(longest);
    assert_eq!(take(&queue, 10).await, ["late"], "its age counts from the end of its delay, the others are too old");
}

#[tokio::test]
async fn a_group_that_floods_the_queue_does_not_delay_another() {
    let world = World::new("orders");
    let queue = world.open().await;
    for part in 0..20 {
        let flood = (0..5000).map(|index| grouped("flood", format!("{part}-{index}"))).collect();
        queue.send(flood).await.unwrap();
    }
    for held in [0, 200] {
        assert_eq!(queue.receive(now(held.max(1))).await.unwrap().len(), held.max(1));
        queue.send((0..10).map(|index| grouped("few", format!("few {index}"))).collect()).await.unwrap();
        let (mut few, mut receives) = (Vec::new(), 0);
        while few.len() < 10 {
            receives += 1;
            let received = queue.receive(now(1)).await.unwrap().remove(0);
            if received.group.as_deref() == Some("few") {
                few.push(received.receipt);
            }
        }
        assert!(receives <= 40, "{receives} receives, {held} of the flood in flight");
        queue.delete(few).await.unwrap();
    }
}

#[tokio::test]
async fn groups_with_as_much_in_flight_take_turns() {
    let world = World::new("orders");
    let queue = world.open().await;
    for group in ["a", "b", "c"] {
        queue.send((0..50).map(|index| grouped(group, format!("{index}"))).collect()).await.unwrap();
    }
    queue.send((0..50).map(|index| message(format!("{index}"))).collect()).await.unwrap();
    let mut counts: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for received in queue.receive(now(100)).await.unwrap() {
        *counts.entry(received.group).or_default() += 1;
    }
    assert!(counts.len() == 4 && counts.values().all(|count| *count == 25), "{counts:?}");
}

#[tokio::test]
async fn messages_that_come_again_and_new_ones_share_the_receives() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send((0..10).map(|index| message(format!("again {index}"))).collect()).await.unwrap();
    assert_eq!(take(&queue, 10).await.len(), 10);
    queue.send((0..100).map(|index| message(format!("new {index}"))).collect()).await.unwrap();
    world.clock.advance(31 * SECOND);
    let received = take(&queue, 20).await;
    assert_eq!(received.iter().filter(|body| body.starts_with("again")).count(), 10);
}

#[tokio::test]
async fn no_more_messages_are_in_flight_than_may_be() {
    let world = World::new("orders");
    let queue = world.open().await;
    for _ in 0..13 {
        queue.send((0..10_000).map(|_| message("x")).collect()).await.unwrap();
    }
    let mut held = Vec::new();
    for _ in 0..12 {
        held = queue.receive(now(10_000)).await.unwrap();
        assert_eq!(held.len(), 10_000);
    }
    let refused = queue.receive(waiting(1)).await;
    assert!(matches!(refused, Err(ReceiveError::OverLimit { in_flight: 120_000, .. })), "{refused:?}");
    queue.delete(held.drain(..3).map(|held| held.receipt).collect()).await.unwrap();
    assert_eq!(take(&queue, 10).await.len(), 3);
}

#[tokio::test]
async fn a_purge_leaves_nothing_and_what_comes_later_stays() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send(vec![grouped("g", "a"), message("b"), message("c")]).await.unwrap();
    let held = queue.receive(now(1)).await.unwrap();
    queue.purge().await.unwrap();
    assert_eq!((queue.stats().ready, queue.stats().in_flight, queue.stats().bytes), (0, 0, 0));
    assert_eq!(queue.delete(vec![held[0].receipt.clone()]).await.unwrap(), [Ok(())]);
    queue.send(vec![grouped("g", "d")]).await.unwrap();
    assert_eq!(take(&queue, 10).await, ["d"]);
    queue.close().await;
    world.clock.advance(31 * SECOND);
    assert_eq!(take(&*world.open().await, 10).await, ["d"]);
}

#[tokio::test]
async fn messages_that_are_too_old_are_never_received() {
    let mut world = World::new("orders");
    world.settings.retention = 60 * SECOND;
    let queue = world.open().await;
    queue.send(vec![message("old"), message("held")]).await.unwrap();
    world.clock.advance(30 * SECOND);
    queue.send(vec![message("young")]).await.unwrap();
    world.clock.advance(30 * SECOND);
    assert_eq!(take(&queue, 10).await, ["young"]);
    assert_eq!(queue.stats().expired, 2);
    world.clock.advance(30 * SECOND);
    queue.upkeep().await;
    assert_eq!((queue.stats().expired, queue.stats().bytes), (3, 0));
}

#[tokio::test]
async fn new_settings_hold_from_the_next_decision_on() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send(vec![message("a")]).await.unwrap();
    world.clock.advance(100 * SECOND);
    queue.set_settings(Settings { retention: 60 * SECOND, ..world.settings.clone() });
    assert!(take(&queue, 1).await.is_empty());
    assert_eq!(queue.settings().retention, 60 * SECOND);
}

#[tokio::test]
async fn browsing_shows_messages_in_order_and_takes_none() {
    let world = World::new("orders");
    let queue = world.open().await;
    let mut rich = message("rich");
    rich.attributes.push(Attribute {
        name: "n".to_owned(),
        data_type: "Number".to_owned(),
        value: AttributeValue::Text("7".to_owned()),
    });
    rich.trace_header = Some("Root=1".to_owned());
    queue.send(vec![message("a"), rich.clone(), message("c")]).await.unwrap();
    let held = queue.receive(now(1)).await.unwrap();
    queue.delete(vec![held[0].receipt.clone()]).await.unwrap();
    let first = queue.browse(SequenceNumber(0), 1).await.unwrap();
    assert_eq!((&first[0].attributes, &first[0].trace_header), (&rich.attributes, &rich.trace_header));
    assert_eq!(bodies(&queue.browse(first[0].sequence + 1, 10).await.unwrap()), ["c"]);
    assert_eq!(queue.delete(vec![first[0].receipt.clone()]).await.unwrap(), [Err(ReceiptError::Invalid)]);
    assert_eq!(queue.stats().ready, 2);
}

#[tokio::test]
async fn what_is_too_large_is_refused_whole() {
    let mut world = World::new("orders");
    world.settings.message_bytes_max = 2000;
    let queue = world.open().await;
    let refused = queue.send(vec![message("a"), message("x".repeat(2001))]).await;
    assert!(matches!(refused, Err(SendError::TooLarge { index: 1, bytes: 2001, .. })), "{refused:?}");
    let refused = queue.send((0..4000).map(|_| message("x".repeat(2000))).collect()).await;
    assert!(matches!(refused, Err(SendError::BatchTooLarge { .. })));
    assert_eq!(queue.stats().ready, 0);
}

#[tokio::test]
async fn many_large_messages_that_come_at_once_are_all_stored() {
    let world = World::new("orders");
    let queue = world.open().await;
    let sends = (0..40).map(|_| queue.send(vec![message("x".repeat(1 << 20))]));
    for sent in futures::future::join_all(sends).await {
        sent.unwrap();
    }
    assert_eq!(queue.stats().ready, 40);
    assert_eq!(queue.receive(now(40)).await.unwrap().len(), 40);
}

#[tokio::test]
async fn leases_go_on_by_the_elapsed_time_when_the_wall_clock_jumps_back() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send(vec![message("a")]).await.unwrap();
    assert_eq!(take(&queue, 1).await, ["a"]);
    world.clock.jump(Timestamp(0));
    assert!(take(&queue, 1).await.is_empty());
    world.clock.advance(31 * SECOND);
    assert_eq!(take(&queue, 1).await, ["a"]);
}

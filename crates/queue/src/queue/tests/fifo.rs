//! FIFO queues: order, locks, repeats, attempts.

use super::*;

#[tokio::test]
async fn a_group_is_in_order_and_locked_while_one_of_its_messages_is_in_flight() {
    let world = World::new("orders.fifo");
    let queue = world.open().await;
    queue.send((0..6).map(|index| grouped("a", format!("a{index}"))).collect()).await.unwrap();
    queue.send((0..2).map(|index| grouped("b", format!("b{index}"))).collect()).await.unwrap();
    let first = queue.receive(now(2)).await.unwrap();
    assert_eq!(bodies(&first), ["a0", "a1"]);
    assert_eq!(take(&queue, 10).await, ["b0", "b1"]);
    assert!(take(&queue, 10).await.is_empty());
    queue.delete(vec![first[0].receipt.clone()]).await.unwrap();
    assert!(take(&queue, 10).await.is_empty(), "a1 is still in flight");
    queue.hide(vec![(first[1].receipt.clone(), Duration::ZERO)]).await.unwrap();
    assert_eq!(take(&queue, 10).await, ["a1", "a2", "a3", "a4", "a5"]);
}

#[tokio::test]
async fn order_outlives_restarts_and_copies() {
    let world = World::new("orders.fifo");
    let mut queue = world.open().await;
    for part in 0..5 {
        queue.send((0..20).map(|index| grouped("a", format!("{}", part * 20 + index))).collect()).await.unwrap();
    }
    let mut expected = 0;
    while expected < 100 {
        let received = queue.receive(now(7)).await.unwrap();
        let wanted: Vec<String> = (expected..100).take(7).map(|index| index.to_string()).collect();
        assert_eq!(bodies(&received), wanted);
        // Every other one fails and comes again.
        let deleted = received.len().div_ceil(2);
        queue.delete(received[..deleted].iter().map(|received| received.receipt.clone()).collect()).await.unwrap();
        expected += deleted;
        world.clock.advance(301 * SECOND);
        queue.upkeep().await;
        queue.close().await;
        queue = world.open().await;
    }
    assert!(world.log().await.bounds().head.0 > 0);
}

#[tokio::test]
async fn one_receive_gives_several_groups_each_in_order() {
    let world = World::new("orders.fifo");
    let queue = world.open().await;
    for index in 0..3 {
        for group in ["a", "b"] {
            queue.send(vec![grouped(group, format!("{group}{index}"))]).await.unwrap();
        }
    }
    assert_eq!(take(&queue, 10).await, ["a0", "a1", "a2", "b0", "b1", "b2"]);
}

#[tokio::test]
async fn a_repeat_within_five_minutes_is_not_stored_also_over_a_restart() {
    let world = World::new("orders.fifo");
    let queue = world.open().await;
    let first = queue.send(vec![grouped("a", "x"), grouped("a", "x"), grouped("b", "y")]).await.unwrap();
    assert_eq!((first[0].id, queue.stats().ready), (first[1].id, 2));
    let by_id = |body: &str| Message { deduplication: Some("id".to_owned()), ..grouped("a", body) };
    queue.send(vec![by_id("p"), by_id("q")]).await.unwrap();
    assert_eq!(queue.stats().ready, 3);
    queue.close().await;
    let queue = world.open().await;
    assert_eq!(queue.send(vec![grouped("c", "x")]).await.unwrap()[0].id, first[0].id);
    let received = queue.receive(now(1)).await.unwrap();
    queue.delete(vec![received[0].receipt.clone()]).await.unwrap();
    queue.upkeep().await;
    assert_eq!(queue.send(vec![grouped("a", "x")]).await.unwrap()[0].id, first[0].id, "also when it is deleted");
    world.clock.advance(299 * SECOND);
    assert_eq!(queue.send(vec![grouped("a", "x")]).await.unwrap()[0].id, first[0].id);
    world.clock.advance(SECOND);
    assert_ne!(queue.send(vec![grouped("a", "x")]).await.unwrap()[0].id, first[0].id);
}

#[tokio::test]
async fn a_key_that_was_sent_anew_is_remembered_from_then_on_also_over_a_restart() {
    let world = World::new("orders.fifo");
    let queue = world.open().await;
    queue.send(vec![grouped("a", "x")]).await.unwrap();
    world.clock.advance(300 * SECOND);
    let second = queue.send(vec![grouped("a", "x")]).await.unwrap();
    queue.close().await;
    world.clock.advance(200 * SECOND);
    let queue = world.open().await;
    assert_eq!(queue.send(vec![grouped("a", "x")]).await.unwrap()[0].id, second[0].id);
}

#[tokio::test]
async fn repeats_are_looked_for_in_the_group_where_the_scope_says_so() {
    let mut world = World::new("orders.fifo");
    if let Some(fifo) = &mut world.settings.fifo {
        fifo.deduplication_scope = DeduplicationScope::MessageGroup;
        fifo.content_deduplication = false;
    }
    let queue = world.open().await;
    let with_id = |group: &str| Message { deduplication: Some("id".to_owned()), ..grouped(group, "x") };
    queue.send(vec![with_id("a"), with_id("b"), with_id("a")]).await.unwrap();
    assert_eq!(queue.stats().ready, 2);
    let refused = queue.send(vec![grouped("a", "x")]).await;
    assert!(matches!(refused, Err(SendError::NoDeduplication { index: 0, .. })));
    assert!(matches!(queue.send(vec![message("x")]).await, Err(SendError::NoGroup { index: 0, .. })));
}

#[tokio::test]
async fn the_same_attempt_gets_the_same_messages() {
    let world = World::new("orders.fifo");
    let queue = world.open().await;
    queue.send(vec![grouped("a", "x"), grouped("b", "y")]).await.unwrap();
    let attempt = || Receive { attempt: Some("1".to_owned()), ..now(1) };
    let first = queue.receive(attempt()).await.unwrap();
    world.clock.advance(20 * SECOND);
    let again = queue.receive(attempt()).await.unwrap();
    assert_eq!((first[0].id, &first[0].receipt), (again[0].id, &again[0].receipt));
    world.clock.advance(20 * SECOND);
    assert_eq!(take(&queue, 10).await, ["y"], "the repeat has hidden it anew");
    queue.delete(vec![first[0].receipt.clone()]).await.unwrap();
    assert!(queue.receive(attempt()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_attempt_whose_lease_was_taken_back_does_not_get_the_lease_of_another() {
    let world = World::new("orders.fifo");
    let queue = world.open().await;
    queue.send(vec![grouped("a", "x")]).await.unwrap();
    let (answer, answered) = oneshot::channel();
    let attempt = Some("1".to_owned());
    let ask = Ask { max: 1, hidden_for: 30 * SECOND, attempt: attempt.clone(), waits: false, answer };
    queue.calls.send(Call::Receive(ask)).await.unwrap();
    drop(answered.await.unwrap().unwrap());
    assert_eq!(queue.receive(now(1)).await.unwrap()[0].receive_count, 1);
    assert!(queue.receive(Receive { attempt, ..now(1) }).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_long_group_is_received_from_its_front_again_and_again() {
    let world = World::new("orders.fifo");
    let queue = world.open().await;
    for part in 0..10 {
        let many = (0..5000).map(|index| grouped("long", format!("{part}-{index}"))).collect();
        queue.send(many).await.unwrap();
    }
    for index in 0..200 {
        let received = queue.receive(now(1)).await.unwrap().remove(0);
        assert_eq!(received.body, format!("0-{index}"));
        queue.hide(vec![(received.receipt, Duration::ZERO)]).await.unwrap();
        let received = queue.receive(now(1)).await.unwrap().remove(0);
        assert_eq!((received.body, received.receive_count), (format!("0-{index}").into(), 2));
        queue.delete(vec![received.receipt]).await.unwrap();
    }
}

//! Receivers that wait, and receivers that have gone.

use super::*;

async fn take_waiting(queue: Arc<Queue>) -> Vec<String> {
    bodies(&queue.receive(waiting(1)).await.unwrap())
}

/// Starts a receiver that waits, and lets it fall asleep.
async fn sleeper(queue: &Arc<Queue>) -> tokio::task::JoinHandle<Vec<String>> {
    let receiver = tokio::spawn(take_waiting(Arc::clone(queue)));
    settle_down().await;
    receiver
}

/// Lets all tasks run until they wait.
async fn settle_down() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_receiver_that_waits_has_the_message_with_its_send() {
    let world = World::new("orders");
    let queue = world.open().await;
    let receivers = [sleeper(&queue).await, sleeper(&queue).await, sleeper(&queue).await];
    for body in ["a", "b", "c"] {
        queue.send(vec![message(body)]).await.unwrap();
        assert_eq!(queue.stats().in_flight, 1 + u64::from(body != "a") + u64::from(body == "c"));
    }
    let mut got = Vec::new();
    for receiver in receivers {
        got.extend(receiver.await.unwrap());
    }
    assert_eq!(got, ["a", "b", "c"], "in the order in which they came");
    assert_eq!(world.log().await.bounds().tail.0, 3, "each lease was stored with its send");
}

#[tokio::test]
async fn a_waiting_receiver_has_what_becomes_visible_by_itself() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send(vec![message("a"), Message { delay: Some(15 * SECOND), ..message("b") }]).await.unwrap();
    let held = queue.receive(Receive { hidden_for: 5 * SECOND, ..now(1) }).await.unwrap();
    assert_eq!(bodies(&held), ["a"]);
    for (after, body) in [(5, "a"), (10, "b")] {
        let receiver = sleeper(&queue).await;
        world.clock.advance(after * SECOND - Duration::from_millis(1));
        settle_down().await;
        assert!(!receiver.is_finished());
        world.clock.advance(Duration::from_millis(1));
        assert_eq!(receiver.await.unwrap(), [body]);
    }
}

#[tokio::test]
async fn a_receive_that_waits_in_vain_returns_nothing_and_writes_nothing() {
    let world = World::new("orders");
    let queue = world.open().await;
    let receiver = sleeper(&queue).await;
    world.clock.advance(20 * SECOND);
    assert_eq!(receiver.await.unwrap(), [""; 0]);
    assert_eq!(world.log().await.bounds().tail.0, 0);
}

#[tokio::test]
async fn a_receiver_that_has_gone_takes_nothing() {
    let world = World::new("orders");
    let queue = world.open().await;
    let (gone, stays) = (sleeper(&queue).await, sleeper(&queue).await);
    gone.abort();
    assert!(gone.await.is_err());
    queue.send(vec![message("a")]).await.unwrap();
    assert_eq!(stays.await.unwrap(), ["a"]);
}

#[tokio::test]
async fn a_lease_whose_receiver_went_away_on_the_way_is_as_if_it_had_never_been() {
    let world = World::new("orders");
    let queue = world.open().await;
    queue.send(vec![message("a")]).await.unwrap();
    let (answer, answered) = oneshot::channel();
    let ask = Ask { max: 1, hidden_for: 30 * SECOND, attempt: None, waits: false, answer };
    queue.calls.send(Call::Receive(ask)).await.unwrap();
    settle_down().await;
    assert_eq!(queue.stats().in_flight, 1);
    world.clock.advance(SECOND);
    drop(answered);
    settle_down().await;
    assert_eq!(queue.stats().ready, 1);
    let received = queue.receive(now(1)).await.unwrap().remove(0);
    assert_eq!((received.receive_count, received.first_received_at), (1, world.env.now()));
    queue.close().await;
    world.clock.advance(31 * SECOND);
    assert_eq!(world.open().await.receive(now(1)).await.unwrap()[0].receive_count, 2);
}

#[tokio::test]
async fn receivers_that_wait_end_when_the_queue_does() {
    let world = World::new("orders");
    let queue = world.open().await;
    let receiver = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.receive(waiting(1)).await }
    });
    settle_down().await;
    queue.close().await;
    assert!(receiver.await.unwrap().unwrap_err().is_closed());
    assert!(queue.purge().await.unwrap_err().is_closed());
}

#[tokio::test]
async fn the_depth_tells_of_each_change() {
    let world = World::new("orders");
    let queue = world.open().await;
    let mut depth = queue.depth();
    queue.send(vec![message("a"), message("b")]).await.unwrap();
    assert_eq!(*depth.borrow_and_update(), Depth { ready: 2, in_flight: 0 });
    let waits = tokio::spawn(async move {
        depth.changed().await.unwrap();
        *depth.borrow()
    });
    take(&queue, 1).await;
    assert_eq!(waits.await.unwrap(), Depth { ready: 1, in_flight: 1 });
}

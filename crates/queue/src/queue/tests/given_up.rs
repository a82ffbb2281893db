//! Messages that are received too often, and messages that go elsewhere.

use super::*;

async fn exhaust(world: &World, queue: &Queue, times: u32, count: usize) {
    for _ in 0..times {
        assert_eq!(queue.receive(now(100)).await.unwrap().len(), count);
        world.clock.advance(30 * SECOND);
    }
    assert!(take(queue, 1).await.is_empty());
}

fn to_queue() -> DeadLetterTo {
    DeadLetterTo::Queue("dead".parse().unwrap())
}

fn numbers(transfers: &[Transfer]) -> Vec<u64> {
    transfers.iter().map(|transfer| transfer.number).collect()
}

#[tokio::test]
async fn what_goes_to_the_table_is_handed_out_until_it_is_settled() {
    let world = World::new("orders").dead_letters(2, DeadLetterTo::Table);
    let queue = world.open().await;
    queue.send(vec![message("a"), message("b")]).await.unwrap();
    let waits = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.exhausted(10).await.unwrap() }
    });
    exhaust(&world, &queue, 2, 2).await;
    let exhausted = waits.await.unwrap();
    assert_eq!((bodies(&exhausted), exhausted[0].receive_count), (vec!["a".to_owned(), "b".to_owned()], 2));
    assert_eq!((queue.stats().exhausted, queue.stats().dead_lettered), (2, 2));
    queue.settle(vec![exhausted[0].id]).await.unwrap();
    queue.close().await;
    let queue = world.open().await;
    let left = queue.exhausted(10).await.unwrap();
    assert_eq!(bodies(&left), ["b"]);
    assert_eq!(queue.delete(vec![left[0].receipt.clone()]).await.unwrap(), [Err(ReceiptError::Replaced)]);
    queue.purge().await.unwrap();
    world.clock.advance(world.settings.retention);
    queue.upkeep().await;
    assert_eq!(bodies(&queue.exhausted(10).await.unwrap()), ["b"], "what is given up is not purged, nor too old");
}

#[tokio::test]
async fn a_lease_that_ends_while_the_queue_is_closed_counts() {
    let world = World::new("orders").dead_letters(1, DeadLetterTo::Table);
    let queue = world.open().await;
    queue.send(vec![message("a")]).await.unwrap();
    assert_eq!(take(&queue, 1).await, ["a"]);
    queue.close().await;
    world.clock.advance(30 * SECOND);
    let queue = world.open().await;
    assert!(take(&queue, 1).await.is_empty());
    assert_eq!(bodies(&queue.exhausted(10).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn dead_letters_keep_their_numbers_over_restarts_until_they_are_forgotten() {
    let world = World::new("orders").dead_letters(1, to_queue());
    let queue = world.open().await;
    queue.send(vec![message("a"), message("b"), message("c")]).await.unwrap();
    exhaust(&world, &queue, 1, 3).await;
    let transfers = queue.next_transfers(2).await.unwrap();
    assert_eq!(numbers(&transfers), [1, 2]);
    queue.close().await;
    let queue = world.open().await;
    assert_eq!(queue.next_transfers(2).await.unwrap(), transfers);
    queue.transferred(vec![1, 2, 77]).await.unwrap();
    let left = queue.next_transfers(10).await.unwrap();
    assert_eq!((numbers(&left), &left[0].message.body[..]), (vec![3], &b"c"[..]));
    queue.transferred(vec![3]).await.unwrap();
    assert_eq!(queue.stats().bytes, 0);
    queue.close().await;
    let queue = world.open().await;
    queue.send(vec![message("d")]).await.unwrap();
    exhaust(&world, &queue, 1, 1).await;
    assert_eq!(numbers(&queue.next_transfers(10).await.unwrap()), [4], "no number is used twice");
}

#[tokio::test]
async fn an_adopted_message_keeps_id_time_and_source_and_is_stored_once() {
    let world = World::new("dead");
    let queue = world.open().await;
    let stamp = |number| Stamp { producer: "transfers".to_owned(), number };
    let adopted = || Adopted {
        message: message("a"),
        id: MessageId::new(7, 9),
        sent_at: Timestamp(1_699_999_999_000),
        source: Some("orders".parse().unwrap()),
    };
    let SentOnce::Stored(sent) = queue.adopt(stamp(3), vec![adopted()]).await.unwrap() else { panic!("repeated") };
    assert_eq!(sent[0].id, adopted().id);
    assert_eq!(queue.adopt(stamp(3), vec![adopted()]).await.unwrap(), SentOnce::Repeated);
    assert_eq!((queue.last_stamp("transfers"), queue.last_stamp("others")), (Some(3), None));
    for _ in 0..2 {
        // From the log, then from a snapshot.
        queue.upkeep().await;
    }
    queue.close().await;
    let queue = world.open().await;
    assert_eq!(queue.last_stamp("transfers"), Some(3));
    let received = queue.receive(now(10)).await.unwrap();
    assert_eq!((received.len(), received[0].id, received[0].sent_at), (1, adopted().id, adopted().sent_at));
    assert_eq!(received[0].source, adopted().source);
    queue.settle(vec![MessageId::new(42, 0), adopted().id]).await.unwrap();
    assert_eq!(queue.stats().bytes, 0);
}

#[tokio::test]
async fn a_fifo_queue_takes_the_time_of_arrival_and_looks_for_no_repeats_among_adopted_messages() {
    let world = World::new("dead.fifo");
    let queue = world.open().await;
    queue.send(vec![grouped("a", "x")]).await.unwrap();
    let stamp = Stamp { producer: "transfers".to_owned(), number: 1 };
    let (id, sent_at) = (MessageId::new(7, 9), Timestamp(1));
    queue.adopt(stamp, vec![Adopted { message: grouped("a", "x"), id, sent_at, source: None }]).await.unwrap();
    let received = queue.receive(now(10)).await.unwrap();
    assert_eq!((bodies(&received), received[1].sent_at), (vec!["x".to_owned(); 2], world.env.now()));
}

#[tokio::test]
async fn a_move_takes_what_is_ready_and_passes_the_filter() {
    let world = World::new("dead");
    let queue = world.open().await;
    let group = |index| if index < 5 { "a" } else { "b" };
    queue.send((0..10).map(|index| grouped(group(index), format!("m{index}"))).collect()).await.unwrap();
    let until = queue.tail();
    queue.send(vec![grouped("a", "later")]).await.unwrap();
    assert_eq!(take(&queue, 1).await, ["m0"]);
    let until = until.max(SequenceNumber(10));
    let filter = MoveFilter { group: Some("a".to_owned()), ..MoveFilter::default() };
    let step = queue.take_for_move(SequenceNumber(0), until, 2, Some(&filter)).await.unwrap();
    assert_eq!(step.transfers.iter().map(|transfer| &transfer.message.body[..]).collect::<Vec<_>>(), [b"m1", b"m2"]);
    let rest = queue.take_for_move(step.next.unwrap(), until, 100, Some(&filter)).await.unwrap();
    assert_eq!((numbers(&rest.transfers), rest.next), (vec![3, 4], None));
    let text = MoveFilter { body_contains: Some("m7".to_owned()), ..MoveFilter::default() };
    let step = queue.take_for_move(SequenceNumber(0), until, 100, Some(&text)).await.unwrap();
    assert_eq!(numbers(&step.transfers), [5]);
    queue.close().await;
    let queue = world.open().await;
    assert_eq!(numbers(&queue.moving(100).await.unwrap()), [1, 2, 3, 4, 5]);
    queue.transferred(vec![1, 2, 3, 4, 5]).await.unwrap();
    assert!(queue.moving(100).await.unwrap().is_empty());
    assert_eq!((queue.stats().ready, queue.stats().in_flight), (5, 1));
}

#[tokio::test]
async fn a_stamp_is_stored_once_however_often_it_is_sent() {
    let world = World::new("orders");
    let queue = world.open().await;
    let stamp = |producer: &str, number| Stamp { producer: producer.to_owned(), number };
    for number in [1, 2, 2, 1, 5] {
        queue.send_once(stamp("p", number), vec![message(format!("{number}"))]).await.unwrap();
    }
    queue.send_once(stamp("q", 1), vec![message("q")]).await.unwrap();
    queue.close().await;
    let queue = world.open().await;
    assert_eq!(queue.send_once(stamp("p", 5), vec![message("x")]).await.unwrap(), SentOnce::Repeated);
    assert_eq!(take(&queue, 10).await, ["1", "2", "5", "q"]);
}

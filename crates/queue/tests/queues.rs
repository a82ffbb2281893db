//! Queues together: made, changed and deleted, with dead letters and moves between them, over restarts.
#![expect(clippy::unwrap_used, reason = "clippy does not know that a function which tests share is a test")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use support::{
    World, bodies, create, dead_letters, eventually, fifo, insist, name, receive, send, settle_down, standard, text,
};
use weir_queue::{
    Attribute, AttributeValue, ChangeError, CreateError, Message, MoveError, MoveFilter, MoveStatus, Queue, Queues,
    Receive, Settings, Tuning,
};
use weir_types::LogName;

const MINUTE: Duration = Duration::from_secs(61);

/// Receives everything from a queue so often that it is given up, and lets the leases run out.
async fn give_up(world: &World, queue: &Queue, receives: u32) {
    for _ in 0..receives {
        while !receive(queue, 1000).await.is_empty() {}
        world.clock.advance(MINUTE);
    }
    // Asking is what looks at the clock.
    assert!(receive(queue, 10).await.is_empty());
}

fn ready(queue: &Arc<Queue>, count: u64) -> impl FnMut() -> bool {
    let queue = queue.clone();
    move || queue.stats().ready == count
}

fn ended(queues: &Queues, source: &str) -> impl FnMut() -> bool {
    let moves = queues.moves(&name(source));
    assert!(!moves.is_empty());
    move || !matches!(queues.moves(&name(source))[0].status, MoveStatus::Running | MoveStatus::Cancelling)
}

#[tokio::test]
async fn making_a_queue_again_with_the_same_settings_finds_it_and_with_others_is_refused() {
    let world = World::new();
    let queues = world.open().await;
    let first = create(&queues, "work", standard()).await;
    assert!(Arc::ptr_eq(&first, &create(&queues, "work", standard()).await));
    let other = Settings { visibility_timeout: Duration::from_secs(5), ..standard() };
    let refused = queues.create(name("work"), other.clone(), BTreeMap::new()).await.unwrap_err();
    assert!(matches!(refused, CreateError::Exists { setting: "visibility_timeout", .. }), "{refused}");
    let ensured = queues.ensure(name("work"), other.clone()).await.unwrap();
    assert!(Arc::ptr_eq(&first, &ensured));
    assert_eq!(first.settings(), other);
}

#[tokio::test]
async fn queues_settings_tags_and_times_outlive_a_restart() {
    let world = World::new();
    let queues = world.open().await;
    let tags = BTreeMap::from([("team".to_owned(), "data".to_owned()), ("old".to_owned(), "yes".to_owned())]);
    queues.create(name("work"), standard(), tags).await.unwrap();
    create(&queues, "line.fifo", fifo()).await;
    world.clock.advance(MINUTE);
    let other = Settings { delay: Duration::from_secs(5), ..standard() };
    queues.configure(&name("work"), other.clone()).await.unwrap();
    queues.tag(&name("work"), BTreeMap::from([("cost".to_owned(), "low".to_owned())])).await.unwrap();
    queues.untag(&name("work"), vec!["old".to_owned()]).await.unwrap();
    let before = (queues.tags(&name("work")).unwrap(), queues.times(&name("work")).unwrap());
    assert_eq!(before.0.keys().collect::<Vec<_>>(), ["cost", "team"]);
    assert!(before.1.0 < before.1.1);
    queues.close().await;
    let queues = world.open().await;
    let names: Vec<String> = queues.list().iter().map(|queue| queue.name().to_string()).collect();
    assert_eq!(names, ["line.fifo", "work"]);
    assert_eq!(queues.get(&name("work")).unwrap().settings(), other);
    assert_eq!((queues.tags(&name("work")).unwrap(), queues.times(&name("work")).unwrap()), before);
}

#[tokio::test]
async fn a_queue_that_is_made_anew_has_nothing_of_the_deleted_one() {
    let world = World::new();
    let queues = world.open().await;
    let old = create(&queues, "work", standard()).await;
    send(&old, "old").await;
    let received = receive(&old, 1).await;
    send(&old, "older").await;
    queues.delete(&name("work")).await.unwrap();
    assert!(queues.get(&name("work")).is_none());
    assert!(old.send(vec![text("late")]).await.unwrap_err().is_closed());
    let missing = queues.delete(&name("work")).await.unwrap_err();
    assert!(matches!(missing, ChangeError::NoQueue { .. }), "{missing}");
    for restart in [false, true] {
        let queues = if restart { world.open().await } else { queues.clone() };
        let new = create(&queues, "work", standard()).await;
        assert!(receive(&new, 10).await.is_empty());
        let outcome = new.delete(vec![received[0].receipt.clone()]).await.unwrap();
        assert!(outcome[0].is_err(), "a receipt of the deleted queue is none of the new one");
        send(&new, "new").await;
        let again = receive(&new, 10).await;
        assert_eq!(bodies(&again), ["new"]);
        assert_ne!(again[0].id, received[0].id);
        new.delete(vec![again[0].receipt.clone()]).await.unwrap();
    }
}

#[tokio::test]
async fn a_message_that_fails_too_often_is_in_the_dead_letter_queue_once_with_all_that_it_has() {
    let world = World::new();
    let queues = world.open().await;
    let dead = create(&queues, "dead", standard()).await;
    let work = create(&queues, "work", dead_letters(standard(), 2, "dead")).await;
    let value = AttributeValue::Binary(vec![0, 255]);
    let message = Message {
        attributes: vec![Attribute { name: "kind".into(), data_type: "Binary".into(), value }],
        trace_header: Some("Root=1-2-3".into()),
        group: Some("a".into()),
        headers: vec![("cause".into(), "timeout".into())],
        ..text("poison")
    };
    work.send(vec![message.clone()]).await.unwrap();
    let first = receive(&work, 1).await;
    world.clock.advance(MINUTE);
    give_up(&world, &work, 1).await;
    eventually("the dead letter is there", ready(&dead, 1)).await;
    let letter = receive(&dead, 10).await.remove(0);
    assert_eq!((letter.id, letter.sent_at, letter.receive_count), (first[0].id, first[0].sent_at, 1));
    assert_eq!(letter.source, Some(name("work")));
    assert_eq!(letter.body, message.body);
    assert_eq!((letter.attributes, letter.headers), (message.attributes, message.headers));
    assert_eq!((letter.trace_header, letter.group), (message.trace_header, message.group));
    assert_eq!(work.stats().exhausted, 0);
    drop(queues);
    let queues = world.open().await;
    settle_down().await;
    world.clock.advance(MINUTE);
    assert!(receive(&queues.get(&name("work")).unwrap(), 10).await.is_empty());
    assert_eq!(receive(&queues.get(&name("dead")).unwrap(), 10).await.len(), 1);
}

#[tokio::test]
async fn dead_letters_wait_for_a_deleted_dead_letter_queue_to_be_made_anew() {
    let world = World::new();
    let queues = world.open().await;
    create(&queues, "dead", standard()).await;
    let work = create(&queues, "work", dead_letters(standard(), 1, "dead")).await;
    queues.delete(&name("dead")).await.unwrap();
    for number in 0..700 {
        send(&work, &number.to_string()).await;
    }
    give_up(&world, &work, 1).await;
    settle_down().await;
    assert_eq!(work.stats().exhausted, 700);
    drop((work, queues));
    let queues = world.open().await;
    settle_down().await;
    let dead = create(&queues, "dead", standard()).await;
    eventually("the dead letters are there", ready(&dead, 700)).await;
    let mut all = bodies(&receive(&dead, 1000).await);
    all.sort_by_key(|body| body.parse::<u32>().unwrap());
    assert_eq!(all, (0..700).map(|number: u32| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn dead_letters_go_to_another_queue_from_the_change_on_and_none_is_in_both() {
    let world = World::new();
    let queues = world.open().await;
    let one = create(&queues, "one", standard()).await;
    let two = create(&queues, "two", standard()).await;
    let work = create(&queues, "work", dead_letters(standard(), 1, "one")).await;
    for number in 0..600 {
        send(&work, &number.to_string()).await;
    }
    give_up(&world, &work, 1).await;
    // Some are on their way just now.
    queues.configure(&name("work"), dead_letters(standard(), 1, "two")).await.unwrap();
    eventually("all have arrived", || one.stats().ready + two.stats().ready == 600).await;
    send(&work, "600").await;
    give_up(&world, &work, 1).await;
    eventually("all have arrived", || one.stats().ready + two.stats().ready == 601).await;
    let mut all = bodies(&receive(&one, 1000).await);
    let later = bodies(&receive(&two, 1000).await);
    assert!(later.contains(&"600".to_owned()));
    all.extend(later);
    all.sort_by_key(|body| body.parse::<u32>().unwrap());
    assert_eq!(all, (0..=600).map(|number: u32| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_a_dead_letter_queue_what_was_given_up_can_be_received_again() {
    let world = World::new();
    let queues = world.open().await;
    create(&queues, "dead", standard()).await;
    let work = create(&queues, "work", dead_letters(standard(), 1, "dead")).await;
    queues.delete(&name("dead")).await.unwrap();
    for number in 0..300 {
        send(&work, &number.to_string()).await;
    }
    give_up(&world, &work, 1).await;
    queues.configure(&name("work"), standard()).await.unwrap();
    eventually("they are back", ready(&work, 300)).await;
    let back = receive(&work, 1000).await;
    assert_eq!(numbers(bodies(&back)), (0..300).collect::<Vec<_>>());
    assert!(back.iter().all(|message| message.source.is_none() && message.receive_count == 1));
    let ids = back.iter().map(|message| message.id).collect();
    work.settle(ids).await.unwrap();
    assert_eq!(work.stats().in_flight, 0);
}

/// Dropping a runtime drops its tasks where they wait, as a crash does.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn dead_letters_arrive_once_wherever_a_crash_comes_and_even_if_they_go_elsewhere_then() {
    for (turns, elsewhere) in (0..60).flat_map(|turns| [(turns, false), (turns, true)]) {
        let world = World::flaky(turns, Tuning::default());
        let first = runtime();
        first.block_on(async {
            let queues = world.open().await;
            create(&queues, "one", standard()).await;
            create(&queues, "two", standard()).await;
            let work = create(&queues, "work", dead_letters(standard(), 1, "one")).await;
            // Those that are given up later join those that a crash has left under way.
            for (from, hidden_for) in [(0, 60), (5, 90)] {
                let messages: Vec<Message> = (from..from + 5).map(|number| text(&number.to_string())).collect();
                insist(async || work.send(messages.clone()).await).await;
                let hidden_for = Duration::from_secs(hidden_for);
                let receive = Receive { max: 5, hidden_for, wait: Duration::ZERO, attempt: None };
                assert_eq!(insist(async || work.receive(receive.clone()).await).await.len(), 5);
            }
            world.clock.advance(MINUTE);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        });
        drop(first);
        runtime().block_on(async {
            let queues = world.open().await;
            let [one, two] = ["one", "two"].map(|queue| queues.get(&name(queue)).unwrap());
            if elsewhere {
                let settings = dead_letters(standard(), 1, "two");
                insist(async || queues.configure(&name("work"), settings.clone()).await).await;
            }
            world.clock.advance(MINUTE);
            eventually("all have arrived", || {
                // What a full disk has delayed is tried again.
                world.clock.advance(Duration::from_millis(20));
                one.stats().ready + two.stats().ready >= 10
            })
            .await;
            settle_down().await;
            let mut all = Vec::new();
            for queue in [&one, &two] {
                let hidden_for = Duration::from_secs(60);
                let receive = Receive { max: 100, hidden_for, wait: Duration::ZERO, attempt: None };
                all.extend(bodies(&insist(async || queue.receive(receive.clone()).await).await));
            }
            assert_eq!(numbers(all), (0..10).collect::<Vec<_>>(), "a crash after {turns} turns");
        });
    }
}

#[test]
fn what_a_move_puts_back_is_in_one_queue_wherever_a_crash_comes_and_even_if_its_target_is_made_anew() {
    for turns in 0..100 {
        let world = World::flaky(turns, Tuning::default());
        let first = runtime();
        first.block_on(async {
            let queues = world.open().await;
            let dead = create(&queues, "dead", standard()).await;
            create(&queues, "other", dead_letters(standard(), 1, "dead")).await;
            let gone = create(&queues, "gone", dead_letters(standard(), 1, "dead")).await;
            let messages: Vec<Message> = (0..5).map(|number| text(&number.to_string())).collect();
            insist(async || gone.send(messages.clone()).await).await;
            let receive = Receive { max: 5, hidden_for: Duration::ZERO, wait: Duration::ZERO, attempt: None };
            insist(async || gone.receive(receive.clone()).await).await;
            eventually("all are given up", || {
                world.clock.advance(Duration::from_millis(20));
                dead.stats().ready == 5
            })
            .await;
            queues.delete(&name("gone")).await.unwrap();
            queues.start_move(&name("dead"), None, None, None).await.unwrap();
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        });
        drop(first);
        runtime().block_on(async {
            let queues = world.open().await;
            let gone = create(&queues, "gone", standard()).await;
            let dead = queues.get(&name("dead")).unwrap();
            let mut ended = ended(&queues, "dead");
            eventually("the move has ended", || {
                world.clock.advance(Duration::from_millis(20));
                ended()
            })
            .await;
            let mut all = Vec::new();
            for queue in [&dead, &gone] {
                let hidden_for = Duration::from_secs(60);
                let receive = Receive { max: 100, hidden_for, wait: Duration::ZERO, attempt: None };
                all.extend(bodies(&insist(async || queue.receive(receive.clone()).await).await));
            }
            assert_eq!(numbers(all), (0..5).collect::<Vec<_>>(), "a crash after {turns} turns");
        });
    }
}

#[test]
fn deleting_a_queue_may_be_cut_off_anywhere() {
    let mut survived = 0;
    for turns in 0..40 {
        let world = World::new();
        let first = runtime();
        first.block_on(async {
            let queues = world.open().await;
            let work = create(&queues, "work", standard()).await;
            send(&work, "old").await;
            tokio::spawn(async move { queues.delete(&name("work")).await });
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        });
        drop(first);
        runtime().block_on(async {
            let queues = world.open().await;
            if let Some(work) = queues.get(&name("work")) {
                survived += 1;
                assert_eq!(bodies(&receive(&work, 10).await), ["old"]);
                return;
            }
            let work = create(&queues, "work", standard()).await;
            assert!(receive(&work, 10).await.is_empty());
            let log = world.engine.log(&LogName::queue(&name("work"))).await.unwrap();
            assert_eq!(log.bytes(), 0);
            send(&work, "new").await;
            drop((work, queues));
            settle_down().await;
            let queues = world.open().await;
            assert_eq!(bodies(&receive(&queues.get(&name("work")).unwrap(), 10).await), ["new"]);
        });
    }
    assert!((1..40).contains(&survived), "{survived}");
}

#[tokio::test]
async fn fifo_dead_letters_keep_their_order_and_begin_a_new_life() {
    let world = World::new();
    let queues = world.open().await;
    let dead = create(&queues, "dead.fifo", fifo()).await;
    let work = create(&queues, "work.fifo", dead_letters(fifo(), 1, "dead.fifo")).await;
    for number in 0..20 {
        let message = Message { group: Some("g".into()), deduplication: Some(number.to_string()), ..text("") };
        work.send(vec![Message { body: number.to_string().into(), ..message }]).await.unwrap();
    }
    give_up(&world, &work, 1).await;
    eventually("all are given up", ready(&dead, 20)).await;
    let letters = receive(&dead, 10).await;
    assert_eq!(bodies(&letters), (0..10).map(|number: u32| number.to_string()).collect::<Vec<_>>());
    assert_eq!(letters[0].sent_at, world.env.now());
}

/// A queue `work` whose `count` messages, `0` to `count - 1`, are in its dead-letter queue `dead`.
async fn with_dead_letters(world: &World, queues: &Queues, count: u32) -> (Arc<Queue>, Arc<Queue>) {
    let dead = create(queues, "dead", standard()).await;
    let work = create(queues, "work", dead_letters(standard(), 1, "dead")).await;
    let messages = (0..count).map(|number| Message {
        group: Some(if number % 2 == 0 { "even" } else { "odd" }.to_owned()),
        ..text(&number.to_string())
    });
    work.send(messages.collect()).await.unwrap();
    give_up(world, &work, 1).await;
    eventually("all are given up", ready(&dead, u64::from(count))).await;
    (work, dead)
}

fn numbers(mut bodies: Vec<String>) -> Vec<u32> {
    let mut numbers: Vec<u32> = bodies.drain(..).map(|body| body.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn a_move_brings_each_message_back_to_where_it_came_from() {
    let world = World::new();
    let queues = world.open().await;
    let (work, dead) = with_dead_letters(&world, &queues, 600).await;
    let id = queues.start_move(&name("dead"), None, None, None).await.unwrap();
    eventually("the move has ended", ended(&queues, "dead")).await;
    let known = queues.moves(&name("dead"));
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].id.clone(), known[0].status), (id.clone(), MoveStatus::Completed));
    assert_eq!((known[0].moved, known[0].to_move), (600, 600));
    assert_eq!((work.stats().ready, dead.stats().ready), (600, 0));
    let back = receive(&work, 1000).await;
    assert!(back.iter().all(|message| message.receive_count == 1 && message.source.is_none()));
    assert!(back.iter().all(|message| message.sent_at == world.env.now()), "it lives as long as a new one");
    assert_eq!(numbers(bodies(&back)), (0..600).collect::<Vec<_>>());
    let ended = queues.cancel_move(&id).await.unwrap_err();
    assert!(matches!(ended, MoveError::NoMove { .. }), "{ended}");
}

#[tokio::test]
async fn a_move_takes_what_its_filter_takes_to_the_queue_that_it_names() {
    let world = World::new();
    let queues = world.open().await;
    let (work, dead) = with_dead_letters(&world, &queues, 100).await;
    let other = create(&queues, "other", standard()).await;
    let filter = MoveFilter {
        body_contains: Some("7".into()),
        group: Some("odd".into()),
        until: Some(world.env.now()),
        since: None,
    };
    queues.start_move(&name("dead"), Some(name("other")), None, Some(filter)).await.unwrap();
    eventually("the move has ended", ended(&queues, "dead")).await;
    let expected: Vec<u32> = (0..100).filter(|number| number % 2 == 1 && number.to_string().contains('7')).collect();
    assert_eq!(queues.moves(&name("dead"))[0].moved, expected.len() as u64);
    assert_eq!(numbers(bodies(&receive(&other, 1000).await)), expected);
    assert_eq!((work.stats().ready, dead.stats().ready), (0, 100 - expected.len() as u64));
    // Nothing was sent from now on.
    let filter = MoveFilter { since: Some(world.env.now()), ..MoveFilter::default() };
    queues.start_move(&name("dead"), Some(name("other")), None, Some(filter)).await.unwrap();
    eventually("the move has ended", ended(&queues, "dead")).await;
    assert_eq!((queues.moves(&name("dead"))[0].moved, queues.moves(&name("dead")).len()), (0, 2));
}

#[tokio::test]
async fn a_move_keeps_its_rate_and_goes_on_after_a_crash_with_nothing_twice() {
    let world = World::new();
    let queues = world.open().await;
    let (work, dead) = with_dead_letters(&world, &queues, 300).await;
    queues.start_move(&name("dead"), None, Some(50), None).await.unwrap();
    drop(dead);
    let mut queues = Some(queues);
    let mut work = Some(work);
    let mut last = 0;
    for round in 1..=5_u64 {
        for _ in 0..10 {
            settle_down().await;
            world.clock.advance(Duration::from_millis(100));
        }
        settle_down().await;
        let arrived = work.as_ref().unwrap().stats().ready;
        // A step each tenth of a second; each start has one more.
        assert!(arrived > last && arrived <= round * 50 + round * 5 + 5, "{arrived} after {round} s");
        last = arrived;
        drop((work.take(), queues.take()));
        let opened = world.open().await;
        work = opened.get(&name("work"));
        queues = Some(opened);
    }
    let (queues, work) = (queues.unwrap(), work.unwrap());
    assert!(last < 300);
    for _ in 0..100 {
        settle_down().await;
        world.clock.advance(Duration::from_millis(100));
    }
    eventually("the move has ended", ended(&queues, "dead")).await;
    let done = queues.moves(&name("dead")).remove(0);
    assert_eq!(done.status, MoveStatus::Completed);
    assert!(done.moved <= 300 && done.moved >= 300 - 5 * 55, "{}", done.moved);
    assert_eq!(numbers(bodies(&receive(&work, 1000).await)), (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cancelled_move_leaves_each_message_in_one_queue() {
    let world = World::new();
    let queues = world.open().await;
    let (work, dead) = with_dead_letters(&world, &queues, 100).await;
    let id = queues.start_move(&name("dead"), None, Some(10), None).await.unwrap();
    eventually("some are moved", || work.stats().ready > 0).await;
    let running = queues.start_move(&name("dead"), None, None, None).await.unwrap_err();
    assert!(matches!(running, MoveError::Running { .. }), "{running}");
    let moved = queues.cancel_move(&id).await.unwrap();
    assert_eq!(queues.moves(&name("dead"))[0].status, MoveStatus::Cancelled);
    assert!(moved > 0 && moved < 100);
    assert_eq!((work.stats().ready, dead.stats().ready), (moved, 100 - moved));
    world.clock.advance(MINUTE);
    settle_down().await;
    assert_eq!((work.stats().ready, dead.stats().ready), (moved, 100 - moved));
    let mut all = bodies(&receive(&work, 1000).await);
    all.extend(bodies(&receive(&dead, 1000).await));
    assert_eq!(numbers(all), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_move_leaves_what_has_no_target_where_it_is_and_says_so() {
    let world = World::new();
    let queues = world.open().await;
    let (work, dead) = with_dead_letters(&world, &queues, 20).await;
    let gone = create(&queues, "gone", dead_letters(standard(), 1, "dead")).await;
    send(&gone, "20").await;
    give_up(&world, &gone, 1).await;
    send(&dead, "21").await;
    eventually("all are there", ready(&dead, 22)).await;
    queues.delete(&name("gone")).await.unwrap();
    queues.start_move(&name("dead"), None, None, None).await.unwrap();
    eventually("the move has ended", ended(&queues, "dead")).await;
    let failed = queues.moves(&name("dead")).remove(0);
    assert_eq!((failed.status, failed.moved), (MoveStatus::Failed, 20));
    let reason = failed.failure.unwrap();
    assert!(reason.contains("there is no queue `gone`") && reason.contains("nobody knows"), "{reason}");
    assert_eq!((work.stats().ready, dead.stats().ready), (20, 2));
    let left = receive(&dead, 10).await;
    let from_gone = left.iter().find(|message| message.source.is_some()).unwrap();
    assert_eq!((from_gone.source.clone(), &from_gone.body[..]), (Some(name("gone")), &b"20"[..]));
}

#[tokio::test]
async fn what_fails_again_during_a_move_is_not_moved_round_and_round() {
    let world = World::new();
    let queues = world.open().await;
    let (work, dead) = with_dead_letters(&world, &queues, 10).await;
    queues.start_move(&name("dead"), None, Some(10), None).await.unwrap();
    for _ in 0..70 {
        settle_down().await;
        while !receive(&work, 10).await.is_empty() {}
        world.clock.advance(MINUTE / 2);
    }
    eventually("the move has ended", ended(&queues, "dead")).await;
    assert_eq!(queues.moves(&name("dead"))[0].moved, 10);
    eventually("all have failed again", ready(&dead, 10)).await;
}

#[tokio::test]
async fn closed_queues_refuse_and_open_again() {
    let world = World::new();
    let queues = world.open().await;
    let work = create(&queues, "work", standard()).await;
    send(&work, "1").await;
    queues.upkeep().await;
    queues.close().await;
    assert!(work.send(vec![text("2")]).await.unwrap_err().is_closed());
    assert!(queues.list().is_empty());
    assert!(queues.create(name("more"), standard(), BTreeMap::new()).await.is_err());
    queues.upkeep().await;
    let queues = world.open().await;
    assert_eq!(bodies(&receive(&queues.get(&name("work")).unwrap(), 10).await), ["1"]);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_whole_queue() {
    let world = World::new();
    let queues = world.open().await;
    let mut made = Box::pin(queues.create(name("work"), standard(), BTreeMap::new()));
    assert!(futures::poll!(&mut made).is_pending());
    drop(made);
    eventually("it is made nevertheless", || queues.get(&name("work")).is_some()).await;
    let work = queues.get(&name("work")).unwrap();
    send(&work, "1").await;
    assert_eq!(receive(&work, 1).await.len(), 1);
}

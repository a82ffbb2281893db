//! Into tables: what is replaced, over pauses and crashes.

use weir_env::{Clock, Env, SystemClock};
use weir_types::{SequenceNumber, ShardId, Timestamp};

use super::world::*;
use crate::replay::{Ask, Rate};

fn rate(text: &str) -> Option<Rate> {
    Some(text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mended_function_replaces_rows_adds_new_ones_and_leaves_the_others() {
    let world = World::new(&priced("amount", "amount < 300"));
    let node = world.start().await;
    send(&node, 0..100).await;
    assert_eq!(amounts(&node, "prices").await, expected(0..100, |amount| (amount < 300).then_some(amount)));
    node.close().await.unwrap();
    drop(node);

    // Orders below 100 stay, those below 300 differ, and from there on they are new.
    world.plan(&priced("amount + case when amount < 100 then 0 else 1 end", "amount < 500"));
    let node = world.start().await;
    let run = node.begin_replay(&ask("price")).await.unwrap();
    let run = until_over(&node, &run.id).await;
    let counts = run.targets[0].counts;
    assert_eq!((counts.read, counts.rows, run.targets[0].durable), (100, 50, 100), "{run:#?}");
    assert_eq!((counts.unchanged, counts.replaced, counts.added), (10, 20, 20), "{run:#?}");
    let mended = |amount: i64| (amount < 500).then_some(if amount < 100 { amount } else { amount + 1 });
    assert_eq!(amounts(&node, "prices").await, expected(0..100, mended));

    // Once more, nothing differs: no file changes but by the run's places.
    let run = node.begin_replay(&ask("price")).await.unwrap();
    let counts = until_over(&node, &run.id).await.targets[0].counts;
    assert_eq!((counts.unchanged, counts.replaced, counts.added), (50, 0, 0));
    assert_eq!(amounts(&node, "prices").await, expected(0..100, mended));
    assert_eq!(node.replays().len(), 2);
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_dies_again_and_again_ends_as_if_it_had_not() {
    const ORDERS: i64 = 3_000;
    let seed = Env::system().random();
    eprintln!("seed {seed}");
    let chance = Env::seeded(SystemClock::new(), seed);
    let world = World::new(&priced("amount", "true"));
    let node = world.start().await;
    send(&node, 0..ORDERS).await;
    committed(&node, "prices").await;
    node.close().await.unwrap();
    drop(node);

    world.plan(&priced("amount * 3", "true"));
    let mut node = world.start().await;
    let asked = Ask { rate: rate("20000/s"), ..ask("price") };
    let id = node.begin_replay(&asked).await.unwrap().id;
    for _ in 0..4 {
        let enough = chance.random() % ORDERS as u64;
        until(&node, &id, "it does not move", |run| run.behind >= enough || run.state == "done").await;
        // Like a crash: nothing is closed, and what was not committed is gone.
        drop(node);
        node = world.start().await;
    }
    node.set_replay_rate(&id, None).await.ok();
    let run = until_over(&node, &id).await;
    let counts = run.targets[0].counts;
    assert_eq!((counts.behind(), run.behind), (ORDERS as u64, ORDERS as u64), "{run:#?}");
    assert_eq!(counts.replaced + counts.untold + counts.unchanged, ORDERS as u64, "{run:#?}");
    assert_eq!(amounts(&node, "prices").await, expected(0..ORDERS, |amount| Some(amount * 3)));
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_run_stands_holds_its_records_and_goes_on() {
    let world = World::new(&priced("amount", "true"));
    let node = world.start().await;
    send(&node, 0..2_000).await;
    committed(&node, "prices").await;
    let asked = Ask { rate: rate("400/s"), ..ask("price") };
    let id = node.begin_replay(&asked).await.unwrap().id;
    until(&node, &id, "it does not move", |run| run.behind > 0).await;
    assert_eq!(node.pause_replay(&id).await.unwrap().state, "paused");
    // What was on its way is committed and noted: from there on nothing moves.
    let paused =
        until(&node, &id, "what it read is not durable", |run| run.targets[0].durable == run.behind && run.behind > 0)
            .await;
    assert!(paused.behind < 2_000, "{paused:#?}");
    let held: Vec<_> =
        (0..2).filter_map(|shard| node.replaying().needed_from(&"orders".parse().unwrap(), ShardId(shard))).collect();
    assert!(held.iter().any(|from| *from < SequenceNumber(1_000)), "{held:?}");
    // Other flows go on meanwhile.
    send(&node, 2_000..2_010).await;
    assert_eq!(amounts(&node, "prices").await.len(), 2_010);
    let still = node.replay(&id).unwrap();
    assert_eq!((still.state, still.behind), ("paused", paused.behind));
    node.close().await.unwrap();
    drop(node);

    let node = world.start().await;
    assert_eq!(node.replay(&id[..16]).unwrap().state, "paused");
    node.set_replay_rate(&id, None).await.unwrap();
    node.resume_replay(&id).await.unwrap();
    let run = until_over(&node, &id).await;
    let counts = run.targets[0].counts;
    assert_eq!((counts.read, counts.unchanged, counts.untold), (2_000, 2_000, 0), "{run:#?}");
    let held = node.replaying().needed_from(&"orders".parse().unwrap(), ShardId(0));
    assert_eq!(held, None);
    assert!(node.resume_replay(&id).await.unwrap_err().to_string().contains("is over"));
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_ends_and_what_it_did_stays() {
    let world = World::new(&priced("amount", "true"));
    let node = world.start().await;
    send(&node, 0..2_000).await;
    committed(&node, "prices").await;
    node.close().await.unwrap();
    drop(node);
    world.plan(&priced("amount + 1", "true"));
    let node = world.start().await;
    let asked = Ask { rate: rate("400/s"), ..ask("price") };
    let id = node.begin_replay(&asked).await.unwrap().id;
    until(&node, &id, "it does not move", |run| run.behind > 0).await;
    assert_eq!(node.cancel_replay(&id).await.unwrap().state, "cancelled");
    let run = until(&node, &id, "what it did is not counted", |run| run.targets[0].durable > 0).await;
    let changed = amounts(&node, "prices").await.into_iter().filter(|(id, amount)| *amount != id * 10).count() as u64;
    assert!(changed > 0 && changed < 2_000, "{changed} of {run:#?}");
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_times_choose_records_and_a_preview_says_which() {
    let world = World::new(&priced("amount", "true"));
    let node = world.start().await;
    send(&node, 0..96).await;
    committed(&node, "prices").await;
    node.close().await.unwrap();
    drop(node);
    world.plan(&priced("amount + 5", "amount <> 300"));
    let node = world.start().await;
    let asked = Ask {
        since: Some(Timestamp(at(24)).to_string()),
        until: Some(Timestamp(at(60)).to_string()),
        event_time: true,
        ..ask("price")
    };
    let preview = node.preview_replay(&asked).await.unwrap();
    assert!(preview.exact, "{preview:#?}");
    assert_eq!((preview.records, preview.records_read), (36, 96));
    let target = &preview.targets[0];
    assert_eq!((target.rows, target.partitions), (Some(35), Some(2)));
    let listed: Vec<(&str, u64)> = target.listed.iter().map(|one| (one.partition.as_str(), one.rows)).collect();
    // Order 30 lies in the first of both days, and the function leaves it out.
    assert_eq!(listed, [("2026-01-02", 23), ("2026-01-03", 12)]);
    assert_eq!(amounts(&node, "prices").await, expected(0..96, Some), "a preview changes nothing");

    let id = node.begin_replay(&asked).await.unwrap().id;
    let counts = until_over(&node, &id).await.targets[0].counts;
    assert_eq!((counts.read, counts.passed_over, counts.replaced), (96, 60, 35));
    let mended = |amount: i64| Some(if (240..600).contains(&amount) && amount != 300 { amount + 5 } else { amount });
    assert_eq!(amounts(&node, "prices").await, expected(0..96, mended));
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_of_arrival_choose_records() {
    let world = World::new(&priced("amount", "true"));
    let node = world.start().await;
    send(&node, 0..10).await;
    let between = later(&node);
    send(&node, 10..30).await;
    let behind = later(&node);
    send(&node, 30..40).await;
    committed(&node, "prices").await;
    let asked = Ask { since: Some(between.to_string()), until: Some(behind.to_string()), ..ask("price") };
    let id = node.begin_replay(&asked).await.unwrap().id;
    let run = until_over(&node, &id).await;
    assert_eq!((run.records, run.targets[0].counts.unchanged), (20, 20), "{run:#?}");
    node.close().await.unwrap();
}

/// Returns a time behind all that has arrived, and before all that will: milliseconds must have passed in between.
fn later(node: &crate::node::Node) -> Timestamp {
    let before = node.env().now();
    loop {
        let now = node.env().now();
        if now.0 >= before.0 + 2 {
            return Timestamp(before.0 + 1);
        }
        std::hint::spin_loop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_table_is_the_one_that_the_mended_function_would_have_made() {
    let seed = SystemClock::new().now().0 as u64;
    eprintln!("seed {seed}");
    let chance = Env::seeded(SystemClock::new(), seed);
    // Conditions only grow: rows that a function does not make any more stay.
    let amounts_of = ["amount", "amount % 7", "id * amount", "case when id % 3 = 0 then amount else -amount end"];
    for case in 0..4 {
        let pick = |from: usize| (chance.random() % from as u64) as usize;
        let (before, mended) = (amounts_of[pick(4)], amounts_of[pick(4)]);
        let limit = 100 * (1 + pick(20));
        let orders = 50 + pick(400) as i64;
        let world = World::new(&priced(before, &format!("amount < {limit}")));
        let node = world.start().await;
        let cut = pick(orders as usize) as i64;
        send(&node, 0..cut).await;
        send(&node, cut..orders).await;
        // Some repeats are in the stream too.
        send(&node, 0..cut / 2).await;
        node.close().await.unwrap();
        drop(node);
        let plan = priced(mended, &format!("amount < {}", 2 * limit));
        world.plan(&plan);
        let node = world.start().await;
        let id = node.begin_replay(&ask("price")).await.unwrap().id;
        until_over(&node, &id).await;
        let replayed = amounts(&node, "prices").await;
        node.close().await.unwrap();

        let fresh = World::new(&plan);
        let node = fresh.start().await;
        send(&node, 0..orders).await;
        assert_eq!(replayed, amounts(&node, "prices").await, "case {case}: {before} -> {mended}, {orders} orders");
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_again_is_a_letter_of_its_own_and_is_counted() {
    let world = World::new(&priced("amount", "true"));
    let node = world.start().await;
    send(&node, 0..20).await;
    committed(&node, "prices").await;
    node.close().await.unwrap();
    drop(node);
    world.plan(&priced("100 / (amount - 50)", "true"));
    let node = world.start().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let id = node.begin_replay(&ask("price")).await.unwrap().id;
        let run = until_over(&node, &id).await;
        assert_eq!(run.targets[0].counts.dead_lettered, 1, "{run:#?}");
        seen.push(id);
    }
    let started = node.env().elapsed();
    let letters = loop {
        let letters = node.letters(&crate::Filter::default(), 10, None).await.unwrap().letters;
        if letters.len() == 2 {
            break letters;
        }
        assert!(node.env().elapsed() - started < PATIENCE, "{letters:?}");
        tokio::task::yield_now().await;
    };
    for id in seen {
        assert!(letters.iter().any(|letter| letter.id.ends_with(&format!(">table/prices?{id}"))), "{letters:?}");
    }
    // The row that was there before is not taken away by a failure.
    assert_eq!(amounts(&node, "prices").await.get(&5), Some(&50));
    node.close().await.unwrap();
}

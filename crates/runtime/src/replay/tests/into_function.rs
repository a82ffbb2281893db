//! Through functions with an outbox: SQL into a stream, and from there into a table.

use super::world::*;
use crate::replay::Ask;

fn two_hops(amount: &str) -> String {
    format!(
        r#"{STREAM}
stream "priced" {{
  schema = "order.avsc"
  time   = "at"
  id     = ["id", "at"]
}}
function "price" {{
  on  = stream.orders
  sql = "select id, at, {amount} as amount from input"
  to  = stream.priced
}}
table "prices" {{
  from      = stream.priced
  freshness = "100ms"
}}
"#
    )
}

/// Waits until so many orders have come through, and returns them.
async fn arrived(node: &crate::node::Node, count: usize) -> std::collections::BTreeMap<i64, i64> {
    let started = node.env().elapsed();
    loop {
        let found = amounts(node, "prices").await;
        if found.len() == count {
            return found;
        }
        assert!(node.env().elapsed() - started < PATIENCE, "{} of {count}", found.len());
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_replace_in_the_table_behind_the_stream_that_a_function_writes() {
    let world = World::new(&two_hops("amount"));
    let node = world.start().await;
    send(&node, 0..200).await;
    assert_eq!(arrived(&node, 200).await, expected(0..200, Some));
    committed(&node, "prices").await;
    node.close().await.unwrap();
    drop(node);

    world.plan(&two_hops("amount + 7"));
    let node = world.start().await;
    let id = node.begin_replay(&ask("price")).await.unwrap().id;
    let run = until_over(&node, &id).await;
    assert_eq!(run.targets[0].target.to_string(), "function/price");
    let counts = run.targets[0].counts;
    assert_eq!((counts.read, counts.rows, counts.replaced), (200, 200, 200), "{run:#?}");
    assert_eq!(amounts(&node, "prices").await, expected(0..200, |amount| Some(amount + 7)));
    // What arrives goes its own way.
    send(&node, 200..210).await;
    assert_eq!(arrived(&node, 210).await, expected(0..210, |amount| Some(amount + 7)));
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_given_once_over_crashes() {
    const ORDERS: i64 = 2_000;
    let world = World::new(&two_hops("amount"));
    let node = world.start().await;
    send(&node, 0..ORDERS).await;
    arrived(&node, ORDERS as usize).await;
    node.close().await.unwrap();
    drop(node);
    world.plan(&two_hops("amount + 1"));
    let mut node = world.start().await;
    let asked = Ask { rate: Some("4000/s".parse().unwrap()), ..ask("price") };
    let id = node.begin_replay(&asked).await.unwrap().id;
    for enough in [200, 900, 1_500] {
        until(&node, &id, "it does not move", |run| run.behind >= enough).await;
        drop(node);
        node = world.start().await;
    }
    let run = until_over(&node, &id).await;
    assert_eq!(run.behind, ORDERS as u64, "{run:#?}");
    // Each record once: the stream behind has all of them twice, and no more.
    let stream = node.stream(&"priced".parse().unwrap()).unwrap();
    assert_eq!(stream.stream.shards()[0].bounds().tail.0, 2 * ORDERS as u64);
    assert_eq!(amounts(&node, "prices").await, expected(0..ORDERS, |amount| Some(amount + 1)));
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_to_one_function_take_turns_and_neither_loses_its_place() {
    const ORDERS: i64 = 1_000;
    let world = World::new(&two_hops("amount"));
    let node = world.start().await;
    send(&node, 0..ORDERS).await;
    arrived(&node, ORDERS as usize).await;
    let slow = Ask { rate: Some("400/s".parse().unwrap()), ..ask("price") };
    let first = node.begin_replay(&slow).await.unwrap().id;
    until(&node, &first, "it does not move", |run| run.behind > 0).await;
    let second = node.begin_replay(&ask("price")).await.unwrap().id;
    let waits = |run: &crate::replay::RunStatus| {
        run.targets[0].trouble.as_deref().is_some_and(|text| text.contains("waits for another"))
    };
    until(&node, &second, "it does not wait", waits).await;
    node.pause_replay(&first).await.unwrap();
    until_over(&node, &second).await;
    node.set_replay_rate(&first, None).await.unwrap();
    node.resume_replay(&first).await.unwrap();
    let run = until_over(&node, &first).await;
    assert_eq!(run.behind, ORDERS as u64, "{run:#?}");
    let stream = node.stream(&"priced".parse().unwrap()).unwrap();
    assert_eq!(stream.stream.shards()[0].bounds().tail.0, 3 * ORDERS as u64);
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_times_choose_what_a_function_is_given() {
    let world = World::new(&two_hops("amount"));
    let node = world.start().await;
    send(&node, 0..96).await;
    arrived(&node, 96).await;
    node.close().await.unwrap();
    drop(node);
    world.plan(&two_hops("-amount"));
    let node = world.start().await;
    let asked = Ask {
        since: Some(weir_types::Timestamp(at(24)).to_string()),
        until: Some(weir_types::Timestamp(at(48)).to_string()),
        event_time: true,
        ..ask("price")
    };
    let id = node.begin_replay(&asked).await.unwrap().id;
    let run = until_over(&node, &id).await;
    assert_eq!((run.targets[0].counts.passed_over, run.targets[0].counts.rows), (72, 24), "{run:#?}");
    let mended = |amount: i64| Some(if (240..480).contains(&amount) { -amount } else { amount });
    assert_eq!(amounts(&node, "prices").await, expected(0..96, mended));
    node.close().await.unwrap();
}

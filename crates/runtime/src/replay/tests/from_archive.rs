//! From the archive: the same rows, at any rate, also when the stream has forgotten them.

use super::world::*;
use crate::node::Node;
use crate::replay::{Ask, Origin};

fn archived(amount: &str) -> String {
    priced(amount, "true").replace("shards = 2", "shards = 2\n  archive = \"30d\"\n  archive_every = \"1s\"")
}

/// Waits until all that the stream has is in its archive.
async fn written(node: &Node) {
    let started = node.env().elapsed();
    let stream = node.stream(&"orders".parse().unwrap()).unwrap().stream.clone();
    loop {
        let archive = node.archive(stream.name());
        let reaches = |shard: &weir_stream::Shard| {
            let tail = shard.bounds().tail;
            let written = archive.as_ref().ok().and_then(|archive| archive.written_to(shard.id()));
            tail.0 == 0 || written.is_some_and(|written| written >= tail)
        };
        if stream.shards().iter().all(reaches) {
            return;
        }
        assert!(node.env().elapsed() - started < PATIENCE, "{archive:?}");
        node.env().sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_replays_what_the_stream_had() {
    let world = World::new(&archived("amount"));
    let node = world.start().await;
    send(&node, 0..300).await;
    written(&node).await;
    committed(&node, "prices").await;
    node.close().await.unwrap();
    drop(node);

    world.plan(&archived("amount + 3"));
    let node = world.start().await;
    written(&node).await;
    let from_archive = Ask { from: Origin::Archive, ..ask("price") };
    let preview = node.preview_replay(&from_archive).await.unwrap();
    assert_eq!((preview.records, preview.exact, preview.targets[0].rows), (300, true, Some(300)), "{preview:#?}");
    // In small parts: a page of the archive is handed on bit by bit.
    let slow = Ask { rate: Some("2000/s".parse().unwrap()), ..from_archive.clone() };
    let id = node.begin_replay(&slow).await.unwrap().id;
    let counts = until_over(&node, &id).await.targets[0].counts;
    assert_eq!((counts.read, counts.replaced, counts.lost, counts.untold), (300, 300, 0, 0));
    assert_eq!(amounts(&node, "prices").await, expected(0..300, |amount| Some(amount + 3)));
    // From the stream it is the same.
    let id = node.begin_replay(&ask("price")).await.unwrap().id;
    assert_eq!(until_over(&node, &id).await.targets[0].counts.unchanged, 300);
    // Before anything arrived there is nothing.
    let none = Ask { until: Some("2020-01-01T00:00:00Z".to_owned()), ..from_archive.clone() };
    let id = node.begin_replay(&none).await.unwrap().id;
    assert_eq!(until_over(&node, &id).await.records, 0);
    let all = Ask { since: Some("2020-01-01T00:00:00Z".to_owned()), ..from_archive };
    let id = node.begin_replay(&all).await.unwrap().id;
    assert_eq!(until_over(&node, &id).await.targets[0].counts.unchanged, 300);
    node.close().await.unwrap();
}

//! What can't be replayed, and what the refusal says.

use super::world::*;
use crate::node::Node;
use crate::replay::{Ask, Origin};

async fn refusal(node: &Node, ask: Ask) -> String {
    let refused = node.begin_replay(&ask).await.unwrap_err().to_string();
    // A look says the same.
    assert_eq!(node.preview_replay(&ask).await.unwrap_err().to_string(), refused);
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_named_with_what_is_meant() {
    let plan = priced("amount", "true")
        + r#"
stream "idle" {
  schema = "order.avsc"
}
table "heap" {
  from      = stream.orders
  unique_by = []
}
queue "jobs" {}
"#;
    let world = World::new(&plan);
    let node = world.start().await;
    send(&node, 0..3).await;
    let to = |to: &str| Ask { to: Some(to.parse().unwrap()), ..Ask::default() };
    let stream = |stream: &str| Ask { stream: Some(stream.parse().unwrap()), ..Ask::default() };
    let wanted = [
        (Ask::default(), "say whose records"),
        (ask("prise"), "there is no function `prise`; did you mean `price`?"),
        (to("price"), "there is no table `price`; did you mean `prices`?"),
        (stream("order"), "there is no stream `order`; did you mean `orders`?"),
        (stream("idle"), "nothing reads stream `idle`"),
        (
            Ask { stream: Some("idle".parse().unwrap()), ..ask("price") },
            "function/price reads stream `orders`, and not `idle`",
        ),
        (
            Ask { to: Some("heap".parse().unwrap()), ..ask("price") },
            "table `heap` is not fed by function `price`, but by stream `orders`",
        ),
        (to("heap"), "knows no ids"),
        (stream("orders"), "knows no ids"),
        (to("dead_letters"), "is fed by weir itself"),
        (Ask { from: Origin::Archive, ..ask("price") }, "has no archive"),
        (Ask { since: Some("yesterday".to_owned()), ..ask("price") }, "`since` is `yesterday`"),
        (Ask { since: Some("1h".to_owned()), until: Some("2h".to_owned()), ..ask("price") }, "is not before `until`"),
        (
            Ask {
                event_time: true,
                since: Some("1h".to_owned()),
                stream: Some("idle".parse().unwrap()),
                ..Ask::default()
            },
            "nothing reads",
        ),
    ];
    for (ask, text) in wanted {
        let refused = refusal(&node, ask.clone()).await;
        assert!(refused.contains(text), "{ask:?}: {refused}");
    }
    assert!(node.replays().is_empty());
    let named = Ask { id: Some("mine".to_owned()), ..ask("price") };
    assert!(node.begin_replay(&named).await.unwrap_err().to_string().contains("begins with `replay-`"));
    assert!(node.replay("replay-none").unwrap_err().to_string().contains("there is no replay `replay-none`"));
    // A call that is made again is the same run.
    let named = Ask { id: Some("replay-mine".to_owned()), ..ask("price") };
    let (first, second) = (node.begin_replay(&named).await.unwrap(), node.begin_replay(&named).await.unwrap());
    assert_eq!((first.id, node.replays().len()), (second.id, 1));
    // Rows without ids are added where that is said.
    let id = node.begin_replay(&Ask { append: true, ..to("heap") }).await.unwrap().id;
    assert_eq!(until_over(&node, &id).await.targets[0].counts.added, 3);
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_was_forgotten_is_refused_with_what_is_there() {
    let world = World::new(&priced("amount", "true").replace("shards = 2", "shards = 1\n  retention = \"1m\""));
    let node = world.start().await;
    send(&node, 0..10).await;
    committed(&node, "prices").await;
    let stream = node.stream(&"orders".parse().unwrap()).unwrap().stream.clone();
    // As upkeep does it, once the records are old enough; nobody needs them any more.
    let future = node.env().now().after(std::time::Duration::from_secs(3600));
    stream.retain(future, |_| None).await.unwrap();
    send(&node, 10..15).await;
    let head = stream.shards()[0].bounds().head;
    if head.0 == 0 {
        // The engine trims whole segments: what is in the one that is written stays.
        let id = node.begin_replay(&Ask { since: Some("1h".to_owned()), ..ask("price") }).await.unwrap().id;
        assert_eq!(until_over(&node, &id).await.records, 15);
    } else {
        let refused = refusal(&node, Ask { since: Some("1h".to_owned()), ..ask("price") }).await;
        assert!(
            refused.contains("stream `orders` has records from") && refused.contains("retention is 1m"),
            "{refused}"
        );
        let id = node.begin_replay(&ask("price")).await.unwrap().id;
        assert_eq!(until_over(&node, &id).await.records, 15 - head.0);
    }
    node.close().await.unwrap();
}

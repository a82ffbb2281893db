//! Dead letters of functions with targets of their own, and of queues.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Place, send, until};
use weir_queue::{Attribute, AttributeValue, Message, Receive};
use weir_runtime::{Batch, Filter, LetterRow, Node};

const ORDER: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "string"}, {"name": "amount", "type": "string"}]}"#;
const PRICED: &str = r#"{"type": "record", "name": "Priced", "fields": [
    {"name": "id", "type": "string"}, {"name": "amount", "type": ["null", "long"]}]}"#;

const HCL: &str = r#"
stream "orders" {
  schema = "order.avsc"
}
stream "priced" {
  schema = "priced.avsc"
}
function "price" {
  on  = stream.orders
  sql = "select id, cast(amount as bigint) as amount from input"
  to  = stream.priced
}
table "priced" {
  from      = stream.priced
  unique_by = []
  freshness = "100ms"
}
queue "jobs" {
  max_receives = 1
}
queue "steps" {
  fifo                  = true
  content_deduplication = true
  max_receives          = 1
}
"#;

fn place() -> Place {
    Place::new(&[("weir.hcl", HCL), ("order.avsc", ORDER), ("priced.avsc", PRICED)])
}

fn all() -> Batch {
    Batch { all: true, limit: 500, ..Batch::default() }
}

async fn open(node: &Node) -> Vec<LetterRow> {
    node.letters(&Filter::default(), 1000, None).await.unwrap().letters
}

#[tokio::test]
async fn a_record_goes_back_to_the_function_that_gave_it_up() {
    let place = place();
    let node = place.start().await;
    send(&node, "orders", "{\"id\":\"a\",\"amount\":\"1\"}\n{\"id\":\"b\",\"amount\":\"x\"}\n").await;
    until(&node, "select id from dead_letters", |rows| rows.len() == 1).await;
    let first = open(&node).await.remove(0);
    assert_eq!((first.source.as_str(), first.target.as_str()), ("stream/orders/0", "function/price"));
    let edit = r#"{"amount": "y"}"#.parse().unwrap();
    assert_eq!(node.redrive(&all(), Some(&edit)).await.unwrap().count, 1);
    until(&node, "select id from dead_letters", |rows| rows.len() == 2).await;
    let again = open(&node).await;
    assert_eq!((again.len(), again[0].source.as_str()), (1, "stream/_redrive-function-price/0"));
    let headers: serde_json::Value = serde_json::from_str(again[0].headers.as_deref().unwrap()).unwrap();
    assert_eq!(headers["redrive-of"], first.id);
    let edit = r#"{"amount": "2"}"#.parse().unwrap();
    assert_eq!(node.redrive(&all(), Some(&edit)).await.unwrap().count, 1);
    let rows = until(&node, "select id, amount from priced order by id", |rows| rows.len() >= 2).await;
    assert_eq!(rows, [json!({"id": "a", "amount": 1}), json!({"id": "b", "amount": 2})]);
    assert!(open(&node).await.is_empty());
    node.close().await.unwrap();
}

#[tokio::test]
async fn a_message_goes_back_to_its_queue_as_it_was() {
    let place = place();
    let node = place.start().await;
    for (name, fifo) in [("jobs", false), ("steps.fifo", true)] {
        let queue = node.queues().get(&name.parse().unwrap()).unwrap();
        let attribute = Attribute {
            name: "city".to_owned(),
            data_type: "String".to_owned(),
            value: AttributeValue::Text("Bern".to_owned()),
        };
        let message = Message {
            attributes: vec![attribute.clone()],
            group: Some("g".to_owned()),
            ..Message::new(r#"{"job": 1, "big": 12345678901234567890}"#)
        };
        queue.send(vec![message]).await.unwrap();
        let receive = Receive { max: 1, hidden_for: Duration::ZERO, wait: Duration::from_secs(5), attempt: None };
        assert_eq!(queue.receive(receive.clone()).await.unwrap().len(), 1);
        // The lease is over at once: this receive finds that it was the last one.
        let again = Receive { wait: Duration::ZERO, ..receive.clone() };
        assert!(queue.receive(again).await.unwrap().is_empty());
        let of_queue = format!("select id from dead_letters where target = 'queue/{name}'");
        until(&node, &of_queue, |rows| rows.len() == 1).await;
        let letter = open(&node).await.remove(0);
        assert_eq!((letter.cause.as_str(), letter.source), ("received_too_often", format!("queue/{name}")));

        let edit = r#"{"job": 2}"#.parse().unwrap();
        let acted = node.redrive(&all(), Some(&edit)).await.unwrap();
        assert_eq!((acted.count, acted.on_the_way), (1, 0), "{acted:?}");
        let lease = Receive { hidden_for: Duration::from_secs(60), ..receive };
        let received = queue.receive(lease).await.unwrap();
        assert_eq!(received.len(), 1);
        let message = &received[0];
        assert_eq!(message.body, r#"{"job":2,"big":12345678901234567890}"#);
        assert_eq!((message.attributes.as_slice(), message.group.as_deref()), ([attribute].as_slice(), Some("g")));
        assert_eq!(message.receive_count, 1, "it is a new message {fifo}");
        assert!(message.headers.contains(&("redrive-of".to_owned(), letter.id)), "{:?}", message.headers);
        assert!(open(&node).await.is_empty());
    }
    node.close().await.unwrap();
}

//! Dead letters from the record that can't go on to the row that it becomes at last.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use serde_json::json;
use support::{Place, ask, deliver, send, until};
use weir_runtime::{ActError, Batch, DeliverError, Edit, Filter, FindError, Format, Node, Payload, ShowError, State};
use weir_schema::{Form, JsonEncoder, Schema, wire};

const ORDER: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "string"},
    {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null},
    {"name": "amount", "type": "string"},
    {"name": "weight", "type": "double", "default": 0.1}]}"#;

const HCL: &str = r#"
stream "orders" {
  schema = "order.avsc"
}
function "price" {
  on  = stream.orders
  sql = "select id, at, cast(amount as bigint) as amount, weight from input"
  to  = table.orders
}
table "orders" {
  partition_by = "day(at)"
  unique_by    = []
  freshness    = "100ms"
  timeless     = "dead_letter"
}
"#;

fn place() -> Place {
    Place::new(&[("weir.hcl", HCL), ("order.avsc", ORDER)])
}

fn order(id: &str, amount: &str) -> String {
    format!("{{\"id\":\"{id}\",\"at\":1700000000000,\"amount\":\"{amount}\",\"weight\":0.30000000000000004}}\n")
}

fn all() -> Batch {
    Batch { all: true, limit: 500, ..Batch::default() }
}

fn edit(json: &str) -> Edit {
    json.parse().unwrap()
}

/// Asks for one number.
async fn count(node: &Node, sql: &str) -> u64 {
    ask(node, sql).await[0].as_object().unwrap().values().next().unwrap().as_u64().unwrap()
}

async fn open(node: &Node) -> Vec<weir_runtime::LetterRow> {
    node.letters(&Filter::default(), 1000, None).await.unwrap().letters
}

#[tokio::test]
async fn a_poison_record_becomes_a_row_after_an_edit() {
    let place = place();
    let node = place.start().await;
    send(&node, "orders", &(order("a", "7") + &order("b", "twelve") + &order("c", "9"))).await;
    until(&node, "select id from orders", |rows| rows.len() == 2).await;
    let letters = open(&node).await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((letter.cause.as_str(), letter.target.as_str()), ("function_failed", "table/orders"));
    assert_eq!(letter.id, "stream/orders/0@1>table/orders");
    let shown = node.letter(&letter.id).await.unwrap();
    let Payload::Json(payload) = &shown.payload else { panic!("{shown:?}") };
    let payload: serde_json::Value = serde_json::from_str(payload.get()).unwrap();
    assert_eq!((&payload["id"], &payload["amount"]), (&json!("b"), &json!("twelve")));
    let groups = node.letter_groups(&Filter::default()).await.unwrap();
    assert_eq!((groups.len(), groups[0].count, &groups[0].example), (1, 1, &letter.id));

    let batch = Batch { filter: Filter { cause: Some("function_failed".into()), ..Filter::default() }, ..all() };
    let acted = node.redrive(&batch, Some(&edit(r#"{"amount": "12"}"#))).await.unwrap();
    assert_eq!((acted.count, acted.refused.len(), acted.on_the_way, acted.next.is_none()), (1, 0, 0, true));
    // No wait: what was redriven is at its target, and a query sees it.
    let rows = ask(&node, "select id, amount, weight from orders where id = 'b'").await;
    assert_eq!(rows, [json!({"id": "b", "amount": 12, "weight": 0.300_000_000_000_000_04})]);
    assert!(open(&node).await.is_empty());
    let shown = node.letter(&letter.id).await.unwrap();
    let taken = shown.letter.taken.unwrap();
    assert_eq!((taken.action.as_str(), taken.target.as_deref()), ("redriven", Some("table/orders")));
    assert_eq!(taken.run, acted.run);
    let Some(Payload::Json(edited)) = &shown.edited else { panic!("{:?}", shown.edited) };
    assert!(edited.get().contains(r#""amount":"12""#), "{edited}");
    let actions =
        ask(&node, "select id, action, run, target, edited is not null as edited from dead_letter_actions").await;
    let wanted =
        json!({"id": letter.id, "action": "redriven", "run": acted.run, "target": "table/orders", "edited": true});
    assert_eq!(actions, [wanted]);
    node.close().await.unwrap();
}

#[tokio::test]
async fn what_fails_again_is_a_new_letter_that_names_the_first() {
    let place = place();
    let node = place.start().await;
    send(&node, "orders", &order("a", "x")).await;
    until(&node, "select id from dead_letters", |rows| rows.len() == 1).await;
    let first = open(&node).await.remove(0);
    assert_eq!(node.redrive(&all(), None).await.unwrap().count, 1);
    until(&node, "select id from dead_letters", |rows| rows.len() == 2).await;
    let again = open(&node).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].id, "stream/_redrive-table-orders/0@0>table/orders");
    let headers: serde_json::Value = serde_json::from_str(again[0].headers.as_deref().unwrap()).unwrap();
    assert_eq!(headers, json!({"redrive-of": first.id}));
    let redriven = Filter { state: State::Redriven, ..Filter::default() };
    assert_eq!(node.letters(&redriven, 10, None).await.unwrap().letters[0].id, first.id);
    assert_eq!(node.redrive(&all(), Some(&edit(r#"{"amount": "1"}"#))).await.unwrap().count, 1);
    assert_eq!(count(&node, "select count(*) from orders where amount = 1").await, 1);
    assert!(open(&node).await.is_empty());
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redrives_at_once_take_each_letter_once() {
    const LETTERS: u64 = 60;
    let place = place();
    let node = place.start().await;
    let lines: String = (0..LETTERS).map(|n| order(&format!("o{n}"), "bad")).collect();
    send(&node, "orders", &lines).await;
    until(&node, "select id from dead_letters", |rows| rows.len() as u64 == LETTERS).await;
    let edit = Arc::new(edit(r#"{"amount": "5"}"#));
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (node, edit) = (node.clone(), edit.clone());
            tokio::spawn(async move {
                let mut taken = 0;
                let mut batch = Batch { limit: 7, ..all() };
                loop {
                    let acted = node.redrive(&batch, Some(&edit)).await.unwrap();
                    assert!(acted.refused.is_empty());
                    taken += acted.count;
                    let Some(next) = acted.next else { return taken };
                    batch.after = Some(next);
                }
            })
        })
        .collect();
    let mut taken = 0;
    for task in tasks {
        taken += task.await.unwrap();
    }
    assert_eq!(taken, LETTERS);
    let rows = ask(&node, "select count(*) as rows, count(distinct id) as ids from orders where amount = 5").await;
    assert_eq!(rows, [json!({"rows": LETTERS, "ids": LETTERS})]);
    assert_eq!(count(&node, "select count(*) from dead_letter_actions").await, LETTERS);
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redrives_whose_callers_go_away_take_each_letter_once() {
    const LETTERS: u64 = 60;
    let place = place();
    let node = place.start().await;
    let lines: String = (0..LETTERS).map(|n| order(&format!("o{n}"), "bad")).collect();
    send(&node, "orders", &lines).await;
    until(&node, "select id from dead_letters", |rows| rows.len() as u64 == LETTERS).await;
    let edit = Arc::new(edit(r#"{"amount": "5"}"#));
    for patience in 0..12 {
        let (other, edit) = (node.clone(), edit.clone());
        let task = tokio::spawn(async move { other.redrive(&Batch { limit: 5, ..all() }, Some(&edit)).await });
        // The longer, the further it comes: from nothing to the decision, and beyond.
        for _ in 0..patience * 40 {
            tokio::task::yield_now().await;
        }
        task.abort();
        let _ = task.await;
    }
    // A decision whose caller went away may still be on its way to the log: this call waits for its turn.
    let left = open(&node).await.len() as u64;
    let rest = node.redrive(&all(), Some(&edit)).await.unwrap();
    assert!(rest.count <= left && rest.next.is_none());
    assert!(open(&node).await.is_empty());
    until(&node, "select id from orders where amount = 5", |rows| rows.len() as u64 >= LETTERS).await;
    let rows = ask(&node, "select count(*) as rows, count(distinct id) as ids from orders where amount = 5").await;
    assert_eq!(rows, [json!({"rows": LETTERS, "ids": LETTERS})]);
    node.close().await.unwrap();
}

#[tokio::test]
async fn a_call_takes_as_many_as_it_may_hold_and_the_next_goes_on() {
    const LETTERS: usize = 7;
    let place = place();
    let node = place.start().await;
    let long = "x".repeat(900_000);
    for n in 0..LETTERS {
        send(&node, "orders", &order(&format!("o{n}"), &long)).await;
    }
    until(&node, "select id from dead_letters", |rows| rows.len() == LETTERS).await;
    let (mut batch, mut counts) = (all(), Vec::new());
    loop {
        let acted = node.redrive(&batch, Some(&edit(r#"{"amount": "5"}"#))).await.unwrap();
        counts.push(acted.count);
        batch.after = acted.next;
        if batch.after.is_none() {
            break;
        }
    }
    assert_eq!(counts, [4, 3]);
    assert_eq!(count(&node, "select count(distinct id) from orders where amount = 5").await, LETTERS as u64);
    assert!(open(&node).await.is_empty());
    node.close().await.unwrap();
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_one_ended_and_oldest_are_redriven_first() {
    let place = place();
    let node = place.start().await;
    let lines: String = (0..25).map(|n| order(&format!("o{n}"), "bad")).collect();
    send(&node, "orders", &lines).await;
    until(&node, "select id from dead_letters", |rows| rows.len() == 25).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = node.letters(&Filter::default(), 10, after.as_ref()).await.unwrap();
        assert!(page.letters.len() <= 10);
        seen.extend(page.letters.into_iter().map(|letter| letter.sequence.unwrap().0));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..25).rev().collect::<Vec<_>>());
    let acted = node.drop_letters(&Batch { limit: 10, ..all() }).await.unwrap();
    assert_eq!((acted.count, acted.next.is_some()), (10, true));
    let left: Vec<u64> = open(&node).await.iter().map(|letter| letter.sequence.unwrap().0).collect();
    assert_eq!(left, (10..25).rev().collect::<Vec<_>>());
    node.close().await.unwrap();
}

#[tokio::test]
async fn a_dropped_letter_stays_in_the_table_and_is_not_redriven() {
    let place = place();
    let node = place.start().await;
    send(&node, "orders", &(order("a", "x") + &order("b", "y"))).await;
    until(&node, "select id from dead_letters", |rows| rows.len() == 2).await;
    let id = "stream/orders/0@0>table/orders".to_owned();
    let by_id = Batch { filter: Filter { ids: vec![id.clone()], ..Filter::default() }, ..all() };
    assert_eq!(node.drop_letters(&by_id).await.unwrap().count, 1);
    assert_eq!(node.drop_letters(&by_id).await.unwrap().count, 0);
    assert_eq!(node.redrive(&by_id, None).await.unwrap().count, 0);
    assert_eq!(open(&node).await.len(), 1);
    assert_eq!(count(&node, "select count(*) from dead_letters").await, 2);
    assert_eq!(node.letter(&id).await.unwrap().letter.taken.unwrap().action, "dropped");
    assert!(matches!(node.letter("nobody's").await, Err(ShowError::NoLetter(_))));
    node.close().await.unwrap();
}

#[tokio::test]
async fn a_filter_chooses_and_does_nothing_else() {
    let place = place();
    let node = place.start().await;
    send(&node, "orders", &(order("a", "x") + &order("b", "y"))).await;
    until(&node, "select id from dead_letters", |rows| rows.len() == 2).await;
    let batch = |predicate: &str| Batch {
        filter: Filter { predicate: Some(predicate.to_owned()), ..Filter::default() },
        ..all()
    };
    let smuggled = [
        "true) or (true",
        "1 = 1); drop table dead_letters; --",
        "true; select 1",
        "true) union all select * from dead_letters where (true",
        "true) --",
        "true /*",
        "true as x",
        "true order by id",
        "",
        "select 1",
        "*",
    ];
    for predicate in smuggled {
        let refused = node.drop_letters(&batch(predicate)).await;
        assert!(matches!(refused, Err(ActError::Find(_))), "{predicate}: {refused:?}");
    }
    // The condition can't widen the choice to letters that are not open, nor end early by a comment.
    let id = "stream/orders/0@0>table/orders";
    assert_eq!(node.drop_letters(&batch(&format!("id = '{id}' -- and this is told"))).await.unwrap().count, 1);
    assert_eq!(node.drop_letters(&batch(&format!("id = '{id}' or false"))).await.unwrap().count, 0);
    let quoted = Filter { cause: Some("' or '1' = '1".to_owned()), ..Filter::default() };
    assert_eq!(node.letters(&quoted, 10, None).await.unwrap().letters.len(), 0);
    assert_eq!(open(&node).await.len(), 1);
    let unknown = node.letters(&batch("\nsequenze = 3").filter, 10, None).await.unwrap_err();
    let FindError::Query(weir_runtime::QueryFailed::Query(weir_query::QueryError::Sql(error))) = unknown else {
        panic!("{unknown}")
    };
    assert_eq!(error.at.map(|(line, _)| line), Some(2), "{error:?}");
    let subquery = batch("sequence in (select max(sequence) from dead_letters)");
    assert_eq!(node.letters(&subquery.filter, 10, None).await.unwrap().letters[0].sequence.unwrap().0, 1);
    assert!(matches!(node.drop_letters(&Batch { all: false, ..all() }).await, Err(ActError::Unfiltered)));
    node.close().await.unwrap();
}

#[tokio::test]
async fn shorthands_choose_by_source_target_and_time() {
    let place = place();
    let node = place.start().await;
    send(&node, "orders", &order("a", "x")).await;
    until(&node, "select id from dead_letters", |rows| rows.len() == 1).await;
    let found = async |filter: Filter| node.letters(&filter, 10, None).await.unwrap().letters.len();
    let source = |text: &str| Filter { source: Some(text.to_owned()), ..Filter::default() };
    assert_eq!(found(source("stream/orders")).await, 1);
    assert_eq!(found(source("stream/orders/0")).await, 1);
    assert_eq!(found(source("stream/order")).await, 0);
    let since = |text: &str| Filter { since: Some(text.to_owned()), ..Filter::default() };
    assert_eq!(found(since("1h")).await, 1);
    assert_eq!(found(since("2020-01-01T00:00:00Z")).await, 1);
    assert_eq!(found(since("1d")).await + found(since("2200-01-01T00:00:00+01:00")).await, 1);
    let until = |text: &str| Filter { until: Some(text.to_owned()), ..Filter::default() };
    assert_eq!(found(until("1h")).await, 0);
    assert_eq!(found(Filter { target: Some("table/orders".into()), ..Filter::default() }).await, 1);
    let wrong = node.letters(&since("yesterday"), 10, None).await.unwrap_err();
    assert!(wrong.to_string().contains("yesterday"), "{wrong}");
    node.close().await.unwrap();
}

#[tokio::test]
async fn an_edit_that_does_not_fit_one_letter_sends_none_on() {
    let place = place();
    let node = place.start().await;
    send(&node, "orders", &(order("a", "x") + &order("b", "y"))).await;
    until(&node, "select id from dead_letters", |rows| rows.len() == 2).await;
    for (patch, named) in [
        (r#"{"amount": 5}"#, "amount"),
        (r#"{"amunt": "5"}"#, "amunt"),
        (r#"{"id": null}"#, "id"),
        (r#"{"weight": "heavy"}"#, "weight"),
    ] {
        let error = node.redrive(&all(), Some(&edit(patch))).await.unwrap_err();
        let ActError::Edit { letter, reason } = &error else { panic!("{error}") };
        assert_eq!(letter, "stream/orders/0@0>table/orders");
        assert!(reason.contains(named), "{patch}: {reason}");
    }
    assert_eq!(open(&node).await.len(), 2);
    assert_eq!(count(&node, "select count(*) from dead_letter_actions").await, 0);
    assert!("[1]".parse::<Edit>().is_err() && "{".parse::<Edit>().is_err());
    node.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_redriven_is_named_and_stays_open() {
    let place = place();
    let node = place.start().await;
    send(&node, "orders", &(order("a", "x") + "{\"id\":\"timeless\",\"amount\":\"3\"}\n")).await;
    until(&node, "select id from dead_letters", |rows| rows.len() == 2).await;
    let acted = node.redrive(&all(), Some(&edit(r#"{"amount": "4"}"#))).await.unwrap();
    assert_eq!((acted.count, acted.refused.len()), (1, 1));
    assert!(acted.refused[0].reason.contains("row that a rule of the table refused"), "{:?}", acted.refused);
    let left = open(&node).await;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].cause.as_str(), &left[0].id), ("refused_by_table", &acted.refused[0].id));
    send(&node, "orders", &order("b", "y")).await;
    until(&node, "select id from dead_letters", |rows| rows.len() == 3).await;
    node.close().await.unwrap();
    drop(node);

    // The table is gone from the plan: its letter waits for it.
    place.write(&[("weir.hcl", "stream \"orders\" {\n  schema = \"order.avsc\"\n}\n")]);
    let node = place.start().await;
    let acted = node.redrive(&all(), None).await.unwrap();
    assert_eq!((acted.count, acted.refused.len()), (0, 2));
    assert!(
        acted.refused.iter().any(|refused| refused.reason.contains("table/orders is not in the plan")),
        "{acted:?}"
    );
    assert_eq!(open(&node).await.len(), 2);
    node.close().await.unwrap();
}

#[tokio::test]
async fn a_message_of_an_unknown_schema_goes_on_once_it_is_registered() {
    let place = place();
    let node = place.start().await;
    let newer = ORDER
        .replace("\"Order\", \"fields\": [", "\"Order\", \"fields\": [{\"name\": \"note\", \"type\": \"string\"},");
    let schema = Schema::parse(&newer).unwrap();
    let mut encoder = JsonEncoder::new(&schema);
    let mut body = Vec::new();
    for id in ["a", "b"] {
        let mut record = Vec::new();
        let json = format!(r#"{{"note": "n", "id": "{id}", "at": 1700000000000, "amount": "8"}}"#);
        encoder.encode(json.as_bytes(), &mut record).unwrap();
        wire::write_single_object(schema.fingerprint(), &record, &mut body);
    }
    let report = deliver(&node, "orders", Format::AvroMessages(Form::SingleObject), &body).await;
    assert_eq!((report.stored, report.dead_lettered), (0, 1));
    let acted = node.redrive(&all(), None).await.unwrap();
    assert_eq!((acted.count, acted.refused.len()), (0, 1));
    assert!(acted.refused[0].reason.contains("do not read yet"), "{acted:?}");
    node.registry().register("orders-more".parse().unwrap(), newer).await.unwrap();
    let acted = node.redrive(&all(), Some(&edit(r#"{"amount": "6"}"#))).await.unwrap();
    assert_eq!((acted.count, acted.on_the_way), (1, 0));
    let rows = ask(&node, "select id, amount from orders order by id").await;
    assert_eq!(rows, [json!({"id": "a", "amount": 6}), json!({"id": "b", "amount": 6})]);
    assert!(open(&node).await.is_empty());
    node.close().await.unwrap();
}

#[tokio::test]
async fn nobody_but_weir_writes_letters_and_actions() {
    let place = place();
    let node = place.start().await;
    for stream in ["dead_letters", "dead_letter_actions"] {
        let delivery = weir_runtime::Delivery {
            stream: stream.parse().unwrap(),
            format: Format::Ndjson,
            encoding: weir_runtime::Encoding::Identity,
            batch: None,
        };
        let chunks = futures::stream::iter([Ok(bytes::Bytes::from_static(b"{}\n"))]);
        let failed = node.deliver(delivery, chunks).await.unwrap_err();
        assert!(matches!(failed.error, DeliverError::Own { .. }), "{failed}");
    }
    node.close().await.unwrap();
}

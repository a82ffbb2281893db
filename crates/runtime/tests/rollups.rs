//! Rollups in a node: they follow their source, lookups and SQL, and say what they can't compute.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Place, ask, send, until};
use weir_runtime::{Node, RefreshError, RollupStatus};

const CLICK: &str = r#"{"type": "record", "name": "Click", "fields": [
    {"name": "id", "type": "string"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "page", "type": "string"},
    {"name": "price", "type": "string"}]}"#;

const HCL: &str = r#"
stream "clicks" {
  schema = "click.avsc"
  time   = "at"
  id     = ["id"]
}
lookup "pages" { file = "pages.csv"  refresh = "1s" }
table "clicks" {
  from         = stream.clicks
  partition_by = "day(at)"
  freshness    = "100ms"
}
table "daily" {
  sql          = "select date_trunc('day', at) as day, p.title, count(*) as clicks from clicks left join pages p using (page) group by 1, 2"
  partition_by = "day(day)"
  freshness    = "100ms"
}
table "total" {
  sql       = "select coalesce(sum(clicks), 0) as clicks from daily"
  freshness = "100ms"
}
table "earned" {
  sql          = "select date_trunc('day', at) as day, sum(cast(price as bigint)) as earned from clicks group by 1"
  partition_by = "day(day)"
  freshness    = "100ms"
}
"#;

/// 2023-11-14.
const DAY: i64 = 1_699_920_000_000;
const DAY_MS: i64 = 24 * 3600 * 1000;

fn place() -> Place {
    Place::new(&[("weir.hcl", HCL), ("click.avsc", CLICK), ("pages.csv", "page,title\na,Start\nb,Shop\n")])
}

fn click(id: i64, day: i64, page: &str, price: &str) -> String {
    format!("{{\"id\":\"{id}\",\"at\":{},\"page\":\"{page}\",\"price\":\"{price}\"}}\n", DAY + day * DAY_MS + id)
}

async fn refresh(node: &Node, table: &str) -> Result<(), RefreshError> {
    node.refresh(&table.parse().unwrap()).await
}

fn rollup(node: &Node, table: &str) -> RollupStatus {
    node.status().tables.into_iter().find(|found| found.name == table).unwrap().rollup.unwrap()
}

fn trouble(node: &Node, table: &str) -> Option<String> {
    node.status().tables.into_iter().find(|found| found.name == table).unwrap().trouble
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_brings_what_was_acknowledged_through_the_chain() {
    let place = place();
    let node = place.start().await;
    for round in 1..=5i64 {
        let lines: String =
            (0..10).map(|n| click(round * 10 + n, n % 3, ["a", "b", "c"][n as usize % 3], "2")).collect();
        send(&node, "clicks", &lines).await;
        refresh(&node, "total").await.unwrap();
        assert_eq!(ask(&node, "select clicks from total").await, [json!({"clicks": round * 10})]);
    }
    let daily = "select title, clicks from daily order by clicks, title";
    assert_eq!(
        ask(&node, daily).await,
        [json!({"title": "Shop", "clicks": 15}), json!({"clicks": 15}), json!({"title": "Start", "clicks": 20}),]
    );
    assert_eq!((rollup(&node, "daily").source.as_str(), rollup(&node, "daily").stale), ("clicks", 0));
    // One day is added to: one partition is computed.
    let computed = rollup(&node, "daily").computed;
    send(&node, "clicks", &click(1000, 2, "a", "2")).await;
    refresh(&node, "daily").await.unwrap();
    assert_eq!(rollup(&node, "daily").computed, computed + 1);
    refresh(&node, "total").await.unwrap();
    assert!(matches!(refresh(&node, "nothing").await, Err(RefreshError::Unknown { .. })));
    node.close().await.unwrap();
    // What was computed is known after a restart.
    let node = place.start().await;
    refresh(&node, "total").await.unwrap();
    assert_eq!((rollup(&node, "daily").computed, rollup(&node, "total").computed), (0, 0));
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollups_follow_by_themselves_over_a_crash() {
    let place = place();
    let node = place.start().await;
    send(&node, "clicks", &(0..30).map(|n| click(n, n % 3, "a", "2")).collect::<String>()).await;
    until(&node, "select clicks from total", |rows| rows == [json!({"clicks": 30})]).await;
    send(&node, "clicks", &click(100, 1, "b", "2")).await;
    // Neither closed nor refreshed.
    drop(node);
    let node = place.start().await;
    until(&node, "select clicks from total", |rows| rows == [json!({"clicks": 31})]).await;
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookups_new_contents_and_new_sql_are_taken_everywhere() {
    let place = place();
    let node = place.start().await;
    send(&node, "clicks", &(0..30).map(|n| click(n, n % 3, "a", "2")).collect::<String>()).await;
    refresh(&node, "daily").await.unwrap();
    let titles = "select title, sum(clicks) as clicks from daily group by 1";
    assert_eq!(ask(&node, titles).await, [json!({"title": "Start", "clicks": 30})]);
    place.write(&[("pages.csv", "page,title\na,Home\nb,Shop\n")]);
    until(&node, titles, |rows| rows == [json!({"title": "Home", "clicks": 30})]).await;
    node.close().await.unwrap();
    place.write(&[("weir.hcl", &HCL.replace("count(*) as clicks", "2 * count(*) as clicks"))]);
    let node = place.start().await;
    refresh(&node, "total").await.unwrap();
    assert_eq!(ask(&node, titles).await, [json!({"title": "Home", "clicks": 60})]);
    assert_eq!(ask(&node, "select clicks from total").await, [json!({"clicks": 60})]);
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_fails_is_named_and_holds_up_no_other() {
    let place = place();
    let node = place.start().await;
    let lines: String = (0..5).map(|day| click(day, day, "a", if day == 4 { "free" } else { "3" })).collect();
    send(&node, "clicks", &lines).await;
    let Err(RefreshError::Trouble { what, .. }) = refresh(&node, "earned").await else { panic!("the cast fails") };
    assert!(what.contains("partition 2023-11-18") && what.contains("free"), "{what}");
    assert_eq!(
        ask(&node, "select count(*) as days, sum(earned) as earned from earned").await,
        [json!({"days": 4, "earned": 12})]
    );
    assert_eq!(rollup(&node, "earned").stale, 1);
    assert_eq!(trouble(&node, "earned"), Some(what));
    assert_eq!(trouble(&node, "daily"), None);
    // The others go on.
    send(&node, "clicks", &click(50, 1, "a", "7")).await;
    assert!(refresh(&node, "earned").await.is_err());
    let rows: Vec<Value> = ask(&node, "select sum(earned) as earned from earned").await;
    assert_eq!(rows, [json!({"earned": 19})]);
    node.close().await.unwrap();
    // SQL that passes mends it.
    place.write(&[("weir.hcl", &HCL.replace("cast(price", "try_cast(price"))]);
    let node = place.start().await;
    refresh(&node, "earned").await.unwrap();
    assert_eq!((trouble(&node, "earned"), rollup(&node, "earned").stale), (None, 0));
    node.close().await.unwrap();
}

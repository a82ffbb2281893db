//! A plan in a temporary folder, nodes that run it, and what a table should have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use weir_config::Inputs;
use weir_env::Env;
use weir_types::SequenceNumber;

use crate::node::{Handlers, Node, Options};
use crate::replay::{Ask, RunStatus};
use crate::{Delivery, Encoding, Format};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

const ORDER: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "long"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "amount", "type": "long"}]}"#;

/// A stream of two shards, without what reads it.
pub const STREAM: &str = r#"
stream "orders" {
  schema = "order.avsc"
  time   = "at"
  id     = ["id", "at"]
  key    = "id"
  shards = 2
}
"#;

/// 2026-01-01T00:00:00Z.
pub const BEGIN_MS: i64 = 1_767_225_600_000;
pub const HOUR_MS: i64 = 3_600_000;

/// SQL into a table: `amount` is what the query makes of it.
pub fn priced(amount: &str, condition: &str) -> String {
    format!(
        r#"{STREAM}
function "price" {{
  on  = stream.orders
  sql = "select id, at, {amount} as amount from input where {condition}"
  to  = table.prices
}}
table "prices" {{
  partition_by = "day(at)"
  freshness    = "100ms"
}}
"#
    )
}

pub struct World {
    config: TempDir,
    data: TempDir,
}

impl World {
    pub fn new(hcl: &str) -> Self {
        let world = Self { config: tempfile::tempdir().unwrap(), data: tempfile::tempdir().unwrap() };
        std::fs::write(world.config.path().join("order.avsc"), ORDER).unwrap();
        world.plan(hcl);
        world
    }

    pub fn plan(&self, hcl: &str) {
        std::fs::write(self.config.path().join("weir.hcl"), hcl).unwrap();
    }

    /// Starts a node, once the one before it has let go of the folder.
    pub async fn start(&self) -> Arc<Node> {
        let env = Env::system();
        let started = env.elapsed();
        // No plan here has handlers: nothing is launched.
        let handlers = Handlers { launcher: vec!["nobody".into()], ..Handlers::default() };
        let options = Options { handlers, ..Options::default() };
        loop {
            let plan = weir_config::load(self.config.path(), &Inputs::default());
            let plan =
                plan.unwrap_or_else(|found| panic!("{}", found.iter().map(|one| one.render()).collect::<String>()));
            match Node::start(plan, &self.data.path().join("weir"), env.clone(), options.clone()).await {
                Ok(node) => return node,
                Err(error) if env.elapsed() - started < PATIENCE && error.to_string().contains("in use") => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
            }
        }
    }
}

/// Order number `id`: one an hour.
pub fn at(id: i64) -> i64 {
    BEGIN_MS + id * HOUR_MS
}

/// Sends orders; an order's amount is ten times its number.
pub async fn send(node: &Node, ids: std::ops::Range<i64>) {
    let lines: String = ids.map(|id| format!("{{\"id\":{id},\"at\":{},\"amount\":{}}}\n", at(id), id * 10)).collect();
    let stream = "orders".parse().unwrap();
    let delivery = Delivery { stream, format: Format::Ndjson, encoding: Encoding::Identity, batch: None };
    let report = node.deliver(delivery, futures::stream::iter([Ok(lines.into())])).await.unwrap();
    assert_eq!(report.refused, 0, "{report:?}");
}

/// Returns a table's amounts by order; no order is there twice.
pub async fn amounts(node: &Node, table: &str) -> BTreeMap<i64, i64> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    let batches = node.query(&format!("select id, amount from {table}")).await.unwrap().collect().await.unwrap();
    let mut rows = BTreeMap::new();
    for batch in &batches {
        let (ids, amounts) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            let twice = rows.insert(ids.value(row), amounts.value(row));
            assert_eq!(twice, None, "order {} is there twice", ids.value(row));
        }
    }
    rows
}

/// What amounts should be.
pub fn expected(ids: std::ops::Range<i64>, amount: impl Fn(i64) -> Option<i64>) -> BTreeMap<i64, i64> {
    ids.filter_map(|id| Some((id, amount(id * 10)?))).collect()
}

pub fn ask(function: &str) -> Ask {
    Ask { function: Some(function.parse().unwrap()), ..Ask::default() }
}

/// Waits until a run stands as it should.
pub async fn until(node: &Node, id: &str, what: &str, holds: impl Fn(&RunStatus) -> bool) -> RunStatus {
    let started = node.env().elapsed();
    loop {
        let run = node.replay(id).unwrap();
        if holds(&run) {
            return run;
        }
        assert!(node.env().elapsed() - started < PATIENCE, "{what}: {run:#?}");
        tokio::task::yield_now().await;
    }
}

pub async fn until_over(node: &Node, id: &str) -> RunStatus {
    let run = until(node, id, "it is not over", |run| !["running", "paused"].contains(&run.state)).await;
    assert_eq!((run.state, run.reason.as_deref()), ("done", None), "{run:#?}");
    run
}

/// Waits until a table has committed all that the stream has.
pub async fn committed(node: &Node, table: &str) {
    let started = node.env().elapsed();
    let pipeline = node.pipelines().get(&table.parse().unwrap()).unwrap();
    loop {
        let positions = pipeline.table().positions();
        let sources = pipeline.sources().iter();
        let all = sources.clone().all(|source| {
            let at = positions.get(&source.source()).copied().unwrap_or(0);
            SequenceNumber(at) >= source.shard().bounds().tail
        });
        if all {
            return;
        }
        assert!(node.env().elapsed() - started < PATIENCE, "{table} has not committed: {positions:?}");
        tokio::task::yield_now().await;
    }
}

//! Decisions over crashes: what was decided is carried out once, whenever the node dies.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use weir_config::Inputs;
use weir_env::{Env, ManualClock};
use weir_stream::CheckpointCommand;
use weir_types::{Fingerprint, SequenceNumber, StreamName, Timestamp};

use super::action::{Action, Onward, parse_fingerprint};
use super::actions::SHARD;
use super::*;
use crate::node::{Handlers, Node, Options};
use crate::{Delivery, Encoding, Format};

const PATIENCE: Duration = Duration::from_secs(20);
const ORDER: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "string"}, {"name": "amount", "type": "string"}]}"#;
const STREAM: &str = "stream \"orders\" {\n  schema = \"order.avsc\"\n}\n";
const TABLE: &str = r#"
function "price" {
  on  = stream.orders
  sql = "select id, cast(amount as bigint) as amount from input"
  to  = table.orders
}
table "orders" {
  unique_by = []
  freshness = "100ms"
}
"#;

/// No plan here has handlers: nothing is launched.
fn options() -> Options {
    let handlers = Handlers { launcher: vec!["nobody".into()], ..Handlers::default() };
    Options { handlers, ..Options::default() }
}

struct Place {
    config: TempDir,
    data: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { config: tempfile::tempdir().unwrap(), data: tempfile::tempdir().unwrap() };
        std::fs::write(place.config.path().join("order.avsc"), ORDER).unwrap();
        place.plan(&format!("{STREAM}{TABLE}"));
        place
    }

    fn plan(&self, hcl: &str) {
        std::fs::write(self.config.path().join("weir.hcl"), hcl).unwrap();
    }

    /// Starts a node, once the one before it has let go of the folder.
    async fn start(&self) -> Arc<Node> {
        let env = Env::system();
        let started = env.elapsed();
        loop {
            let plan = weir_config::load(self.config.path(), &Inputs::default()).unwrap();
            match Node::start(plan, &self.data.path().join("weir"), env.clone(), options()).await {
                Ok(node) => return node,
                Err(error) if env.elapsed() - started < PATIENCE && error.to_string().contains("in use") => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

async fn send(node: &Node, ids: std::ops::Range<u64>) {
    let lines: String = ids.map(|id| format!("{{\"id\":\"{id}\",\"amount\":\"x\"}}\n")).collect();
    let stream = "orders".parse().unwrap();
    let delivery = Delivery { stream, format: Format::Ndjson, encoding: Encoding::Identity, batch: None };
    node.deliver(delivery, futures::stream::iter([Ok(lines.into())])).await.unwrap();
}

/// Waits until so many letters are open.
async fn open(node: &Node, wanted: usize) -> Vec<LetterRow> {
    let started = node.env().elapsed();
    loop {
        let found = node.letters(&Filter::default(), 1000, None).await.unwrap().letters;
        if found.len() == wanted {
            return found;
        }
        assert!(node.env().elapsed() - started < PATIENCE, "{wanted} letters: {found:?}");
        tokio::task::yield_now().await;
    }
}

async fn rows(node: &Node) -> usize {
    let batches = node.query("select id from orders where amount = 5").await.unwrap().collect().await.unwrap();
    batches.iter().map(|batch| batch.num_rows()).sum()
}

/// Decides to redrive letters with a payload that passes, as a call does.
async fn decide(node: &Node, letters: &[LetterRow]) {
    let actions: Vec<Action> = letters
        .iter()
        .map(|letter| {
            let onward = Onward {
                target: "table/orders".to_owned(),
                payload: b"\x04ok\x025".to_vec(),
                edited: true,
                fingerprint: letter.schema.as_deref().map(|text| parse_fingerprint(text).unwrap()),
                headers: None,
            };
            Action { id: letter.id.clone(), at: node.env().now(), run: "test".to_owned(), onward: Some(onward) }
        })
        .collect();
    let turn = node.actions().turn().await;
    node.actions().decide(node.env(), turn, &actions).await.unwrap();
}

/// Waits until all that was decided is carried out.
async fn carried(node: &Node) {
    let stream = node.actions().stream().stream.clone();
    let tail = stream.shards()[SHARD.0 as usize].bounds().tail;
    let mut carried = node.actions().carried.subscribe();
    let done = node.env().within(PATIENCE, carried.wait_for(|carried| *carried >= tail)).await;
    let told = || format!("not carried out in time: {:?}", node.actions().trouble());
    done.unwrap_or_else(|| panic!("{}", told())).unwrap();
}

fn given_tail(node: &Node) -> u64 {
    let name = StreamName::of_redrive("table", "orders");
    let streams = node.all_streams();
    let stream = streams.iter().find(|stream| *stream.name() == name).unwrap();
    stream.shards()[0].bounds().tail.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_decision_and_carrying_loses_nothing() {
    let place = Place::new();
    let node = place.start().await;
    send(&node, 0..30).await;
    let letters = open(&node, 30).await;
    // The carrier dies before the decision, and with it the node right after.
    node.abort_tasks().await;
    decide(&node, &letters[..20]).await;
    assert_eq!(given_tail(&node), 0);
    drop(node);

    let node = place.start().await;
    carried(&node).await;
    assert_eq!((rows(&node).await, open(&node, 10).await.len()), (20, 10));
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_carrying_and_checkpoint_doubles_nothing() {
    let place = Place::new();
    let node = place.start().await;
    send(&node, 0..5).await;
    let letters = open(&node, 5).await;
    decide(&node, &letters[..2]).await;
    carried(&node).await;
    decide(&node, &letters[2..3]).await;
    carried(&node).await;
    assert_eq!(given_tail(&node), 3);
    // As if no checkpoint had been stored before the node died.
    forget(&node).await;
    node.abort_tasks().await;
    drop(node);

    let node = place.start().await;
    carried(&node).await;
    assert_eq!((given_tail(&node), rows(&node).await), (3, 3));
    forget(&node).await;
    node.abort_tasks().await;
    decide(&node, &letters[3..]).await;
    drop(node);

    let node = place.start().await;
    carried(&node).await;
    assert_eq!((given_tail(&node), rows(&node).await), (5, 5));
    node.close().await.unwrap();
}

async fn forget(node: &Node) {
    let log = node.actions().stream().stream.shards()[SHARD.0 as usize].log().name().clone();
    let command = CheckpointCommand::Set { consumer: CARRIER.to_owned(), read: vec![(log, SequenceNumber::ZERO)] };
    node.checkpoints().submit(command).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_target_does_not_take_any_more_is_a_letter_again() {
    let place = Place::new();
    let node = place.start().await;
    send(&node, 0..2).await;
    let letters = open(&node, 2).await;
    node.abort_tasks().await;
    decide(&node, &letters).await;
    drop(node);

    place.plan(STREAM);
    let node = place.start().await;
    carried(&node).await;
    let again = open(&node, 2).await;
    assert!(again.iter().all(|letter| letter.cause == "target_gone" && letter.target == "table/orders"), "{again:?}");
    assert!(again.iter().all(|letter| letter.id.starts_with("stream/dead_letter_actions/0@")), "{again:?}");
    let mut of: Vec<String> = again.iter().filter_map(|letter| letter.header("redrive-of")).collect();
    of.sort();
    assert_eq!(of, [letters[1].id.clone(), letters[0].id.clone()]);
    // Carried out once more after a crash, they are the same letters.
    forget(&node).await;
    drop(node);
    let node = place.start().await;
    carried(&node).await;
    assert_eq!(open(&node, 2).await.len(), 2);
    node.close().await.unwrap();
    drop(node);

    place.plan(&format!("{STREAM}{TABLE}"));
    let node = place.start().await;
    let batch = Batch { all: true, limit: 10, ..Batch::default() };
    let acted = node.redrive(&batch, None).await.unwrap();
    assert_eq!((acted.count, acted.on_the_way, rows(&node).await), (2, 0, 2));
    node.close().await.unwrap();
}

#[test]
fn a_letter_fits_its_schema() {
    let env = Env::seeded(ManualClock::at(Timestamp(5)), 1);
    let letter = Letter::of_record(
        &env,
        "stream/_redrive-table-t/0".to_owned(),
        (SequenceNumber(3), Timestamp(4)),
        "table/t".to_owned(),
        Cause::Malformed,
        "it is no record".to_owned(),
        vec![0, 255],
    );
    for letter in [letter.clone(), letter.redriven(Some(b"17 stream/a/0@1>table/t"))] {
        let letter = Letter { fingerprint: Some(Fingerprint(7)), ..letter };
        let record = encode(&letter);
        assert_eq!(weir_schema::validate(&schema(), &record).unwrap(), record.len());
    }
}

//! Crawls from their start to the rows in a table, over crashes, refusals and bad answers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the support is of several tests")]
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use support::{Place, ask};
use weir_crawl::runs::{Outcome, State};
use weir_crawl::{Answer, Request, Transport, TransportError};
use weir_env::{Env, Random};
use weir_runtime::{
    Batch, CrawlError, Filter, LedgerChoice, LedgerDepth, LetterRow, Node, Options, RunAsk, Transports,
};

const READING: &str = r#"{"type": "record", "name": "reading", "fields": [
    {"name": "id", "type": "string"},
    {"name": "value", "type": "long"}]}"#;

const HCL: &str = r#"
api "vendor" {
  base_url = "http://vendor.example/v1"
  budget {
    rate        = "unlimited"
    concurrency = 16
  }
}
crawl "fleet" {
  api = api.vendor
  resource "group"   { path = "/groups"  data_selector = "items" }
  resource "device"  {
    path          = "/groups/{resources.group.id}/devices"
    data_selector = "items"
    paginator "page_number" { base_page = 0  total_path = "pages" }
  }
  resource "reading" {
    path          = "/devices/{resources.device.id}/readings"
    data_selector = "items"
    paginator     = "single_page"
    schema        = "reading.avsc"
    to            = table.readings
  }
}
table "readings" { freshness = "100ms" }
"#;

/// What the vendor answers: status, headers, body.
type Said = Result<(u16, Vec<(String, String)>, String), TransportError>;

/// What is said instead of the answer to a path's call, by its number.
type Instead = Box<dyn Fn(&str, u64) -> Option<Said> + Send + Sync>;

/// A vendor that is made up: groups, devices on pages of two, and two readings of each device.
struct Vendor {
    groups: u64,
    devices: u64,
    calls: Mutex<BTreeMap<String, u64>>,
    /// What comes instead of an answer, by path and how often it was called before.
    instead: Instead,
    /// Closed while calls wait.
    gate: tokio::sync::watch::Sender<bool>,
    under_way: AtomicU64,
}

impl Vendor {
    fn new(groups: u64, devices: u64) -> Arc<Self> {
        Self::with(groups, devices, |_, _| None)
    }

    fn with(
        groups: u64,
        devices: u64,
        instead: impl Fn(&str, u64) -> Option<Said> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (calls, instead, under_way) = (Mutex::default(), Box::new(instead), AtomicU64::new(0));
        Arc::new(Self { groups, devices, calls, instead, gate: tokio::sync::watch::Sender::new(false), under_way })
    }

    fn leaves(&self) -> u64 {
        self.groups * self.devices * 2
    }

    fn calls(&self) -> u64 {
        self.calls.lock().unwrap().values().sum()
    }

    fn answer(&self, path: &str) -> String {
        let parts: Vec<&str> = path.trim_start_matches("/v1/").split(['/', '?', '&']).collect();
        let items: Vec<Value> = match parts[..] {
            ["groups"] => (0..self.groups).map(|group| json!({ "id": group })).collect(),
            ["groups", group, "devices", ref rest @ ..] => {
                let page = rest.iter().find_map(|part| part.strip_prefix("page=")).unwrap_or("0");
                let page: u64 = page.parse().unwrap();
                let devices = (2 * page)..self.devices.min(2 * page + 2);
                let items: Vec<Value> = devices.map(|device| json!({ "id": format!("{group}-{device}") })).collect();
                return json!({ "items": items, "pages": self.devices.div_ceil(2) }).to_string();
            }
            ["devices", device, "readings", ..] => {
                (0..2).map(|index| json!({ "id": format!("{device}-{index}"), "value": index, "more": true })).collect()
            }
            _ => panic!("{path}"),
        };
        json!({ "items": items }).to_string()
    }
}

#[async_trait]
impl Transport for Vendor {
    async fn call(&self, request: Request) -> Result<Answer, TransportError> {
        let path =
            format!("{}{}", request.url.path(), request.url.query().map(|q| format!("?{q}")).unwrap_or_default());
        let before = {
            let mut calls = self.calls.lock().unwrap();
            let count = calls.entry(path.clone()).or_default();
            *count += 1;
            *count - 1
        };
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _ = self.gate.subscribe().wait_for(|closed| !closed).await;
        tokio::task::yield_now().await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        let said = (self.instead)(&path, before).unwrap_or_else(|| Ok((200, Vec::new(), self.answer(&path))));
        let (status, headers, body) = said?;
        Ok(Answer { status, headers, body: body.into(), latency: Duration::from_millis(1) })
    }
}

fn place() -> Place {
    Place::new(&[("weir.hcl", HCL), ("reading.avsc", READING)])
}

fn options(vendor: &Arc<Vendor>) -> Options {
    let vendor = vendor.clone();
    Options { transports: Transports::of(move |_, _| Ok(vendor.clone())), ..Options::default() }
}

async fn start(node: &Node) -> u64 {
    match node.crawls().start("fleet", RunAsk::default()).await.unwrap() {
        Outcome::Started(run) => run.number,
        other => panic!("{other:?}"),
    }
}

/// Waits until a run is over, and returns how.
async fn over(node: &Node, run: u64) -> State {
    let started = node.env().elapsed();
    loop {
        let runs = node.crawls().runs("fleet").unwrap();
        let state = runs.iter().find(|known| known.number == run).map(|run| run.state);
        if let Some(state) = state.filter(|state| state.is_over()) {
            return state;
        }
        let waited = node.env().elapsed() - started;
        assert!(waited < Duration::from_secs(30), "{:#?}", node.crawls().status("fleet"));
        node.env().sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until something holds.
async fn wait_for(node: &Node, what: &str, holds: impl Fn() -> bool) {
    let started = node.env().elapsed();
    while !holds() {
        let waited = node.env().elapsed() - started;
        assert!(waited < Duration::from_secs(30), "{what}: {:#?}", node.crawls().status("fleet"));
        node.env().sleep(Duration::from_millis(1)).await;
    }
}

async fn letters(node: &Node) -> Vec<LetterRow> {
    node.letters(&Filter::default(), 1000, None).await.unwrap().letters
}

fn refused(status: u16) -> Option<Said> {
    Some(Ok((status, Vec::new(), r#"{"error": "no"}"#.to_owned())))
}

async fn rows(node: &Node) -> (u64, u64) {
    let rows = ask(node, "select count(*) as n, count(distinct id) as ids from readings").await;
    (rows[0]["n"].as_u64().unwrap(), rows[0]["ids"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_brings_every_leaf_once_and_ends() {
    let (place, vendor) = (place(), Vendor::new(5, 7));
    let node = place.start_with(options(&vendor)).await;
    let run = start(&node).await;
    assert_eq!(over(&node, run).await, State::Complete);
    assert_eq!(rows(&node).await, (vendor.leaves(), vendor.leaves()));
    // One of groups, four pages of devices of each group, one of readings of each device.
    assert_eq!(vendor.calls(), 1 + 5 * 4 + 5 * 7);
    let status = node.crawls().status("fleet").unwrap();
    let last = status.last.unwrap();
    assert_eq!((last.counts["device"].items, last.counts["reading"].items), (35, 70));
    assert!(status.current.is_none());
    // The next run has the next number, and brings them again: the table keeps all.
    let next = start(&node).await;
    assert_eq!((over(&node, next).await, next), (State::Complete, run + 1));
    assert_eq!(rows(&node).await, (2 * vendor.leaves(), vendor.leaves()));
    let known =
        ask(&node, "select run, state, asked_by, calls, items from weir.crawls where crawl = 'fleet' order by run")
            .await;
    let row = |run: u64| json!({ "run": run, "state": "complete", "asked_by": "hand", "calls": 56, "items": 110 });
    assert_eq!(known, [row(run), row(next)]);
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_at_any_moment_repeat_only_calls_that_were_under_way() {
    for seed in 0..6 {
        let random = Random::seeded(seed);
        let (place, vendor) = (place(), Vendor::new(6, 9));
        let all = 1 + 6 * 5 + 6 * 9;
        let mut node = place.start_with(options(&vendor)).await;
        let run = start(&node).await;
        let mut crashes = 0;
        loop {
            let target = vendor.calls() + 1 + random.next() % 25;
            let is_over = || node.crawls().status("fleet").unwrap().current.is_none();
            wait_for(&node, "calls", || vendor.calls() >= target || is_over()).await;
            if is_over() {
                break;
            }
            // As a crash: nothing is closed.
            drop(node);
            crashes += 1;
            node = place.start_with(options(&vendor)).await;
        }
        assert_eq!(over(&node, run).await, State::Complete, "seed {seed}");
        assert_eq!(rows(&node).await, (vendor.leaves(), vendor.leaves()), "seed {seed}, {crashes} crashes");
        assert!(crashes > 0, "seed {seed}");
        // What was under way is called again, and what was stored never.
        let most = *vendor.calls.lock().unwrap().values().max().unwrap();
        assert!(most <= 1 + crashes, "seed {seed}: a call was made {most} times over {crashes} crashes");
        let counts = &node.crawls().status("fleet").unwrap().last.unwrap().counts;
        let done: u64 = counts.values().map(|counts| counts.done).sum();
        assert_eq!((done, counts["reading"].items), (all, vendor.leaves()), "seed {seed}");
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_for_the_pace_use_no_attempt() {
    // Every third call is refused at first; one attempt is all that a task has.
    let vendor = Vendor::with(2, 3, |path, before| {
        let refuse = before == 0 && path.len() % 3 == 0;
        refuse.then(|| Ok((429, vec![("retry-after".to_owned(), "0".to_owned())], String::new())))
    });
    let hcl = HCL.replace("crawl \"fleet\" {", "crawl \"fleet\" {\n  resource_defaults { attempts = 1 }");
    let place = Place::new(&[("weir.hcl", &hcl), ("reading.avsc", READING)]);
    let node = place.start_with(options(&vendor)).await;
    let run = start(&node).await;
    assert_eq!(over(&node, run).await, State::Complete);
    assert_eq!(rows(&node).await, (vendor.leaves(), vendor.leaves()));
    let counts = node.crawls().status("fleet").unwrap().last.unwrap().counts;
    assert!(counts.values().map(|counts| counts.throttled).sum::<u64>() > 0);
    assert_eq!(counts.values().map(|counts| counts.dead).sum::<u64>(), 0);
    assert!(letters(&node).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_good_is_a_letter_and_goes_on_when_it_is_redriven() {
    let mended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_mended = mended.clone();
    let vendor = Vendor::with(2, 2, move |path, before| match path {
        "/v1/devices/0-0/readings" if !is_mended.load(Ordering::SeqCst) => refused(404),
        // Fails once, and is tried again.
        "/v1/devices/0-1/readings" if before == 0 => refused(500),
        "/v1/devices/1-1/readings" => Some(Ok((
            200,
            Vec::new(),
            r#"{"items": [{"id": "ok", "value": 1}, {"id": "bad", "value": "x"}]}"#.to_owned(),
        ))),
        _ => None,
    });
    let place = place();
    let node = place.start_with(options(&vendor)).await;
    let run = start(&node).await;
    assert_eq!(over(&node, run).await, State::Complete);
    // Two of the device that failed once, two of 1-0, one of 1-1.
    assert_eq!(rows(&node).await, (5, 5));
    let counts = node.crawls().status("fleet").unwrap().last.unwrap().counts;
    let reading = &counts["reading"];
    assert_eq!((reading.dead, reading.retried, reading.done), (1, 1, 3));
    let found = letters(&node).await;
    assert_eq!(found.len(), 2, "{found:?}");
    let call = found.iter().find(|letter| letter.cause == "call_failed").unwrap();
    assert_eq!((call.source.as_str(), call.target.as_str()), ("queue/_crawl-fleet", "crawl/fleet"));
    let shown = format!("{:?}", node.letter(&call.id).await.unwrap());
    assert!(shown.contains("GET http://vendor.example/v1/devices/0-0/readings") && shown.contains("404"), "{shown}");
    let item = found.iter().find(|letter| letter.cause == "malformed").unwrap();
    assert!(item.error.contains("item 1 of `reading`") && item.error.contains("value"), "{}", item.error);

    // The vendor is mended: the letter goes back, and the next run works it off beside its own.
    mended.store(true, Ordering::SeqCst);
    let filter = Filter { cause: Some("call_failed".to_owned()), ..Filter::default() };
    let acted = node.redrive(&Batch { filter, all: true, limit: 10, ..Batch::default() }, None).await;
    assert!(acted.is_ok(), "{acted:?}");
    let next = start(&node).await;
    assert_eq!(over(&node, next).await, State::Complete);
    let count = "select count(*) as n from readings where id like '0-0-%'";
    // Two of the next run itself, and two of the letter: in this one, or the one behind it.
    let last = start(&node).await;
    assert_eq!(over(&node, last).await, State::Complete);
    assert_eq!(ask(&node, count).await[0]["n"], json!(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_paused_makes_no_calls_and_one_that_is_cancelled_is_over() {
    let (place, vendor) = (place(), Vendor::new(20, 10));
    let node = place.start_with(options(&vendor)).await;
    let run = start(&node).await;
    wait_for(&node, "calls", || vendor.calls() > 20).await;
    assert_eq!(node.crawls().pause("fleet").await.unwrap().state, State::Paused);
    let asleep = || vendor.under_way.load(Ordering::SeqCst) == 0;
    wait_for(&node, "calls under way end", asleep).await;
    node.env().sleep(Duration::from_millis(50)).await;
    let paused = vendor.calls();
    // Over a restart too.
    node.close().await.unwrap();
    drop(node);
    let node = place.start_with(options(&vendor)).await;
    node.env().sleep(Duration::from_millis(100)).await;
    assert_eq!(vendor.calls(), paused);
    assert_eq!(node.crawls().status("fleet").unwrap().current.unwrap().state, State::Paused);
    node.crawls().resume("fleet").await.unwrap();
    wait_for(&node, "calls", || vendor.calls() > paused + 20).await;
    let cancelled = node.crawls().cancel("fleet", Some("enough".to_owned())).await.unwrap();
    assert_eq!(cancelled.number, run);
    assert_eq!(over(&node, run).await, State::Cancelled);
    wait_for(&node, "the queue is empty", || {
        let stats = node.queues().get(&"_crawl-fleet".parse().unwrap()).unwrap().stats();
        stats.ready + stats.in_flight + stats.delayed == 0
    })
    .await;
    let known = node.crawls().runs("fleet").unwrap();
    assert_eq!(known[0].reason.as_deref(), Some("enough"));
    assert!(matches!(node.crawls().pause("fleet").await, Err(CrawlError::NoRun { .. })));
    // The next one is whole.
    let before = rows(&node).await.0;
    let next = start(&node).await;
    assert_eq!(over(&node, next).await, State::Complete);
    assert_eq!(rows(&node).await, (before + vendor.leaves(), vendor.leaves()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_overlaps_is_left_out_and_the_same_start_is_one_run() {
    let (place, vendor) = (place(), Vendor::new(3, 3));
    vendor.gate.send_replace(true);
    let node = place.start_with(options(&vendor)).await;
    let ask = || RunAsk { request: Some("nightly".to_owned()), ..RunAsk::default() };
    let first = node.crawls().start("fleet", ask()).await.unwrap();
    let Outcome::Started(run) = first else { panic!("{first:?}") };
    wait_for(&node, "a call", || vendor.under_way.load(Ordering::SeqCst) == 1).await;
    let again = node.crawls().start("fleet", ask()).await.unwrap();
    assert!(matches!(&again, Outcome::Known(known) if known.number == run.number), "{again:?}");
    let other = node.crawls().start("fleet", RunAsk::default()).await.unwrap();
    assert!(matches!(other, Outcome::Skipped { under_way, .. } if under_way == run.number), "{other:?}");
    assert!(matches!(node.crawls().start("none", RunAsk::default()).await, Err(CrawlError::Unknown { .. })));
    vendor.gate.send_replace(false);
    assert_eq!(over(&node, run.number).await, State::Complete);
    assert_eq!(node.crawls().status("fleet").unwrap().skipped, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_run_is_under_way_its_status_counts_every_task_once() {
    let (place, vendor) = (place(), Vendor::new(10, 10));
    let node = place.start_with(options(&vendor)).await;
    let run = start(&node).await;
    let mut looks = 0;
    while let Some(status) = node.crawls().status("fleet").unwrap().current {
        let totals = status.totals;
        assert_eq!(totals.tasks, totals.done + totals.waiting + totals.failed + totals.dropped);
        let waiting: u64 = status.waiting.iter().map(|waiting| waiting.tasks).sum();
        assert!(waiting <= totals.waiting, "{status:#?}");
        looks += 1;
        node.env().sleep(Duration::from_micros(200)).await;
    }
    assert!(looks > 0);
    assert_eq!(over(&node, run).await, State::Complete);
    assert_eq!(node.crawls().status("fleet").unwrap().new_fields["reading"]["more"], vendor.leaves());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_agrees_with_what_a_crawl_brings() {
    let (place, vendor) = (place(), Vendor::new(3, 4));
    let node = place.start_with(options(&vendor)).await;
    for _ in 0..2 {
        let run = start(&node).await;
        assert_eq!(over(&node, run).await, State::Complete);
    }
    assert_eq!(rows(&node).await.0, 2 * vendor.leaves());
    let report = node.ledger(&LedgerChoice::default(), LedgerDepth::Files).await;
    assert!(report.balanced, "{report:#?}");
    node.close().await.unwrap();
    drop(node);
    let node = place.start_with(options(&vendor)).await;
    let report = node.ledger(&LedgerChoice::default(), LedgerDepth::Files).await;
    assert!(report.balanced, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_go_to_a_stream_and_a_replaced_table_is_the_last_run_alone() {
    let hcl = HCL.replace("to            = table.readings", "to            = stream.readings")
        .replace("schema        = \"reading.avsc\"\n", "")
        .replace(
            "table \"readings\" { freshness = \"100ms\" }",
            "stream \"readings\" { schema = \"reading.avsc\" }\ntable \"readings\" {\n  from = stream.readings\n  freshness = \"100ms\"\n}",
        );
    let (place, vendor) = (Place::new(&[("weir.hcl", &hcl), ("reading.avsc", READING)]), Vendor::new(3, 3));
    let node = place.start_with(options(&vendor)).await;
    let run = start(&node).await;
    assert_eq!(over(&node, run).await, State::Complete);
    support::until(&node, "select count(*) as n from readings", |rows| rows[0]["n"] == json!(vendor.leaves())).await;
    node.close().await.unwrap();

    let hcl = HCL.replace("schema        = ", "write_disposition = \"replace\"\n    schema = ");
    let (place, vendor) = (Place::new(&[("weir.hcl", &hcl), ("reading.avsc", READING)]), Vendor::new(3, 3));
    let node = place.start_with(options(&vendor)).await;
    for _ in 0..2 {
        let run = start(&node).await;
        assert_eq!(over(&node, run).await, State::Complete);
    }
    let whole = |rows: &[Value]| rows[0]["n"] == json!(vendor.leaves()) && rows[0]["ids"] == rows[0]["n"];
    support::until(&node, "select count(*) as n, count(distinct id) as ids from readings", whole).await;
}

#[tokio::test]
async fn schemas_are_inferred_by_a_few_calls() {
    let hcl = HCL.replace("    schema        = \"reading.avsc\"\n", "");
    let (place, vendor) = (Place::new(&[("weir.hcl", &hcl)]), Vendor::new(30, 30));
    let plan = place.plan();
    let (api, crawl) = (plan.apis.values().next().unwrap(), plan.crawls.values().next().unwrap());
    let transports = options(&vendor).transports;
    let inferred = weir_runtime::infer_schemas(api, crawl, &transports, &Env::system()).await.unwrap();
    assert!(vendor.calls() <= weir_runtime::INFER_CALLS_MAX as u64, "{} calls", vendor.calls());
    assert!(inferred.without.is_empty(), "{:?}", inferred.without);
    let reading = &inferred.schemas["reading"];
    let schema: Value = serde_json::from_str(&reading.schema).unwrap();
    let fields = schema["fields"].as_array().unwrap();
    let names: Vec<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["id", "more", "value"]);
    // Without a schema the crawl does not run, and says what to do.
    let node = place.start_with(options(&vendor)).await;
    let refused = node.crawls().start("fleet", RunAsk::default()).await.unwrap_err().to_string();
    assert!(refused.contains("weir crawl infer fleet"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_takes_too_long_is_cancelled() {
    let hcl = HCL.replace("api = api.vendor", "api = api.vendor\n  timeout = \"1s\"");
    let (place, vendor) = (Place::new(&[("weir.hcl", &hcl), ("reading.avsc", READING)]), Vendor::new(3, 3));
    vendor.gate.send_replace(true);
    let node = place.start_with(options(&vendor)).await;
    let run = start(&node).await;
    let state = || node.crawls().status("fleet").unwrap().current.map(|run| run.state);
    wait_for(&node, "its time to be over", || state() == Some(State::Cancelling)).await;
    // The call that is under way ends first.
    vendor.gate.send_replace(false);
    assert_eq!(over(&node, run).await, State::Cancelled);
    let reason = node.crawls().runs("fleet").unwrap().remove(0).reason.unwrap();
    assert!(reason.contains("timeout"), "{reason}");
    assert_eq!(rows(&node).await.0, 0);
}

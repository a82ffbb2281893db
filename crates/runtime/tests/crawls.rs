//! Crawls from their start to the rows in a table, over crashes, refusals and bad answers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use support::{Place, ask, until};
use weir_crawl::runs::{Outcome, State};
use weir_crawl::{Answer, Request, Transport, TransportError};
use weir_env::{Env, SystemClock};
use weir_runtime::{CrawlError, Filter, Node, Options, RunAsk, Transports};

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

/// A vendor that is made up: groups, devices on pages of two, and two readings of each device.
struct Vendor {
    groups: u64,
    devices: u64,
    calls: Mutex<BTreeMap<String, u64>>,
    /// What comes instead of an answer, by path and how often it was called before.
    instead: Box<dyn Fn(&str, u64) -> Option<Said> + Send + Sync>,
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
        let path = format!("{}{}", request.url.path(), request.url.query().map(|q| format!("?{q}")).unwrap_or_default());
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
    node.close().await.unwrap();
}

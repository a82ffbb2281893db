//! Measures budgets, and prints JSON.
//!
//! ```text
//! cargo run --release -p weir-budget --example budget_bench
//! ```
//!
//! - `uncontended`: one task that asks for a permit and ends it, again and again: microseconds for both.
//! - `contended`: 256 tasks in 128 flows of two crawls over 64 calls at once, on two threads, with a turn of the runtime as the call.
//! - `waiting`: 100,000 calls in 10,000 flows that wait: bytes for each, and microseconds to take one out of turn.
//! - `paced`: the machine's own clock and timers at known rates: the part of the rate that is used.
//! - `learned`: simulated token buckets of unknown rate, 65,000 calls each: the part of the rate that is used, what was refused in all, and after
//!   the first five seconds and three refusals.
//!
//! Medians of five, but `paced` and `learned`, which are run once.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch needs the machine's own clock")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on has nothing better to do")]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../src/pacer/tests/vendor.rs"]
mod vendor;

/// The simulation names what it uses as within the crate.
mod pacer {
    pub use weir_budget::{Now, Pacer, Ticket};
}

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_budget::{Budget, Budgets, Facts, Hold, LimitHeaders, Outcome, Pace, Rate, Settings, Share, Signal};
use weir_env::Env;
use weir_log::{Engine, MemoryEngine};
use weir_machine::{Options, Owner, Snapshots};
use weir_types::LogName;

const ROUNDS: usize = 5;
const CALLS: usize = 300_000;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

struct World {
    env: Env,
    facts: Owner<Budgets>,
    _engine: MemoryEngine,
}

impl World {
    async fn new() -> Self {
        let env = Env::system();
        let engine = MemoryEngine::new(env.clone());
        let log = engine.log(&LogName::machine("budgets")).await.unwrap();
        let store = Arc::new(object_store::memory::InMemory::new());
        let snapshots = Snapshots::new(store, object_store::path::Path::from("snapshots"));
        let facts = Owner::open(log, snapshots, env.clone(), Options::default()).await.unwrap();
        Self { env, facts, _engine: engine }
    }

    fn budget(&self, settings: Settings) -> Arc<Budget> {
        Budget::open("bench".parse().unwrap(), settings, self.facts.clone(), self.env.clone())
    }
}

fn unlimited(concurrency: u32) -> Settings {
    Settings { pace: Pace::Unlimited, concurrency: Some(concurrency), ..Settings::default() }
}

fn answered() -> Signal {
    Signal { latency: Some(Duration::from_millis(5)), ..Signal::of(Outcome::Answered) }
}

async fn uncontended(world: &World) -> Value {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let flow = world.budget(unlimited(64)).flow(&[Share { name: "crawl", weight: 1 }]);
        let started = Instant::now();
        for _ in 0..CALLS {
            flow.permit().await.end(answered());
        }
        times.push(started.elapsed().as_secs_f64() * 1e6 / CALLS as f64);
    }
    json!({ "us_per_permit": rounded(median(times)) })
}

async fn contended(world: &World) -> Value {
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let budget = world.budget(unlimited(64));
        let started = Instant::now();
        let tasks = (0..256usize).map(|task| {
            let budget = Arc::clone(&budget);
            tokio::spawn(async move {
                let (crawl, tenant) = (format!("crawl-{}", task % 2), format!("tenant-{}", task % 128));
                for _ in 0..CALLS / 256 {
                    let path = [Share { name: &crawl, weight: 1 }, Share { name: &tenant, weight: 1 }];
                    let permit = budget.flow(&path).permit().await;
                    tokio::task::yield_now().await;
                    permit.end(answered());
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        rates.push((CALLS / 256 * 256) as f64 / started.elapsed().as_secs_f64());
    }
    json!({ "permits_per_s": median(rates).round() })
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

async fn waiting(world: &World) -> Value {
    let budget = world.budget(unlimited(1));
    let flows: Vec<_> = (0..10_000)
        .map(|tenant| {
            let tenant = format!("tenant-{tenant}");
            budget.flow(&[Share { name: "crawl", weight: 1 }, Share { name: &tenant, weight: 1 }])
        })
        .collect();
    let held = flows[0].permit().await;
    let before = resident();
    let calls: Vec<_> = (0..100_000)
        .map(|call| {
            let flow = flows[call % flows.len()].clone();
            tokio::spawn(async move { flow.permit().await.end(answered()) })
        })
        .collect();
    while budget.status().waiting < 100_000 {
        tokio::task::yield_now().await;
    }
    let bytes = (resident() - before) as f64 / 1e5;
    let started = Instant::now();
    held.end(answered());
    for call in calls {
        call.await.unwrap();
    }
    let us = started.elapsed().as_secs_f64() * 1e6 / 1e5;
    json!({ "bytes_per_waiting_task": bytes.round(), "us_per_turn": rounded(us) })
}

async fn paced(world: &World, calls: u64, burst: u64, count: u64) -> Value {
    let rates = vec![Rate { calls, per: Duration::from_secs(1) }];
    let settings = Settings { pace: Pace::Limited(rates), burst: Some(burst), ..Settings::default() };
    let flow = world.budget(settings).flow(&[Share { name: "crawl", weight: 1 }]);
    let started = Instant::now();
    for _ in 0..count {
        flow.permit().await.end(answered());
    }
    let used = count as f64 / calls as f64 / started.elapsed().as_secs_f64();
    json!({ "rate_per_s": calls, "burst": burst, "calls": count, "used": rounded(used) })
}

fn learned(rate: f64, burst_s: f64, latency_ms: u64) -> Value {
    let settings = Settings { concurrency: Some(2000), ..Settings::default() };
    let mut pacer = vendor::pacer(settings);
    let mut bucket = vendor::Bucket::new(rate, rate * burst_s);
    let run = vendor::Run::new(65_000, Duration::from_millis(latency_ms), 1);
    let report = vendor::run(&mut pacer, &mut bucket, &run, Duration::ZERO);
    json!({
        "rate_per_s": rate, "burst_s": burst_s, "latency_ms": latency_ms,
        "used": rounded(65_000.0 / rate / report.took.as_secs_f64()),
        "refused": report.throttled, "refused_after_learning": report.refused_after_learning(),
    })
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let world = World::new().await;
    let mut table = Vec::new();
    for rate in [20.0, 100.0, 500.0, 1000.0, 2000.0] {
        for (burst_s, latency_ms) in [(0.1, 5), (0.1, 50), (0.1, 200), (1.0, 50), (5.0, 50)] {
            // Fewer than two calls of burst do not survive the way to the vendor.
            if rate * burst_s > 2.0 {
                table.push(learned(rate, burst_s, latency_ms));
            }
        }
    }
    let report = json!({
        "uncontended": uncontended(&world).await,
        "contended": contended(&world).await,
        "waiting": waiting(&world).await,
        "paced": [paced(&world, 500, 50, 5_000).await, paced(&world, 10, 1, 100).await, paced(&world, 2000, 200, 20_000).await],
        "learned": table,
    });
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
}

//! How many answers one core reads, and how many requests it makes, in a second. Prints one JSON object.
//!
//!     cargo run --release -p weir-crawl --example answers_bench

#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::time::Duration;

use serde_json::{Value, json};
use weir_crawl::spec::{Client, Crawl, Paginator, Resource};
use weir_crawl::{Answer, Plan, Read, RunValues, Task};
use weir_env::Env;
use weir_types::Timestamp;

/// How long one figure is measured at a time, and how often; the median counts.
const SPAN: Duration = Duration::from_millis(500);
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let env = Env::system();
    let plan = plan()?;
    let run = RunValues::new(1, Timestamp(0));
    let list = plan.roots(&run).remove(0);
    let items: Vec<_> = (0..20).map(device).collect();
    let page = answer(&json!({"items": items, "next": "https://vendor.example/v1/devices?cursor=20"}).to_string());
    let Read::Data(read) = plan.read(&list, &run, &page) else { return Err("the page is no data".into()) };
    let child = &read.children[0];
    let leaf = answer(&json!({"ts": "2024-01-01T00:00:00Z", "value": 21.5, "unit": "C", "ok": true}).to_string());

    let pages = rate(&env, || reads(&plan, &list, &run, &page));
    let leaves = rate(&env, || reads(&plan, child, &run, &leaf));
    let requests = rate(&env, || plan.request(child, &run).is_ok());
    let floor = |answer: &Answer| rate(&env, || serde_json::from_slice::<Value>(&answer.body).is_ok());
    let (pages_floor, leaves_floor) = (floor(&page), floor(&leaf));
    let result = json!({
        "page of 20: bytes": page.body.len(),
        "page of 20: per s": pages.round(),
        "page of 20: floor, serde_json alone, per s": pages_floor.round(),
        "leaf: bytes": leaf.body.len(),
        "leaf: per s": leaves.round(),
        "leaf: floor, serde_json alone, per s": leaves_floor.round(),
        "requests per s": requests.round(),
    });
    println!("{result}");
    Ok(())
}

fn plan() -> Result<Plan, Box<dyn Error>> {
    let list = Resource {
        data_selector: Some("items".to_owned()),
        paginator: Some(Paginator::JsonLink { next_url_path: "next".to_owned() }),
        ..Resource::new("device", "/devices")
    };
    let leaf = Resource {
        include_from_parent: vec!["id".to_owned()],
        paginator: Some(Paginator::SinglePage),
        data_selector: Some("$".to_owned()),
        ..Resource::new("reading", "/devices/{resources.device.id}/reading")
    };
    let client = Client::new("https://vendor.example/v1".parse()?);
    Plan::compile(&client, &Crawl::new("bench", vec![list, leaf])).map_err(|errors| format!("{errors:?}").into())
}

fn device(id: u32) -> Value {
    json!({
        "id": format!("device-{id:06}"), "name": format!("Pump {id} of the northern line"), "kind": "pump", "active": true,
        "latitude": 48.137_154, "longitude": 11.576_124, "installed": "2021-03-04T05:06:07Z", "site": {"id": id / 4, "floor": 2},
        "tags": ["north", "critical"], "firmware": null,
    })
}

fn answer(body: &str) -> Answer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Answer { status: 200, headers, body: body.to_owned().into(), latency: Duration::from_millis(10) }
}

fn reads(plan: &Plan, task: &Task, run: &RunValues, answer: &Answer) -> bool {
    matches!(plan.read(task, run, answer), Read::Data(_))
}

/// Returns how often a second something is done.
fn rate(env: &Env, mut once: impl FnMut() -> bool) -> f64 {
    let mut rates: Vec<f64> = (0..ROUNDS).map(|_| round(env, &mut once)).collect();
    rates.sort_by(f64::total_cmp);
    rates[ROUNDS / 2]
}

fn round(env: &Env, once: &mut impl FnMut() -> bool) -> f64 {
    let (began, mut count) = (env.elapsed(), 0_u32);
    loop {
        for _ in 0..100 {
            count += u32::from(once());
        }
        let spent = env.elapsed().saturating_sub(began);
        if spent >= SPAN {
            return f64::from(count) / spent.as_secs_f64();
        }
    }
}

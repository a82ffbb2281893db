//! The floor: the calls of a full crawl, made by weir's own transport as fast as it goes, and their answers thrown away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use weir_crawl::http::{Http, Limits};
use weir_crawl::spec::{Auth, Client};
use weir_crawl::{Method, Request, Transport};
use weir_env::Env;
use weir_vendor::Shape;

use crate::{CONCURRENCY, Result, TOKEN, outside};

/// Makes all calls of a shape's full crawl.
pub(crate) fn run(vendor: &outside::Vendor, shape: &Shape) -> Result<Value> {
    let targets: Arc<Vec<String>> = Arc::new(weir_vendor::targets(shape).collect());
    let base_url = url::Url::parse(&format!("http://{}/v1/", vendor.address))?;
    let client = Client {
        base_url: base_url.clone(),
        headers: Vec::new(),
        auth: Auth::Bearer(weir_types::Secret::new(TOKEN)),
        paginator: None,
        timeout: Duration::from_secs(30),
        answer_bytes_max: 16 << 20,
    };
    let http =
        Arc::new(Http::new(&client, Env::system(), Limits { idle_connections_max: CONCURRENCY, ..Limits::default() })?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (cpu, vendor_cpu) = (own_cpu(), vendor.process.cpu());
    let began = Instant::now();
    runtime.block_on(async {
        let next = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..CONCURRENCY)
            .map(|_| {
                let (targets, next, http, base_url) = (targets.clone(), next.clone(), http.clone(), base_url.clone());
                tokio::spawn(async move {
                    while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let url = base_url.join(target)?;
                        let request = Request { method: Method::Get, url, headers: Vec::new(), body: Bytes::new() };
                        let answer = http.call(request).await?;
                        if answer.status != 200 {
                            return Err(format!("{target}: {}", answer.status).into());
                        }
                    }
                    Result::Ok(())
                })
            })
            .collect();
        for caller in callers {
            caller.await??;
        }
        Result::Ok(())
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let (cpu, vendor_cpu) = (own_cpu() - cpu, vendor.process.cpu() - vendor_cpu);
    let calls = targets.len() as f64;
    Ok(json!({
        "calls": calls, "seconds": seconds, "calls_per_s": calls / seconds, "cpu_seconds": cpu, "calls_per_cpu_s": calls / cpu,
        "vendor_cpu_seconds": vendor_cpu, "vendor_calls_per_cpu_s": calls / vendor_cpu,
    }))
}

fn own_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

//! Measures the host against its floors, and prints JSON.
//!
//! ```text
//! cargo build --release -p weir-lambda --examples --bins
//! cargo run --release -p weir-lambda --example lambda_bench
//! ```
//!
//! - `warm_python`: a 1 KB echo in Python, one after another. `overhead_*` is what the caller waits beyond the handler's own
//!   time, which the handler measures itself.
//! - `cold_python`: from the call to the answer without an environment, against the floor: the same interpreter with the same
//!   client, started bare by this program, until it asks for its first event.
//! - `compiled`: a compiled echo, many callers over several environments.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch needs the machine's own clock")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on has nothing better to do")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::memory::InMemory;
use serde_json::json;
use weir_env::Env;
use weir_lambda::{Handler, Host, Invocation, Options, Runtime, Spec, Versions};
use weir_log::{Engine, MemoryEngine};
use weir_machine::{Machine, Owner, Snapshots};
use weir_types::LogName;

const WARM_CALLS: usize = 3000;
const COLD_CALLS: usize = 60;
const COMPILED_CALLS: usize = 20_000;
const ENVIRONMENTS: usize = 4;

const ECHO: &str = "import time\ndef handler(event, context):\n    began = time.perf_counter()\n    event['n'] = event.get('n', 0) + 1\n    event['own'] = time.perf_counter() - began\n    return event\n";

fn main() {
    if std::env::args().nth(1).as_deref() == Some("__confine") {
        weir_lambda::confine::main(std::env::args_os().skip(2));
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let env = Env::system();
    let engine = MemoryEngine::new(env.clone());
    let log = engine.log(&LogName::machine(Versions::NAME)).await.unwrap();
    let snapshots = Snapshots::new(Arc::new(InMemory::new()), "snapshots".into());
    let versions = Owner::open(log, snapshots, env.clone(), weir_machine::Options::default()).await.unwrap();
    // The launcher by itself, if it was built: the smaller the program, the faster its start.
    let own = std::env::current_exe().unwrap();
    let alone = own.parent().and_then(Path::parent).map(|folder| folder.join("weir-confine"));
    let launcher = match alone.filter(|path| path.is_file()) {
        Some(alone) => vec![alone.into()],
        None => vec![own.into(), "__confine".into()],
    };
    let options = Options::new(folder.path().join("data"), folder.path().join("cache"), launcher);
    let host = Host::new(env, options).unwrap();
    for feature in host.confinement() {
        println!("{}", json!({"confinement": feature.feature, "enforced": feature.enforced}));
    }
    let code = folder.path().join("python");
    std::fs::create_dir(&code).unwrap();
    std::fs::write(code.join("app.py"), ECHO).unwrap();
    let spec = |name: &str, code: &Path, runtime| Spec {
        handler: Some("app.handler".to_owned()),
        timeout: Duration::from_secs(60),
        ..Spec::new(name.parse().unwrap(), code.to_owned(), runtime)
    };
    let warm = host.deploy(spec("warm", &code, Runtime::Python), &versions).await.unwrap();
    warm_python(&warm).await;
    let cold = Spec { keep_warm: Duration::ZERO, ..spec("cold", &code, Runtime::Python) };
    let cold = host.deploy(cold, &versions).await.unwrap();
    cold_python(&cold, folder.path()).await;
    let bootstrap = std::env::current_exe().unwrap().with_file_name("lambda_bootstrap");
    let code = folder.path().join("compiled");
    std::fs::create_dir(&code).unwrap();
    std::fs::copy(bootstrap, code.join("bootstrap")).unwrap();
    let compiled = host.deploy(spec("compiled", &code, Runtime::Provided), &versions).await.unwrap();
    compiled_throughput(&compiled).await;
    host.close().await;
}

fn event() -> String {
    json!({"n": 0, "pad": "x".repeat(1000)}).to_string()
}

fn percentile(sorted: &[f64], of: f64) -> f64 {
    let at = (sorted.len() - 1) as f64 * of;
    (sorted[at.round() as usize] * 1000.0).round() / 1000.0
}

async fn warm_python(handler: &Handler) {
    let mut overheads = Vec::with_capacity(WARM_CALLS);
    for call in 0..WARM_CALLS + 100 {
        let began = Instant::now();
        let answer = handler.invoke(Invocation::new(event())).await.unwrap();
        let took = began.elapsed().as_secs_f64();
        let found: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        if call >= 100 {
            overheads.push((took - found["own"].as_f64().unwrap()) * 1000.0);
        }
    }
    overheads.sort_by(f64::total_cmp);
    println!(
        "{}",
        json!({"bench": "warm_python", "calls": WARM_CALLS, "cold_starts": handler.stats().cold_starts,
               "overhead_p50_ms": percentile(&overheads, 0.5), "overhead_p99_ms": percentile(&overheads, 0.99)})
    );
}

async fn cold_python(handler: &Handler, folder: &Path) {
    // The interpreter and the client as the host starts them.
    let client = folder.join("data/runtime");
    let python = interpreter();
    let mut ours = Vec::new();
    let mut floor = Vec::new();
    let temps = folder.join("data/tmp");
    for _ in 0..COLD_CALLS {
        // Neither side pays for clearing up after the other.
        while std::fs::read_dir(&temps).unwrap().count() > 1 {
            tokio::task::yield_now().await;
        }
        floor.push(bare_start(&python, &client, &folder.join("python")).as_secs_f64() * 1000.0);
        let answer = handler.invoke(Invocation::new(event())).await.unwrap();
        ours.push(answer.init_duration.unwrap().as_secs_f64() * 1000.0);
    }
    ours.sort_by(f64::total_cmp);
    floor.sort_by(f64::total_cmp);
    // On a busy machine the least of each says more than the middle.
    for (of, name) in [(0.5, "p50"), (0.0, "least")] {
        let (ours, floor) = (percentile(&ours, of), percentile(&floor, of));
        println!(
            "{}",
            json!({"bench": "cold_python", "of": name, "calls": COLD_CALLS, "init_ms": ours, "bare_ms": floor,
                   "ratio": (ours / floor * 100.0).round() / 100.0})
        );
    }
}

/// The one that a host chooses which runs handlers as other users; its own path, not a link's or a script's.
fn interpreter() -> PathBuf {
    let ask = "import sys; print(sys.executable)";
    let output = Command::new("/usr/bin/python3").args(["-c", ask]).output();
    let output = output.unwrap_or_else(|_| Command::new("python3").args(["-c", ask]).output().unwrap());
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Starts the client by hand, and waits until it asks for an event.
fn bare_start(python: &Path, client: &Path, code: &Path) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let start =
        "import sys; sys.path.insert(0, sys.argv[1]); import weir_runtime; del sys.path[0]; weir_runtime.main()";
    let began = Instant::now();
    let mut child = Command::new(python)
        .args(["-c", start])
        .arg(client)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
        .env("_HANDLER", "app.handler")
        .env("PYTHONPATH", code)
        .env("LANG", "C.UTF-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0; 1024];
    let length = stream.read(&mut request).unwrap();
    assert!(request[..length].starts_with(b"GET /2018-06-01/runtime/invocation/next"));
    let took = began.elapsed();
    let _ = stream.write_all(b"HTTP/1.1 500 Over\r\ncontent-length: 0\r\n\r\n");
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

async fn compiled_throughput(handler: &Arc<Handler>) {
    // Warm, so that starts are not counted.
    let all = (0..ENVIRONMENTS).map(|_| handler.invoke(Invocation::new(event())));
    for answer in futures::future::join_all(all).await {
        answer.unwrap();
    }
    let began = Instant::now();
    let callers = (0..ENVIRONMENTS).map(|_| {
        let handler = Arc::clone(handler);
        tokio::spawn(async move {
            for _ in 0..COMPILED_CALLS / ENVIRONMENTS {
                handler.invoke(Invocation::new(event())).await.unwrap();
            }
        })
    });
    for caller in futures::future::join_all(callers).await {
        caller.unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({"bench": "compiled", "calls": COMPILED_CALLS, "environments": handler.stats().cold_starts,
               "invocations_per_second": (COMPILED_CALLS as f64 / took).round()})
    );
}

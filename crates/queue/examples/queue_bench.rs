//! Measures queues over the local engine, and prints JSON.
//!
//! ```text
//! cargo run --release -p weir-queue --example queue_bench -- [--dir FOLDER] [--messages 10000000]
//! ```
//!
//! - `cycles`: 128 receivers that each receive one message and delete it, both durable, again and again. Floor: as many
//!   tasks that each append two blocks of the size of such commands to one log, one after the other.
//! - `wake`: from the acknowledgement of a send to when a receiver that waited has the message; zero if it had it before.
//! - `many`: a queue with many messages of 100 bytes: memory, disk, the longest that a call waited while a snapshot was
//!   written, and a restart in a process of its own after kill -9.
//!
//! Medians of five, but `many`, which is run once.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch needs the machine's own clock")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on has nothing better to do")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use weir_env::Env;
use weir_log::local::Options;
use weir_log::{AppendError, Block, Condition, Engine, LocalEngine};
use weir_machine::Snapshots;
use weir_queue::{Message, Queue, Queues, Receive, Settings};

const ROUNDS: usize = 5;
const RECEIVERS: usize = 128;
const CYCLES: usize = 200_000;
const WAKES: usize = 300;
const BODY_BYTES: usize = 100;
/// What a lease or a delete of one message takes in the log.
const COMMAND_BYTES: usize = 24;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn quantile(times: &mut [Duration], of: f64) -> f64 {
    times.sort();
    times[((times.len() - 1) as f64 * of) as usize].as_secs_f64() * 1e3
}

fn fresh(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

struct Node {
    engine: Arc<LocalEngine>,
    queues: Arc<Queues>,
}

impl Node {
    async fn open(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("objects")).unwrap();
        let engine = Arc::new(LocalEngine::open(&folder.join("log"), Options::default(), Env::system()).unwrap());
        let store = LocalFileSystem::new_with_prefix(folder.join("objects")).unwrap();
        let snapshots = Snapshots::new(Arc::new(store), object_store::path::Path::from("snapshots"));
        let queues = Queues::open(Arc::clone(&engine) as Arc<dyn Engine>, snapshots, Env::system()).await.unwrap();
        Self { engine, queues }
    }

    async fn queue(&self) -> Arc<Queue> {
        self.queues.ensure("bench".parse().unwrap(), Settings::default()).await.unwrap()
    }

    async fn close(self) {
        self.queues.close().await;
        self.engine.close().await.unwrap();
    }
}

async fn fill(queue: &Queue, messages: usize) {
    for at in (0..messages).step_by(10_000) {
        let some = (at..messages.min(at + 10_000)).map(|index| {
            let mut body = vec![b'x'; BODY_BYTES];
            body[..8].copy_from_slice(&(index as u64).to_le_bytes());
            Message::new(body)
        });
        queue.send(some.collect()).await.unwrap();
    }
}

async fn cycles(dir: &Path) -> f64 {
    let folder = fresh(dir, "cycles");
    let node = Node::open(&folder).await;
    let queue = node.queue().await;
    fill(&queue, CYCLES).await;
    let started = Instant::now();
    let receivers = (0..RECEIVERS).map(|_| {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            let receive = Receive { max: 1, hidden_for: Duration::from_secs(60), wait: Duration::ZERO, attempt: None };
            let mut done = 0;
            loop {
                let received = queue.receive(receive.clone()).await.unwrap();
                if received.is_empty() {
                    return done;
                }
                let receipts = received.into_iter().map(|received| received.receipt).collect();
                queue.delete(receipts).await.unwrap()[0].unwrap();
                done += 1;
            }
        })
    });
    let mut done = 0;
    for receiver in receivers.collect::<Vec<_>>() {
        done += receiver.await.unwrap();
    }
    let took = started.elapsed();
    assert_eq!(done, CYCLES);
    node.close().await;
    CYCLES as f64 / took.as_secs_f64()
}

/// As many appends of the size of the commands, without a queue: two for each cycle.
async fn cycles_floor(dir: &Path) -> f64 {
    let folder = fresh(dir, "floor");
    let engine = LocalEngine::open(&folder, Options::default(), Env::system()).unwrap();
    let log = engine.log(&"stream/bench/0".parse().unwrap()).await.unwrap();
    let started = Instant::now();
    let writers = (0..RECEIVERS).map(|_| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let payload = Bytes::from(vec![7; COMMAND_BYTES]);
            for _ in 0..2 * CYCLES / RECEIVERS {
                while let Err(AppendError::Busy { .. }) =
                    log.append(vec![Block { records: 1, payload: payload.clone() }], Condition::Always).await
                {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let took = started.elapsed();
    engine.close().await.unwrap();
    CYCLES as f64 / took.as_secs_f64()
}

async fn wakes(dir: &Path) -> Vec<Duration> {
    let node = Node::open(&fresh(dir, "wake")).await;
    let queue = node.queue().await;
    let mut times = Vec::with_capacity(WAKES);
    for _ in 0..WAKES {
        let receiver = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move {
                let (hidden_for, wait) = (Duration::from_secs(60), Duration::from_secs(20));
                let received = queue.receive(Receive { max: 1, hidden_for, wait, attempt: None }).await.unwrap();
                (Instant::now(), received)
            }
        });
        // It sleeps by then.
        tokio::time::sleep(Duration::from_millis(2)).await;
        queue.send(vec![Message::new(vec![b'x'; BODY_BYTES])]).await.unwrap();
        let acknowledged = Instant::now();
        let (had, received) = receiver.await.unwrap();
        times.push(had.saturating_duration_since(acknowledged));
        queue.delete(received.into_iter().map(|received| received.receipt).collect()).await.unwrap();
    }
    node.close().await;
    times
}

/// Returns a value of this process's status in MB.
fn memory(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1000.0
}

/// The child of `many` that fills: says what it has, and waits to be killed.
async fn fill_many(folder: &Path, messages: usize) {
    let node = Node::open(folder).await;
    let queue = node.queue().await;
    let started = Instant::now();
    let mut done = 0;
    while done < messages {
        let some = 500_000.min(messages - done);
        fill(&queue, some).await;
        node.queues.upkeep().await;
        done += some;
    }
    let filled = started.elapsed();
    // Somebody who calls all the while: how long does a call wait at most?
    let caller = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            let mut longest = Duration::ZERO;
            for _ in 0..2000 {
                let asked = Instant::now();
                queue.settle(Vec::new()).await.unwrap();
                longest = longest.max(asked.elapsed());
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            longest
        }
    });
    let started = Instant::now();
    fill(&queue, 300_000.min(messages)).await;
    node.queues.upkeep().await;
    let upkeep = started.elapsed();
    let longest = caller.await.unwrap();
    println!(
        "{{\"filled_s\":{:.1},\"resident_mb\":{:.0},\"peak_mb\":{:.0},\"disk_mb\":{:.0},\"upkeep_s\":{:.1},\"longest_call_ms\":{:.1}}}",
        filled.as_secs_f64(),
        memory("VmRSS"),
        memory("VmHWM"),
        node.engine.bytes() as f64 / 1e6,
        upkeep.as_secs_f64(),
        longest.as_secs_f64() * 1e3,
    );
    std::future::pending::<()>().await;
}

/// The child of `many` that opens what the first has left.
async fn open_many(folder: &Path) {
    let started = Instant::now();
    let node = Node::open(folder).await;
    let queue = node.queue().await;
    let opened = started.elapsed();
    let receive = Receive { max: 10, hidden_for: Duration::from_secs(60), wait: Duration::ZERO, attempt: None };
    assert_eq!(queue.receive(receive).await.unwrap().len(), 10);
    println!(
        "{{\"restart_s\":{:.2},\"messages\":{},\"resident_mb\":{:.0},\"peak_mb\":{:.0}}}",
        opened.as_secs_f64(),
        queue.stats().ready + queue.stats().in_flight,
        memory("VmRSS"),
        memory("VmHWM")
    );
    node.close().await;
}

/// Runs this program with an option, returns the line that it prints, and kills it.
fn child(args: &[&str]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap()).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    line.trim().trim_matches(['{', '}']).to_owned()
}

async fn run(dir: &Path, messages: usize) {
    let (mut speeds, mut ratios) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let (own, floor) = (cycles(dir).await, cycles_floor(dir).await);
        speeds.push(own);
        ratios.push(own / floor);
    }
    println!(
        "{{\"bench\":\"cycles\",\"receivers\":{RECEIVERS},\"per_s\":{:.0},\"of_floor\":{:.2}}}",
        median(speeds),
        median(ratios)
    );
    let (mut p50, mut p99) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let mut times = wakes(dir).await;
        p50.push(quantile(&mut times, 0.5));
        p99.push(quantile(&mut times, 0.99));
    }
    println!("{{\"bench\":\"wake\",\"p50_ms\":{:.3},\"p99_ms\":{:.3}}}", median(p50), median(p99));
    if messages > 0 {
        let folder = fresh(dir, "many");
        let path = folder.to_str().unwrap();
        let filled = child(&["--fill", path, &messages.to_string()]);
        let opened = child(&["--open", path]);
        println!(
            "{{\"bench\":\"many\",{filled},{}}}",
            opened.replace("resident_mb", "reopened_mb").replace("peak_mb", "reopened_peak_mb")
        );
    }
    for name in ["cycles", "floor", "wake", "many"] {
        let _ = fs::remove_dir_all(dir.join(name));
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut dir, mut messages) = (std::env::temp_dir().join("weir-queue-bench"), 10_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    while let Some(arg) = args.next() {
        let mut value = || args.next().expect("a value behind the option");
        match arg.as_str() {
            "--dir" => dir = value().into(),
            "--messages" => messages = value().parse().unwrap(),
            "--fill" => {
                let (folder, messages) = (PathBuf::from(value()), value().parse().unwrap());
                return runtime.block_on(fill_many(&folder, messages));
            }
            "--open" => {
                let folder = PathBuf::from(value());
                return runtime.block_on(open_many(&folder));
            }
            other => panic!("unknown option `{other}`"),
        }
    }
    fs::create_dir_all(&dir).unwrap();
    runtime.block_on(run(&dir, messages));
}

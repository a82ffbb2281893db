//! Measures queues through the SQS wire API, and prints JSON lines.
//!
//! ```text
//! cargo run --release -p weir-sqs --example sqs_bench -- [--seconds 5] [--peer 127.0.0.1:PORT]
//! ```
//!
//! Server and clients share this process and its cores; between them are real sockets, kept alive, HTTP/1.1, one client
//! to a connection, AWS JSON. Each acknowledgement is durable (`LocalEngine`, fsync).
//!
//! - `sends`: messages of 200 bytes a second, in batches of 10.
//! - `cycles`: messages a second that were received and deleted, in batches of 10, from a queue that was filled before.
//! - `through`: messages a second that were sent, received and deleted, all at once.
//! - `wake`: from the answer to a `SendMessage` until a long poll that had been waiting has its message in hand; zero if it came
//!   first.
//! - With `--peer`, `through` alone, against another server that speaks the JSON protocol (moto's). It keeps all in memory.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch needs the machine's own clock")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on has nothing better to do")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use object_store::memory::InMemory;
use object_store::path::Path;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use weir_env::Env;
use weir_log::{LocalEngine, local};
use weir_machine::Snapshots;
use weir_queue::Queues;
use weir_sqs::{Options, Sqs};

const CONSUMERS: usize = 16;
const PRODUCERS: usize = 8;
const BATCH: usize = 10;
const BODY_BYTES: usize = 200;
const WAKES: usize = 500;
/// Messages that lie in the queue before `cycles` begins.
const BACKLOG: u64 = 60_000;

const AUTHORIZATION: &str =
    "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0";

/// One client on its own connection.
struct Client {
    address: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        Self { address, sender }
    }

    async fn call(&mut self, action: &str, input: Vec<u8>) -> Bytes {
        let request = hyper::Request::post("/")
            .header("host", "127.0.0.1")
            // Some servers tell the service by it; nobody checks the signature.
            .header("authorization", AUTHORIZATION)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .body(Full::new(input.into()))
            .unwrap();
        if self.sender.ready().await.is_err() {
            // Some servers end a connection with each answer.
            *self = Self::connect(self.address).await;
            self.sender.ready().await.unwrap();
        }
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{action}: {}", String::from_utf8_lossy(&body));
        body
    }

    async fn json(&mut self, action: &str, input: Value) -> Value {
        let body = self.call(action, input.to_string().into_bytes()).await;
        if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() }
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch<'a> {
    #[serde(borrow, default)]
    messages: Vec<Message<'a>>,
}

#[derive(serde::Deserialize)]
struct Message<'a> {
    #[serde(rename = "ReceiptHandle")]
    receipt: &'a str,
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut seconds, mut peer) = (5, None);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--seconds" => seconds = value.parse().unwrap(),
            "--peer" => peer = Some(value.parse().unwrap()),
            _ => panic!("there is no option {name}"),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let address = match peer {
        Some(address) => return measure_peer(address, Duration::from_secs(seconds)).await,
        None => serve(folder.path()).await,
    };
    let mut client = Client::connect(address).await;
    let made = client.json("CreateQueue", json!({"QueueName": "bench"})).await;
    let url = made["QueueUrl"].as_str().unwrap().to_owned();

    let sends = producing(address, &url, Duration::from_secs(seconds)).await;
    println!(
        "{}",
        json!({"bench": "sends", "messages_per_second": sends.round(), "senders": PRODUCERS, "batch": BATCH})
    );
    client.json("PurgeQueue", json!({"QueueUrl": url})).await;

    let made = client.json("CreateQueue", json!({"QueueName": "cycles"})).await;
    let url = made["QueueUrl"].as_str().unwrap().to_owned();
    let (rate, cpu) = cycles(address, &url).await;
    print("cycles", rate, cpu);
    let made = client.json("CreateQueue", json!({"QueueName": "through"})).await;
    let url = made["QueueUrl"].as_str().unwrap().to_owned();
    let (rate, cpu) = through(address, &url, Duration::from_secs(seconds)).await;
    print("through", rate, cpu);

    let made = client.json("CreateQueue", json!({"QueueName": "wake"})).await;
    let url = made["QueueUrl"].as_str().unwrap().to_owned();
    let mut waits = wakes(address, &url).await;
    waits.sort();
    let at = |permille: usize| (waits[(waits.len() - 1) * permille / 1000].as_secs_f64() * 1e6).round() / 1e3;
    println!("{}", json!({"bench": "wake", "p50_ms": at(500), "p99_ms": at(990), "wakes": WAKES}));
}

/// What goes through another server at this address, all at once, as `through` measures it.
async fn measure_peer(address: SocketAddr, span: Duration) {
    let mut client = Client::connect(address).await;
    let made = client.json("CreateQueue", json!({"QueueName": "through"})).await;
    let url = made["QueueUrl"].as_str().unwrap().to_owned();
    let (rate, _) = through(address, &url, span).await;
    println!("{}", json!({"bench": "moto_through", "messages_per_second": rate.round()}));
}

async fn serve(folder: &std::path::Path) -> SocketAddr {
    let env = Env::system();
    let engine = LocalEngine::open(&folder.join("log"), local::Options::default(), env.clone()).unwrap();
    let snapshots = Snapshots::new(Arc::new(InMemory::new()), Path::default());
    let queues = Queues::open(Arc::new(engine), snapshots, env.clone()).await.unwrap();
    let sqs = Arc::new(Sqs::new(Arc::clone(&queues), env.clone(), Options::default()));
    tokio::spawn(async move {
        loop {
            env.sleep(Duration::from_secs(10)).await;
            queues.upkeep().await;
        }
    });
    let answer = move |request: Request<Body>| {
        let sqs = Arc::clone(&sqs);
        async move { sqs.answer(request).await }
    };
    let service = TowerToHyperService::new(Router::new().fallback(answer));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let service = service.clone();
            tokio::spawn(async move {
                let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

fn batch(url: &str) -> Vec<u8> {
    let body = "m".repeat(BODY_BYTES);
    let entries: Vec<Value> = (0..BATCH).map(|n| json!({"Id": n.to_string(), "MessageBody": body})).collect();
    json!({"QueueUrl": url, "Entries": entries}).to_string().into_bytes()
}

/// Sends batches from several clients until `stop`; counts the messages.
fn produce(
    address: SocketAddr,
    url: &str,
    sent: &Arc<AtomicU64>,
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let input = batch(url);
    (0..PRODUCERS)
        .map(|_| {
            let (input, sent, stop) = (input.clone(), Arc::clone(sent), Arc::clone(stop));
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                while !stop.load(Ordering::Relaxed) {
                    client.call("SendMessageBatch", input.clone()).await;
                    sent.fetch_add(BATCH as u64, Ordering::Relaxed);
                }
            })
        })
        .collect()
}

async fn producing(address: SocketAddr, url: &str, span: Duration) -> f64 {
    let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let started = Instant::now();
    let tasks = produce(address, url, &sent, &stop);
    tokio::time::sleep(span).await;
    let rate = sent.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    rate
}

fn print(bench: &str, rate: f64, cpu: f64) {
    println!(
        "{}",
        json!({
            "bench": bench,
            "messages_per_second": rate.round(),
            "cpu_microseconds_per_message": (cpu * 10.0).round() / 10.0,
            "consumers": CONSUMERS,
            "batch": BATCH,
            "body_bytes": BODY_BYTES,
        })
    );
}

/// Receives and deletes batches until `stop`; counts the messages.
fn consume(
    address: SocketAddr,
    url: &str,
    done: &Arc<AtomicU64>,
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": BATCH, "WaitTimeSeconds": 1}).to_string().into_bytes();
    let consumer = |_| {
        let (url, receive, done, stop) = (url.to_owned(), receive.clone(), Arc::clone(done), Arc::clone(stop));
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            while !stop.load(Ordering::Relaxed) {
                let received = client.call("ReceiveMessage", receive.clone()).await;
                let received: Batch<'_> = serde_json::from_slice(&received).unwrap();
                if received.messages.is_empty() {
                    continue;
                }
                let entry = |(n, message): (usize, &Message<'_>)| json!({"Id": n.to_string(), "ReceiptHandle": message.receipt});
                let entries: Vec<Value> = received.messages.iter().enumerate().map(entry).collect();
                let deleted = client.json("DeleteMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
                let failed = deleted["Failed"].as_array().map_or(0, Vec::len);
                assert_eq!(failed, 0, "{deleted}");
                done.fetch_add(received.messages.len() as u64, Ordering::Relaxed);
            }
        })
    };
    (0..CONSUMERS).map(consumer).collect()
}

/// Fills a queue and empties it. Returns cycles a second, and the processor time of the whole process, clients
/// included, for each.
async fn cycles(address: SocketAddr, url: &str) -> (f64, f64) {
    let (sent, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = produce(address, url, &sent, &stop);
    while sent.load(Ordering::Relaxed) < BACKLOG {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = consume(address, url, &done, &stop);
    // The last few, which not all consumers have a part in, are not measured.
    while done.load(Ordering::Relaxed) < BACKLOG * 9 / 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let cycles = done.load(Ordering::Relaxed) as f64;
    let (rate, cpu) = (cycles / started.elapsed().as_secs_f64(), (cpu_seconds() - cpu) * 1e6 / cycles);
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    (rate, cpu)
}

/// Sends, receives and deletes at once. Returns messages a second that went all the way, and the processor time for
/// each.
async fn through(address: SocketAddr, url: &str, span: Duration) -> (f64, f64) {
    let (sent, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = produce(address, url, &sent, &stop);
    tasks.extend(consume(address, url, &done, &stop));
    let (started, cpu) = (Instant::now(), cpu_seconds());
    tokio::time::sleep(span).await;
    let cycles = done.load(Ordering::Relaxed) as f64;
    let (rate, cpu) = (cycles / started.elapsed().as_secs_f64(), (cpu_seconds() - cpu) * 1e6 / cycles);
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    (rate, cpu)
}

/// User and system time of this process, from `/proc/self/stat`, in the hundredths of a second that Linux counts there.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

async fn wakes(address: SocketAddr, url: &str) -> Vec<Duration> {
    let mut sender = Client::connect(address).await;
    let mut receiver = Client::connect(address).await;
    let send = json!({"QueueUrl": url, "MessageBody": "x"}).to_string().into_bytes();
    let receive = json!({"QueueUrl": url, "WaitTimeSeconds": 20}).to_string().into_bytes();
    let mut waits = Vec::with_capacity(WAKES);
    for _ in 0..WAKES {
        let (receive, url) = (receive.clone(), url.to_owned());
        let waiting = tokio::spawn(async move {
            let received = receiver.call("ReceiveMessage", receive).await;
            let at = Instant::now();
            let received: Batch<'_> = serde_json::from_slice(&received).unwrap();
            let input = json!({"QueueUrl": url, "ReceiptHandle": received.messages[0].receipt});
            receiver.json("DeleteMessage", input).await;
            (receiver, at)
        });
        // Long enough for the poll to be waiting.
        tokio::time::sleep(Duration::from_millis(5)).await;
        sender.call("SendMessage", send.clone()).await;
        let acknowledged = Instant::now();
        let (back, at) = waiting.await.unwrap();
        receiver = back;
        waits.push(at.saturating_duration_since(acknowledged));
    }
    waits
}

//! Calls per second of the HTTP transport against a server in the same process that answers at once, on one thread of its own.
//!
//! `cargo run --release -p weir-crawl --example http_bench -- [CALLS] [CONCURRENCY]` prints one JSON object. CPU seconds are
//! of both, client and server. The floor is a client that writes the same bytes to the same server, and parses nothing.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark reports by printing, and stops at the first error"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_crawl::http::{Http, Limits};
use weir_crawl::spec::{Auth, Client};
use weir_crawl::{Method, Request, Transport};
use weir_env::Env;
use weir_types::Secret;

const ROUNDS: usize = 3;
const BODY_BYTES: usize = 600;

/// Answers each request with the same page of a list.
async fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let body = format!(
        r#"{{"items":[{}],"next":null}}"#,
        vec![r#"{"id":123456,"name":"a device"}"#; BODY_BYTES / 32].join(",")
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-ratelimit-remaining: 99\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = [head, body].concat();
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(read) => filled += read,
        }
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Starts the server on a thread of its own.
fn server() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
    });
    address
}

/// The process's CPU seconds so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

async fn transport(address: SocketAddr, env: &Env, calls: u64, concurrency: usize) {
    let client = Client {
        base_url: format!("http://{address}/v1/").parse().unwrap(),
        headers: vec![("x-api-version".to_owned(), Secret::new("1"))],
        auth: Auth::Bearer(Secret::new("token")),
        paginator: None,
        timeout: Duration::from_secs(30),
        answer_bytes_max: 16 << 20,
    };
    let limits = Limits { idle_connections_max: concurrency, ..Limits::default() };
    let http = Arc::new(Http::new(&client, env.clone(), limits).unwrap());
    let next = Arc::new(AtomicU64::new(0));
    let workers = (0..concurrency).map(|_| {
        let (http, next, base) = (http.clone(), next.clone(), client.base_url.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return;
                }
                let url = base.join(&format!("devices/{number}/readings?limit=100")).unwrap();
                let request = Request { method: Method::Get, url, headers: Vec::new(), body: Bytes::new() };
                assert_eq!(http.call(request).await.unwrap().status, 200);
            }
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker.unwrap();
    }
}

/// The floor: the same requests and answers, without HTTP.
async fn floor(address: SocketAddr, calls: u64, concurrency: usize) {
    let next = Arc::new(AtomicU64::new(0));
    let workers = (0..concurrency).map(|_| {
        let next = next.clone();
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return;
                }
                let request =
                    format!("GET /v1/devices/{number}/readings?limit=100 HTTP/1.1\r\nhost: {address}\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                loop {
                    let read = stream.read(&mut buffer).await.unwrap();
                    if buffer[..read].ends_with(b"null}") {
                        break;
                    }
                }
            }
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker.unwrap();
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let calls: u64 = arguments.next().map_or(100_000, |calls| calls.parse().unwrap());
    let concurrency: usize = arguments.next().map_or(64, |concurrency| concurrency.parse().unwrap());
    let env = Env::system();
    let address = server();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = [0.0; 4];
        for (index, is_floor) in [(0, false), (2, true)] {
            let (began, cpu) = (env.elapsed(), cpu_seconds());
            match is_floor {
                true => runtime.block_on(floor(address, calls, concurrency)),
                false => runtime.block_on(transport(address, &env, calls, concurrency)),
            }
            round[index] = calls as f64 / (env.elapsed() - began).as_secs_f64();
            round[index + 1] = (cpu_seconds() - cpu) * 1e6 / calls as f64;
        }
        rounds.push(round);
    }
    let median = |index: usize| {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[index]).collect();
        values.sort_by(f64::total_cmp);
        values[ROUNDS / 2].round()
    };
    println!(
        "{{\"calls\":{calls},\"concurrency\":{concurrency},\"rounds\":{ROUNDS},\"calls_per_s\":{},\"cpu_us_per_call\":{},\"floor_calls_per_s\":{},\"floor_cpu_us_per_call\":{}}}",
        median(0),
        median(1),
        median(2),
        median(3)
    );
}

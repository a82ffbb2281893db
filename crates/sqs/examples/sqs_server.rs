//! Serves the SQS wire API alone, over queues in a temporary folder, until it is killed.
//!
//! ```text
//! cargo run -p weir-sqs --example sqs_server -- [PORT]
//! ```
//!
//! Prints `listening on http://127.0.0.1:PORT`, and speaks HTTP/1.1 and HTTP/2 with prior knowledge, as `weir up` does.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::unwrap_used, reason = "a tool for tests that can't go on has nothing better to do")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::net::TcpListener;
use weir_env::Env;
use weir_log::{LocalEngine, local};
use weir_machine::Snapshots;
use weir_queue::Queues;
use weir_sqs::{Options, Sqs};

/// How often the queues' upkeep runs.
const UPKEEP: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let port = std::env::args().nth(1).map_or(0, |port| port.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let env = Env::system();
    let engine = LocalEngine::open(&folder.path().join("log"), local::Options::default(), env.clone()).unwrap();
    // Nobody opens this folder again: the snapshots need not outlive the process.
    let snapshots = Snapshots::new(Arc::new(InMemory::new()), Path::default());
    let queues = Queues::open(Arc::new(engine), snapshots, env.clone()).await.unwrap();
    let sqs = Arc::new(Sqs::new(Arc::clone(&queues), env.clone(), Options::default()));
    tokio::spawn(async move {
        loop {
            env.sleep(UPKEEP).await;
            queues.upkeep().await;
        }
    });

    let answer = move |request: Request| {
        let sqs = Arc::clone(&sqs);
        async move { sqs.answer(request).await }
    };
    let service = TowerToHyperService::new(Router::new().fallback(answer));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    println!("listening on http://{}", listener.local_addr().unwrap());
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (builder, service) = (builder.clone(), service.clone());
        tokio::spawn(async move {
            // A connection that breaks is the client's business.
            let _ = builder.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

//! The peer of `queue_bench`: Redis streams with a consumer group, each acknowledgement durable (`appendfsync always`).
//!
//! ```text
//! cargo run --release -p weir-queue --example redis_peer -- [--seconds 5]
//! ```
//!
//! Needs `redis-server` in the path (Debian: `apt-get install redis-server`); without it, says so and ends. 128 receivers,
//! each on a connection of its own over a Unix socket, take one message, acknowledge and delete it; the queue is filled first.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch needs the machine's own clock")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on has nothing better to do")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const RECEIVERS: usize = 128;
const BODY_BYTES: usize = 200;
const FILL: usize = 400_000;

/// A connection that speaks RESP2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    fn connect(socket: &Path) -> std::io::Result<Self> {
        Ok(Self { reader: BufReader::new(UnixStream::connect(socket)?) })
    }

    fn send(&mut self, commands: &[&[&str]]) {
        let mut out = Vec::new();
        for words in commands {
            out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in *words {
                out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
            }
        }
        self.reader.get_mut().write_all(&out).unwrap();
    }

    /// Reads one reply as the texts in it; none for nil.
    fn reply(&mut self) -> Option<Vec<String>> {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let (kind, rest) = line.trim_end().split_at(1);
        match kind {
            "+" | ":" => Some(vec![rest.to_owned()]),
            "$" | "*" if rest == "-1" => None,
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.reader.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Some(vec![String::from_utf8_lossy(&bytes).into_owned()])
            }
            "*" => {
                let parts = (0..rest.parse::<usize>().unwrap()).filter_map(|_| self.reply());
                Some(parts.flatten().collect())
            }
            _ => panic!("redis answered {line}"),
        }
    }

    fn call(&mut self, words: &[&str]) -> Option<Vec<String>> {
        self.send(&[words]);
        self.reply()
    }
}

/// Ends the server with the benchmark.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, socket: &Path) -> Option<Server> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let child = Command::new("redis-server")
        .args(["--port", "0", "--unixsocket", &text(socket), "--dir", &text(folder), "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning"])
        .stdout(Stdio::null())
        .spawn()
        .ok()?;
    let server = Server(child);
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if Client::connect(socket).ok().and_then(|mut client| client.call(&["PING"])).is_some() {
            return Some(server);
        }
        std::thread::yield_now();
    }
    None
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--seconds"), Some(seconds)) => seconds.parse().unwrap(),
        _ => 5,
    };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let Some(_server) = start(folder.path(), &socket) else {
        println!("{}", serde_json::json!({"bench": "redis_streams", "peer": "redis-server is not installed"}));
        return;
    };
    let mut client = Client::connect(&socket).unwrap();
    client.call(&["XGROUP", "CREATE", "q", "g", "0", "MKSTREAM"]).unwrap();
    let body = "x".repeat(BODY_BYTES);
    let add: &[&str] = &["XADD", "q", "*", "b", &body];
    for _ in 0..FILL / 1000 {
        client.send(&vec![add; 1000]);
        (0..1000).for_each(|_| drop(client.reply()));
    }
    let (stop, cycles) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let receivers: Vec<_> = (0..RECEIVERS)
        .map(|number| {
            let (socket, stop, cycles) = (socket.clone(), stop.clone(), cycles.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(&socket).unwrap();
                let name = format!("c{number}");
                let read: &[&str] = &["XREADGROUP", "GROUP", "g", &name, "COUNT", "1", "STREAMS", "q", ">"];
                while !stop.load(Ordering::Relaxed) {
                    // The stream's name, the message's id, its field and value.
                    let Some(found) = client.call(read) else { return };
                    let id = found[1].clone();
                    client.send(&[&["XACK", "q", "g", &id], &["XDEL", "q", &id]]);
                    client.reply();
                    client.reply();
                    cycles.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    std::thread::park_timeout(Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);
    let (done, took) = (cycles.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
    receivers.into_iter().for_each(|receiver| receiver.join().unwrap());
    println!(
        "{}",
        serde_json::json!({
            "bench": "redis_streams",
            "receive_delete_cycles_per_second": (done as f64 / took).round(),
            "receivers": RECEIVERS,
            "body_bytes": BODY_BYTES,
            "ran_out": done as usize >= FILL,
        })
    );
}

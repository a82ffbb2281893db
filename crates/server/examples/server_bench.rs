//! Measures a built `weir` from outside, beside floors in the same run: `server_bench WEIR_BINARY [--quick]`.
//!
//! Prints JSON. The load comes from this process, on the same cores: what it costs is told as well.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_schema::{JsonEncoder, Schema};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SCHEMA: &str = r#"{"type": "record", "name": "Reading", "fields": [
  {"name": "device", "type": "string"},
  {"name": "sequence", "type": "long"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["temperature", "humidity", "pressure"]}},
  {"name": "value", "type": "double"},
  {"name": "quality", "type": ["null", "int"], "default": null},
  {"name": "site", "type": "string"},
  {"name": "note", "type": ["null", "string"], "default": null}]}"#;

const STREAM: &str = r#"
stream "readings" {
  schema = "reading.avsc"
  key    = "device"
  time   = "at"
  id     = ["device", "sequence", "at"]
  shards = 2
}
"#;
const TABLE: &str = r#"
table "readings" {
  from         = stream.readings
  partition_by = "day(at)"
  buckets      = 2
  freshness    = "2s"
}
"#;

/// One record of 200 bytes as a line of NDJSON, its end included.
fn record(number: u64) -> String {
    let head = format!(
        "{{\"device\":\"device-{:05}\",\"sequence\":{number},\"at\":{},\"kind\":\"humidity\",\"value\":{}.25,\"quality\":{},\"site\":\"site-{:03}\",\"note\":\"",
        number % 5000,
        1_700_000_000_000u64 + number,
        number % 100,
        number % 5,
        number % 200
    );
    let padding = 200usize.saturating_sub(head.len() + 3);
    let text: String = "the quick brown fox jumps over the lazy dog ".chars().cycle().take(padding).collect();
    format!("{head}{text}\"}}\n")
}

fn body(first: u64, records: u64) -> Vec<u8> {
    (first..first + records).flat_map(|number| record(number).into_bytes()).collect()
}

struct Server {
    child: Child,
    address: String,
    ready: Duration,
}

impl Server {
    fn start(weir: &Path, folder: &Path, data: &Path) -> Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(weir)
            .args(["up", &folder.to_string_lossy(), "--listen", "127.0.0.1:0", "--data", &data.to_string_lossy()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let ready = started.elapsed();
        let address =
            line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()).ok_or(line.clone())?;
        Ok(Self { address: address.to_owned(), child, ready })
    }

    /// CPU seconds so far.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        (ticks(11) + ticks(12)) / 100.0
    }

    fn memory(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    }

    fn request(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<Vec<u8>> {
        Client::connect(&self.address)?.request(method, path, content_type, body)
    }

    fn query(&self, sql: &str) -> Result<Value> {
        let answer = self.request("POST", "/v1/query", "text/plain", sql.as_bytes())?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        Ok(serde_json::from_str(text.lines().next().unwrap_or("null")).map_err(|error| format!("{error}: {text}"))?)
    }

    fn status(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.request("GET", "/v1/status", "text/plain", b"")?)?)
    }

    fn end(mut self) -> Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        self.child.wait()?;
        Ok(())
    }

    fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// HTTP/1.1 over one connection, with as little work as possible.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn request(&mut self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<Vec<u8>> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let good = line.contains(" 200 ");
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut header = String::new();
            self.stream.read_line(&mut header)?;
            let header = header.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse()?;
            }
            chunked |= header == "transfer-encoding: chunked";
        }
        let mut answer = Vec::new();
        if chunked {
            loop {
                let mut size = String::new();
                self.stream.read_line(&mut size)?;
                let size = usize::from_str_radix(size.trim(), 16)?;
                let mut chunk = vec![0; size + 2];
                self.stream.read_exact(&mut chunk)?;
                answer.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    break;
                }
            }
        } else {
            answer.resize(length, 0);
            self.stream.read_exact(&mut answer)?;
        }
        if good { Ok(answer) } else { Err(format!("{line}: {}", String::from_utf8_lossy(&answer)).into()) }
    }
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

struct Load {
    records_per_s: f64,
    mb_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Sends prepared bodies over 16 connections for a while; at most `rate` batches a second, if given.
fn load(
    server: &Server,
    content_type: &str,
    bodies: &Arc<Vec<Vec<u8>>>,
    per_body: u64,
    span: Duration,
    rate: Option<f64>,
) -> Result<Load> {
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let bytes = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let threads: Vec<_> = (0..16usize)
        .map(|thread| {
            let (stop, sent, bytes, bodies) = (stop.clone(), sent.clone(), bytes.clone(), bodies.clone());
            let (address, content_type) = (server.address.clone(), content_type.to_owned());
            std::thread::spawn(move || {
                let mut client = Client::connect(&address).map_err(|error| error.to_string())?;
                let mut latencies = Vec::new();
                let mut next = thread;
                let mut due = Instant::now() + Duration::from_millis(7 * thread as u64);
                while !stop.load(Ordering::Relaxed) {
                    if let Some(rate) = rate {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        due += Duration::from_secs_f64(16.0 / rate);
                    }
                    let body = &bodies[next % bodies.len()];
                    next += 16;
                    let begun = Instant::now();
                    client
                        .request("POST", "/v1/streams/readings/records", &content_type, body)
                        .map_err(|error| error.to_string())?;
                    latencies.push(begun.elapsed());
                    sent.fetch_add(per_body, Ordering::Relaxed);
                    bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
                }
                Ok::<_, String>(latencies)
            })
        })
        .collect();
    std::thread::sleep(span);
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for thread in threads {
        latencies.extend(thread.join().map_err(|_| "a sender panicked")??);
    }
    let took = started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok(Load {
        records_per_s: sent.load(Ordering::Relaxed) as f64 / took,
        mb_per_s: bytes.load(Ordering::Relaxed) as f64 / took / 1e6,
        p50_ms: percentile(&latencies, 0.5),
        p99_ms: percentile(&latencies, 0.99),
    })
}

/// Parses, checks and encodes the same bytes on both cores, and does nothing with them.
fn floor(bodies: &Arc<Vec<Vec<u8>>>, per_body: u64, span: Duration) -> Result<f64> {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2usize)
        .map(|thread| {
            let (stop, bodies) = (stop.clone(), bodies.clone());
            std::thread::spawn(move || {
                let schema = Schema::parse(SCHEMA).map_err(|error| error.to_string())?;
                let mut encoder = JsonEncoder::new(&schema);
                let mut out = Vec::new();
                let (mut encoded, mut next) = (0, thread);
                while !stop.load(Ordering::Relaxed) {
                    for line in bodies[next % bodies.len()].split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
                    {
                        out.clear();
                        encoder.encode(line, &mut out).map_err(|error| error.to_string())?;
                        std::hint::black_box(&out);
                    }
                    encoded += per_body;
                    next += 2;
                }
                Ok::<u64, String>(encoded)
            })
        })
        .collect();
    let started = Instant::now();
    std::thread::sleep(span);
    stop.store(true, Ordering::Relaxed);
    let mut encoded = 0;
    for thread in threads {
        encoded += thread.join().map_err(|_| "a floor thread panicked")??;
    }
    Ok(encoded as f64 / started.elapsed().as_secs_f64())
}

/// An Avro container of the same records, in blocks of one body.
fn container(lines: &[u8], per_body: u64) -> Result<Vec<u8>> {
    let schema = Schema::parse(SCHEMA)?;
    let mut encoder = JsonEncoder::new(&schema);
    let mut block = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        encoder.encode(line, &mut block)?;
    }
    let mut out = b"Obj\x01".to_vec();
    let long = |out: &mut Vec<u8>, value: u64| {
        let mut rest = value << 1;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    };
    long(&mut out, 1);
    for part in ["avro.schema", SCHEMA] {
        long(&mut out, part.len() as u64);
        out.extend_from_slice(part.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&[7; 16]);
    long(&mut out, per_body);
    long(&mut out, block.len() as u64);
    out.extend_from_slice(&block);
    out.extend_from_slice(&[7; 16]);
    Ok(out)
}

fn folder(root: &Path, name: &str, table: bool) -> Result<PathBuf> {
    let folder = root.join(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("reading.avsc"), SCHEMA)?;
    std::fs::write(folder.join("weir.hcl"), if table { format!("{STREAM}{TABLE}") } else { STREAM.to_owned() })?;
    Ok(folder)
}

fn door(weir: &Path, root: &Path, span: Duration, rounds: usize) -> Result<Value> {
    let plan = folder(root, "door", false)?;
    let per_body = 500;
    let bodies: Arc<Vec<Vec<u8>>> = Arc::new((0..200).map(|index| body(index * per_body, per_body)).collect());
    let containers: Arc<Vec<Vec<u8>>> =
        Arc::new(bodies.iter().map(|lines| container(lines, per_body)).collect::<Result<_>>()?);
    let (mut rates, mut ratios, mut floors, mut avro) = (vec![], vec![], vec![], vec![]);
    let (mut p50, mut p99, mut half_p99, mut memory) = (vec![], vec![], vec![], vec![]);
    let mut mb = vec![];
    for round in 0..rounds {
        let data = root.join(format!("door-data-{round}"));
        let server = Server::start(weir, &plan, &data)?;
        let bare = floor(&bodies, per_body, span / 2)?;
        let full = load(&server, "application/x-ndjson", &bodies, per_body, span, None)?;
        let rate = full.records_per_s / per_body as f64 / 2.0;
        let half = load(&server, "application/x-ndjson", &bodies, per_body, span, Some(rate))?;
        let containers = load(&server, "application/avro", &containers, per_body, span, None)?;
        memory.push(server.memory("VmHWM"));
        server.end()?;
        std::fs::remove_dir_all(&data)?;
        ratios.push(full.records_per_s / bare);
        rates.push(full.records_per_s);
        mb.push(full.mb_per_s);
        floors.push(bare);
        avro.push(containers.records_per_s);
        p50.push(full.p50_ms);
        p99.push(full.p99_ms);
        half_p99.push(half.p99_ms);
    }
    Ok(json!({
        "ndjson_records_per_s": median(rates.clone()), "ndjson_mb_per_s": median(mb),
        "floor_records_per_s": median(floors), "ratio_to_floor": median(ratios),
        "p50_ms": median(p50), "p99_ms": median(p99), "half_load_p99_ms": median(half_p99),
        "avro_records_per_s": median(avro.clone()), "avro_to_ndjson": median(avro) / median(rates),
        "memory_peak_mb": median(memory),
    }))
}

fn backlog(weir: &Path, root: &Path, records: u64) -> Result<Value> {
    let data = root.join("backlog-data");
    let server = Server::start(weir, &folder(root, "backlog-stream", false)?, &data)?;
    let per_body = 5000;
    let mut client = Client::connect(&server.address)?;
    for first in (0..records).step_by(per_body as usize) {
        client.request("POST", "/v1/streams/readings/records", "application/x-ndjson", &body(first, per_body))?;
    }
    drop(client);
    server.kill()?;
    let server = Server::start(weir, &folder(root, "backlog-table", true)?, &data)?;
    let ready = server.ready;
    let started = Instant::now();
    let from = server.cpu();
    loop {
        let status = server.status()?;
        let table = status["tables"]
            .as_array()
            .and_then(|tables| tables.iter().find(|table| table["name"] == "readings").cloned());
        let table = table.ok_or("no table")?;
        if table["rows"].as_u64() == Some(records) {
            break;
        }
        if started.elapsed() > Duration::from_secs(600) {
            return Err(format!("the backlog did not end: {table}").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = started.elapsed().as_secs_f64();
    let cpu = server.cpu() - from;
    let memory = server.memory("VmHWM");
    let mut queries = serde_json::Map::new();
    for (name, sql) in [
        ("count", "select count(*) as n from readings"),
        (
            "group_by_site",
            "select site, count(*) as n, avg(value) as v from readings group by site order by n desc limit 10",
        ),
        ("one_device", "select count(*) as n, max(value) as v from readings where device = 'device-00042'"),
    ] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            server.query(sql)?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        queries.insert(format!("{name}_ms"), json!(median(times)));
    }
    server.end()?;
    Ok(json!({
        "records": records, "seconds": took, "rows_per_s": records as f64 / took, "cpu_seconds": cpu,
        "rows_per_cpu_s": records as f64 / cpu, "memory_peak_mb": memory,
        "start_with_log_ms": ready.as_secs_f64() * 1e3, "queries": queries,
    }))
}

/// Acknowledged to visible: in the next query, and in the Delta log.
fn freshness(weir: &Path, root: &Path, rounds: u64) -> Result<Value> {
    let data = root.join("fresh-data");
    let server = Server::start(weir, &folder(root, "fresh", true)?, &data)?;
    let log = data.join("tables/readings/_delta_log");
    let (mut by_query, mut by_reader) = (Vec::new(), Vec::new());
    let mut missed = 0;
    for number in 0..rounds {
        server.request("POST", "/v1/streams/readings/records", "application/x-ndjson", record(number).as_bytes())?;
        let acknowledged = Instant::now();
        let seen = server.query("select count(*) as n from readings")?["n"].as_u64();
        by_query.push(acknowledged.elapsed());
        missed += u64::from(seen != Some(number + 1));
        // The record's commit names how far its shard was read: the sum over both shards is the count.
        while committed(&log)? <= number {
            if acknowledged.elapsed() > Duration::from_secs(30) {
                return Err("a record was not committed within 30 s".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        by_reader.push(acknowledged.elapsed());
    }
    server.end()?;
    by_query.sort_unstable();
    by_reader.sort_unstable();
    Ok(json!({
        "rounds": rounds, "missed_by_the_next_query": missed,
        "next_query_p50_ms": percentile(&by_query, 0.5), "next_query_p99_ms": percentile(&by_query, 0.99),
        "freshness_setting_ms": 2000, "outside_reader_p50_ms": percentile(&by_reader, 0.5),
        "outside_reader_p99_ms": percentile(&by_reader, 0.99),
    }))
}

fn committed(log: &Path) -> Result<u64> {
    let mut positions = std::collections::BTreeMap::new();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(log)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    for file in files.iter().rev().take(8).rev() {
        for line in std::fs::read_to_string(file)?.lines() {
            let action: Value = serde_json::from_str(line).unwrap_or(Value::Null);
            if let (Some(app), Some(version)) = (action["txn"]["appId"].as_str(), action["txn"]["version"].as_u64()) {
                // Others count commits, not records.
                if app.starts_with("weir/") {
                    positions.insert(app.to_owned(), version);
                }
            }
        }
    }
    Ok(positions.values().sum())
}

fn rest(weir: &Path, root: &Path) -> Result<Value> {
    let plan = folder(root, "rest", true)?;
    let mut ready = Vec::new();
    for round in 0..5 {
        let server = Server::start(weir, &plan, &root.join(format!("rest-{round}")))?;
        ready.push(server.ready.as_secs_f64() * 1e3);
        server.end()?;
    }
    let mut again = Vec::new();
    for _ in 0..5 {
        let server = Server::start(weir, &plan, &root.join("rest-0"))?;
        again.push(server.ready.as_secs_f64() * 1e3);
        server.end()?;
    }
    let server = Server::start(weir, &plan, &root.join("rest-0"))?;
    server.request("POST", "/v1/streams/readings/records", "application/x-ndjson", &body(0, 1000))?;
    std::thread::sleep(Duration::from_secs(5));
    let (from, started) = (server.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(30));
    let cpu = (server.cpu() - from) / started.elapsed().as_secs_f64() * 100.0;
    let (memory, anonymous) = (server.memory("VmRSS"), server.memory("RssAnon"));
    server.end()?;
    Ok(json!({
        "idle_memory_without_the_binary_mb": anonymous,
        "start_empty_ms": median(ready), "start_again_ms": median(again), "idle_memory_mb": memory,
        "idle_cpu_percent": cpu, "binary_mb": std::fs::metadata(weir)?.len() as f64 / 1e6,
    }))
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let weir = PathBuf::from(args.next().ok_or("server_bench WEIR_BINARY [--quick]")?);
    let quick = args.next().as_deref() == Some("--quick");
    let root = std::env::temp_dir().join(format!("weir-bench-{}", std::process::id()));
    std::fs::create_dir_all(&root)?;
    let (span, rounds, records, fresh) =
        if quick { (Duration::from_secs(2), 1, 500_000, 5) } else { (Duration::from_secs(6), 5, 5_000_000, 40) };
    let result = (|| {
        Ok::<Value, Box<dyn std::error::Error>>(json!({
            "rest": rest(&weir, &root)?,
            "door": door(&weir, &root, span, rounds)?,
            "freshness": freshness(&weir, &root, fresh)?,
            "backlog": backlog(&weir, &root, records)?,
        }))
    })();
    std::fs::remove_dir_all(&root)?;
    println!("{}", serde_json::to_string_pretty(&result?)?);
    Ok(())
}

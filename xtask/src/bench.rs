//! Measures what has a number to reach, and keeps the last figures in `bench/RESULTS.md`.
//!
//! Each part is an example of the crate that it measures, prints JSON, and runs beside its floor. `bench/parts/` keeps the
//! JSON of the last run of each part, and RESULTS.md is written from all of them.

use std::fmt::Write;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::run::{binary, cargo, check, output, root, say};

/// How often, and after what pause, moto's server is asked whether it is there.
const MOTO_TRIES: u32 = 300;
const MOTO_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

struct Part {
    name: &'static str,
    package: &'static str,
    example: &'static str,
    peer: Peer,
    title: &'static str,
}

/// What runs beside a part, where it is a program of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    None,
    /// An example that starts `redis-server`, if it is installed.
    Redis,
    /// DuckDB and Polars, which compact the same files: see [`crate::bench_compact`].
    Engines,
    /// moto's server, from PyPI, measured by the part's own example.
    Moto,
    /// dlt and Scrapy, from PyPI, which crawl the same vendor.
    Crawlers,
}

const PARTS: &[Part] = &[
    Part::new("log", "weir-log", "log_bench", "The local log"),
    Part::new("schema", "weir-schema", "schema_bench", "Records to Avro and to columns"),
    Part::new("function", "weir-function", "function_bench", "SQL functions"),
    Part::new("table", "weir-table", "table_bench", "Tables"),
    Part::new("archive", "weir-archive", "archive_bench", "The archive beside a table"),
    Part { peer: Peer::Engines, ..Part::new("compact", "weir-table", "compact_bench", "Compaction") },
    Part { peer: Peer::Redis, ..Part::new("queue", "weir-queue", "queue_bench", "Queues") },
    Part { peer: Peer::Moto, ..Part::new("sqs", "weir-sqs", "sqs_bench", "Queues through the SQS API") },
    Part::new("answers", "weir-crawl", "answers_bench", "A vendor's answers: items, tasks, requests, on one core"),
    Part::new("http", "weir-crawl", "http_bench", "Calls over HTTP, to a server in the same process"),
    Part::new("budget", "weir-budget", "budget_bench", "Budgets: permits, and learning from simulated vendors"),
    Part::new("lambda", "weir-lambda", "lambda_bench", "Lambda handlers"),
    Part::new("replay", "weir-runtime", "replay_bench", "Replays, beside a fresh ingest from the log"),
    Part::new("ledger", "weir-runtime", "ledger_bench", "The ledger: ingest with and without"),
    Part::new("rollup", "weir-runtime", "rollup_bench", "A rollup after a change in one of its partitions"),
    Part {
        peer: Peer::Crawlers,
        ..Part::new("crawl", "weir-vendor", "crawl_bench", "Crawls, beside dlt's rest_api source and Scrapy")
    },
    Part::new("server", "weir-server", "server_bench", "The built server, from outside"),
];

impl Part {
    const fn new(name: &'static str, package: &'static str, example: &'static str, title: &'static str) -> Self {
        Self { name, package, example, peer: Peer::None, title }
    }

    /// Where its example is, for whoever wants to read it.
    fn source(&self) -> String {
        match self.package {
            "weir-vendor" => format!("examples/fleet/vendor/examples/{}", self.example),
            package => format!("crates/{}/examples/{}.rs", &package[5..], self.example),
        }
    }
}

/// Runs one part, or all, and writes the results; `results` writes them alone, from the parts' last runs.
pub fn run(name: Option<&str>) -> anyhow::Result<()> {
    if name == Some("results") {
        return write_results();
    }
    let parts: Vec<&Part> = PARTS.iter().filter(|part| name.is_none_or(|name| name == part.name)).collect();
    if parts.is_empty() {
        bail!(
            "there is no part `{}`: {}",
            name.unwrap_or_default(),
            PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", ")
        );
    }
    let kept = root().join("bench/parts");
    std::fs::create_dir_all(&kept).context("make bench/parts")?;
    check(cargo().args(["build", "--release", "--workspace", "--bins", "--examples"]))?;
    let weir = binary("release", "weir")?;
    for part in parts {
        say(&format!("measuring {}", part.name));
        let mut command = std::process::Command::new(binary("release", "examples")?.join(part.example));
        if part.name == "server" {
            command.arg(&weir);
        }
        if part.peer == Peer::Crawlers {
            command.arg(&weir).arg(binary("release", "fleet-vendor")?);
            command.arg("--peers").arg(crate::python::peers()?).arg(root().join("bench/crawl_peer.py"));
        }
        let text = match part.peer {
            Peer::Engines => crate::bench_compact::run(command.get_program().as_ref())?,
            _ => output(&mut command)? + &peer(part)?,
        };
        let value = parse(&text).with_context(|| format!("{} printed {text}", part.example))?;
        std::fs::write(
            kept.join(format!("{}.json", part.name)),
            format!("{}\n", serde_json::to_string_pretty(&value)?),
        )?;
    }
    write_results()
}

/// Measures a part's peer, right after it.
fn peer(part: &Part) -> anyhow::Result<String> {
    let examples = binary("release", "examples")?;
    match part.peer {
        Peer::None | Peer::Engines | Peer::Crawlers => Ok(String::new()),
        Peer::Redis => output(&mut std::process::Command::new(examples.join("redis_peer"))),
        Peer::Moto => {
            let moto = Moto::start()?;
            output(std::process::Command::new(examples.join(part.example)).args(["--peer", &moto.address]))
        }
    }
}

/// moto's server, which ends with this.
struct Moto {
    child: std::process::Child,
    address: String,
}

impl Moto {
    fn start() -> anyhow::Result<Self> {
        let python = crate::python::peers()?;
        // The system gives a port, and the server takes it a moment later.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("find a port")?;
        let address = listener.local_addr().context("find a port")?;
        drop(listener);
        let child = std::process::Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .context("start moto's server")?;
        let moto = Self { child, address: address.to_string() };
        for _ in 0..MOTO_TRIES {
            if std::net::TcpStream::connect(address).is_ok() {
                return Ok(moto);
            }
            std::thread::park_timeout(MOTO_PAUSE);
        }
        bail!("moto's server does not answer at {address}")
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what a part printed: one JSON object, or several, each with its name in `bench`; or lines for people.
fn parse(text: &str) -> anyhow::Result<Value> {
    if !text.starts_with('{') {
        return Ok(Value::String(text.trim_end().to_owned()));
    }
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        values.push(value?);
    }
    if values.len() == 1 {
        return Ok(values.remove(0));
    }
    let mut named = serde_json::Map::new();
    for mut value in values {
        // What has no name is said beside the figures, such as what the machine can do.
        let Some(name) = value["bench"].as_str().map(str::to_owned) else { continue };
        let of = value["of"].as_str().map(|of| format!("{name} ({of})"));
        let name = of.unwrap_or(name);
        if let Value::Object(fields) = &mut value {
            fields.remove("bench");
            fields.remove("of");
        }
        named.insert(name, value);
    }
    Ok(Value::Object(named))
}

fn write_results() -> anyhow::Result<()> {
    let mut text = String::from(
        "# Figures\n\nWritten by `cargo xtask bench`; each part alone by `cargo xtask bench NAME`. Floors and peers ran in the same run, on the\n\
         same machine. What they mean, and what was tried: [NOTES.md](NOTES.md).\n\n",
    );
    writeln!(text, "Machine: {}\n", machine())?;
    for part in PARTS {
        let path = root().join("bench/parts").join(format!("{}.json", part.name));
        let Ok(json) = std::fs::read_to_string(&path) else { continue };
        let value: Value = serde_json::from_str(&json).with_context(|| format!("read {}", path.display()))?;
        writeln!(text, "## {}\n`cargo xtask bench {}` (`{}`)\n", part.title, part.name, part.source())?;
        match &value {
            Value::String(lines) => writeln!(text, "```text\n{lines}\n```")?,
            value => {
                writeln!(text, "| figure | value |\n| --- | ---: |")?;
                rows(&mut text, "", value)?;
            }
        }
        writeln!(text)?;
    }
    std::fs::write(root().join("bench/RESULTS.md"), text).context("write bench/RESULTS.md")
}

fn rows(out: &mut String, prefix: &str, value: &Value) -> std::fmt::Result {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('_', " ");
                rows(out, &if prefix.is_empty() { name } else { format!("{prefix}: {name}") }, value)?;
            }
            Ok(())
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                rows(out, &format!("{prefix} {}", index + 1), value)?;
            }
            Ok(())
        }
        Value::Number(number) => writeln!(out, "| {prefix} | {} |", shown(number.as_f64().unwrap_or_default())),
        Value::String(text) => writeln!(out, "| {prefix} | {text} |"),
        other => writeln!(out, "| {prefix} | {other} |"),
    }
}

/// Three digits that matter.
fn shown(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 || number.fract() == 0.0 => {
            let digits = format!("{number:.0}");
            let (sign, digits) = digits.split_at(usize::from(digits.starts_with('-')));
            let grouped: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|chunk| std::str::from_utf8(chunk).unwrap_or_default())
                .collect();
            format!("{sign}{}", grouped.join(","))
        }
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.3}"),
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        memory.lines().next().and_then(|line| line.split_whitespace().nth(1)).and_then(|kb| kb.parse::<u64>().ok());
    format!(
        "{cores} cores ({}), {} GB of memory, shared",
        model.unwrap_or("unknown"),
        memory.unwrap_or_default() / 1_000_000
    )
}

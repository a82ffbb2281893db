//! The built programs, started and asked from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Result, TOKEN};

/// How often is asked whether something has come true. Rarely: an answer costs the one that is measured.
const EVERY: Duration = Duration::from_millis(100);

/// A program that ends with this. What it prints later has a reader, though nobody looks at it.
pub(crate) struct Process(Child, #[expect(dead_code, reason = "is kept open")] BufReader<std::process::ChildStdout>);

impl Process {
    /// Starts a program, and returns the first line that it prints.
    fn start(command: &mut Command) -> Result<(Self, String)> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut reader = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        Ok((Self(child, reader), line))
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        (ticks(11) + ticks(12)) / 100.0
    }

    /// A field of `/proc/PID/status`, in MiB.
    pub(crate) fn memory(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The fleet's vendor.
pub(crate) struct Vendor {
    pub(crate) process: Process,
    /// Where it takes calls.
    pub(crate) address: String,
    control: String,
    /// The calls of a full crawl.
    pub(crate) calls: u64,
    /// The readings of the fleet.
    pub(crate) readings: u64,
}

impl Vendor {
    pub(crate) fn start(binary: &Path, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["--listen", "127.0.0.1:0", "--token", TOKEN]).args(options);
        let (process, line) = Process::start(&mut command)?;
        let mut addresses = line.split("http://").skip(1).filter_map(|rest| rest.split([',', '\n']).next());
        let (Some(address), Some(control)) = (addresses.next(), addresses.next()) else {
            return Err(format!("{} printed {line}", binary.display()).into());
        };
        let (address, control) = (address.to_owned(), control.to_owned());
        let census = request(&control, "GET", "/_vendor/census", "")?;
        let readings = census["of"]["readings"].as_u64().ok_or("no census")?;
        Ok(Self { process, address, control, calls: census["calls"].as_u64().ok_or("no census")?, readings })
    }

    /// What all calls so far were like, against a limit of so many a second.
    pub(crate) fn stats(&self, rate: u64) -> Result<Value> {
        Ok(request(&self.control, "GET", &format!("/_vendor/stats?rate={rate}"), "")?["of"].clone())
    }
}

/// A weir that runs.
pub(crate) struct Weir {
    pub(crate) process: Process,
    address: String,
}

impl Weir {
    pub(crate) fn start(binary: &Path, project: &Path, data: &Path) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg("up").arg(project).arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]);
        command.env("WEIR_SECRET_FLEET_TOKEN", TOKEN);
        let (process, line) = Process::start(&mut command)?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
        let address = address.ok_or_else(|| format!("weir did not start: try `weir check {}`", project.display()))?;
        Ok(Self { process, address })
    }

    pub(crate) fn run(&self, crawl: &str) -> Result<()> {
        request(&self.address, "POST", &format!("/v1/crawls/{crawl}/runs"), "{}").map(drop)
    }

    pub(crate) fn crawl(&self, name: &str) -> Result<Value> {
        request(&self.address, "GET", &format!("/v1/crawls/{name}"), "")
    }

    /// Waits until the crawl's only run is over, and has failed in nothing.
    pub(crate) fn complete(&self, name: &str, limit: Duration) -> Result<()> {
        let last = wait(limit, "the run is over", || {
            let now = self.crawl(name)?;
            Ok((now["current"].is_null() && !now["last"].is_null()).then(|| now["last"].clone()))
        })?;
        if last["state"] == "complete" { Ok(()) } else { Err(format!("the run is {last}").into()) }
    }

    /// The first row.
    pub(crate) fn query(&self, sql: &str) -> Result<Value> {
        request(&self.address, "POST", "/v1/query", sql)
    }

    pub(crate) fn end(mut self) -> Result<()> {
        Command::new("kill").arg(self.process.0.id().to_string()).status()?;
        self.process.0.wait()?;
        Ok(())
    }

    /// As a crash would.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.0.kill()?;
        self.process.0.wait()?;
        Ok(())
    }
}

/// A request over a connection of its own, and the JSON of its answer's first line.
pub(crate) fn request(address: &str, method: &str, path: &str, body: &str) -> Result<Value> {
    let kind = if path == "/v1/query" { "text/plain" } else { "application/json" };
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("{path}: no answer"))?;
    if !head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
        return Err(format!("{method} {path}: {text}").into());
    }
    Ok(serde_json::from_str(body.lines().next().unwrap_or("null"))?)
}

/// Asks until there is an answer.
pub(crate) fn wait<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        if began.elapsed() > limit {
            return Err(format!("after {} s: {what}", limit.as_secs()).into());
        }
        std::thread::sleep(EVERY);
    }
}

/// A number of a report; zero where there is none.
pub(crate) fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or_default()
}

//! Measures crawls of a built `weir` against the fleet's vendor, from outside, beside floors and peers in the same run.
//!
//! ```text
//! crawl_bench WEIR FLEET_VENDOR [--quick] [--peers PYTHON CRAWL_PEER_PY] [at_once] [waiting] [budget]
//! ```
//!
//! - `at_once`: a vendor that answers at once, no budget: calls a second with durable tasks. The floor is the same calls by weir's own
//!   transport, as many at once, without tasks, rows or a log, in the same run.
//! - `waiting`: a million tasks that wait: what they take of memory, and how long a start behind kill -9 takes.
//! - `budget`: 65,000 calls at 500 a second, by weir and its peers: seconds by the vendor's own log, from the first call to the last.
//!
//! Prints JSON. The vendor and whatever calls it share the machine: what each costs is told as well.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod floor;
mod outside;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_vendor::Shape;

use self::outside::{Weir, wait};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SEED: u64 = 7;
const TOKEN: &str = "fleet-token";
/// Calls under way at once, of weir, its floor and its peers.
const CONCURRENCY: usize = 64;
/// Calls a second, where there is a budget.
const RATE: u64 = 500;
const READING: &str = include_str!("../../../reading.avsc");
const FLEET: &str = include_str!("../../../weir.hcl");

const LOT: &str = r#"
crawl "lot" {
  api = api.fleet
  resource "item" {
    path          = "/lots/lot/COUNT"
    data_selector = "items"
    paginator "offset" { limit = 10000 }
  }
  resource "value" {
    path = "/lots/lot/items/{resources.item.id}"
  }
}
"#;

struct Bench {
    weir: PathBuf,
    vendor: PathBuf,
    peers: Option<(PathBuf, PathBuf)>,
    root: PathBuf,
    quick: bool,
}

impl Bench {
    fn size(&self) -> u64 {
        if self.quick { 3_000 } else { 65_000 }
    }

    fn vendor(&self, options: &[&str]) -> Result<outside::Vendor> {
        let size = self.size().to_string();
        let seed = SEED.to_string();
        outside::Vendor::start(&self.vendor, &[&["--size", &size, "--seed", &seed], options].concat())
    }

    /// A project that calls a vendor within a budget.
    fn project(&self, name: &str, vendor: &outside::Vendor, budget: &str, crawl: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        let api = format!(
            "api \"fleet\" {{\n  base_url = \"http://{}/v1\"\n  auth = bearer(secret(\"FLEET_TOKEN\"))\n  budget {{\n{budget}\n  }}\n}}\n",
            vendor.address
        );
        std::fs::write(folder.join("weir.hcl"), format!("{api}{crawl}"))?;
        std::fs::write(folder.join("reading.avsc"), READING)?;
        Ok(folder)
    }

    /// The example's crawl and table, without its account.
    fn fleet() -> Result<&'static str> {
        FLEET.find("crawl \"fleet\"").and_then(|at| FLEET.get(at..)).ok_or_else(|| "the example has no crawl".into())
    }

    /// A full crawl by weir, and what it cost.
    fn crawl(&self, name: &str, options: &[&str], budget: &str) -> Result<Value> {
        let vendor = self.vendor(options)?;
        let project = self.project(name, &vendor, budget, Self::fleet()?)?;
        let data = self.root.join(format!("{name}-data"));
        let weir = Weir::start(&self.weir, &project, &data)?;
        let (cpu, vendor_cpu) = (weir.process.cpu(), vendor.process.cpu());
        let began = Instant::now();
        weir.run("fleet")?;
        weir.complete("fleet", Duration::from_secs(900))?;
        let complete = began.elapsed().as_secs_f64();
        let stats = vendor.stats(RATE)?;
        let (calls, seconds) = (outside::number(&stats, "calls"), outside::number(&stats, "seconds"));
        let memory = weir.process.memory("VmHWM");
        let cpu = weir.process.cpu() - cpu;
        let vendor_cpu = vendor.process.cpu() - vendor_cpu;
        // The run's rows are the fleet's, each once: else its speed is worth nothing.
        let readings = wait(Duration::from_secs(120), "all readings are in the table", || {
            let found = weir.query("select count(*) as n, count(distinct id) as ids from readings")?;
            Ok((found["n"] == found["ids"] && found["n"] == vendor.readings).then(|| found["n"].clone()))
        })?;
        weir.end()?;
        std::fs::remove_dir_all(&data)?;
        Ok(json!({
            "calls": calls, "seconds": seconds, "seconds_until_complete": complete, "calls_per_s": calls / seconds,
            "readings": readings, "cpu_seconds": cpu, "calls_per_cpu_s": calls / cpu, "memory_peak_mb": memory,
            "throttled": stats["by_status"]["429"].as_u64().unwrap_or_default(), "repeated": stats["repeated"],
            "vendor_cpu_seconds": vendor_cpu, "vendor_calls_per_cpu_s": calls / vendor_cpu,
        }))
    }

    fn at_once(&self) -> Result<Value> {
        let rounds = if self.quick { 1 } else { 3 };
        let (mut floors, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let vendor = self.vendor(&[])?;
            floors.push(floor::run(&vendor, &Shape::of_calls(SEED, self.size()))?);
            drop(vendor);
            let budget = format!("    rate = \"unlimited\"\n    concurrency = {CONCURRENCY}");
            ours.push(self.crawl("at-once", &[], &budget)?);
        }
        let (floor, ours) = (middle(floors), middle(ours));
        let ratio = outside::number(&ours, "calls_per_s") / outside::number(&floor, "calls_per_s");
        Ok(json!({ "rounds": rounds, "floor": floor, "weir": ours, "ratio_to_floor": ratio }))
    }

    fn waiting(&self) -> Result<Value> {
        let least: u64 = if self.quick { 50_000 } else { 1_000_000 };
        let vendor = self.vendor(&[])?;
        // A fifth more, since some are called before all are listed: a list's next page waits behind what is leased.
        let crawl = LOT.replace("COUNT", &(least / 10 * 12).to_string());
        let budget = "    rate = \"1000/s\"";
        let project = self.project("waiting", &vendor, budget, &crawl)?;
        let data = self.root.join("waiting-data");
        let weir = Weir::start(&self.weir, &project, &data)?;
        let before = weir.process.memory("VmRSS");
        weir.run("lot")?;
        let waiting =
            |weir: &Weir| Ok(weir.crawl("lot")?["current"]["waiting"].as_u64().filter(|waiting| *waiting >= least));
        let found = wait(Duration::from_secs(300), "tasks wait", || waiting(&weir))?;
        let (now, peak) = (weir.process.memory("VmRSS"), weir.process.memory("VmHWM"));
        weir.kill()?;
        let began = Instant::now();
        let weir = Weir::start(&self.weir, &project, &data)?;
        let ready = began.elapsed().as_secs_f64();
        wait(Duration::from_secs(60), "tasks wait again", || waiting(&weir))?;
        let again = weir.process.memory("VmRSS");
        weir.kill()?;
        std::fs::remove_dir_all(&data)?;
        Ok(json!({
            "waiting_tasks": found, "memory_before_mb": before, "memory_mb": now, "memory_peak_mb": peak,
            "memory_after_a_start_mb": again, "start_after_kill_s": ready,
        }))
    }

    fn budget(&self) -> Result<Value> {
        let (rate, burst) = (RATE.to_string(), (RATE / 10).to_string());
        // The vendor has the limit that all were told, and refuses what is above it.
        let options = ["--rate", rate.as_str(), "--burst", burst.as_str()];
        let fair = self.vendor(&[])?.calls as f64 / RATE as f64;
        let budget = format!("    rate = \"{RATE}/s\"\n    burst = {burst}\n    concurrency = {CONCURRENCY}");
        let mut report = json!({ "calls_by_rate_s": fair });
        report["weir"] = self.crawl("budget", &options, &budget)?;
        report["weir"]["seconds_to_calls_by_rate"] = json!(outside::number(&report["weir"], "seconds") / fair);
        for peer in ["dlt", "scrapy"] {
            let Some((python, script)) = &self.peers else { break };
            let vendor = self.vendor(&options)?;
            let folder = self.root.join(peer);
            let mut command = Command::new(python);
            command.arg(script).arg(peer).arg(format!("http://{}", vendor.address));
            command.args([TOKEN, &rate]).arg(&folder);
            let output = command.stderr(std::process::Stdio::inherit()).output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let line = text
                .lines()
                .rev()
                .find(|line| line.starts_with('{'))
                .ok_or_else(|| format!("{peer} printed {text}"))?;
            let told: Value = serde_json::from_str(line)?;
            let stats = vendor.stats(RATE)?;
            let seconds = outside::number(&stats, "seconds");
            report[peer] = json!({
                "version": told["version"], "calls": stats["calls"], "seconds": seconds, "seconds_to_calls_by_rate": seconds / fair,
                "seconds_until_complete": told["seconds"], "readings": told["rows"], "ids": told["ids"],
                "cpu_seconds": told["cpu_seconds"], "memory_peak_mb": told["peak_mib"],
                "throttled": stats["by_status"]["429"].as_u64().unwrap_or_default(), "repeated": stats["repeated"],
                "readings_there_are": vendor.readings,
            });
        }
        Ok(report)
    }
}

/// The round with the median speed.
fn middle(mut rounds: Vec<Value>) -> Value {
    rounds.sort_by(|one, other| outside::number(one, "calls_per_s").total_cmp(&outside::number(other, "calls_per_s")));
    let index = rounds.len() / 2;
    rounds.swap_remove(index)
}

fn main() -> Result<()> {
    let usage = "crawl_bench WEIR FLEET_VENDOR [--quick] [--peers PYTHON CRAWL_PEER_PY] [at_once] [waiting] [budget]";
    let mut args = std::env::args().skip(1);
    let weir = PathBuf::from(args.next().ok_or(usage)?);
    let vendor = PathBuf::from(args.next().ok_or(usage)?);
    let (mut quick, mut peers, mut parts) = (false, None, Vec::new());
    while let Some(word) = args.next() {
        match word.as_str() {
            "--quick" => quick = true,
            "--peers" => peers = args.next().zip(args.next()).map(|(python, script)| (python.into(), script.into())),
            _ => parts.push(word),
        }
    }
    let root = std::env::temp_dir().join(format!("weir-crawl-bench-{}", std::process::id()));
    std::fs::create_dir_all(&root)?;
    let bench = Bench { weir, vendor, peers, root, quick };
    let mut report = json!({});
    let wanted = |name: &str| parts.is_empty() || parts.iter().any(|part| part == name);
    let result = (|| {
        for (name, part) in [
            ("at_once", Bench::at_once as fn(&Bench) -> Result<Value>),
            ("waiting", Bench::waiting),
            ("budget", Bench::budget),
        ] {
            if wanted(name) {
                report[name] = part(&bench)?;
            }
        }
        Ok(())
    })();
    remove(&bench.root);
    result.inspect(|()| println!("{report:#}"))
}

/// What is left of a measurement that failed goes as well.
fn remove(root: &Path) {
    let _ = std::fs::remove_dir_all(root);
}

//! Serves the made-up vendor until it is killed.
//!
//! ```text
//! fleet-vendor --size 5000 --rate 200 --burst 20
//! ```
#![expect(clippy::print_stdout, reason = "its address is what it is asked for")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use weir_env::Env;
use weir_vendor::{Faults, Headers, OutageKind, RetryAfter, Settings, Shape, Vendor};

/// A vendor's rate-limited API of groups, devices, data groups and readings; made up, the same for the same seed.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where it listens; port 0 is any.
    #[arg(long, default_value = "127.0.0.1:4600")]
    listen: SocketAddr,
    /// Where /_vendor/ is served also while the vendor is away.
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// What everything is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many calls a full crawl takes, such as 400, 5000, 25000, 65000; the exact number is printed.
    #[arg(long, default_value_t = 400)]
    size: u64,
    /// Groups, instead of a size.
    #[arg(long)]
    groups: Option<u32>,
    /// Devices of a group, in the mean; with --groups.
    #[arg(long, default_value_t = 20, requires = "groups")]
    devices: u32,
    /// Data groups of a device, in the mean; with --groups.
    #[arg(long, default_value_t = 4, requires = "groups")]
    data_groups: u32,
    /// Readings of a data group, in the mean; with --groups.
    #[arg(long, default_value_t = 4, requires = "groups")]
    readings: u32,
    /// Calls a second; 0 is no limit.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// The most calls at once.
    #[arg(long, default_value_t = 50.0)]
    burst: f64,
    /// How Retry-After is written.
    #[arg(long, default_value = "seconds")]
    retry_after: RetryAfter,
    /// Which headers tell of the limit.
    #[arg(long, default_value = "none")]
    headers: Headers,
    /// Share of calls that are answered with 500 or 502.
    #[arg(long, default_value_t = 0.0)]
    errors: f64,
    /// Share of answers that are cut off.
    #[arg(long, default_value_t = 0.0)]
    cut: f64,
    /// Share of answers that are slow.
    #[arg(long, default_value_t = 0.0)]
    slow: f64,
    /// How long a slow one takes.
    #[arg(long, default_value_t = 2_000)]
    slow_ms: u64,
    /// How long every answer takes.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// From how many calls under way on latency grows with their number.
    #[arg(long)]
    capacity: Option<u32>,
    /// The first outage begins so many seconds after the first call.
    #[arg(long, default_value_t = 0.0)]
    outage_after: f64,
    /// How many seconds it lasts; 0 is none.
    #[arg(long, default_value_t = 0.0)]
    outage: f64,
    /// How it is away.
    #[arg(long, default_value = "refuse")]
    outage_kind: OutageKind,
    /// The bearer token that calls need; empty: none.
    #[arg(long, default_value = "fleet-token")]
    token: String,
    /// The client secret that /oauth/token wants.
    #[arg(long, default_value = "fleet-secret")]
    client_secret: String,
    /// How long a token of /oauth/token holds, in seconds.
    #[arg(long, default_value_t = 3_600.0)]
    token_seconds: f64,
    /// A file that every call is written to: nanoseconds, status (with ! where the answer was cut off), path.
    #[arg(long)]
    log: Option<PathBuf>,
}

impl Options {
    fn shape(&self) -> Shape {
        match self.groups {
            None => Shape::of_calls(self.seed, self.size),
            Some(groups) => Shape {
                devices: self.devices,
                data_groups: self.data_groups,
                readings: self.readings,
                ..Shape::new(self.seed, groups)
            },
        }
    }

    fn settings(self) -> Settings {
        Settings {
            shape: self.shape(),
            listen: self.listen,
            control: self.control,
            rate: self.rate,
            burst: self.burst,
            retry_after: self.retry_after,
            headers: self.headers,
            faults: Faults { errors: self.errors, cut: self.cut, slow: self.slow },
            slow: Duration::from_millis(self.slow_ms),
            latency: Duration::from_millis(self.latency_ms),
            capacity: self.capacity,
            outage_after: Duration::from_secs_f64(self.outage_after),
            outage: Duration::from_secs_f64(self.outage),
            outage_kind: self.outage_kind,
            token: self.token,
            client_secret: self.client_secret,
            token_for: Duration::from_secs_f64(self.token_seconds),
            log: self.log,
        }
    }
}

// One thread: what it answers is measured per core, and the rest of the machine is whoever calls.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings = Options::parse().settings();
    let census = settings.shape.census();
    let vendor = Vendor::new(settings, Env::system())?;
    let listening = vendor.listen().await?;
    println!("the vendor listens at http://{}, and /_vendor/ at http://{}", listening.address, listening.control);
    println!(
        "{} calls for everything: {} groups, {} devices, {} data groups, {} readings",
        census.calls(),
        census.groups,
        census.devices,
        census.data_groups,
        census.readings
    );
    listening.serve().await;
    Ok(())
}

//! `weir tail`: a stream's records as JSON lines.

use clap::Args as ClapArgs;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client::{self, Client, ServerArgs};
use crate::exit::Exit;
use crate::output;

/// How long one request waits for records.
const WAIT: &str = "15s";
const PAGE: usize = 1000;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The stream
    stream: String,
    #[command(flatten)]
    server: ServerArgs,
    /// One shard alone [default: all]
    #[arg(long)]
    shard: Option<u32>,
    /// Where to begin: oldest, newest, a sequence number, or milliseconds since 1970 with `ms` behind
    #[arg(long, default_value = "oldest")]
    from: String,
    /// Go on when the end is reached, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// End after this many records
    #[arg(long, short = 'n')]
    limit: Option<u64>,
    /// Print each record with its shard, sequence number, arrival and schema
    #[arg(long)]
    envelope: bool,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.server)?;
    client::block_on(async {
        let shards = match args.shard {
            Some(shard) => vec![shard],
            None => all_shards(&client, &args.stream).await?,
        };
        let mut left = args.limit.unwrap_or(u64::MAX);
        let mut from: Vec<String> = vec![args.from.clone(); shards.len()];
        loop {
            let mut moved = false;
            for (index, shard) in shards.iter().enumerate() {
                moved |= page(&client, &args, *shard, &mut from[index], &mut left, "0s").await?;
                if left == 0 {
                    return Ok(Exit::Done);
                }
            }
            if !moved {
                if !args.follow {
                    return Ok(Exit::Done);
                }
                wait(&client, &args, &shards, &mut from, &mut left).await?;
                if left == 0 {
                    return Ok(Exit::Done);
                }
            }
        }
    })
}

async fn all_shards(client: &Client, stream: &str) -> anyhow::Result<Vec<u32>> {
    let response = client.send(client.get("/v1/status")).await?;
    let status: Value = serde_json::from_slice(&response.bytes().await?)?;
    let streams = status["streams"].as_array().cloned().unwrap_or_default();
    let found = streams.iter().find(|found| found["name"] == stream);
    match found.and_then(|found| found["shards"].as_array()) {
        Some(shards) => Ok((0..shards.len() as u32).collect()),
        None => {
            let names: Vec<&str> = streams.iter().filter_map(|found| found["name"].as_str()).collect();
            anyhow::bail!("there is no stream `{stream}`; there are: {}", names.join(", "))
        }
    }
}

/// Waits on every shard at once, and goes on with the first that has more.
async fn wait(client: &Client, args: &Args, shards: &[u32], from: &mut [String], left: &mut u64) -> anyhow::Result<()> {
    let waits = shards.iter().zip(from.iter()).map(|(shard, from)| Box::pin(fetch(client, args, *shard, from, WAIT)));
    let (result, index, _) = futures::future::select_all(waits).await;
    show(args, &result?, &mut from[index], left)?;
    Ok(())
}

/// A page as the server sends it, its records' text as it came.
#[derive(Deserialize)]
struct Page {
    records: Vec<Box<RawValue>>,
    next: u64,
}

#[derive(Deserialize)]
struct Record {
    shard: u32,
    sequence: u64,
    value: Option<Box<RawValue>>,
    error: Option<String>,
}

async fn fetch(client: &Client, args: &Args, shard: u32, from: &str, wait: &str) -> anyhow::Result<Page> {
    let path = format!("/v1/streams/{}/records?shard={shard}&from={from}&limit={PAGE}&wait={wait}", args.stream);
    let response = client.send(client.get(&path)).await?;
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

async fn page(
    client: &Client,
    args: &Args,
    shard: u32,
    from: &mut String,
    left: &mut u64,
    wait: &str,
) -> anyhow::Result<bool> {
    let page = fetch(client, args, shard, from, wait).await?;
    show(args, &page, from, left)
}

fn show(args: &Args, page: &Page, from: &mut String, left: &mut u64) -> anyhow::Result<bool> {
    let mut text = String::new();
    for line in &page.records {
        if *left == 0 {
            break;
        }
        *left -= 1;
        if args.envelope {
            text.push_str(&format!("{line}\n"));
            continue;
        }
        let record: Record = serde_json::from_str(line.get())?;
        match (record.value, record.error) {
            (_, Some(error)) => {
                output::note(&format!("record {} of shard {}: {error}", record.sequence, record.shard));
            }
            (Some(value), None) => text.push_str(&format!("{value}\n")),
            (None, None) => text.push_str("null\n"),
        }
    }
    output::data(&text)?;
    *from = page.next.to_string();
    Ok(!page.records.is_empty())
}

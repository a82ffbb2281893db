//! `weir archive`: what a stream's archive has, and whether it is as it was written.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};
use weir_types::ByteSize;

use crate::client::{self, Client, ServerArgs};
use crate::exit::Exit;
use crate::output;

/// Hours of one request: an answer must not keep the client waiting for longer than it waits.
const HOURS_PER_REQUEST: usize = 24;
/// Hours that the server describes at most in one answer.
const HOURS_LISTED: usize = 1000;

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the hours of a stream's archive, the newest last
    List {
        /// The stream
        stream: String,
        /// How many hours
        #[arg(long, short = 'n', default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Find files of a stream's archive that are missing, cut short, changed, or not its own
    Verify {
        /// The stream
        stream: String,
        /// Read every record as well, and compare the sums
        #[arg(long)]
        records: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, ClapArgs)]
struct Common {
    /// From this hour on, such as 2026-11-26T10
    #[arg(long, value_name = "HOUR")]
    from: Option<String>,
    /// Up to and with this hour
    #[arg(long, value_name = "HOUR")]
    to: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Common {
    fn range(&self) -> Vec<(&'static str, String)> {
        let from = self.from.iter().map(|from| ("from", from.clone()));
        from.chain(self.to.iter().map(|to| ("to", to.clone()))).collect()
    }
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::List { stream, limit, common } => list(&stream, limit, &common),
        Command::Verify { stream, records, common } => verify(&stream, records, &common),
    }
}

async fn get(client: &Client, path: &str, query: &[(&'static str, String)]) -> anyhow::Result<Value> {
    let response = client.send(client.get(path).query(query)).await?;
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

fn list(stream: &str, limit: usize, common: &Common) -> anyhow::Result<Exit> {
    let client = Client::new(&common.server)?;
    let mut query = common.range();
    query.push(("limit", limit.to_string()));
    let answer = client::block_on(get(&client, &format!("/v1/streams/{stream}/archive"), &query))?;
    if common.json {
        output::data(&format!("{answer}\n"))?;
    } else {
        output::data(&render(&answer))?;
    }
    Ok(Exit::Done)
}

fn verify(stream: &str, records: bool, common: &Common) -> anyhow::Result<Exit> {
    let client = Client::new(&common.server)?;
    let path = format!("/v1/streams/{stream}/archive");
    let total = client::block_on(async {
        let hours = hours(&client, &path, common).await?;
        let mut total = Total::default();
        for (index, part) in parts(&hours, common).into_iter().enumerate() {
            let mut query = part;
            query.push(("depth", if records { "records" } else { "names" }.to_owned()));
            total.add(&get(&client, &format!("{path}/verify"), &query).await?);
            if output::is_watched() && hours.len() > HOURS_PER_REQUEST {
                output::note(&format!("{} of {} hours", (index + 1) * HOURS_PER_REQUEST, hours.len()));
            }
        }
        Ok(total)
    })?;
    if common.json {
        output::data(&format!("{}\n", total.json(stream)))?;
    } else {
        output::data(&total.render(stream))?;
    }
    Ok(if total.findings.is_empty() { Exit::Done } else { Exit::Damaged })
}

/// Returns the hours that there are, oldest first.
async fn hours(client: &Client, path: &str, common: &Common) -> anyhow::Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    let mut query = common.range();
    query.push(("limit", HOURS_LISTED.to_string()));
    loop {
        let answer = get(client, path, &query).await?;
        let listed = answer["hours"].as_array().into_iter().flatten();
        let mut listed: Vec<String> = listed.map(|hour| text(&hour["hour"])).collect();
        // The next request ends before the first of these.
        let first = listed.first().cloned();
        listed.append(&mut all);
        all = listed;
        let (Some(first), 1..) = (first, answer["earlier"].as_u64().unwrap_or_default()) else { return Ok(all) };
        let before: weir_types::Hour = first.parse()?;
        query.retain(|(name, _)| *name != "to");
        query.push(("to", weir_types::Hour(before.0 - 1).to_string()));
    }
}

/// Cuts the range that is asked for into requests. The first begins where the range does, and the last ends where it does, so that what is
/// missing at either end is found.
fn parts(hours: &[String], common: &Common) -> Vec<Vec<(&'static str, String)>> {
    let chunks: Vec<&[String]> = hours.chunks(HOURS_PER_REQUEST).collect();
    if chunks.is_empty() {
        return vec![common.range()];
    }
    let mut parts = Vec::new();
    for (index, _) in chunks.iter().enumerate() {
        let from = if index == 0 { common.from.clone() } else { chunks[index].first().cloned() };
        let to = match chunks.get(index + 1).and_then(|next| next.first()).and_then(|next| next.parse().ok()) {
            // Up to the hour before the next part: what is missing between the two is found too.
            Some(weir_types::Hour(next)) => Some(weir_types::Hour(next - 1).to_string()),
            None => common.to.clone(),
        };
        parts.push(from.map(|from| ("from", from)).into_iter().chain(to.map(|to| ("to", to))).collect());
    }
    parts
}

/// What all requests found together.
#[derive(Debug, Default)]
struct Total {
    hours: u64,
    files: u64,
    records: u64,
    bytes: u64,
    read: Option<u64>,
    findings: Vec<Value>,
    more: u64,
}

impl Total {
    fn add(&mut self, answer: &Value) {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        self.hours += number(&answer["hours"]);
        self.files += number(&answer["totals"]["files"]);
        self.records += number(&answer["totals"]["records"]["count"]);
        self.bytes += number(&answer["totals"]["bytes"]);
        if let Some(read) = answer["read"]["count"].as_u64() {
            self.read = Some(self.read.unwrap_or_default() + read);
        }
        self.more += number(&answer["more"]);
        for finding in answer["findings"].as_array().into_iter().flatten() {
            // What the node knew at its start is in every answer.
            if !self.findings.contains(finding) {
                self.findings.push(finding.clone());
            }
        }
    }

    fn json(&self, stream: &str) -> Value {
        json!({
            "stream": stream,
            "hours": self.hours,
            "files": self.files,
            "records": self.records,
            "bytes": self.bytes,
            "read": self.read,
            "findings": self.findings,
            "more": self.more,
        })
    }

    fn render(&self, stream: &str) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            out.push_str(&format!("{}\n", text(&finding["text"])));
        }
        if self.more > 0 {
            out.push_str(&format!("and {} more\n", output::count(self.more)));
        }
        let read = match self.read {
            Some(read) => format!(", {} read back", output::count(read)),
            None => String::new(),
        };
        let verdict = if self.findings.is_empty() { "all as it was written" } else { "not as it was written" };
        out.push_str(&format!(
            "archive of {stream}: {verdict}. {} hours, {} files, {} records{read}, {}\n",
            output::count(self.hours),
            output::count(self.files),
            output::count(self.records),
            ByteSize(self.bytes)
        ));
        out
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn render(answer: &Value) -> String {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let hours = answer["hours"].as_array().cloned().unwrap_or_default();
    let rows = hours.iter().map(|hour| {
        let totals = &hour["totals"];
        vec![
            text(&hour["hour"]),
            if hour["closed"].as_bool() == Some(true) { "closed" } else { "open" }.to_owned(),
            output::count(number(&totals["records"]["count"])),
            output::count(number(&totals["files"])),
            ByteSize(number(&totals["bytes"])).to_string(),
            output::count(number(&totals["missing"])),
        ]
    });
    let header = ["hour", "state", "records", "files", "bytes", "missing"];
    let mut out = output::aligned(&header, &[2, 3, 4, 5], rows) + "\n";
    let earlier = number(&answer["earlier"]);
    if earlier > 0 {
        out.push_str(&format!("and {} earlier hours: --limit, --from, --to\n", output::count(earlier)));
    }
    out
}

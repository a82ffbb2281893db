//! `weir demo`: the flights example, in a temporary folder, from nothing to answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use tokio::net::TcpListener;
use weir_env::Env;
use weir_runtime::Node;

use crate::check::{self, VarArgs};
use crate::client::{Client, ServerArgs};
use crate::exit::Exit;
use crate::send::{Sender, Watch};
use crate::telemetry::{self, LogFormat};
use crate::{output, query, serve};

/// The example as it stands in the repository, so that the binary alone can show it.
const FILES: [(&str, &[u8]); 7] = [
    ("weir.hcl", include_bytes!("../../../examples/flights/weir.hcl")),
    ("flight.avsc", include_bytes!("../../../examples/flights/flight.avsc")),
    ("airlines.csv", include_bytes!("../../../examples/flights/airlines.csv")),
    ("airports.csv", include_bytes!("../../../examples/flights/airports.csv")),
    ("planes.csv", include_bytes!("../../../examples/flights/planes.csv")),
    ("README.md", include_bytes!("../../../examples/flights/README.md")),
    (RECORDS, include_bytes!("../../../examples/flights/flights-2013-01.csv.gz")),
];
const RECORDS: &str = "flights-2013-01.csv.gz";

/// The port that `weir up` takes, if it is free.
const PORT: u16 = 4566;

const QUESTIONS: [(&str, &str); 3] = [
    (
        "Which airlines flew most, and how punctual were they?",
        "select airline, count(*) as flights, round(avg(arr_delay), 1) as minutes_late\n\
         from flights group by airline order by flights desc limit 5",
    ),
    (
        "Which days went wrong?",
        "select cast(time_hour as date) as date, count(*) as flights,\n       \
         sum(case when dep_time is null then 1 else 0 end) as cancelled, round(avg(dep_delay), 1) as minutes_late\n\
         from flights group by 1 order by cancelled desc limit 5",
    ),
    (
        "Where do people fly, and in which aircraft?",
        "select dest_name, count(*) as flights, count(distinct model) as models, max(seats) as most_seats\n\
         from flights where dest_name is not null group by dest_name order by flights desc limit 5",
    ),
];

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// End after the answers
    #[arg(long)]
    exit: bool,
    /// Keep everything in this new folder [default: a temporary one, deleted at the end]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    telemetry::start(LogFormat::Text, "error");
    let temporary;
    let folder = match &args.data {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("make folder `{}`", folder.display()))?;
            let mut entries = std::fs::read_dir(folder).with_context(|| format!("list `{}`", folder.display()))?;
            anyhow::ensure!(entries.next().is_none(), "`{}` is not empty: name a new folder", folder.display());
            folder.clone()
        }
        None => {
            temporary = tempfile::Builder::new().prefix("weir-demo-").tempdir().context("make a temporary folder")?;
            temporary.path().to_owned()
        }
    };
    for (name, content) in FILES {
        let path = folder.join(name);
        std::fs::write(&path, content).with_context(|| format!("write `{}`", path.display()))?;
    }
    let data = folder.join(".weir");
    let plan = match check::load(&folder, &VarArgs::default(), &data) {
        Ok(plan) => plan,
        Err(found) => {
            check::show(&found);
            return Ok(Exit::Configuration);
        }
    };
    serve::runtime()?.block_on(async {
        let serving = serve::start(plan, &data, listen().await?).await?;
        let result = show(&serving.node, serving.address, &folder, &args).await;
        let ended = serving.end().await;
        result.and(ended)
    })?;
    Ok(Exit::Done)
}

/// Takes the usual port, or any.
async fn listen() -> anyhow::Result<TcpListener> {
    for port in [PORT, 0] {
        if let Ok(listener) = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
            return Ok(listener);
        }
    }
    anyhow::bail!("no port on this machine can be listened on")
}

async fn show(node: &Node, address: SocketAddr, folder: &Path, args: &Args) -> anyhow::Result<()> {
    let env = Env::system();
    output::note(&format!("weir runs {}/weir.hcl at http://{address}", folder.display()));
    let started = env.elapsed();
    let records = folder.join(RECORDS);
    // The sender blocks on its file now and then, as it may in a process of its own.
    let server = format!("http://{address}");
    let sent = tokio::task::spawn_blocking(move || {
        crate::client::block_on(async {
            let client = Client::new(&ServerArgs { server })?;
            let watch = if output::is_watched() { Watch::shown() } else { Watch::hidden() };
            let sender = Sender::new(client, "flights", None, Duration::from_secs(30));
            let sent = sender.send(&[records], None, &watch).await;
            watch.clear();
            sent
        })
    })
    .await
    .context("send the flights")??;
    let took = env.elapsed() - started;
    output::note(&format!(
        "{} flights of January 2013 sent over HTTP, checked and durable in {:.1} s\n",
        output::count(sent.stored),
        took.as_secs_f64()
    ));
    for (question, sql) in QUESTIONS {
        let started = env.elapsed();
        let answer = node.query(sql).await?;
        let schema = answer.schema();
        let rows = answer.collect().await?;
        let took = env.elapsed() - started;
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let table = query::render(&names, &rows)?;
        output::data(&format!("{question}\n\n{sql}\n\n{} in {} ms\n\n", table.trim_end(), took.as_millis()))?;
    }
    let server = if address.port() == PORT { String::new() } else { format!(" --server http://{address}") };
    let folder = folder.display();
    output::note(&format!(
        "The table is Delta Lake on Parquet, in {folder}/.weir/tables/flights: any engine that reads Delta reads it.\n"
    ));
    if args.exit {
        return Ok(());
    }
    let told = serve::Signals::listen()?;
    output::note(&format!(
        "It keeps running. In another terminal:\n  \
         weir query{server} \"select count(*) from flights\"\n  \
         weir send{server} flights {folder}/{RECORDS}     # again: nothing is doubled\n  \
         weir tail{server} flights -n 3\n  \
         weir status{server}\n\
         Ctrl-C ends it{}.",
        if args.data.is_some() { "" } else { " and deletes its folder" }
    ));
    told.wait().await;
    Ok(())
}

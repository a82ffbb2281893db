//! The project's own tasks: `cargo xtask setup | test | chaos | lint | bench`.

mod bench;
mod bench_compact;
mod handlers;
mod lint;
mod packages;
mod python;
mod run;
mod test;

use anyhow::bail;

const HELP: &str = "cargo xtask <task>

  setup          make the tests' Python environments and compiled handler (pinned, below the user's cache),
                 and install the databases and the proxy that lookups and crawls are tested with
  test           everything: Rust tests, then real clients and foreign readers from Python
  chaos [MINUTES] kill -9, a failing object store, late and repeated events, and a changing schema, for long (default 10)
  lint           fmt, clippy and docs, with warnings denied
  bench [NAME]   measure, and write bench/RESULTS.md (log, schema, function, table, archive, compact,
                 queue, sqs, answers, http, lambda, replay, ledger, rollup, crawl, server; results: write the page alone)
";

fn setup() -> anyhow::Result<()> {
    python::setup()?;
    packages::setup()?;
    handlers::rust().map(drop)
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("setup"), None) => setup(),
        (Some("test"), None) => test::run(),
        (Some("chaos"), minutes) => test::chaos(minutes.as_deref().unwrap_or("10")),
        (Some("lint"), None) => lint::run(),
        (Some("bench"), name) => bench::run(name.as_deref()),
        (None | Some("help" | "--help" | "-h"), _) => {
            run::say(HELP);
            Ok(())
        }
        (Some(task), _) => bail!("unknown task `{task}`\n\n{HELP}"),
    }
}

//! The project's own tasks: `cargo xtask setup | test | lint | bench`.

mod bench;
mod bench_compact;
mod handlers;
mod lint;
mod python;
mod run;
mod test;

use anyhow::bail;

const HELP: &str = "cargo xtask <task>

  setup          make the tests' Python environments and compiled handler (pinned, below the user's cache)
  test           everything: Rust tests, then real clients and foreign readers from Python
  lint           fmt, clippy and docs, with warnings denied
  bench [NAME]   measure, and write bench/RESULTS.md (log, schema, function, table, server;
                 results: write the page alone)
";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("setup"), None) => python::setup().and_then(|_| handlers::rust()).map(drop),
        (Some("test"), None) => test::run(),
        (Some("lint"), None) => lint::run(),
        (Some("bench"), name) => bench::run(name.as_deref()),
        (None | Some("help" | "--help" | "-h"), _) => {
            run::say(HELP);
            Ok(())
        }
        (Some(task), _) => bail!("unknown task `{task}`\n\n{HELP}"),
    }
}

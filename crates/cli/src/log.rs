//! `weir log`: look into a data folder's log, verify it, or repair it.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};
use weir_env::Env;
use weir_log::local::{Certainty, Inspection, Report, inspect, repair, verify};
use weir_types::ByteSize;

use crate::exit::Exit;
use crate::output;

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the logs and the segments
    Inspect(Folder),
    /// Read everything, and name what is damaged
    Verify(Folder),
    /// Keep every frame that still reads, and record what is lost
    Repair(Folder),
}

#[derive(Debug, ClapArgs)]
struct Folder {
    /// The data folder of a server that does not run
    #[arg(long, value_name = "PATH", env = "WEIR_DATA", default_value = ".weir")]
    data: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Folder {
    fn log(&self) -> anyhow::Result<PathBuf> {
        let log = self.data.join("log");
        anyhow::ensure!(
            log.is_dir(),
            "`{}` is no data folder of weir: it has no `log`; name one with --data",
            self.data.display()
        );
        Ok(log)
    }
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        Action::Inspect(folder) => {
            let found = inspect(&folder.log()?)?;
            output::data(&if folder.json {
                format!("{}\n", inspection_json(&found))
            } else {
                inspection_text(&found)
            })?;
            Ok(Exit::Done)
        }
        Action::Verify(folder) => {
            let report = verify(&folder.log()?)?;
            tell(&folder, &report)?;
            Ok(if report.is_clean() { Exit::Done } else { Exit::Damaged })
        }
        Action::Repair(folder) => {
            let report = repair(&folder.log()?, &Env::system())?;
            tell(&folder, &report)?;
            Ok(Exit::Done)
        }
    }
}

fn tell(folder: &Folder, report: &Report) -> anyhow::Result<()> {
    output::data(&if folder.json { format!("{}\n", report_json(report)) } else { report_text(report) })
}

fn path(path: &Path) -> Value {
    json!(path.display().to_string())
}

fn report_json(report: &Report) -> Value {
    json!({
        "segments": report.segments,
        "bytes": report.bytes,
        "frames": report.frames,
        "torn_bytes": report.torn_bytes,
        "damages": report.damages.iter().map(|damage| json!({
            "path": path(&damage.path), "offset": damage.offset, "bytes": damage.bytes, "what": damage.what,
        })).collect::<Vec<_>>(),
        "losses": report.losses.iter().map(|loss| json!({
            "log": loss.log.as_str(), "from": loss.from, "to": loss.to,
            "certain": loss.certainty == Certainty::Certain,
        })).collect::<Vec<_>>(),
        "kept_copies": report.kept_copies.iter().map(|kept| path(kept)).collect::<Vec<_>>(),
    })
}

fn report_text(report: &Report) -> String {
    let mut text = format!(
        "{} segments, {}, {} frames read\n",
        report.segments,
        ByteSize(report.bytes),
        output::count(report.frames)
    );
    if report.torn_bytes > 0 {
        text.push_str(&format!("{} bytes of an append that a crash cut short; no damage\n", report.torn_bytes));
    }
    for damage in &report.damages {
        text.push_str(&format!(
            "damaged: {} at offset {}, {} bytes: {}\n",
            damage.path.display(),
            damage.offset,
            damage.bytes,
            damage.what
        ));
    }
    for loss in &report.losses {
        let what = match loss.certainty {
            Certainty::Certain => "lost",
            Certainty::Possible => "perhaps lost",
        };
        text.push_str(&format!("{what}: log {} from record {} up to {}\n", loss.log, loss.from, loss.to));
    }
    for kept in &report.kept_copies {
        text.push_str(&format!("kept as it was: {}\n", kept.display()));
    }
    if report.damages.is_empty() && report.losses.is_empty() {
        text.push_str("everything that was acknowledged reads well\n");
    }
    text
}

fn inspection_json(found: &Inspection) -> Value {
    json!({
        "logs": found.logs.iter().map(|log| json!({
            "name": log.name.as_str(), "head": log.head, "tail": log.tail, "bytes": log.bytes,
        })).collect::<Vec<_>>(),
        "segments": found.segments.iter().map(|segment| json!({
            "name": segment.name, "bytes": segment.bytes, "live_bytes": segment.live_bytes,
        })).collect::<Vec<_>>(),
    })
}

fn inspection_text(found: &Inspection) -> String {
    let logs = found.logs.iter().map(|log| {
        let records = log.tail.since(log.head);
        vec![
            log.name.to_string(),
            log.head.to_string(),
            log.tail.to_string(),
            output::count(records),
            ByteSize(log.bytes).to_string(),
        ]
    });
    let segments = found.segments.iter().map(|segment| {
        vec![segment.name.clone(), ByteSize(segment.bytes).to_string(), ByteSize(segment.live_bytes).to_string()]
    });
    format!(
        "{}\n{}\n",
        output::table(&["log", "head", "tail", "records", "bytes"], logs),
        output::table(&["segment", "bytes", "live"], segments)
    )
}

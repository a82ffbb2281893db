//! Compaction beside DuckDB and Polars: the same files, one after the other, in one run.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};

use crate::python;
use crate::run::{output, root, say};

/// Rows that all three compact: 1 GB in 200 files.
const ROWS: u64 = 5_000_000;
/// Rows that weir alone compacts, in as much memory: is its cost linear?
const MORE_ROWS: u64 = 20_000_000;
/// What peers promise: the first row of an id, as weir does, and any, which is less work.
const KEEPS: [&str; 2] = ["first", "any"];

/// Measures all, and returns what was printed, as one JSON object.
pub fn run(example: &Path) -> anyhow::Result<String> {
    let python = python::readers()?;
    let folder = Folder::new()?;
    let mut report = json!({ "files": make(example, &folder, ROWS)? });
    say("compacting with weir");
    report["weir"] = read(Command::new(example).arg("run").arg(&folder.0))?;
    for engine in ["duckdb", "polars"] {
        for keeps in KEEPS {
            say(&format!("compacting with {engine}, which keeps {keeps}"));
            let mut command = Command::new(&python);
            command.arg(root().join("bench/compact_peer.py")).arg(engine).arg(&folder.0).arg(keeps);
            report[format!("{engine} (keeps {keeps})")] = read(&mut command)?;
        }
    }
    drop(folder);
    let folder = Folder::new()?;
    let files = make(example, &folder, MORE_ROWS)?;
    say("compacting more with weir");
    report["more"] = json!({ "files": files, "weir": read(Command::new(example).arg("run").arg(&folder.0))? });
    Ok(report.to_string())
}

fn make(example: &Path, folder: &Folder, rows: u64) -> anyhow::Result<Value> {
    say(&format!("making {rows} rows"));
    read(Command::new(example).arg("make").arg(&folder.0).arg(rows.to_string()))
}

fn read(command: &mut Command) -> anyhow::Result<Value> {
    let text = output(command)?;
    serde_json::from_str(&text).with_context(|| format!("read {text}"))
}

/// A folder that goes with this.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = root().join("target/bench-compact");
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

//! Measures what has a number to reach, and keeps the last figures in `bench/RESULTS.md`.
//!
//! Each part is an example of the crate that it measures, prints JSON, and runs beside its floor. `bench/parts/` keeps the
//! JSON of the last run of each part, and RESULTS.md is written from all of them.

use std::fmt::Write;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::run::{binary, cargo, check, output, root, say};

struct Part {
    name: &'static str,
    package: &'static str,
    example: &'static str,
    title: &'static str,
}

const PARTS: [Part; 5] = [
    Part { name: "log", package: "weir-log", example: "log_bench", title: "The local log" },
    Part { name: "schema", package: "weir-schema", example: "schema_bench", title: "Records to Avro and to columns" },
    Part { name: "function", package: "weir-function", example: "function_bench", title: "SQL functions" },
    Part { name: "table", package: "weir-table", example: "table_bench", title: "Tables" },
    Part { name: "server", package: "weir-server", example: "server_bench", title: "The built server, from outside" },
];

/// Runs one part, or all, and writes the results; `results` writes them alone, from the parts' last runs.
pub fn run(name: Option<&str>) -> anyhow::Result<()> {
    if name == Some("results") {
        return write_results();
    }
    let parts: Vec<&Part> = PARTS.iter().filter(|part| name.is_none_or(|name| name == part.name)).collect();
    if parts.is_empty() {
        bail!("there is no part `{}`: {}", name.unwrap_or_default(), PARTS.map(|part| part.name).join(", "));
    }
    let kept = root().join("bench/parts");
    std::fs::create_dir_all(&kept).context("make bench/parts")?;
    check(cargo().args(["build", "--release", "--workspace", "--bins", "--examples"]))?;
    let weir = binary("release", "weir")?;
    for part in parts {
        say(&format!("measuring {}", part.name));
        let mut command = std::process::Command::new(binary("release", "examples")?.join(part.example));
        if part.name == "server" {
            command.arg(&weir);
        }
        let text = output(&mut command)?;
        let value = parse(&text).with_context(|| format!("{} printed {text}", part.example))?;
        std::fs::write(
            kept.join(format!("{}.json", part.name)),
            format!("{}\n", serde_json::to_string_pretty(&value)?),
        )?;
    }
    write_results()
}

/// Reads what a part printed: one JSON object, or several, each with its name in `bench`; or lines for people.
fn parse(text: &str) -> anyhow::Result<Value> {
    if !text.starts_with('{') {
        return Ok(Value::String(text.trim_end().to_owned()));
    }
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        values.push(value?);
    }
    if values.len() == 1 {
        return Ok(values.remove(0));
    }
    let mut named = serde_json::Map::new();
    for mut value in values {
        let name = value["bench"].as_str().unwrap_or("figures").to_owned();
        if let Value::Object(fields) = &mut value {
            fields.remove("bench");
        }
        named.insert(name, value);
    }
    Ok(Value::Object(named))
}

fn write_results() -> anyhow::Result<()> {
    let mut text = String::from(
        "# Figures\n\nWritten by `cargo xtask bench`; each part alone by `cargo xtask bench NAME`. Floors and peers ran in the same run, on the\n\
         same machine. What they mean, and what was tried: [NOTES.md](NOTES.md).\n\n",
    );
    writeln!(text, "Machine: {}\n", machine())?;
    for part in &PARTS {
        let path = root().join("bench/parts").join(format!("{}.json", part.name));
        let Ok(json) = std::fs::read_to_string(&path) else { continue };
        let value: Value = serde_json::from_str(&json).with_context(|| format!("read {}", path.display()))?;
        writeln!(
            text,
            "## {}\n`cargo xtask bench {}` (`crates/{}/examples/{}.rs`)\n",
            part.title,
            part.name,
            &part.package[5..],
            part.example
        )?;
        match &value {
            Value::String(lines) => writeln!(text, "```text\n{lines}\n```")?,
            value => {
                writeln!(text, "| figure | value |\n| --- | ---: |")?;
                rows(&mut text, "", value)?;
            }
        }
        writeln!(text)?;
    }
    std::fs::write(root().join("bench/RESULTS.md"), text).context("write bench/RESULTS.md")
}

fn rows(out: &mut String, prefix: &str, value: &Value) -> std::fmt::Result {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('_', " ");
                rows(out, &if prefix.is_empty() { name } else { format!("{prefix}: {name}") }, value)?;
            }
            Ok(())
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                rows(out, &format!("{prefix} {}", index + 1), value)?;
            }
            Ok(())
        }
        Value::Number(number) => writeln!(out, "| {prefix} | {} |", shown(number.as_f64().unwrap_or_default())),
        Value::String(text) => writeln!(out, "| {prefix} | {text} |"),
        other => writeln!(out, "| {prefix} | {other} |"),
    }
}

/// Three digits that matter.
fn shown(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 || number.fract() == 0.0 => {
            let digits = format!("{number:.0}");
            let (sign, digits) = digits.split_at(usize::from(digits.starts_with('-')));
            let grouped: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|chunk| std::str::from_utf8(chunk).unwrap_or_default())
                .collect();
            format!("{sign}{}", grouped.join(","))
        }
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.3}"),
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        memory.lines().next().and_then(|line| line.split_whitespace().nth(1)).and_then(|kb| kb.parse::<u64>().ok());
    format!(
        "{cores} cores ({}), {} GB of memory, shared",
        model.unwrap_or("unknown"),
        memory.unwrap_or_default() / 1_000_000
    )
}

//! Everything that must hold.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::run::{binary, cargo, check, command};
use crate::{handlers, packages, python};

/// Runs the Rust tests, then those that talk to the built binary with real clients and foreign readers.
pub fn run() -> anyhow::Result<()> {
    let pythons = python::setup()?;
    packages::setup()?;
    let compiled = handlers::rust()?;
    // This builds the binary as well, since the CLI's tests run it.
    check(cargo().args(["test", "--workspace", "--quiet"]))?;
    let weir = binary("debug", "weir")?;
    pytest(&pythons.main, "tests/foreign", &weir, &compiled)?;
    pytest(&pythons.query, "tests/foreign/test_sqs.py", &weir, &compiled)
}

/// Runs the chaos test for some minutes, on an optimised build. Its seed is printed.
pub fn chaos(minutes: &str) -> anyhow::Result<()> {
    let minutes: f64 = minutes.parse().with_context(|| format!("`{minutes}` is no number of minutes"))?;
    let pythons = python::setup()?;
    check(cargo().args(["build", "--release", "--workspace", "--bins", "--examples"]))?;
    let weir = binary("release", "weir")?;
    let mut run = tests_of(&pythons.main, "tests/foreign/test_chaos.py", &weir);
    check(run.arg("-s").env("WEIR_CHAOS_SECONDS", (minutes * 60.0).to_string()))
}

fn pytest(python: &Path, tests: &str, weir: &Path, compiled: &Path) -> anyhow::Result<()> {
    check(tests_of(python, tests, weir).env("WEIR_COMPILED_HANDLER", compiled))
}

fn tests_of(python: &Path, tests: &str, weir: &Path) -> Command {
    let mut run = command(python);
    run.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "tmp_path_retention_policy=none", tests])
        .env("WEIR", weir)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    run
}

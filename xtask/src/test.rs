//! Everything that must hold.

use std::path::Path;

use crate::run::{binary, cargo, check, command};
use crate::{databases, handlers, python};

/// Runs the Rust tests, then those that talk to the built binary with real clients and foreign readers.
pub fn run() -> anyhow::Result<()> {
    let pythons = python::setup()?;
    databases::setup()?;
    let compiled = handlers::rust()?;
    // This builds the binary as well, since the CLI's tests run it.
    check(cargo().args(["test", "--workspace", "--quiet"]))?;
    let weir = binary("debug", "weir")?;
    pytest(&pythons.main, "tests/foreign", &weir, &compiled)?;
    pytest(&pythons.query, "tests/foreign/test_sqs.py", &weir, &compiled)
}

fn pytest(python: &Path, tests: &str, weir: &Path, compiled: &Path) -> anyhow::Result<()> {
    check(
        command(python)
            .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "tmp_path_retention_policy=none", tests])
            .env("WEIR", weir)
            .env("WEIR_COMPILED_HANDLER", compiled)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}

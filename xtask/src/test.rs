//! Everything that must hold.

use crate::python;
use crate::run::{binary, cargo, check, command};

/// Runs the Rust tests, then those that talk to the built binary with real clients and foreign readers.
pub fn run() -> anyhow::Result<()> {
    let python = python::setup()?;
    // This builds the binary as well, since the CLI's tests run it.
    check(cargo().args(["test", "--workspace", "--quiet"]))?;
    check(
        command(python)
            .args([
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "-o",
                "tmp_path_retention_policy=none",
                "tests/foreign",
            ])
            .env("WEIR", binary("debug", "weir")?)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}

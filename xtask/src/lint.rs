//! What must hold of the text itself.

use crate::run::{cargo, check};

/// Runs fmt, clippy and rustdoc, with warnings denied.
pub fn run() -> anyhow::Result<()> {
    check(cargo().args(["fmt", "--all", "--check"]))?;
    check(cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    check(cargo().args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
}

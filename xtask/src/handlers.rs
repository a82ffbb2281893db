//! The tests' compiled handler: a program on AWS's own `lambda_runtime`, pinned by a lock file of its own.
//!
//! It is no member of the workspace: what it depends on is nobody's business here.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::Context;

use crate::python::cache;
use crate::run::{cargo, check, root, say};

const FOLDER: &str = "tests/foreign/handlers/rust";
const SOURCES: [&str; 3] = ["Cargo.toml", "Cargo.lock", "src/main.rs"];

/// Builds the handler if it is not there, and returns the folder that holds its `bootstrap` and nothing else.
///
/// It lies below the user's cache, under a name that its sources decide.
pub fn rust() -> anyhow::Result<PathBuf> {
    let folder = root().join(FOLDER);
    let mut hasher = DefaultHasher::new();
    for name in SOURCES {
        let path = folder.join(name);
        std::fs::read(&path).with_context(|| format!("read {}", path.display()))?.hash(&mut hasher);
    }
    let code = cache()?.join(format!("handler-rust-{:016x}", hasher.finish()));
    if code.join("bootstrap").exists() {
        return Ok(code);
    }
    say(&format!("building {FOLDER} into {}", code.display()));
    let target = cache()?.join("handler-rust-target");
    let manifest = folder.join("Cargo.toml");
    let build = ["build", "--release", "--locked", "--quiet", "--manifest-path"];
    check(cargo().args(build).arg(&manifest).arg("--target-dir").arg(&target))?;
    std::fs::create_dir_all(&code).with_context(|| format!("make {}", code.display()))?;
    // Under another name first: what is there is whole.
    let built = code.join(".bootstrap");
    std::fs::copy(target.join("release/bootstrap"), &built).context("copy the handler")?;
    std::fs::rename(&built, code.join("bootstrap")).context("name the handler")?;
    Ok(code)
}

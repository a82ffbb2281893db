//! The tests' Python environment: readers and clients that nobody here wrote, pinned.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::Context;

use crate::run::{check, command, root, say};

const REQUIREMENTS: &str = "tests/foreign/requirements.txt";

/// Makes the environment if it is not there, and returns its Python.
///
/// It lies below the user's cache, under a name that the requirements decide: a change of them makes a new one.
pub fn setup() -> anyhow::Result<PathBuf> {
    let requirements = root().join(REQUIREMENTS);
    let text = std::fs::read_to_string(&requirements).with_context(|| format!("read {REQUIREMENTS}"))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let folder = cache()?.join(format!("python-{:016x}", hasher.finish()));
    let python = folder.join("bin/python");
    let done = folder.join("done");
    if done.exists() {
        return Ok(python);
    }
    say(&format!("making the tests' Python environment in {}", folder.display()));
    check(command("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    check(
        command(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )?;
    std::fs::write(&done, "").context("mark the environment as done")?;
    Ok(python)
}

fn cache() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    let folder = base.join("weir");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

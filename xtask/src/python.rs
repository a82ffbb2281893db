//! The tests' Python environments: readers and clients that nobody here wrote, pinned.
//!
//! There are two, since one client can't be there in two versions: an older boto3 speaks another of SQS's protocols.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::Context;

use crate::run::{check, command, root, say};

/// What most tests run in.
const MAIN: &str = "tests/foreign/requirements.txt";
/// What the tests of SQS's query protocol run in.
const QUERY: &str = "tests/foreign/requirements-query.txt";

/// What benchmarks measure beside weir.
const PEERS: &str = "bench/requirements.txt";

/// The Python of each environment.
pub struct Pythons {
    /// Of most tests.
    pub main: PathBuf,
    /// Of the tests of SQS's query protocol.
    pub query: PathBuf,
}

/// Makes the environments that are not there, and returns their Pythons.
pub fn setup() -> anyhow::Result<Pythons> {
    Ok(Pythons { main: environment(MAIN)?, query: environment(QUERY)? })
}

/// Makes the environment of readers that nobody here wrote, and returns its Python.
pub fn readers() -> anyhow::Result<PathBuf> {
    environment(MAIN)
}

/// Makes the environment of the peers that benchmarks measure, and returns its Python.
pub fn peers() -> anyhow::Result<PathBuf> {
    environment(PEERS)
}

/// Makes an environment if it is not there, and returns its Python.
///
/// It lies below the user's cache, under a name that the requirements decide: a change of them makes a new one.
fn environment(path: &str) -> anyhow::Result<PathBuf> {
    let requirements = root().join(path);
    let text = std::fs::read_to_string(&requirements).with_context(|| format!("read {path}"))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let folder = cache()?.join(format!("python-{:016x}", hasher.finish()));
    let python = folder.join("bin/python");
    let done = folder.join("done");
    if done.exists() {
        return Ok(python);
    }
    say(&format!("making the Python environment of {path} in {}", folder.display()));
    check(command("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    check(
        command(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )?;
    std::fs::write(&done, "").context("mark the environment as done")?;
    Ok(python)
}

/// The folder below the user's cache that is weir's.
pub fn cache() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    let folder = base.join("weir");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

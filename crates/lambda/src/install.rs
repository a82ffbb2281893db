//! Installs what `requirements.txt` and `package.json` ask for, once, into a cache; offline from then on.
//!
//! ```text
//! CACHE/dependencies/KEY/python/...          KEY: hash of the files that say what, the interpreter, the platform
//!                        node_modules/...
//! ```
//!
//! Invariant: a folder that has its final name is whole: it is filled under another name, made durable, and renamed. The
//! installers (pip, npm) run with the server's rights and settings; which registry they ask is theirs to know. What an
//! installed package's own build or install script does is not confined.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::ExitStatus;
use crate::copy::{copy_tree, open_to_all, sync_file_system};
use crate::interpreter::{Interpreter, in_path};
use crate::limits::INSTALL_LIMIT;
use crate::shared::Shared;
use crate::spec::Runtime;
use crate::tool;

/// Why dependencies could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A tool could not be run.
    #[error("run `{command}`")]
    Run {
        /// The command.
        command: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A tool failed.
    #[error("`{command}` ended with {status}: {}", last_lines.join(" | "))]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last that it printed.
        last_lines: Vec<String>,
    },
    /// A tool took too long and was killed.
    #[error("`{command}` took more than {} s and was killed: {}", limit.as_secs(), last_lines.join(" | "))]
    TimedOut {
        /// The command.
        command: String,
        /// How long it might take.
        limit: Duration,
        /// The last that it printed.
        last_lines: Vec<String>,
    },
    /// A file or folder of the cache.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No interpreter, or no installer.
    #[error("no `{program}` was found in PATH: install it, or set its path")]
    NoInterpreter {
        /// `python3`, `node` or `npm`.
        program: String,
    },
    /// No pip.
    #[error(
        "no `python3` of version {version} in PATH has pip, which `requirements.txt` needs: install it (`python3 -m ensurepip`), or bring the packages along in the code's folder"
    )]
    NoPip {
        /// The interpreter's version.
        version: String,
    },
}

/// What the code asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    key: String,
    files: Vec<&'static str>,
}

/// Returns the folder with the dependencies of `code`, installed now if they are not there yet; `None` if it asks for none.
pub(crate) async fn install(
    shared: &Shared,
    runtime: Runtime,
    interpreter: &Interpreter,
    code: &Path,
    code_hash: &str,
) -> Result<Option<PathBuf>, InstallError> {
    let Some(wanted) = wanted(runtime, interpreter, code, code_hash) else { return Ok(None) };
    let cache = shared.options.cache.join("dependencies");
    let folder = cache.join(&wanted.key);
    let _one = shared.installing.lock().await;
    if folder.is_dir() {
        return Ok(Some(folder));
    }
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { action, path, source }
    };
    let temp = cache.join(format!(".{}-{:016x}", wanted.key, shared.env.random()));
    fs::create_dir_all(&temp).and_then(|()| open_to_all(&temp, true)).map_err(io("create", &temp))?;
    let installed = match runtime {
        Runtime::Python => python(shared, interpreter, code, &temp).await,
        _ => node(shared, interpreter, code, &wanted, &temp).await,
    };
    if let Err(error) = installed {
        // What is left would be found by nobody: its name is random.
        let _ = fs::remove_dir_all(&temp);
        return Err(error);
    }
    let (from, to) = (temp.clone(), folder.clone());
    let kept = tokio::task::spawn_blocking(move || sync_file_system(&from).and_then(|()| fs::rename(&from, &to))).await;
    match kept.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(()) => {}
        // Another server with the same cache was faster.
        Err(_) if folder.is_dir() => drop(fs::remove_dir_all(&temp)),
        Err(source) => return Err(io("create", &folder)(source)),
    }
    Ok(Some(folder))
}

/// Returns a copy of the dependencies in the host's own folder, for users that can't reach the cache.
pub(crate) async fn within_reach(shared: &Shared, folder: &Path) -> Result<PathBuf, InstallError> {
    let name = folder.file_name().unwrap_or_default();
    let own = shared.options.folder.join("dependencies");
    let (target, temp) = (own.join(name), own.join(format!(".{:016x}", shared.env.random())));
    let _one = shared.installing.lock().await;
    if target.is_dir() {
        return Ok(target);
    }
    let from = folder.to_owned();
    let to = target.clone();
    let copied = tokio::task::spawn_blocking(move || {
        fs::create_dir_all(&temp)?;
        open_to_all(&temp, true)?;
        copy_tree(&from, &temp)?;
        sync_file_system(&temp)?;
        fs::rename(&temp, &to)
    });
    let copied = copied.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    copied.map_err(|source| InstallError::Io { action: "copy dependencies to", path: target.clone(), source })?;
    Ok(target)
}

/// Tells what is to be installed. What the code's folder brings along is not.
fn wanted(runtime: Runtime, interpreter: &Interpreter, code: &Path, code_hash: &str) -> Option<Wanted> {
    let (files, local): (Vec<&'static str>, bool) = match runtime {
        Runtime::Python => {
            let text = fs::read_to_string(code.join("requirements.txt")).ok()?;
            let lines: Vec<&str> =
                text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
            if lines.is_empty() {
                return None;
            }
            let local = lines.iter().any(|line| line.starts_with(['-', '.', '/']) || line.contains("file:"));
            (vec!["requirements.txt"], local)
        }
        Runtime::Node => {
            if code.join("node_modules").exists() {
                return None;
            }
            let package: serde_json::Value =
                serde_json::from_slice(&fs::read(code.join("package.json")).ok()?).unwrap_or_default();
            let has =
                |key: &str| package.get(key).and_then(|value| value.as_object()).is_some_and(|map| !map.is_empty());
            if !has("dependencies") && !has("optionalDependencies") {
                return None;
            }
            let files = ["package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"];
            let local = package.to_string().contains("\"file:");
            (files.into_iter().filter(|file| code.join(file).is_file()).collect(), local)
        }
        Runtime::Provided => return None,
    };
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(b"weir dependencies 1");
    for file in &files {
        part(file.as_bytes());
        part(&fs::read(code.join(file)).unwrap_or_default());
    }
    let version = if runtime == Runtime::Python { interpreter.minor() } else { interpreter.major() };
    for text in [version, std::env::consts::ARCH, std::env::consts::OS] {
        part(text.as_bytes());
    }
    // Requirements that name files of the code: their content counts too, and the code's hash stands for it.
    if local {
        part(code_hash.as_bytes());
    }
    Some(Wanted { key: hex(&hash.finalize()), files })
}

/// Prints bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text has no way to fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn python(shared: &Shared, interpreter: &Interpreter, code: &Path, temp: &Path) -> Result<(), InstallError> {
    let python = with_pip(shared, interpreter).await?;
    let target = temp.join("python");
    let command: Vec<String> = [
        &python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-warn-script-location",
        "--target",
        &target.to_string_lossy(),
        "--requirement",
        "requirements.txt",
    ]
    .iter()
    .map(|text| (*text).to_owned())
    .collect();
    let variables = [("PIP_ROOT_USER_ACTION", "ignore")];
    tool::run(shared, &command, code, &variables, INSTALL_LIMIT).await.map(|_| ())
}

/// Returns the interpreter if it has pip, else another one of the same version that has: distributions come without.
async fn with_pip(shared: &Shared, interpreter: &Interpreter) -> Result<String, InstallError> {
    let own = interpreter.program.to_string_lossy().into_owned();
    let others = in_path("python3").into_iter().map(|path| path.to_string_lossy().into_owned());
    let ask =
        format!("import sys, pip; sys.exit(0 if '%d.%d' % sys.version_info[:2] == '{}' else 1)", interpreter.minor());
    for program in std::iter::once(own).chain(others) {
        let command = [program.clone(), "-c".to_owned(), ask.clone()];
        if tool::run(shared, &command, Path::new("/"), &[], Duration::from_secs(30)).await.is_ok() {
            return Ok(program);
        }
    }
    Err(InstallError::NoPip { version: interpreter.minor().to_owned() })
}

async fn node(
    shared: &Shared,
    interpreter: &Interpreter,
    code: &Path,
    wanted: &Wanted,
    temp: &Path,
) -> Result<(), InstallError> {
    let beside = interpreter.program.with_file_name("npm");
    let npm = if beside.is_file() { Some(beside) } else { in_path("npm").into_iter().next() };
    let npm = npm.ok_or_else(|| InstallError::NoInterpreter { program: "npm".to_owned() })?;
    for file in &wanted.files {
        let (from, to) = (code.join(file), temp.join(file));
        fs::copy(&from, &to).map_err(|source| InstallError::Io { action: "copy", path: from, source })?;
    }
    let locked = wanted.files.iter().any(|file| *file == "package-lock.json" || *file == "npm-shrinkwrap.json");
    let verb = if locked { "ci" } else { "install" };
    let command: Vec<String> =
        [&*npm.to_string_lossy(), verb, "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]
            .iter()
            .map(|text| (*text).to_owned())
            .collect();
    tool::run(shared, &command, temp, &[], INSTALL_LIMIT).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(version: &str) -> Interpreter {
        Interpreter { program: "/usr/bin/python3".into(), version: version.to_owned(), roots: vec![] }
    }

    #[test]
    fn the_key_changes_with_what_is_asked_for_and_with_the_interpreter() {
        let code = tempfile::tempdir().unwrap();
        let key = |runtime, version: &str, hash: &str| {
            wanted(runtime, &interpreter(version), code.path(), hash).map(|wanted| wanted.key)
        };
        assert_eq!(key(Runtime::Python, "3.11.2", "a"), None);
        fs::write(code.path().join("requirements.txt"), "# nothing\n\n").unwrap();
        assert_eq!(key(Runtime::Python, "3.11.2", "a"), None);
        fs::write(code.path().join("requirements.txt"), "requests==2.32\n").unwrap();
        let first = key(Runtime::Python, "3.11.2", "a");
        assert!(first.is_some());
        assert_eq!(first, key(Runtime::Python, "3.11.9", "b"), "a patch release keeps what is installed");
        assert_ne!(first, key(Runtime::Python, "3.12.0", "a"));
        fs::write(code.path().join("requirements.txt"), "./local.whl\n").unwrap();
        assert_ne!(key(Runtime::Python, "3.11.2", "a"), key(Runtime::Python, "3.11.2", "b"));
    }

    #[test]
    fn packages_that_the_code_brings_are_not_installed() {
        let code = tempfile::tempdir().unwrap();
        let ask = || wanted(Runtime::Node, &interpreter("20.1.0"), code.path(), "a");
        fs::write(code.path().join("package.json"), r#"{"name":"x"}"#).unwrap();
        assert_eq!(ask(), None);
        fs::write(code.path().join("package.json"), r#"{"dependencies":{"left-pad":"1"}}"#).unwrap();
        fs::write(code.path().join("package-lock.json"), "{}").unwrap();
        assert_eq!(ask().unwrap().files, ["package.json", "package-lock.json"]);
        fs::create_dir(code.path().join("node_modules")).unwrap();
        assert_eq!(ask(), None);
    }
}

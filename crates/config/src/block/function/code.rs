//! `code`, `handler` and `runtime`: that there is something to run is told before anything runs.
//!
//! Knows of Python and Node how they find a module, and reads names of files alone. The folder may lie anywhere: code is
//! often shared. What lies outside of the configuration's folder is warned of, since a copy of the folder lacks it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::block::{Attributes, Spanned};
use crate::diagnostic::Report;
use crate::limits::CODE_ENTRIES_MAX;
use crate::{Diagnostic, RuntimePlan, files, nearest};

const RUNTIMES: [(&str, RuntimePlan); 3] =
    [("python", RuntimePlan::Python), ("node", RuntimePlan::Node), ("provided", RuntimePlan::Provided)];

const BOOTSTRAP: &str = "bootstrap";
const NODE_ENDINGS: [&str; 3] = ["js", "mjs", "cjs"];

/// How deep, and how many, folders are looked into for the name that was meant.
const DEPTH_MAX: usize = 3;
const FOLDERS_MAX: usize = 100;

pub(super) struct Code {
    pub(super) path: PathBuf,
    pub(super) handler: Option<String>,
    pub(super) runtime: RuntimePlan,
}

pub(super) fn read(block: &Attributes<'_>, dir: &Path, report: &mut Report) -> Option<Code> {
    let given = match block.has("runtime") {
        true => Some(block.choice("runtime", &RUNTIMES, report)?),
        false => None,
    };
    if !block.has("code") {
        let hint = "name the folder of its code: `code = \"functions/score\"`";
        block.missing("code", hint, report);
    }
    let code = block.name_text("code", "functions/score", report)?;
    let path = dir.join(&code.value);
    let folder = Folder { block, written: &code, path: &path };
    folder.check(dir, report)?;
    let runtime = match given {
        Some(runtime) => runtime,
        None => folder.runtime(report)?,
    };
    let handler = match runtime {
        RuntimePlan::Provided => {
            let message = |name: &str| format!("`{name}` is for Python and Node, and {block} runs its own `bootstrap`");
            block.forbid(["handler"], message, "remove it, or set `runtime`", report);
            folder.check_bootstrap(report)?;
            None
        }
        RuntimePlan::Python | RuntimePlan::Node => Some(folder.handler(runtime, report)?),
    };
    Some(Code { path, handler, runtime })
}

/// The folder of a handler's code.
struct Folder<'a> {
    block: &'a Attributes<'a>,
    written: &'a Spanned<String>,
    path: &'a Path,
}

impl Folder<'_> {
    /// Checks that it is a folder.
    fn check(&self, dir: &Path, report: &mut Report) -> Option<()> {
        let written = &self.written.value;
        let refuse = |message: String, hint: String, report: &mut Report| {
            self.block.refuse("code", message, hint, report);
            None
        };
        match fs::metadata(self.path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) if written.ends_with(".zip") => {
                let hint = "unpack it: weir runs a plain folder".to_owned();
                return refuse(format!("`{written}` is an archive, and `code` is a folder"), hint, report);
            }
            Ok(_) => {
                let hint = "name the folder that holds it, and the file in `handler`".to_owned();
                return refuse(format!("`{written}` is a file, and `code` is a folder"), hint, report);
            }
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound => "there is no such folder".to_owned(),
                    _ => files::reason(&error),
                };
                let hint = self.near(dir).unwrap_or_else(|| "paths are relative to the folder of weir.hcl".to_owned());
                return refuse(format!("the code of {}, `{written}`: {reason}", self.block), hint, report);
            }
        }
        if is_outside(Path::new(written)) {
            let message =
                format!("the code of {}, `{written}`, lies outside of the configuration's folder", self.block);
            let warning = Diagnostic::warning(message).at(self.block.value_place("code"));
            report.push(warning.hint("move it in, so that a copy of the folder is whole"));
        }
        Some(())
    }

    /// Says which folder beside was meant.
    fn near(&self, dir: &Path) -> Option<String> {
        let parent = self.path.parent()?;
        let wrong = self.path.file_name()?.to_str()?;
        let folders = names(parent, |kind| kind.is_dir());
        let near = weir_types::nearest(wrong, folders.iter().map(String::as_str))?;
        let near = parent.join(near);
        Some(format!("did you mean `{}`?", near.strip_prefix(dir).unwrap_or(&near).display()))
    }

    /// Tells the runtime by what the folder holds.
    fn runtime(&self, report: &mut Report) -> Option<RuntimePlan> {
        let names = names(self.path, |kind| !kind.is_dir());
        let has = |endings: &[&str]| names.iter().any(|name| endings.iter().any(|ending| is_of(name, ending)));
        let is = |wanted: &str| names.iter().any(|name| name == wanted);
        if is(BOOTSTRAP) {
            return Some(RuntimePlan::Provided);
        }
        let python = has(&["py"]) || is("requirements.txt");
        let node = has(&NODE_ENDINGS) || is("package.json");
        let hint = "set `runtime = \"python\"`, `\"node\"` or `\"provided\"`";
        let written = &self.written.value;
        match (python, node) {
            (true, false) => return Some(RuntimePlan::Python),
            (false, true) => return Some(RuntimePlan::Node),
            (true, true) => {
                let message = format!("`{written}` holds both Python and JavaScript: the runtime can't be told");
                self.block.refuse("code", message, hint, report);
            }
            (false, false) => {
                let message =
                    format!("`{written}` holds no `bootstrap`, Python or JavaScript: the runtime can't be told");
                let hint = if has(&["ts"]) { "compile TypeScript to JavaScript first" } else { hint };
                self.block.refuse("code", message, hint, report);
            }
        }
        None
    }

    fn check_bootstrap(&self, report: &mut Report) -> Option<()> {
        let written = &self.written.value;
        let (message, hint) = match fs::metadata(self.path.join(BOOTSTRAP)) {
            Ok(found) if found.is_dir() => {
                (format!("`{written}/bootstrap` is a folder"), "it must be an executable file")
            }
            Ok(found) if !is_executable(&found) => {
                (format!("`{written}/bootstrap` is not executable"), "make it so: `chmod +x bootstrap`")
            }
            Ok(_) => return Some(()),
            Err(_) => (
                format!("`{written}` has no `bootstrap`, which a provided runtime is started by"),
                "put an executable of this name there, or set another `runtime`",
            ),
        };
        self.block.refuse("code", message, hint, report);
        None
    }

    /// Reads `handler`, and finds its module.
    fn handler(&self, runtime: RuntimePlan, report: &mut Report) -> Option<String> {
        let example = "score.handler";
        if !self.block.has("handler") {
            let hint = "name the module and its function: `handler = \"score.handler\"`";
            self.block.missing("handler", hint, report);
        }
        let handler = self.block.name_text("handler", example, report)?.value;
        let Some(split) = Split::of(&handler, runtime) else {
            let message = format!("`{handler}` does not name a module and a function");
            self.block.refuse("handler", message, "write MODULE.FUNCTION, such as \"score.handler\"", report);
            return None;
        };
        if Path::new(&split.module).components().any(|part| !matches!(part, Component::Normal(_))) {
            let message = format!("`{handler}` leads out of the folder of its code");
            self.block.refuse("handler", message, "name a module inside of `code`", report);
            return None;
        }
        if split.files().iter().any(|file| self.path.join(file).is_file()) {
            return Some(handler);
        }
        let wanted = split.files().iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(" or ");
        let message = format!("`{}` has no {wanted} for handler `{handler}`", self.written.value);
        // What the code brings along when it is installed can't be seen yet.
        if self.comes_with_packages(&split) {
            let place = self.block.value_place("handler");
            let hint = "this is right if one of its packages has it, and is found out at the first start otherwise";
            report.push(Diagnostic::warning(message).at(place).hint(hint));
            return Some(handler);
        }
        let modules = modules(self.path, runtime);
        let known = || modules.iter().map(String::as_str);
        let hint = match weir_types::nearest(&split.module, known()) {
            // As the handler was written: with dots or slashes.
            Some(near) if runtime == RuntimePlan::Python && !handler.contains('/') => {
                format!("did you mean `{}.{}`?", near.replace('/', "."), split.function)
            }
            Some(near) => format!("did you mean `{near}.{}`?", split.function),
            None => nearest::there_are(known(), "modules there"),
        };
        self.block.refuse("handler", message, hint, report);
        None
    }

    fn comes_with_packages(&self, split: &Split) -> bool {
        match split.runtime {
            RuntimePlan::Python => self.path.join("requirements.txt").is_file(),
            _ => split.module.starts_with("node_modules/") && self.path.join("package.json").is_file(),
        }
    }
}

/// A handler in its parts.
struct Split {
    /// The module's path, without its ending.
    module: String,
    function: String,
    runtime: RuntimePlan,
}

impl Split {
    /// Python's module ends at the last dot, and the ones before are folders; Node's ends at the first dot of the file's
    /// name.
    fn of(handler: &str, runtime: RuntimePlan) -> Option<Self> {
        let (module, function) = match runtime {
            RuntimePlan::Python => {
                let (module, function) = handler.rsplit_once('.')?;
                (module.replace('.', "/"), function)
            }
            _ => {
                let name = handler.rfind('/').map_or(0, |slash| slash + 1);
                let (module, function) = handler[name..].split_once('.')?;
                (format!("{}{module}", &handler[..name]), function)
            }
        };
        let whole =
            !function.is_empty() && !module.is_empty() && module.split('/').skip(1).all(|part| !part.is_empty());
        whole.then(|| Self { module, function: function.to_owned(), runtime })
    }

    /// The files that may be the module.
    fn files(&self) -> Vec<String> {
        match self.runtime {
            RuntimePlan::Python => vec![format!("{}.py", self.module), format!("{}/__init__.py", self.module)],
            _ => NODE_ENDINGS.iter().map(|ending| format!("{}.{ending}", self.module)).collect(),
        }
    }
}

fn is_of(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == ending)
}

/// Tells whether a path leads out of the folder that it is relative to, as it is written.
fn is_outside(path: &Path) -> bool {
    let mut depth = 0i32;
    path.components().any(|part| {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth -= 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return true,
        }
        depth < 0
    })
}

#[cfg(unix)]
fn is_executable(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    found.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    true
}

/// Returns the names of a folder's entries of a kind, in order, the first of many; none if it can't be read.
fn names(folder: &Path, wanted: impl Fn(&fs::Metadata) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .take(CODE_ENTRIES_MAX)
        // Links count as what they lead to.
        .filter(|entry| fs::metadata(entry.path()).is_ok_and(|found| wanted(&found)))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Returns the modules of a folder that a handler may name.
fn modules(folder: &Path, runtime: RuntimePlan) -> Vec<String> {
    let endings: &[&str] = if runtime == RuntimePlan::Python { &["py"] } else { &NODE_ENDINGS };
    let mut found = Vec::new();
    let mut open: Vec<(PathBuf, String, usize)> = vec![(folder.to_owned(), String::new(), 0)];
    let mut looked = 0;
    while let Some((folder, prefix, depth)) = open.pop().filter(|_| looked < FOLDERS_MAX) {
        looked += 1;
        for name in names(&folder, |kind| !kind.is_dir()) {
            if let Some((stem, _)) = name.rsplit_once('.').filter(|_| endings.iter().any(|ending| is_of(&name, ending)))
            {
                found.push(format!("{prefix}{stem}"));
            }
        }
        if depth < DEPTH_MAX {
            let inner = names(&folder, fs::Metadata::is_dir);
            let inner = inner.iter().filter(|name| !name.starts_with(['.', '_']) && *name != "node_modules");
            open.extend(inner.map(|name| (folder.join(name), format!("{prefix}{name}/"), depth + 1)));
        }
    }
    found.sort();
    found
}

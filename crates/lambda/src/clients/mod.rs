//! The runtime clients that weir brings along, for code that brings none.
//!
//! Small, since their start is a part of every cold start: they speak HTTP over a bare socket, and load what they need
//! when they need it. They do what AWS's own do, as far as a handler can see; `docs/functions/runtimes.md` names the rest.

use std::fs;
use std::io;
use std::path::Path;

use crate::copy::open_to_all;

const CLIENTS: [(&str, &str); 2] =
    [("weir_runtime.py", include_str!("weir_runtime.py")), ("weir_runtime.cjs", include_str!("weir_runtime.cjs"))];

/// Writes the clients to a folder, those that are not there yet or differ.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    for (name, text) in CLIENTS {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        // The compiled form of another version is not looked at twice when it is loaded.
        match fs::remove_dir_all(folder.join("__pycache__")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let temp = folder.join(format!(".{name}"));
        fs::write(&temp, text)?;
        open_to_all(&temp, false)?;
        fs::rename(&temp, &path)?;
    }
    Ok(())
}

/// Returns the command that compiles a folder's Python files. Sources are not looked at again when the compiled form is
/// loaded: they never change.
pub(crate) fn compile(python: &Path, folder: &Path) -> Vec<String> {
    let program = python.to_string_lossy();
    let folder = folder.to_string_lossy();
    ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", &*folder].iter().fold(
        vec![program.into_owned()],
        |mut command, word| {
            command.push((*word).to_owned());
            command
        },
    )
}

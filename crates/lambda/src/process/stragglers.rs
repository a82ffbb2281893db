//! Processes that left their environment's group, and would outlive it.
//!
//! A process that a handler starts may begin a session of its own. It is known by its user, where each environment has one
//! of its own; else by its session, or by the environment's temp folder among its variables. One that has changed its
//! session *and* its variables, and runs as the server's user, is not found.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

/// Looks, until nothing is found any more: a process may start another while it is looked for.
const PASSES_MAX: usize = 20;

/// By what an environment's processes are known.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Mark {
    /// The first process, which leads the session. `None` after a restart: the number may be another session's by now.
    #[serde(skip)]
    pub session: Option<u32>,
    /// The environment's own user.
    pub user: Option<u32>,
    /// The temp folder, which is a value of their `TMPDIR`.
    pub temp: PathBuf,
}

/// Kills every process that bears the mark, and returns how many there were. Reads all of `/proc`: not for an async thread.
pub(crate) fn end_stragglers(mark: &Mark) -> usize {
    let mut ended = 0;
    for _ in 0..PASSES_MAX {
        let found = find(mark);
        if found.is_empty() {
            return ended;
        }
        for pid in found {
            if rustix::process::kill_process(pid, Signal::KILL).is_ok() {
                ended += 1;
            }
        }
    }
    tracing::error!(?mark, "processes of an environment that has ended keep starting others");
    ended
}

fn find(mark: &Mark) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id();
    processes
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number: u32 = entry.file_name().to_str()?.parse().ok()?;
            let pid = Pid::from_raw(i32::try_from(number).ok()?)?;
            (number != own && bears(mark, &entry.path())?).then_some(pid)
        })
        .collect()
}

/// Zombies bear no mark: they are gone but for their parent.
fn bears(mark: &Mark, process: &Path) -> Option<bool> {
    if let Some(user) = mark.user
        && std::fs::metadata(process).ok()?.uid() != user
    {
        return Some(false);
    }
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    // The name in parentheses may hold anything: what counts begins behind the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return Some(false);
    }
    if mark.user.is_some() {
        return Some(true);
    }
    let session: u32 = fields.nth(2)?.parse().ok()?;
    if mark.session == Some(session) {
        return Some(true);
    }
    let environment = std::fs::read(process.join("environ")).unwrap_or_default();
    let wanted = format!("TMPDIR={}", mark.temp.display());
    Some(environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()))
}

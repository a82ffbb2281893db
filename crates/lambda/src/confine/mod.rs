//! What the launcher does: confines itself, and becomes the runtime.
//!
//! ```text
//! host --spawn--> launcher: session, limits, Landlock's rules, user, parent-death signal, Landlock, seccomp --exec--> runtime
//!        plan on stdin
//! ```
//!
//! A process of its own, fresh and with one thread, so that nothing here needs `unsafe`: what is changed is the launcher
//! itself, and `exec` hands it on. The order matters: paths are opened and limits raised while still privileged; the
//! parent-death signal is set after the change of user, which would clear it; seccomp comes last.
//!
//! To be called first thing in `main`: it closes every file that is open but the three streams.
//!
//! Invariant: what the plan asks for holds before the first instruction of foreign code, or the launch ends. What the
//! kernel can't do, the host leaves out of the plan, by `probe`, and tells.

mod files;
mod plan;
mod probe;
mod syscalls;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, getppid, setgroups, setresgid, setresuid, setsid};

pub(crate) use plan::{Files, Limits, PLAN_BYTES_MAX, Plan, Syscalls};
pub(crate) use probe::{Kernel, probe};

/// The launcher's exit status when it could not become the runtime.
pub(crate) const FAILED: i32 = 126;

/// Confines this process by the plan on its standard input, and becomes the runtime.
///
/// Takes no arguments; `args` is what followed the launcher's own words, and must be empty. Never returns: it becomes
/// another program, or ends with status 126 and a line on its standard error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ! {
    let what = match args.into_iter().next() {
        Some(argument) => format!("takes no arguments, and was given {}", argument.display()),
        None => match read_plan().inspect(|_| close_inherited()).and_then(|plan| become_runtime(&plan)) {
            Ok(never) => match never {},
            Err(what) => what,
        },
    };
    // The standard error is the host's pipe: it is how the reason gets into the function's log.
    let _ = writeln!(std::io::stderr(), "weir: the launcher {what}");
    std::process::exit(FAILED)
}

fn read_plan() -> Result<Plan, String> {
    let mut text = Vec::new();
    std::io::stdin()
        .lock()
        .take(PLAN_BYTES_MAX as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("can't read its plan: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("can't read its plan: {error}"))
}

enum Never {}

fn become_runtime(plan: &Plan) -> Result<Never, String> {
    let failed = |what: &'static str| move |error: nix::Error| format!("could not {what}: {error}");
    // Whatever the server's is: what installers write must be readable to the handlers' users.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    setsid().map_err(failed("begin a session"))?;
    limit(&plan.limits)?;
    let rules = plan.files.as_ref().map(files::rules).transpose()?;
    if let Some(user) = plan.user {
        setgroups(&[]).map_err(failed("leave its groups"))?;
        let (group, user) = (Gid::from_raw(user), Uid::from_raw(user));
        setresgid(group, group, group).map_err(failed("change its group"))?;
        setresuid(user, user, user).map_err(failed("change its user"))?;
    }
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("tie its life to the server's"))?;
    if getppid().as_raw() != i32::try_from(plan.parent).unwrap_or(-1) {
        return Err("has lost its server".to_owned());
    }
    std::env::set_current_dir(&plan.folder)
        .map_err(|error| format!("can't enter `{}`: {error}", plan.folder.display()))?;
    prctl::set_no_new_privs().map_err(failed("give up new privileges"))?;
    if let Some(rules) = rules {
        files::restrict(rules)?;
    }
    syscalls::restrict(plan.syscalls)?;
    let Some((program, arguments)) = plan.command.split_first() else { return Err("was given no command".to_owned()) };
    let error = Command::new(program).args(arguments).env_clear().envs(&plan.environment).stdin(Stdio::null()).exec();
    Err(format!("could not run `{program}`: {error}"))
}

/// Closes what the server's own parent left open in the server, and hence in this process.
fn close_inherited() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The listing's own is among them, and closed by now.
        let _ = nix::unistd::close(number);
    }
}

fn limit(limits: &Limits) -> Result<(), String> {
    let wanted = [
        (Resource::RLIMIT_CORE, "core", Some(0)),
        (Resource::RLIMIT_DATA, "data", limits.data_bytes),
        (Resource::RLIMIT_FSIZE, "file size", limits.file_bytes),
        (Resource::RLIMIT_NOFILE, "open files", limits.open_files),
        (Resource::RLIMIT_NPROC, "tasks", limits.tasks),
    ];
    for (resource, name, value) in wanted {
        let Some(value) = value else { continue };
        let (_, hard) = nix::sys::resource::getrlimit(resource)
            .map_err(|error| format!("could not read its limit of {name}: {error}"))?;
        // Whoever may not raise a hard limit keeps the lower one.
        let value = value.min(hard);
        setrlimit(resource, value, value).map_err(|error| format!("could not set its limit of {name}: {error}"))?;
    }
    Ok(())
}

//! What confines handlers on this machine, for people to read.

use std::sync::PoisonError;

use crate::Users;
use crate::shared::Shared;

/// One kind of confinement, and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// Its name, such as `landlock files`.
    pub feature: &'static str,
    /// Whether it holds for every handler.
    pub enforced: bool,
    /// What it does, or why it does not.
    pub why: String,
}

pub(crate) fn confinement(shared: &Shared) -> Vec<Confinement> {
    let kernel = shared.kernel;
    let feature = |feature, enforced, yes: &str, no: &str| Confinement {
        feature,
        enforced,
        why: if enforced { yes } else { no }.to_owned(),
    };
    let landlock = |needed: u8, what: &str| match kernel.landlock {
        0 => format!("this kernel has no Landlock: {what} is open to handlers as far as file permissions allow"),
        found => format!("this kernel's Landlock has version {found}, and {needed} is needed"),
    };
    vec![
        users(shared),
        feature(
            "landlock files",
            kernel.landlock >= 1,
            "handlers read the system's files, their code and their interpreter, and write their temp folder",
            &landlock(1, "every file"),
        ),
        feature(
            "landlock tcp",
            kernel.landlock >= 4,
            "a function's `network` setting bounds the TCP ports that its handlers connect to",
            &landlock(4, "every TCP port"),
        ),
        feature(
            "landlock signals",
            kernel.landlock >= 6,
            "handlers signal no process but their own",
            &landlock(6, "a process of the same user"),
        ),
        feature(
            "seccomp",
            kernel.seccomp,
            "system calls that reach into the kernel or other processes fail",
            "this kernel has no seccomp filters: every system call is open to handlers",
        ),
        feature("new privileges", true, "programs with set-user-id or file capabilities give handlers nothing", ""),
        feature("parent death", true, "the kernel kills handlers when the server dies, kill -9 included", ""),
        feature(
            "heap size",
            true,
            "Python and Node can't map more than their memory and a slack (RLIMIT_DATA); the resident size of all \
             processes is looked at every 10 to 160 ms while they run",
            "",
        ),
        feature(
            "processes",
            shared.users.is_some(),
            "an environment has no more than 1024 processes and threads",
            "without users of their own, handlers' processes can't be told from the server's, and are not counted",
        ),
        feature(
            "temp folder size",
            false,
            "",
            "one file can't exceed the limit; the sum is looked at while handlers run, and is not enforced by the kernel: \
             that would take a mount",
        ),
        feature(
            "cgroup",
            false,
            "",
            "no cgroup of their own: CPU is shared by all handlers, and memory is watched instead of enforced",
        ),
    ]
}

fn users(shared: &Shared) -> Confinement {
    let closed = shared.unreachable.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (enforced, why) = match (&shared.users, closed) {
        (Some(_), None) => (true, "each environment runs as a user that nobody else is".to_owned()),
        (Some(_), Some(closed)) => {
            let closed = closed.display();
            (false, format!("some handlers run as the server's user: others may not enter `{closed}`"))
        }
        (None, _) if shared.kernel.root && matches!(shared.options.users, Users::Same) => {
            (false, "the settings say that handlers run as root".to_owned())
        }
        (None, _) if shared.kernel.root => {
            (false, "handlers run as root: no block of user ids is mapped here and free".to_owned())
        }
        (None, _) => (false, "the server is not root: handlers run as its user".to_owned()),
    };
    Confinement { feature: "own users", enforced, why }
}

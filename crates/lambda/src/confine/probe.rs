//! What this kernel can confine.

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Landlock's interface version, zero if there is none. 4 and later know TCP ports.
    pub landlock: u8,
    /// Whether system calls can be filtered.
    pub seccomp: bool,
    /// Whether the process is root.
    pub root: bool,
}

/// Asks the kernel; changes nothing.
pub(crate) fn probe() -> Kernel {
    let versions = [(6, ABI::V6), (5, ABI::V5), (4, ABI::V4), (3, ABI::V3), (2, ABI::V2), (1, ABI::V1)];
    let landlock = versions.into_iter().find(|(_, abi)| knows(*abi)).map_or(0, |(number, _)| number);
    let seccomp = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
        .is_ok_and(|actions| actions.split_whitespace().any(|action| action == "errno"));
    Kernel { landlock, seccomp, root: nix::unistd::geteuid().is_root() }
}

/// A rule set that demands what came with a version can be made only by a kernel that has it.
fn knows(abi: ABI) -> bool {
    let wanted =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi));
    let wanted = wanted.and_then(|rules| match landlock::AccessNet::from_all(abi) {
        none if none.is_empty() => Ok(rules),
        net => rules.handle_access(net),
    });
    let wanted = wanted.and_then(|rules| match landlock::Scope::from_all(abi) {
        none if none.is_empty() => Ok(rules),
        scope => rules.scope(scope),
    });
    wanted.and_then(Ruleset::create).is_ok()
}

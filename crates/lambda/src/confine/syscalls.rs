//! seccomp: system calls that no handler needs, and that reach into the kernel or into other processes, fail with `EPERM`.
//!
//! A list of what is refused, not of what is allowed: handlers are any program, and new calls must not break them. What
//! an own user and `no_new_privs` already keep out is refused once more for the case that the server runs as root and its
//! handlers must too. `clone3` fails with `ENOSYS`, since its flags can't be looked at; C libraries fall back to `clone`,
//! whose flags can.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::Syscalls;

/// Refused whatever their arguments.
const REFUSED: &[i64] = &[
    // Other processes' memory and execution.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_process_madvise,
    // File systems and name spaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_mknodat,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    // Keys.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The clock and the machine's name.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Where memory is.
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS_mknod,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// What is set in the number of a call of the x32 interface, which is another name for the same call.
#[cfg(target_arch = "x86_64")]
const ALIASES: &[i64] = &[0, 0x4000_0000];
#[cfg(not(target_arch = "x86_64"))]
const ALIASES: &[i64] = &[0];

/// New user, mount, PID, network, IPC, UTS and cgroup name spaces.
const NAME_SPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;

/// What is left of a socket's type without its flags.
const SOCKET_TYPE: u64 = 0xf;

/// Loads the filters, for good.
pub(super) fn restrict(syscalls: Syscalls) -> Result<(), String> {
    if syscalls == Syscalls::All || !super::probe().seccomp {
        return Ok(());
    }
    let text = |error: seccompiler::Error| format!("could not load its seccomp filter: {error}");
    for filter in filters(syscalls).map_err(|error| text(error.into()))? {
        apply_filter(&filter).map_err(text)?;
    }
    Ok(())
}

fn filters(syscalls: Syscalls) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let condition =
        |argument, operator, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value);
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in REFUSED.iter().chain(REFUSED_HERE) {
        refused.insert(*call, Vec::new());
    }
    // Each flag has a rule of its own: a mask compares all of its bits at once.
    let flags = (0..64).map(|bit| 1u64 << bit).filter(|flag| NAME_SPACES & flag != 0);
    let mut rules = Vec::new();
    for flag in flags {
        rules.push(SeccompRule::new(vec![condition(0, SeccompCmpOp::MaskedEq(flag), flag)?])?);
    }
    refused.insert(libc::SYS_clone, rules);
    let mut sockets = vec![SeccompRule::new(vec![condition(0, SeccompCmpOp::Eq, libc::AF_PACKET as u64)?])?];
    if syscalls == Syscalls::SafeWithoutDatagrams {
        for family in [libc::AF_INET, libc::AF_INET6] {
            for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW] {
                sockets.push(SeccompRule::new(vec![
                    condition(0, SeccompCmpOp::Eq, family as u64)?,
                    condition(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), kind as u64)?,
                ])?);
            }
        }
    }
    refused.insert(libc::SYS_socket, sockets);
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    [(refused, libc::EPERM), (absent, libc::ENOSYS)]
        .into_iter()
        .map(|(calls, error)| {
            let calls = calls
                .into_iter()
                .flat_map(|(call, rules)| ALIASES.iter().map(move |alias| (call | alias, rules.clone())));
            let action = SeccompAction::Errno(error.unsigned_abs());
            SeccompFilter::new(calls.collect(), SeccompAction::Allow, action, arch)?.try_into()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile() {
        assert_eq!(filters(Syscalls::Safe).unwrap().len(), 2);
        let longer = filters(Syscalls::SafeWithoutDatagrams).unwrap();
        assert!(longer[0].len() > filters(Syscalls::Safe).unwrap()[0].len());
    }
}

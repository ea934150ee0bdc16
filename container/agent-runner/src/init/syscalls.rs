//! The system call filter: what no tool of an agent needs and what has led out of sandboxes before.
//!
//! A list of what is denied, not of what is allowed: agents run programs of every kind, and the sandbox's own
//! walls (namespaces, no capabilities, mounts) stand whether or not a call is on this list. Denied calls fail
//! with `EPERM`, `clone3` with `ENOSYS`, because its flags lie in memory that a filter cannot read and every
//! libc falls back to `clone` then. A call of another architecture (32 bit) ends the process.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// Calls that are denied whatever their arguments.
const DENIED: &[libc::c_long] = &[
    // Work that the kernel does past this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    // The kernel's key rings, which no namespace divides.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Large and often broken parts of the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    // Another kernel, or another part of it.
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
];

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "x86_64")]
const KEXEC_FILE_LOAD: libc::c_long = libc::SYS_kexec_file_load;

#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;
/// `kexec_file_load`, from the kernel's generic table; libc does not name it here.
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: libc::c_long = 294;

/// The socket families that programs use: Unix, IPv4, IPv6, and netlink for the list of addresses. Above all
/// not `AF_VSOCK`, which reaches out of a virtual machine past every network namespace.
const FAMILIES: [u64; 4] = [1, 2, 10, AF_NETLINK];
const AF_NETLINK: u64 = 16;
/// The one netlink protocol that `getifaddrs` needs.
const NETLINK_ROUTE: u64 = 0;
const CLONE_NEWUSER: u64 = 0x1000_0000;
/// The terminal call that types into somebody else's terminal.
const TIOCSTI: u64 = 0x5412;

/// Applies the filter to this process and all that it will start.
///
/// # Errors
///
/// The kernel has no filters, or refuses this one.
pub(crate) fn apply() -> Result<(), Error> {
    for filter in filters()? {
        seccompiler::apply_filter(&filter)?;
    }
    Ok(())
}

fn filters() -> Result<[BpfProgram; 2], Error> {
    let unreadable = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([compile(both_abis(denied()?), libc::EPERM)?, compile(unreadable, libc::ENOSYS)?])
}

fn compile(
    rules: BTreeMap<libc::c_long, Vec<SeccompRule>>,
    errno: libc::c_int,
) -> Result<BpfProgram, Error> {
    let denied = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, ARCH)?;
    Ok(filter.try_into()?)
}

/// The rules by number; an empty list denies every use.
fn denied() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, Error> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let other_family = FAMILIES
        .into_iter()
        .map(|family| SeccompCondition::new(0, Dword, Ne, family))
        .collect::<Result<_, _>>()?;
    let other_netlink = vec![
        SeccompCondition::new(0, Dword, Eq, AF_NETLINK)?,
        SeccompCondition::new(2, Dword, Ne, NETLINK_ROUTE)?,
    ];
    let new_user = || SeccompCondition::new(0, Qword, MaskedEq(CLONE_NEWUSER), CLONE_NEWUSER);
    let mut rules: BTreeMap<_, _> = DENIED.iter().map(|number| (*number, Vec::new())).collect();
    rules.insert(
        libc::SYS_socket,
        vec![SeccompRule::new(other_family)?, SeccompRule::new(other_netlink)?],
    );
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![new_user()?])?]);
    rules.insert(libc::SYS_unshare, vec![SeccompRule::new(vec![new_user()?])?]);
    rules.insert(
        libc::SYS_ioctl,
        vec![SeccompRule::new(vec![SeccompCondition::new(1, Dword, Eq, TIOCSTI)?])?],
    );
    Ok(rules)
}

/// Adds the same rules for x32, the second set of numbers that an `x86_64` kernel may offer to 64-bit programs.
#[cfg(target_arch = "x86_64")]
fn both_abis(
    rules: BTreeMap<libc::c_long, Vec<SeccompRule>>,
) -> BTreeMap<libc::c_long, Vec<SeccompRule>> {
    const X32: libc::c_long = 0x4000_0000;
    // Those whose number differs in x32, from the kernel's `syscall_64.tbl`.
    let renumbered = |number| match number {
        libc::SYS_ioctl => 514,
        libc::SYS_ptrace => 521,
        libc::SYS_kexec_load => 528,
        libc::SYS_process_vm_readv => 539,
        libc::SYS_process_vm_writev => 540,
        same => same,
    };
    let x32: Vec<_> =
        rules.iter().map(|(number, rules)| (X32 | renumbered(*number), rules.clone())).collect();
    rules.into_iter().chain(x32).collect()
}

/// Other processors have one set of numbers.
#[cfg(not(target_arch = "x86_64"))]
fn both_abis(
    rules: BTreeMap<libc::c_long, Vec<SeccompRule>>,
) -> BTreeMap<libc::c_long, Vec<SeccompRule>> {
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile() {
        for filter in filters().unwrap() {
            assert!(filter.len() < 4096, "the kernel takes no longer ones");
        }
    }
}

//! Landlock: write access below the agent's own places only, and nothing but plain files in the ipc directory.
//!
//! The mounts confine first; this is the second wall, and the only one that keeps symbolic links, pipes,
//! sockets and devices out of what the gateway reads.

use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};

use crate::settings::Settings;

/// The rights that are handled: up to truncation (kernel 6.2). Later ones concern device calls and sockets;
/// those are the business of the mounts, of the network namespace and of the system call filter.
const RIGHTS: ABI = ABI::V3;

/// Applies the rules to this process and all that it will start; `false` when the kernel has no Landlock.
///
/// # Errors
///
/// The kernel has Landlock and refuses the rules.
pub(crate) fn apply(places: &Settings) -> Result<bool, RulesetError> {
    let all = AccessFs::from_all(RIGHTS);
    let own = [&places.group, &places.global, &places.extra, &places.home];
    let status = Ruleset::default()
        .handle_access(all)?
        .create()?
        .add_rules(path_beneath_rules(["/"], AccessFs::from_read(RIGHTS)))?
        .add_rules(path_beneath_rules(own, all))?
        .add_rules(path_beneath_rules(["/tmp", "/dev/shm"], all))?
        .add_rules(path_beneath_rules(["/dev"], AccessFs::WriteFile | AccessFs::Truncate))?
        .add_rules(path_beneath_rules([&places.ipc], plain_files()))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Everything that plain files and directories need; without the right to refer, nothing is moved or linked
/// in from elsewhere.
fn plain_files() -> BitFlags<AccessFs> {
    AccessFs::from_all(RIGHTS)
        & !(AccessFs::MakeSym
            | AccessFs::MakeFifo
            | AccessFs::MakeSock
            | AccessFs::MakeChar
            | AccessFs::MakeBlock
            | AccessFs::Refer)
}

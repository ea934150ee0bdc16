//! Removes what sandboxes left, whether or not anybody still knows of them.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use super::confined;
use super::place::{PRIVATE_HOME, TRASH, open_home};
use super::trash::Trash;
use crate::model::{GroupName, SandboxId};

/// How many steps removing a sandbox's files takes between two looks at whether it gets anywhere.
const REMOVE_STEPS: usize = 64 * 1024;
/// How many such looks there are: beyond some ten million files somebody must still be making them.
const REMOVE_ROUNDS: usize = 160;

/// Removes what is left of every sandbox but `live`.
pub(super) fn all_but(root: &Path, live: &[SandboxId]) -> io::Result<()> {
    let home = match open_home(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let private_home = confined::ensure_dir(&home, PRIVATE_HOME)?;
    let dead = |directory: &OwnedFd| -> io::Result<Vec<SandboxId>> {
        let names = names::<SandboxId>(directory)?;
        Ok(names.into_iter().filter(|id| !live.contains(id)).collect())
    };
    let mut result = Ok(());
    for group in names::<GroupName>(&home)? {
        let group = confined::open_dir(&home, group.as_str())?;
        for id in dead(&group)? {
            result = move_out(&group, &private_home, id.as_str()).and(result);
        }
    }
    for id in dead(&private_home)? {
        let removed = confined::open_dir(&private_home, id.as_str())
            .map_err(Into::into)
            .and_then(|directory| private(&private_home, id.as_str(), &directory));
        result = removed.and(result);
    }
    result
}

/// Removes what there is of one sandbox, whose group may not be known yet.
pub(super) fn one(root: &Path, group: Option<&GroupName>, sandbox: &SandboxId) -> io::Result<()> {
    let home = match open_home(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let private_home = confined::ensure_dir(&home, PRIVATE_HOME)?;
    if let Some(group) = group
        && let Some(group) = if_there(confined::open_dir(&home, group.as_str()))?
    {
        move_out(&group, &private_home, sandbox.as_str())?;
    }
    match if_there(confined::open_dir(&private_home, sandbox.as_str()))? {
        Some(directory) => private(&private_home, sandbox.as_str(), &directory),
        None => Ok(()),
    }
}

fn if_there(opened: rustix::io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Moves a dead sandbox's mounted directory into its private one.
fn move_out(group: &OwnedFd, private_home: &OwnedFd, name: &str) -> io::Result<()> {
    let private = confined::ensure_dir(private_home, name)?;
    Trash::new(confined::ensure_dir(&private, TRASH)?).put(group.as_fd(), name)?;
    Ok(())
}

/// Removes a private directory and everything in it, its trash last.
fn private(home: &OwnedFd, name: &str, private: &OwnedFd) -> io::Result<()> {
    let trash = Trash::new(confined::ensure_dir(private, TRASH)?);
    for entry in names::<String>(private)? {
        if entry != TRASH {
            trash.put(private.as_fd(), entry.as_str())?;
        }
    }
    let mut rounds = REMOVE_ROUNDS;
    loop {
        let step = trash.empty(REMOVE_STEPS)?;
        if !step.more {
            break;
        }
        rounds -= 1;
        if rounds == 0 || step.removed == 0 {
            return Err(Errno::NOTEMPTY.into());
        }
    }
    fs::unlinkat(private, TRASH, AtFlags::REMOVEDIR)?;
    fs::unlinkat(home, name, AtFlags::REMOVEDIR)?;
    Ok(())
}

/// The entries of a directory whose names are of one kind.
fn names<T: std::str::FromStr>(directory: &OwnedFd) -> io::Result<Vec<T>> {
    let mut names = Vec::new();
    confined::each_entry(directory, |name| {
        names.extend(name.to_str().ok().and_then(|name| name.parse().ok()));
        ControlFlow::Continue(())
    })?;
    Ok(names)
}

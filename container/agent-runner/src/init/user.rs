//! Becoming an unprivileged user for good, where the sandbox is begun as root.

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};

/// One `--user UID:GID`; never root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Reads `UID:GID`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (uid, gid) = text.split_once(':')?;
        let number = |text: &str| text.parse().ok().filter(|id| ![0, u32::MAX].contains(id));
        Some(Self { uid: number(uid)?, gid: number(gid)? })
    }

    /// Becomes this user, without any capability and without a way to get one.
    ///
    /// The calls change one thread only, so this is for a time when there is no other.
    ///
    /// # Errors
    ///
    /// The kernel refuses; then the process must not go on.
    pub(crate) fn assume(self) -> io::Result<()> {
        for capability in CapabilitySet::all().iter() {
            match thread::remove_capability_from_bounding_set(capability) {
                // An old kernel does not know the newest ones.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        thread::set_thread_groups(&[])?;
        thread::set_thread_res_gid(gid, gid, gid)?;
        thread::set_thread_res_uid(uid, uid, uid)?;
        thread::clear_ambient_capability_set()?;
        let none = CapabilitySet::empty();
        let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
        Ok(thread::set_capabilities(None, none)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_no_user_to_become() {
        assert_eq!(User::parse("1000:100"), Some(User { uid: 1000, gid: 100 }));
        for text in ["", "1000", "0:1000", "1000:0", "-1:1", "1:4294967295", "1:2:3", "a:b"] {
            assert_eq!(User::parse(text), None, "{text}");
        }
    }
}

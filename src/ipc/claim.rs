//! Files that were moved out of the agent's reach and await their commit.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::check::{self, RejectReason};
use super::{Inner, Mailbox};
use crate::model::RequestId;

/// Where a claimed file came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// One of the directories.
    Mailbox(Mailbox),
    /// `done.json`.
    Done,
}

/// The name of a file in the claim directory: `<origin>-<number>-<request id>`.
///
/// Numbers go up with every claim, also from one life of the gateway to the next, so names sort in the order in
/// which the files were claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimName {
    /// Where it came from.
    pub(super) origin: Source,
    /// When it was claimed, counted.
    pub(super) number: u64,
    /// The request.
    pub(super) id: RequestId,
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Source::Mailbox(mailbox) => mailbox.directory(),
            Source::Done => "done",
        };
        write!(f, "{origin}-{:016x}-{}", self.number, self.id)
    }
}

/// A name in the claim directory that is none of ours.
#[derive(Debug)]
pub(super) struct NotAClaim;

impl FromStr for ClaimName {
    type Err = NotAClaim;

    fn from_str(name: &str) -> Result<Self, NotAClaim> {
        let parse = || {
            let (origin, rest) = name.split_once('-')?;
            let (number, id) = rest.split_once('-')?;
            let origin = match origin {
                "done" => Source::Done,
                directory => Source::Mailbox(Mailbox::from_directory(directory)?),
            };
            let number = u64::from_str_radix(number, 16).ok()?;
            Some(Self { origin, number, id: id.parse().ok()? })
        };
        parse().ok_or(NotAClaim)
    }
}

/// A file of the agent's, read and out of its reach.
///
/// It stays on disk until [`super::IpcDir::forget`] or [`super::IpcDir::quarantine`]; one that is dropped comes
/// back with the next sweep, and after a crash with the first one.
pub(crate) struct ClaimedFile {
    /// The request: the name of the file. For `done.json` it is `done`.
    pub(crate) id: RequestId,
    /// What the file held when it was read.
    pub(crate) bytes: Vec<u8>,
    pub(super) claim: Claim,
}

impl ClaimedFile {
    /// What the file says.
    ///
    /// # Errors
    /// When it does not say that; [`super::IpcDir::quarantine`] is where it belongs then.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, RejectReason> {
        check::parse(&self.bytes)
    }
}

impl fmt::Debug for ClaimedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content is private talk and stays out of logs.
        f.debug_struct("ClaimedFile")
            .field("id", &self.id)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// The hold on a claimed file.
pub(super) struct Claim {
    pub(super) name: ClaimName,
    /// `None` once the file has been dealt with.
    pub(super) inner: Option<Arc<Inner>>,
}

impl Claim {
    /// Lets go of the file, which has been dealt with.
    pub(super) fn settle(&mut self) {
        self.inner = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.put_back(self.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for text in ["messages-000000000000001f-a-b_c", "done-0000000000000000-done"] {
            assert_eq!(text.parse::<ClaimName>().unwrap().to_string(), text);
        }
        for bad in ["", "messages", "messages-1", "mail-1-a", "messages-x-a", "messages-1-../a"] {
            assert!(bad.parse::<ClaimName>().is_err(), "{bad}");
        }
    }
}

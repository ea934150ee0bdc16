//! What a file from a sandbox must be before a byte of it is believed.

use std::io;

use protocol::layout::{self, MAX_FILE_BYTES};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, Mode, Stat};
use rustix::io::Errno;
use rustix::path::Arg;
use serde::de::DeserializeOwned;

use super::confined;
use crate::model::RequestId;
use crate::text;

/// How much of a bad name is shown, in characters.
const SHOWN_CHARS: usize = 48;

/// How much is read at once.
const CHUNK_BYTES: usize = 8192;

/// Why a file was not accepted; the text is for the agent that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RejectReason {
    /// The name is not `<request id>.json`.
    #[error("the name must be letters, digits, - and _, at most 64, and then .json")]
    Name,
    /// There are too many unfinished files, whose names begin with a dot.
    #[error("there are too many unfinished files")]
    Unfinished,
    /// It is a directory, a pipe, a socket, a device or a link.
    #[error("only regular files are read")]
    Kind,
    /// Something else was in the place of a directory of the protocol's.
    #[error("something else was in the place of this directory")]
    NotADirectory,
    /// It has more than one name.
    #[error("the file has other names (hard links)")]
    HardLink,
    /// It belongs to another user than that of the sandbox.
    #[error("the file belongs to another user")]
    Owner,
    /// Its owner may not read it.
    #[error("the file is not readable")]
    Unreadable,
    /// It is, or grew while it was read, larger than it may be.
    #[error("the file is too large")]
    TooLarge,
    /// A path leads out of the group's folder.
    #[error("only files in {} can be sent", layout::GROUP)]
    Outside,
    /// Nothing is there, or the way is none.
    #[error("there is no such file, or a link is on the way to it")]
    NotThere,
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Somebody holds a lease on it.
    #[error("the file is locked by a lease")]
    Leased,
    /// It does not say what it should.
    #[error("the content is not understood: {0}")]
    Content(String),
}

/// The request id that a file name stands for; `None` for a name that is not accepted.
pub(super) fn request_id(name: &[u8]) -> Option<RequestId> {
    std::str::from_utf8(name.strip_suffix(b".json")?).ok()?.parse().ok()
}

/// A file name from a sandbox, fit to be shown and logged.
pub(super) fn shown(name: &[u8]) -> String {
    text::one_line(&String::from_utf8_lossy(name), SHOWN_CHARS)
}

/// Reads what the content of a file says.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RejectReason> {
    serde_json::from_slice(bytes)
        .map_err(|error| RejectReason::Content(text::one_line(&error.to_string(), 200)))
}

/// What came of reading a file.
pub(super) type Reading = Result<Vec<u8>, RejectReason>;

/// Opens a file, if it is one that may be read: plain, with one name, of `owner` where that matters, and no larger than
/// `most` bytes.
///
/// # Errors
/// When there is none, or the fault is ours; the file is none the worse for it.
pub(super) fn open(
    directory: impl AsFd,
    name: impl Arg + Copy,
    owner: Option<u32>,
    most: u64,
) -> io::Result<Result<OwnedFd, RejectReason>> {
    // Looked at before it is opened: opening alone can do things to a device.
    if let Err(reason) = check(&confined::stat(&directory, name)?, owner, most) {
        return Ok(Err(reason));
    }
    let file = match confined::open_file(&directory, name) {
        Ok(file) => file,
        Err(Errno::WOULDBLOCK) => return Ok(Err(RejectReason::Leased)),
        Err(Errno::LOOP | Errno::NXIO | Errno::XDEV) => return Ok(Err(RejectReason::Kind)),
        Err(Errno::ACCESS) => return Ok(Err(RejectReason::Unreadable)),
        Err(error) => return Err(error.into()),
    };
    Ok(check(&fs::fstat(&file)?, owner, most).map(|()| file))
}

/// Reads a claimed file once, if it is one that may be read.
///
/// # Errors
/// When the fault is ours, such as too few descriptors; the file is none the worse for it.
pub(super) fn read(directory: impl AsFd, name: &str, owner: u32) -> io::Result<Reading> {
    let file = match open(directory, name, Some(owner), MAX_FILE_BYTES as u64)? {
        Ok(file) => file,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut bytes = Vec::new();
    // The agent may still hold the file open, so one byte more than allowed is asked for.
    let mut room = MAX_FILE_BYTES + 1;
    let mut chunk = [0; CHUNK_BYTES];
    while room > 0 {
        let part = chunk.get_mut(..room.min(CHUNK_BYTES)).unwrap_or_default();
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *part))?;
        if count == 0 {
            return Ok(Ok(bytes));
        }
        bytes.extend_from_slice(part.get(..count).unwrap_or_default());
        room -= count;
    }
    Ok(Err(RejectReason::TooLarge))
}

fn check(stat: &Stat, owner: Option<u32>, most: u64) -> Result<(), RejectReason> {
    if !confined::is_file(stat) {
        Err(RejectReason::Kind)
    } else if stat.st_nlink != 1 {
        Err(RejectReason::HardLink)
    } else if owner.is_some_and(|owner| stat.st_uid != owner) {
        Err(RejectReason::Owner)
    } else if !Mode::from_raw_mode(stat.st_mode).contains(Mode::RUSR) {
        Err(RejectReason::Unreadable)
    } else if u64::try_from(stat.st_size).map_or(true, |size| size > most) {
        Err(RejectReason::TooLarge)
    } else {
        Ok(())
    }
}

/// Whether a file is no larger than one of the mailboxes that is read.
pub(super) fn fits(stat: &Stat) -> bool {
    usize::try_from(stat.st_size).is_ok_and(|size| size <= MAX_FILE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ids_or_nothing() {
        for (name, id) in [
            (&b"a.json"[..], Some("a")),
            (b"1700000000000-ab_12.json", Some("1700000000000-ab_12")),
            (b"_.json", Some("_")),
            (b"", None),
            (b".json", None),
            (b"-rf.json", None),
            (b"a.JSON", None),
            (b"a.json.tmp", None),
            (b"a/b.json", None),
            (b"..json", None),
            (b"a b.json", None),
            (b"a\nb.json", None),
            (b"\xff.json", None),
            ("é.json".as_bytes(), None),
        ] {
            let found = request_id(name);
            assert_eq!(found.as_ref().map(RequestId::as_str), id, "{}", shown(name));
        }
        let mut long = vec![b'a'; 64];
        long.extend(b".json");
        assert!(request_id(&long).is_some());
        long.insert(0, b'a');
        assert!(request_id(&long).is_none());
    }

    #[test]
    fn shown_names_do_nothing_to_a_terminal() {
        let shown = shown(b"a\nb\x1b[31m\xff\xe2\x80\xae.json");
        assert!(shown.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{shown}");
    }
}

//! One gateway per store: a lock that the kernel drops with the process that holds it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::StoreError;

/// The right to be the gateway of a store, until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// The kernel holds the lock while this is open.
    _file: File,
}

impl Lock {
    /// Takes the lock in a folder, and writes down who has it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] with the holder when another gateway has it.
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::failed("lock the store", error);
        let path = folder.join("gateway.lock");
        // The file stays when the gateway ends: removing it would let two gateways lock two files of one name.
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = open.open(path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StoreError::Locked { holder: holder(&file) }),
            Err(error) => return Err(StoreError::failed("lock the store", error)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match read.map(|_| text.trim().parse::<u32>()) {
        Ok(Ok(pid)) => format!("the gateway with process id {pid}"),
        _ => "another gateway".to_owned(),
    }
}

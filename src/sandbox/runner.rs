//! The agent-runner: part of this program, written to the store so that sandboxes can mount it.

use std::hash::Hasher;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fnv::FnvHasher;
use tracing::debug;

/// The binary, built by `build.rs` for the processor of this machine.
const RUNNER: &[u8] = include_bytes!(env!("HERMITCRAB_AGENT_RUNNER"));
/// What it is called in the store, before the hash of its content.
const PREFIX: &str = "agent-runner-";
/// The hash of its content, 16 hexadecimal digits, as `build.rs` takes it.
const HASH: &str = env!("HERMITCRAB_AGENT_RUNNER_HASH");

/// Writes the agent-runner into the store unless it is there, removes those of other versions, and returns its path.
///
/// A sandbox that lives keeps the version that it has mounted.
///
/// # Errors
/// When it cannot be written.
pub fn install(store: &Path) -> io::Result<PathBuf> {
    super::folders::private(store)?;
    let name = concat!("agent-runner-", env!("HERMITCRAB_AGENT_RUNNER_HASH"));
    let path = store.join(name);
    if !is_whole(&path) {
        let mut file = tempfile_in(store)?;
        file.0.write_all(RUNNER)?;
        file.0.set_permissions(std::fs::Permissions::from_mode(0o555))?;
        file.0.sync_all()?;
        std::fs::rename(&file.1, &path)?;
    }
    remove_others(store, name);
    Ok(path)
}

/// Whether the file is there with the right content: a full disk may have cut an earlier one, a person changed it.
fn is_whole(path: &Path) -> bool {
    let executable = |path: &Path| {
        path.symlink_metadata()
            .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o777 == 0o555)
    };
    executable(path) && hash(path).is_ok_and(|hash| hash == HASH)
}

/// The 64-bit FNV-1a hash of a file. It is compared instead of [`RUNNER`] itself, which would then stay in the memory
/// of every gateway; whoever could forge a file with this hash owns the store.
fn hash(path: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut buffer = [0; 16 * 1024];
    let mut hash = FnvHasher::default();
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(format!("{:016x}", hash.finish()));
        }
        hash.write(buffer.get(..read).unwrap_or_default());
    }
}

/// A new file that is renamed when it is whole.
fn tempfile_in(store: &Path) -> io::Result<(std::fs::File, PathBuf)> {
    let path = store.join(format!("{PREFIX}{:016x}.new", fastrand::u64(..)));
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((file, path))
}

fn remove_others(store: &Path, name: &str) {
    for entry in std::fs::read_dir(store).into_iter().flatten().flatten() {
        let other = entry.file_name();
        let other = other.to_string_lossy();
        if other.starts_with(PREFIX)
            && other != name
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            debug!(%error, file = %other, "an agent-runner of another version is left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_written_once_and_mended() {
        let home = tempfile::tempdir().unwrap();
        let store = home.path().join("store");
        let path = install(&store).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), RUNNER);
        let written = path.metadata().unwrap().modified().unwrap();
        std::fs::write(store.join("agent-runner-0123"), "old").unwrap();
        assert_eq!(install(&store).unwrap(), path);
        assert_eq!(path.metadata().unwrap().modified().unwrap(), written);
        assert!(!store.join("agent-runner-0123").exists());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "cut").unwrap();
        install(&store).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), RUNNER);
        let entries: Vec<_> = std::fs::read_dir(&store).unwrap().collect();
        assert_eq!(entries.len(), 1);
    }

    #[test]
    fn the_runner_is_a_static_program() {
        assert_eq!(RUNNER.get(..4), Some(&b"\x7fELF"[..]));
        assert!(
            !RUNNER.windows(8).any(|bytes| bytes == b"/lib/ld-"),
            "it asks for a dynamic linker"
        );
        assert!(
            !RUNNER.windows(10).any(|bytes| bytes == b"/lib64/ld-"),
            "it asks for a dynamic linker"
        );
    }
}

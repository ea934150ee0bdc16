//! The socket file: made private, put in place of a dead one, reachable however long its path is.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The longest path that every system takes for a socket: macOS has room for 103 bytes, Linux for 107.
const MAX_PATH_BYTES: usize = 103;

/// Listens at `path`. Whatever lies there is replaced: the store's lock says that no other gateway lives.
///
/// The socket gets its rights under another name before anybody can see it.
///
/// # Errors
/// When the folder is not there or not ours.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    let fresh = path.with_extension("new");
    remove(&fresh)?;
    let short = ShortPath::of(&fresh)?;
    let listener = UnixListener::bind(&short.path)?;
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

/// Removes the socket, if it is there.
///
/// # Errors
/// When it stays.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Connects to the gateway that listens at `path`.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` when no gateway does, `ConnectionReset` when one just closes its door.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = ShortPath::of(path)?;
    UnixStream::connect(&short.path).await
}

/// A path that fits into a socket's address; a long one goes through a descriptor of its folder.
struct ShortPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl ShortPath {
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= MAX_PATH_BYTES {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if !cfg!(target_os = "linux") {
            let reason = "the path is too long for a socket; choose a home with a shorter one";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_and_replaces_what_lies_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.sock");
        drop(bind(&path).unwrap());
        assert_eq!(connect(&path).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let _listener = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        connect(&path).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(connect(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_long_path_is_reached_through_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("chat.sock");
        let _listener = bind(&path).unwrap();
        connect(&path).await.unwrap();
    }
}

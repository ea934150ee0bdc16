//! Doors: where sandboxes come in. Who is behind a door is settled when it is opened.
//!
//! A door owns all that runs behind it; when it is dropped, its connections end and its socket is gone.

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::layout::BROKER_SOCKET;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::refusals::Refusals;
use super::{Client, MAX_BODY_BYTES, Shared, bridge, rate, serve};

/// Connections of one sandbox that are served at a time; further ones wait.
pub(super) const MAX_CONNECTIONS: usize = protocol::frame::MAX_CONNECTIONS;
/// Memory for the request bodies of one sandbox, in KiB.
const BODY_MEMORY_KIB: usize = 2 * MAX_BODY_BYTES / 1024;
/// How long to wait when no connection can be accepted, which is when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A way in for one sandbox; it is closed by dropping it.
#[derive(Debug)]
pub(crate) struct Door {
    _file: Option<SocketFile>,
    tasks: TaskTracker,
    _open: DropGuard,
}

/// A socket before it is known who will come in; nobody who connects is let in yet.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a socket, which goes with it.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Socket {
    /// Makes a socket in `dir` for the user and group ids `user`.
    pub(super) fn bind(shared: &Shared, dir: &Path, user: (u32, u32)) -> io::Result<Self> {
        let file = SocketFile(dir.join(BROKER_SOCKET));
        let _runtime = shared.runtime.enter();
        let listener = bind(dir, &file.0)?;
        // Only this user may connect. Without the right to give files away it must be everybody, and the directory
        // is what keeps others out.
        let given = chown(&file.0, Some(user.0), Some(user.1)).is_ok();
        let mode = if given { 0o600 } else { 0o666 };
        std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(mode))?;
        Ok(Self { listener, file })
    }

    /// Whether its file is still where it was made.
    pub(crate) fn is_there(&self) -> bool {
        self.file.0.exists()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove the broker's socket {}: {error}", self.0.display());
        }
    }
}

impl Door {
    /// Serves whoever connects to a socket.
    pub(super) fn socket(shared: &Arc<Shared>, socket: Socket, client: Client) -> Self {
        let room = Room::new(shared, client);
        let door = Self::of(&room, Some(socket.file));
        room.spawn(accept(socket.listener, Arc::clone(&room)));
        door
    }

    /// Serves the connections in a framed stream.
    pub(super) fn stream<S>(shared: &Arc<Shared>, stream: S, client: Client) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let room = Room::new(shared, client);
        let door = Self::of(&room, None);
        room.spawn(bridge::serve(stream, Arc::clone(&room)));
        door
    }

    fn of(room: &Room, file: Option<SocketFile>) -> Self {
        let (tasks, open) = (room.tasks.clone(), room.closing.clone().drop_guard());
        Self { _file: file, tasks, _open: open }
    }

    /// Waits until nothing runs behind the door any more: for a stream, until it has ended.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What is behind a door.
#[derive(Debug)]
pub(super) struct Room {
    /// The broker.
    pub shared: Arc<Shared>,
    /// Who is there.
    pub client: Client,
    tasks: TaskTracker,
    closing: CancellationToken,
    places: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    refusals: Refusals,
    /// Keeps the broker from being settled while something may still be put down from here.
    _unsettled: TaskTrackerToken,
}

impl Room {
    fn new(shared: &Arc<Shared>, client: Client) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            client,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            memory: Arc::new(Semaphore::new(BODY_MEMORY_KIB)),
            refusals: Refusals::default(),
            _unsettled: shared.records.token(),
        })
    }

    /// Runs something until it ends or the door is closed.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        let task = async move {
            closing.run_until_cancelled_owned(task).await;
        };
        self.tasks.spawn_on(task, &self.shared.runtime);
    }

    /// Waits for a place for one more connection.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Waits until there is memory for a body of so many bytes.
    pub(super) async fn reserve(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.memory).acquire_many_owned(kib).await.ok()
    }

    /// Counts a connection or a request of the sandbox, and waits until its pace allows for it; whether it had to.
    pub(super) async fn keep_pace(&self) -> bool {
        let wait = self.shared.requests.charge(&self.client.sandbox, 1, Instant::now());
        tokio::time::sleep(wait).await;
        !wait.is_zero()
    }

    /// Counts a request that was refused; its price in pace is paid by the next one.
    pub(super) fn refused(&self) {
        let now = Instant::now();
        self.shared.requests.charge(&self.client.sandbox, rate::REFUSAL, now);
        if let Some(count) = self.refusals.count(now) {
            self.tell_refusals(count);
        }
    }

    fn tell_refusals(&self, count: u64) {
        tracing::info!(
            group.name = %self.client.group,
            sandbox.id = %self.client.sandbox,
            count,
            "requests of a sandbox were refused"
        );
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let count = self.refusals.untold();
        if count > 0 {
            self.tell_refusals(count);
        }
    }
}

async fn accept(listener: UnixListener, room: Arc<Room>) {
    while let Some(place) = room.place().await {
        match listener.accept().await {
            Ok((stream, _)) => room.spawn(serve::serve(stream, Arc::clone(&room), place)),
            Err(error) => {
                tracing::warn!("cannot accept a connection from a sandbox: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Binds the socket, in place of one that a gateway before us has left.
fn bind(dir: &Path, path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    bind_in(dir, path)
}

/// The name of a socket has at most 108 bytes, and paths are longer; through a descriptor of the directory it is
/// short.
#[cfg(target_os = "linux")]
fn bind_in(dir: &Path, _path: &Path) -> io::Result<UnixListener> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty())?;
    UnixListener::bind(format!("/proc/self/fd/{}/{BROKER_SOCKET}", dir.as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn bind_in(_dir: &Path, path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(path)
}

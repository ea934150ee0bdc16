//! The place that a command works on: a home, its store, and the gateway that may run there.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::time::timeout;

use super::exit::{Failure, UNAVAILABLE};
use crate::channel::terminal::wire::{self, ClientFrame, Frames, GatewayFrame};
use crate::channel::terminal::{SOCKET, socket};
use crate::clock;
use crate::config::Settings;
use crate::store::{Store, StoreError};

/// The database's name in the store's folder.
const DATABASE: &str = "messages.db";
/// How long a gateway may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a command works.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// What the environment decides.
    pub(crate) settings: Settings,
    /// The owner's time zone.
    pub(crate) zone: TimeZone,
}

impl Place {
    /// The place that these settings describe.
    pub(crate) fn new(settings: Settings) -> Self {
        // Config has looked the zone up already.
        let zone = TimeZone::get(&settings.time_zone).unwrap_or(TimeZone::UTC);
        Self { settings, zone }
    }

    /// The gateway's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.settings.store_dir().join(SOCKET)
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.settings.store_dir().join(DATABASE)
    }

    /// What lies in the place of the store's folder and is none.
    pub(crate) fn not_the_store(&self) -> Option<PathBuf> {
        let folder = self.settings.store_dir();
        fs::metadata(&folder).is_ok_and(|found| !found.is_dir()).then_some(folder)
    }

    /// Sees to it that the store's folder is one, or can become one.
    ///
    /// # Errors
    /// When something else lies in its place.
    pub(crate) fn check_store(&self) -> Result<(), Failure> {
        let Some(path) = self.not_the_store() else { return Ok(()) };
        let sentence = format!(
            "{} is not a folder, as the store must be; move it away, or choose another --home",
            path.display()
        );
        Err(Failure::failed(sentence))
    }

    /// Opens the store beside a gateway or without one; `None` when nothing was ever kept here.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub(crate) fn open_store(&self) -> Result<Option<Store>, Failure> {
        self.check_store()?;
        match Store::open_beside(&self.database(), clock::system()) {
            Ok(store) => Ok(Some(store)),
            Err(StoreError::NotThere(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What to say where nothing was ever kept.
    pub(crate) fn nothing_here(&self) -> String {
        let home = self.settings.home.display();
        format!(
            "there is no gateway's home in {home} yet; `hermitcrab chat` begins one here, --home names another folder"
        )
    }

    /// Asks the gateway that runs here how it is; `None` when there is none.
    ///
    /// # Errors
    /// When there is one that does not answer, or the store is no folder.
    pub(crate) async fn ask_gateway(&self) -> Result<Option<Value>, Failure> {
        self.check_store()?;
        let stream = match socket::connect(&self.socket()).await {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => return Ok(None),
            Err(error) => return Err(silent().because(error)),
        };
        let (reader, mut writer) = stream.into_split();
        let mut frames = Frames::new(reader);
        let ask = async {
            wire::write(&mut writer, &ClientFrame::Status).await.map_err(wire::WireError::from)?;
            frames.next().await
        };
        match timeout(PATIENCE, ask).await {
            Ok(Ok(Some(GatewayFrame::Status { state }))) => Ok(Some(state)),
            // It ended while it was asked.
            Ok(Ok(None) | Err(wire::WireError::Broken(_))) => Ok(None),
            Ok(Ok(Some(_))) | Err(_) => Err(silent()),
            Ok(Err(error)) => Err(silent().because(error)),
        }
    }
}

/// Whether this says that no gateway listens. One that closes its socket resets whoever was not let in yet.
pub(crate) fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused | ConnectionReset)
}

fn silent() -> Failure {
    let sentence =
        "a gateway runs here but does not say how it is; look into its log, or restart it";
    Failure::new(UNAVAILABLE, sentence)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketType, connect, listen, socket, sockopt,
    };

    use super::*;

    #[test]
    fn a_gateway_that_closes_its_door_on_us_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.sock");
        let gateway = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&gateway, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&gateway, 1).unwrap();
        let caller = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        connect(&caller, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        // It goes before it has let us in; a connection that is being made looks for this error.
        drop(gateway);
        let error = sockopt::socket_error(caller.as_fd()).unwrap().unwrap_err();
        assert!(is_nobody(&error.into()), "{error}");
    }
}

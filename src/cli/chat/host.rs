//! The gateway inside a chat, for when none runs: it ends with the chat, and it takes over when another one leaves.
//!
//! Only the holder of the store's lock is the gateway, so whoever comes too early asks again.

use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::channel::terminal::socket;
use crate::cli::exit::{Failure, TRY_LATER};
use crate::cli::output;
use crate::cli::place::{Place, is_nobody};
use crate::cli::setup;
use crate::gateway::{Gateway, GatewayError};
use crate::telemetry;

/// How long whoever has the store may take until it answers, or leaves.
const COMING_OR_GOING: Duration = Duration::from_secs(20);
/// After how much of that the person is told.
const TOLD_AFTER: Duration = Duration::from_secs(3);
/// How often it is looked whether a gateway is there.
const LOOK: Duration = Duration::from_millis(200);
/// How long a gateway that went in order is left time to come back, as when it is restarted.
const GONE: Duration = Duration::from_secs(1);
/// The same for one that died: a service manager takes a few seconds to start it again.
const DEAD: Duration = Duration::from_secs(8);

/// Sees to it that there is a gateway.
pub(super) struct Host {
    place: Place,
    own: Option<Gateway>,
    logs: bool,
}

/// Who answers at the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// The gateway has closed it.
    Closed,
    /// The gateway died and left it.
    Dead,
}

impl Host {
    /// Finds a gateway, or brings one up. The log of our own goes to a file, out of the conversation's way.
    ///
    /// # Errors
    /// When there is none and none can be started.
    pub(super) async fn find(place: Place) -> Result<Self, Failure> {
        let mut host = Self { place, own: None, logs: false };
        let begun = Instant::now();
        let mut told = false;
        loop {
            if host.door().await? == Door::Open {
                return Ok(host);
            }
            let Some(holder) = host.bring_up().await? else { return Ok(host) };
            if begun.elapsed() > COMING_OR_GOING {
                let sentence = format!("{holder} has the store, but neither answers nor ends");
                return Err(Failure::new(TRY_LATER, sentence));
            }
            if begun.elapsed() > TOLD_AFTER && !std::mem::replace(&mut told, true) {
                output::aside(format_args!(
                    "{holder} is just starting or stopping; waiting for it"
                ));
            }
            sleep(LOOK).await;
        }
    }

    /// Takes over whenever `away` says that the line to the gateway is down and nobody else brings one up.
    /// Ends only when a gateway is needed and none can be had, or when our own can do its work no longer.
    pub(super) async fn stand_in(&mut self, mut away: watch::Receiver<bool>) -> Failure {
        loop {
            let left = tokio::select! {
                left = away.wait_for(|away| *away) => left.is_ok(),
                failure = fallen(self.own.as_ref()) => return failure,
            };
            if !left {
                // The chat is over.
                std::future::pending::<()>().await;
            }
            let back = away.wait_for(|away| !*away);
            let replaced = tokio::select! {
                _ = back => Ok(()),
                replaced = self.replace() => replaced,
            };
            if let Err(failure) = replaced {
                return failure;
            }
        }
    }

    /// Lets runs end, unless somebody wishes `again` that it ends, and closes everything.
    pub(super) async fn stop(self, again: io::Result<impl Future<Output = ()>>) {
        let Some(gateway) = self.own else { return };
        let haste = gateway.haste();
        if let (runs @ 1.., grace) = gateway.under_way() {
            let (them, get) = match runs {
                1 => ("the run in progress".to_owned(), "gets"),
                more => (format!("{more} runs in progress"), "get"),
            };
            let grace = grace.as_secs();
            output::aside(format_args!(
                "stopping; {them} {get} up to {grace} s, or until Ctrl-C or a second signal"
            ));
        }
        let mut stopping = std::pin::pin!(gateway.stop());
        match again {
            Ok(again) => {
                tokio::select! {
                    () = &mut stopping => return,
                    () = again => {}
                }
                output::aside(
                    "stopping at once; what is not answered is taken up by the next start",
                );
                haste.cancel();
            }
            Err(error) => tracing::debug!(%error, "a second signal cannot be heard"),
        }
        stopping.await;
    }

    /// Waits until the other gateway has left for good, and comes in its place.
    async fn replace(&mut self) -> Result<(), Failure> {
        if self.own.is_some() {
            // It hung up on us, and will take us back.
            return Err(fallen(self.own.as_ref()).await);
        }
        let left_at = Instant::now();
        loop {
            let patience = match self.door().await? {
                Door::Open => None,
                Door::Closed => Some(GONE),
                Door::Dead => Some(DEAD),
            };
            match patience {
                Some(patience) if left_at.elapsed() >= patience => {
                    if self.bring_up().await?.is_none() {
                        return Err(fallen(self.own.as_ref()).await);
                    }
                }
                Some(_) | None => {}
            }
            sleep(LOOK).await;
        }
    }

    /// Brings a gateway up; `Some` with the holder when another one has the store.
    async fn bring_up(&mut self) -> Result<Option<String>, Failure> {
        setup::make_home(&self.place)?;
        if !self.logs {
            let log = self.place.settings.store_dir().join("logs/chat.log");
            telemetry::to_file(&self.place.settings.log, &log)
                .map_err(|error| Failure::failed("logs cannot be set up").because(error))?;
            self.logs = true;
        }
        match Gateway::start(self.place.settings.clone()).await {
            Ok(gateway) => {
                self.own = Some(gateway);
                Ok(None)
            }
            Err(GatewayError::Held { holder }) => Ok(Some(holder)),
            Err(error) => Err(error.into()),
        }
    }

    async fn door(&self) -> Result<Door, Failure> {
        self.place.check_store()?;
        match socket::connect(&self.place.socket()).await {
            Ok(_stream) => Ok(Door::Open),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Door::Dead),
            Err(error) if is_nobody(&error) => Ok(Door::Closed),
            Err(error) => Err(Failure::failed(format!("the gateway cannot be reached: {error}"))),
        }
    }
}

/// Waits until a gateway of our own can do its work no longer.
async fn fallen(own: Option<&Gateway>) -> Failure {
    match own {
        Some(gateway) => gateway.fallen().await.into(),
        None => std::future::pending().await,
    }
}

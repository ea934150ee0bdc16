//! The gateway inside a chat, for when none runs: it begins and ends with the chat.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::channel::terminal::socket;
use crate::cli::exit::{Failure, TRY_LATER};
use crate::cli::place::{Place, is_nobody};
use crate::cli::setup;
use crate::gateway::{Gateway, GatewayError};
use crate::telemetry;

/// How long a gateway that has the store may take until it answers.
const COMING_UP: Duration = Duration::from_secs(10);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// A gateway of our own.
pub(super) struct Embedded(Gateway);

impl Embedded {
    /// Brings a gateway up, unless one runs already. Its log goes to a file, out of the conversation's way.
    ///
    /// # Errors
    /// When there is none and none can be started.
    pub(super) async fn unless_one_runs(place: &Place) -> Result<Option<Self>, Failure> {
        if somebody_listens(place).await? {
            return Ok(None);
        }
        setup::make_home(place)?;
        let log = place.settings.store_dir().join("logs/chat.log");
        telemetry::to_file(&place.settings.log, &log)
            .map_err(|error| Failure::failed("logs cannot be set up").because(error))?;
        match Gateway::start(place.settings.clone()).await {
            Ok(gateway) => Ok(Some(Self(gateway))),
            Err(GatewayError::Held { holder }) => {
                wait_for(place, &holder).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lets runs end, and closes everything.
    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}

async fn somebody_listens(place: &Place) -> Result<bool, Failure> {
    match socket::connect(&place.socket()).await {
        Ok(_stream) => Ok(true),
        Err(error) if is_nobody(&error) => Ok(false),
        Err(error) => Err(Failure::failed(format!("the gateway cannot be reached: {error}"))),
    }
}

/// Waits for a gateway that is just coming up.
async fn wait_for(place: &Place, holder: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + COMING_UP;
    while !somebody_listens(place).await? {
        if Instant::now() > deadline {
            return Err(Failure::new(
                TRY_LATER,
                format!("{holder} has the store but does not answer"),
            ));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

//! `hermitcrab run`: the gateway in the foreground.

use tokio::signal;
use tokio::signal::unix::SignalKind;

use super::exit::Failure;
use super::place::Place;
use crate::telemetry;

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot be started.
pub(super) async fn run(place: Place) -> Result<(), Failure> {
    telemetry::to_stderr(&place.settings.log)
        .map_err(|error| Failure::failed("logs cannot be set up").because(error))?;
    stopped().await?;
    Ok(())
}

/// Waits until somebody wants the program to end.
///
/// # Errors
/// When the system does not tell.
pub(super) async fn stopped() -> std::io::Result<()> {
    let mut terminate = signal::unix::signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = signal::ctrl_c() => interrupted,
    }
}

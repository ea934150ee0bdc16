//! `hermitcrab run`: the gateway in the foreground.

use tokio::signal;
use tokio::signal::unix::{Signal, SignalKind};

use super::exit::Failure;
use super::place::Place;
use super::setup;
use crate::gateway::Gateway;
use crate::telemetry;

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot be started, or a part of it ends before its time: the service manager then starts it anew.
pub(super) async fn run(place: Place) -> Result<(), Failure> {
    telemetry::to_stderr(&place.settings.log)
        .map_err(|error| Failure::failed("logs cannot be set up").because(error))?;
    setup::make_home(&place)?;
    let mut terminate = signal::unix::signal(SignalKind::terminate())?;
    let gateway = tokio::select! {
        started = Gateway::start(place.settings) => started?,
        stopped = stopped(&mut terminate) => return Ok(stopped?),
    };
    let ended = tokio::select! {
        stopped = stopped(&mut terminate) => stopped.map_err(Failure::from),
        fallen = gateway.fallen() => Err(fallen.into()),
    };
    gateway.stop().await;
    ended
}

/// Waits until somebody wants the program to end.
///
/// # Errors
/// When the system does not tell.
async fn stopped(terminate: &mut Signal) -> std::io::Result<()> {
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = signal::ctrl_c() => interrupted,
    }
}

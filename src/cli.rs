//! The command line: the only place that prints.

mod args;
mod chat;
mod denied;
mod doctor;
mod exit;
mod group;
mod outbox;
mod output;
mod place;
mod run;
mod runs;
mod setup;
#[cfg(feature = "slack")]
mod slack;
mod status;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Arguments, Command};
use self::exit::Failure;
use self::place::Place;
use crate::config::{Loaded, Settings};

/// Runs the program, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    crate::failpoint::setup();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::after_parsing(&error),
    };
    match start(arguments) {
        Ok(()) => exit::DONE.into(),
        Err(failure) => failure.tell(),
    }
}

fn start(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("the program cannot start its threads").because(error))?;
    let done = runtime.block_on(carry_out(arguments));
    // Whatever still reads the keyboard is not waited for.
    runtime.shutdown_background();
    done
}

async fn carry_out(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { home, command } = arguments;
    if let Command::Doctor(format) = command {
        return doctor::run(home, format).await;
    }
    let loaded = Settings::load_what_is_right(home)?;
    let settings = if command.only_looks() { what_is_right(loaded) } else { loaded.whole()? };
    let level = &settings.log.level;
    let is_verbose = level.contains("debug") || level.contains("trace");
    let place = Place::new(settings);
    let done = match command {
        Command::Run => run::run(place).await,
        Command::Chat(options) => chat::run(place, options).await,
        Command::Doctor(format) => doctor::run(Some(place.settings.home), format).await,
        Command::Status(options) => status::run(&place, options).await,
        Command::Group(command) => group::run(&place, command).await,
        Command::Runs(options) => runs::run(&place, options).await,
        Command::Outbox(options) => outbox::run(&place, options).await,
        #[cfg(feature = "slack")]
        Command::Slack(command) => slack::run(&place, command),
    };
    done.map_err(|failure| if is_verbose { failure.verbose() } else { failure })
}

/// The settings for a command to which the wrong ones do not matter; that there are some is said all the same.
fn what_is_right(loaded: Loaded) -> Settings {
    if let Some(error) = &loaded.error {
        let wrong = match error.faults().len() {
            1 => "a setting is wrong and counts".to_owned(),
            many => format!("{many} settings are wrong and count"),
        };
        output::aside(format_args!("{wrong} as not set here; `hermitcrab doctor` says more"));
    }
    loaded.settings
}

/// As many threads as there are processors, but no more than the work of one household needs.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4)
}

//! The command line: the only place that prints.

mod args;
mod chat;
mod denied;
mod doctor;
mod exit;
mod finding;
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

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use self::args::{Arguments, Command, GroupCommand};
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
    use Faults::{Matter, Told};
    let Arguments { home, command } = arguments;
    match command {
        Command::Run => at(home, Matter, run::run).await,
        Command::Chat(options) => at(home, Matter, |place| chat::run(place, options)).await,
        Command::Status(format) => {
            at(home, Told, async |place| status::run(&place, format).await).await
        }
        // It reads the settings itself: the wrong ones are among what it finds.
        Command::Doctor(format) => doctor::run(home, format).await,
        Command::Group(command) => {
            let faults = if matches!(command, GroupCommand::List(_) | GroupCommand::Chats(_)) {
                Told
            } else {
                Matter
            };
            at(home, faults, async |place| group::run(&place, command).await).await
        }
        Command::Runs(options) => {
            at(home, Told, async |place| runs::run(&place, options).await).await
        }
        Command::Outbox(options) => {
            at(home, Told, async |place| outbox::run(&place, options).await).await
        }
        #[cfg(feature = "slack")]
        Command::Slack(command) => {
            // Wrong settings are among what it finds.
            let Loaded { settings, error } = Settings::load_what_is_right(home)?;
            let faults = error.as_ref().map(doctor::settings_faults).unwrap_or_default();
            slack::run(&Place::new(settings), faults, command).await
        }
    }
}

/// What wrong settings are to a command.
#[derive(Debug, Clone, Copy)]
enum Faults {
    /// A reason not to begin.
    Matter,
    /// Something to say, and nothing that stands in its way: it only looks.
    Told,
}

/// Carries out a command at the place that the settings name.
async fn at(
    home: Option<PathBuf>,
    faults: Faults,
    command: impl AsyncFnOnce(Place) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let loaded = Settings::load_what_is_right(home)?;
    let settings = match faults {
        Faults::Matter => loaded.whole()?,
        Faults::Told => what_is_right(loaded),
    };
    let level = &settings.log.level;
    let is_verbose = level.contains("debug") || level.contains("trace");
    let done = command(Place::new(settings)).await;
    done.map_err(|failure| if is_verbose { failure.verbose() } else { failure })
}

/// The right settings; that there are wrong ones is said.
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

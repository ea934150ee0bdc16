//! The program inside every sandbox: PID 1, the way to the broker, and the engine.
//!
//! One static binary with five parts, chosen by the first argument:
//!
//! | part | what it does |
//! |---|---|
//! | `init` | is PID 1: limits and confines everything below it, starts `serve`, reaps, forwards signals |
//! | `serve` | takes prompts from the ipc directory, lets an engine think, says how each run ended |
//! | `bridge` | carries broker connections over its standard streams, where a socket cannot be mounted |
//! | `probe` | finds out which walls of the sandbox hold, and leaves its verdict in the ipc directory |
//! | `version` | says what was built |
//!
//! Nothing here is trusted by the gateway: the agent shares this program's user and directories.

use std::process::ExitCode;

use settings::Command;

mod clock;
mod files;
mod settings;
mod watch;

mod bridge;
mod engine;
mod init;
mod probe;
mod serve;

#[cfg(any(fuzzing, test))]
pub mod fuzz;

/// The arguments make no sense (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;
/// The sandbox could not be confined, so nothing was started in it (`EX_OSERR`).
const EXIT_CONFINE: u8 = 71;
/// A directory or port that the work needs is not usable (`EX_IOERR`).
const EXIT_IO: u8 = 74;

/// What programs inside send as their key; the broker puts the real one in its place.
const PLACEHOLDER_KEY: &str = "held-by-the-gateway";

/// Runs the part that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let begun = clock::now();
    let command = match settings::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            note(format_args!("{error}\n{}", settings::USAGE));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match command {
        Command::Init(settings) => init::run(&settings, begun),
        Command::Bridge(port) => bridge::run(port),
        Command::Serve(settings) => serve::run(settings),
        Command::Probe => probe::run(),
        Command::Version => version(),
    }
}

/// Prints the crate's version and the protocol's as one line of JSON.
fn version() -> ExitCode {
    let line = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": protocol::VERSION,
    });
    match std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => ExitCode::from(EXIT_IO),
    }
}

/// Says one line on standard error, which the gateway keeps in its log; never content of a conversation.
fn note(line: std::fmt::Arguments<'_>) {
    // Standard error may be closed, and there is nobody else to tell.
    std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("agent-runner: {line}\n")).ok();
}

//! PID 1 of a sandbox: confines itself, starts `serve`, and from then on only reaps and forwards signals.
//!
//! What confines is applied in the only thread, before anything is started, so everything in the sandbox
//! inherits it. When `serve` ends this program ends, and the kernel ends the rest of the PID namespace.

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::settings::Settings;
use crate::{EXIT_CONFINE, EXIT_IO, note};
pub(crate) use limits::Limit;
pub(crate) use user::User;

mod landlock;
mod limits;
mod syscalls;
mod user;

/// What `init` was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InitSettings {
    /// Whether nothing begins until a byte comes in on standard input: the gateway limits this process first.
    pub(crate) gate: bool,
    /// Who everything becomes, where the sandbox is begun as root.
    pub(crate) user: Option<User>,
    /// Resource limits for everything in the sandbox.
    pub(crate) limits: Vec<Limit>,
    /// The places that `serve` will use.
    pub(crate) places: Settings,
    /// The arguments that gave the places, for `serve`.
    pub(crate) serve: Vec<OsString>,
    /// The program that is run in the place of `serve`, with its arguments; empty for `serve` itself.
    pub(crate) program: Vec<OsString>,
}

/// Why the sandbox could not be confined: then nothing runs in it.
#[derive(Debug, Error)]
enum ConfineError {
    #[error("cannot set the resource limits: {0}")]
    Limits(#[source] io::Error),
    #[error("cannot give up privileges: {0}")]
    Privileges(#[source] io::Error),
    #[error("cannot apply Landlock: {0}")]
    Landlock(#[source] ::landlock::RulesetError),
    #[error("cannot apply the system call filter: {0}")]
    Syscalls(#[source] seccompiler::Error),
}

/// Confines the sandbox, runs `serve` in it, and ends with its status; `begun` is when this program was entered.
pub(crate) fn run(settings: &InitSettings, begun: u64) -> ExitCode {
    if settings.gate && !admitted() {
        note(format_args!("the gateway went away before the sandbox was ready"));
        return ExitCode::from(EXIT_CONFINE);
    }
    if let Err(error) = confine(settings) {
        note(format_args!("{error}"));
        return ExitCode::from(EXIT_CONFINE);
    }
    match work(settings, begun) {
        Ok(status) => ExitCode::from(exit_code(status)),
        Err(error) => {
            note(format_args!("cannot run the agent: {error}"));
            ExitCode::from(EXIT_IO)
        }
    }
}

/// Waits for the gateway's word; `false` when it ended without one.
fn admitted() -> bool {
    io::Read::read_exact(&mut io::stdin(), &mut [0]).is_ok()
}

fn confine(settings: &InitSettings) -> Result<(), ConfineError> {
    limits::apply(&settings.limits).map_err(ConfineError::Limits)?;
    if let Some(user) = settings.user {
        user.assume().map_err(ConfineError::Privileges)?;
        // Whoever began this as root had no way into a folder that is the user's alone.
        std::env::set_current_dir(&settings.places.group).map_err(ConfineError::Privileges)?;
    }
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .and_then(|()| rustix::thread::set_no_new_privs(true))
        .map_err(|errno| ConfineError::Privileges(errno.into()))?;
    if !landlock::apply(&settings.places).map_err(ConfineError::Landlock)? {
        note(format_args!("this kernel has no Landlock; the mounts alone confine the files"));
    }
    syscalls::apply().map_err(ConfineError::Syscalls)
}

/// Starts `serve`, or the program in its place, and waits for its end.
fn work(settings: &InitSettings, begun: u64) -> io::Result<WaitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        // Before the child exists, so that none of its signals is missed.
        let mut child_ended = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let child = match settings.program.split_first() {
            Some((program, arguments)) => Command::new(program).args(arguments).spawn()?,
            None => {
                let mut serve = Command::new("/proc/self/exe");
                serve.arg("serve").args(&settings.serve);
                serve.args(["--begun", &begun.to_string()]).spawn()?
            }
        };
        let child = Pid::from_child(&child);
        loop {
            while let Some((pid, status)) = rustix::process::wait(WaitOptions::NOHANG)? {
                if pid == child {
                    return Ok(status);
                }
            }
            let forward = tokio::select! {
                _ = child_ended.recv() => continue,
                _ = terminate.recv() => Signal::TERM,
                _ = interrupt.recv() => Signal::INT,
            };
            rustix::process::kill_process(child, forward)?;
        }
    })
}

/// The exit code that a shell would give: the child's own, or 128 and the number of the signal.
fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

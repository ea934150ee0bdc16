//! Reads the arguments: which part of the program runs, and with which places.
//!
//! A gateway writes these arguments, not a person, so they are few and strict. All of them have defaults that
//! fit a sandbox; tests use them to work in a directory of their own.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use protocol::layout;
use thiserror::Error;

use crate::init::{InitSettings, Limit, User};

/// What is said when the arguments make no sense.
pub(crate) const USAGE: &str = "\
usage: agent-runner init [--user UID:GID] [--gate stdin] [--rlimit NAME=VALUE]... [PLACES]
                         [-- PROGRAM...]
       agent-runner serve [PLACES]
       agent-runner bridge [--port PORT]
       agent-runner probe
       agent-runner version
places: --ipc DIR --group DIR --global DIR --extra DIR --home DIR
        --broker SOCKET|ADDRESS:PORT --port PORT --context-tokens COUNT --begun NANOSECONDS
This program is started by the hermitcrab gateway inside a sandbox.";

/// The model's context, in tokens, that the native engine keeps within.
const CONTEXT_TOKENS: u64 = 200_000;
/// Where programs are looked for when the sandbox does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the arguments were refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum SettingsError {
    /// The first argument names no part of the program.
    #[error("the first argument must be init, serve, bridge, probe or version")]
    Command,
    /// An option that does not exist.
    #[error("unknown option {0}")]
    Unknown(String),
    /// An option without its value.
    #[error("{0} needs a value")]
    Missing(String),
    /// A value that cannot be read.
    #[error("the value of {option} must be {expected}")]
    Invalid {
        /// The option.
        option: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// The part of the program to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Be PID 1.
    Init(InitSettings),
    /// Take prompts and let an engine think.
    Serve(Settings),
    /// Carry broker connections over the standard streams, from this loopback port.
    Bridge(u16),
    /// Find out which walls of the sandbox hold.
    Probe,
    /// Say what was built.
    Version,
}

/// Places and bounds of one agent-runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The ipc directory.
    pub(crate) ipc: PathBuf,
    /// The group's folder, in which tools work.
    pub(crate) group: PathBuf,
    /// Everybody's folder.
    pub(crate) global: PathBuf,
    /// Parent of the owner's additional mounts.
    pub(crate) extra: PathBuf,
    /// The agent's home, which holds its sessions.
    pub(crate) home: PathBuf,
    /// Where the broker is.
    pub(crate) broker: Broker,
    /// The loopback port at which programs find the broker.
    pub(crate) port: u16,
    /// The size of the model's context, in tokens.
    pub(crate) context_tokens: u64,
    /// When `init` was entered, in nanoseconds since 1970; 0 where nobody says. For benchmarks only.
    pub(crate) begun: u64,
    /// `PATH` for the agent's tools.
    pub(crate) path: OsString,
    /// `TZ` for the agent's tools, when the sandbox sets one.
    pub(crate) zone: Option<OsString>,
}

/// Where the broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broker {
    /// At this socket, which this program offers on loopback.
    Socket(PathBuf),
    /// At this address, which somebody else (the bridge) offers.
    Address(SocketAddr),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ipc: layout::IPC.into(),
            group: layout::GROUP.into(),
            global: layout::GLOBAL.into(),
            extra: layout::EXTRA.into(),
            home: layout::HOME.into(),
            broker: Broker::Socket(PathBuf::from(layout::BROKER_DIR).join(layout::BROKER_SOCKET)),
            port: layout::BROKER_PORT,
            context_tokens: CONTEXT_TOKENS,
            begun: 0,
            path: DEFAULT_PATH.into(),
            zone: None,
        }
    }
}

impl Settings {
    /// The URL at which programs in the sandbox find the broker.
    pub(crate) fn broker_url(&self) -> String {
        match &self.broker {
            Broker::Socket(_) => format!("http://127.0.0.1:{}", self.port),
            Broker::Address(address) => format!("http://{address}"),
        }
    }

    /// Takes what the sandbox's environment says about tools, and falls back to the bridge's port where there
    /// is no broker socket.
    pub(crate) fn settle(mut self) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place where the runner reads it"
        )]
        let (path, zone) = (std::env::var_os("PATH"), std::env::var_os("TZ"));
        self.path = path.unwrap_or(self.path);
        self.zone = zone;
        if let Broker::Socket(socket) = &self.broker
            && !socket.exists()
        {
            self.broker = Broker::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
        }
        self
    }

    /// Reads one option that `init` and `serve` share.
    fn set(&mut self, option: &str, value: &OsStr) -> Result<(), SettingsError> {
        match option {
            "--ipc" => self.ipc = value.into(),
            "--group" => self.group = value.into(),
            "--global" => self.global = value.into(),
            "--extra" => self.extra = value.into(),
            "--home" => self.home = value.into(),
            "--port" => self.port = number(option, value, "a port")?,
            "--begun" => self.begun = number(option, value, "a time in nanoseconds")?,
            "--context-tokens" => self.context_tokens = number(option, value, "a count")?,
            "--broker" => {
                self.broker = match value.to_str().and_then(|text| text.parse().ok()) {
                    Some(address) => Broker::Address(address),
                    None => Broker::Socket(value.into()),
                };
            }
            _ => return Err(SettingsError::Unknown(option.to_owned())),
        }
        Ok(())
    }
}

/// Reads all arguments after the program's name.
///
/// # Errors
///
/// The first argument that makes no sense.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Command, SettingsError> {
    let mut arguments = arguments.into_iter();
    let command = arguments.next().unwrap_or_default();
    match command.to_str() {
        Some("serve") => {
            let mut settings = Settings::default();
            options(arguments, |option, value| settings.set(option, value))?;
            Ok(Command::Serve(settings))
        }
        Some("init") => init(arguments).map(Command::Init),
        Some("bridge") => {
            let mut port = layout::BROKER_PORT;
            options(arguments, |option, value| match option {
                "--port" => number(option, value, "a port").map(|value| port = value),
                _ => Err(SettingsError::Unknown(option.to_owned())),
            })?;
            Ok(Command::Bridge(port))
        }
        Some(name @ ("probe" | "version")) => {
            options(arguments, |option, _| Err(SettingsError::Unknown(option.to_owned())))?;
            Ok(if name == "probe" { Command::Probe } else { Command::Version })
        }
        _ => Err(SettingsError::Command),
    }
}

/// Reads what `init` keeps for itself, what it passes on to `serve`, and the program that is run in its place.
fn init(arguments: impl Iterator<Item = OsString>) -> Result<InitSettings, SettingsError> {
    let mut init = InitSettings {
        gate: false,
        user: None,
        limits: Vec::new(),
        places: Settings::default(),
        serve: Vec::new(),
        program: Vec::new(),
    };
    let mut arguments: Vec<_> = arguments.collect();
    if let Some(end) = arguments.iter().position(|argument| argument == "--") {
        init.program = arguments.split_off(end).into_iter().skip(1).collect();
        if init.program.is_empty() {
            return Err(SettingsError::Missing("--".to_owned()));
        }
    }
    options(arguments.into_iter(), |option, value| {
        let invalid = |expected| SettingsError::Invalid { option: option.to_owned(), expected };
        match option {
            "--rlimit" => {
                let limit = value.to_str().and_then(Limit::parse).ok_or_else(|| {
                    invalid("as, core, data, fsize, nofile or nproc, then = and a number")
                })?;
                init.limits.push(limit);
            }
            "--gate" if value == "stdin" => init.gate = true,
            "--gate" => return Err(invalid("stdin")),
            "--user" => {
                let user = value.to_str().and_then(User::parse);
                init.user = Some(user.ok_or_else(|| invalid("two numbers that are not 0"))?);
            }
            _ => {
                init.places.set(option, value)?;
                init.serve.extend([OsString::from(option), value.to_owned()]);
            }
        }
        Ok(())
    })?;
    Ok(init)
}

/// Hands every pair of option and value to `set`.
fn options(
    mut arguments: impl Iterator<Item = OsString>,
    mut set: impl FnMut(&str, &OsStr) -> Result<(), SettingsError>,
) -> Result<(), SettingsError> {
    while let Some(option) = arguments.next() {
        let option = option.to_string_lossy().into_owned();
        let value = arguments.next().ok_or_else(|| SettingsError::Missing(option.clone()))?;
        set(&option, &value)?;
    }
    Ok(())
}

/// Reads a number in decimal digits.
fn number<N: std::str::FromStr>(
    option: &str,
    value: &OsStr,
    expected: &'static str,
) -> Result<N, SettingsError> {
    let invalid = || SettingsError::Invalid { option: option.to_owned(), expected };
    value.to_str().and_then(|text| text.parse().ok()).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &str) -> Result<Command, SettingsError> {
        parse(words.split_whitespace().map(OsString::from))
    }

    #[test]
    fn places_have_the_sandbox_as_default_and_can_be_set() {
        assert_eq!(parse_words("serve"), Ok(Command::Serve(Settings::default())));
        let words = "serve --ipc /i --home /h --broker 127.0.0.1:9 --context-tokens 5";
        let expected = Settings {
            ipc: "/i".into(),
            home: "/h".into(),
            broker: Broker::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))),
            context_tokens: 5,
            ..Settings::default()
        };
        assert_eq!(parse_words(words), Ok(Command::Serve(expected)));
        let Ok(Command::Serve(settings)) = parse_words("serve --broker /b.sock") else {
            panic!("refused");
        };
        assert_eq!(settings.broker, Broker::Socket("/b.sock".into()));
    }

    #[test]
    fn init_keeps_the_limits_and_passes_the_places_on() {
        let Ok(Command::Init(init)) = parse_words("init --rlimit core=0 --ipc /i") else {
            panic!("refused");
        };
        assert_eq!(init.limits, [Limit::parse("core=0").unwrap()]);
        assert_eq!(init.places.ipc, PathBuf::from("/i"));
        assert_eq!(init.serve, ["--ipc", "/i"]);
        assert_eq!((init.user, init.program), (None, Vec::new()));
    }

    #[test]
    fn init_takes_another_user_and_another_program() {
        let words = "init --gate stdin --user 1000:1001 --ipc /i -- bash --ipc -- -c";
        let Ok(Command::Init(init)) = parse_words(words) else {
            panic!("refused");
        };
        assert!(init.gate);
        assert_eq!(init.user, User::parse("1000:1001"));
        assert_eq!(init.program, ["bash", "--ipc", "--", "-c"]);
        assert_eq!(parse_words("init --"), Err(SettingsError::Missing("--".to_owned())));
    }

    #[test]
    fn nonsense_is_named() {
        let unknown = |option: &str| SettingsError::Unknown(option.to_owned());
        for (words, expected) in [
            ("", SettingsError::Command),
            ("dance", SettingsError::Command),
            ("serve --rlimit core=0", unknown("--rlimit")),
            ("version --ipc /i", unknown("--ipc")),
            ("bridge --ipc /i", unknown("--ipc")),
            ("serve --ipc", SettingsError::Missing(String::from("--ipc"))),
        ] {
            assert_eq!(parse_words(words), Err(expected), "{words}");
        }
        for words in [
            "serve --port 65536",
            "init --rlimit core",
            "init --user 0:0",
            "serve --context-tokens many",
        ] {
            assert!(matches!(parse_words(words), Err(SettingsError::Invalid { .. })), "{words}");
        }
    }
}

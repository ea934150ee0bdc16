//! How the program ends: exit codes after `sysexits.h`, and failures as one sentence.

use std::io;
use std::process::ExitCode;

use super::output;
use crate::config::ConfigError;
use crate::gateway::GatewayError;
use crate::store::StoreError;

/// All is well.
pub(crate) const DONE: u8 = 0;
/// What was asked could not be done.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong (`EX_USAGE`).
pub(crate) const USAGE: u8 = 64;
/// Something that is needed is not there: a gateway, a sandbox, an answer (`EX_UNAVAILABLE`).
pub(crate) const UNAVAILABLE: u8 = 69;
/// Another gateway has the store; it can be tried again when that has ended (`EX_TEMPFAIL`).
pub(crate) const TRY_LATER: u8 = 75;
/// Settings are wrong (`EX_CONFIG`).
pub(crate) const CONFIGURATION: u8 = 78;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    sentence: Option<String>,
    cause: Option<anyhow::Error>,
    verbose: bool,
}

impl Failure {
    /// A failure with one of the codes above, and a sentence for the person at the keyboard.
    pub(crate) fn new(code: u8, sentence: impl Into<String>) -> Self {
        Self { code, sentence: Some(sentence.into()), cause: None, verbose: false }
    }

    /// What was asked could not be done.
    pub(crate) fn failed(sentence: impl Into<String>) -> Self {
        Self::new(FAILED, sentence)
    }

    /// The command line is wrong.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::new(USAGE, sentence)
    }

    /// Everything has been said already.
    pub(crate) fn said(code: u8) -> Self {
        Self { code, sentence: None, cause: None, verbose: false }
    }

    /// Keeps the cause for those who debug.
    pub(crate) fn because(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The sentence; empty when everything has been said.
    pub(crate) fn sentence(&self) -> &str {
        self.sentence.as_deref().unwrap_or_default()
    }

    /// Lets the cause be told, too.
    pub(super) fn verbose(mut self) -> Self {
        self.verbose = true;
        self
    }

    /// Says it on standard error, and gives the exit code.
    pub(super) fn tell(self) -> ExitCode {
        if let Some(sentence) = &self.sentence {
            output::aside(sentence);
        }
        if let Some(cause) = self.cause.as_ref().filter(|_| self.verbose) {
            output::aside(format_args!("because {cause:#}"));
        }
        self.code.into()
    }
}

/// Nothing can be written any more: whoever read our output has seen enough.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::said(DONE);
        }
        Self::failed("the output cannot be written").because(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(CONFIGURATION, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Locked { .. } => TRY_LATER,
            _ => FAILED,
        };
        Self::new(code, error.to_string()).because(error)
    }
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Held { .. } => {
                let sentence = format!(
                    "{error}; stop it first (a `hermitcrab chat` that found no gateway is one, too), or choose another --home"
                );
                Self::new(TRY_LATER, sentence)
            }
            GatewayError::Store(error) => error.into(),
            GatewayError::Folder { ref path, ref source } => {
                let sentence = format!("cannot prepare {}: {source}", path.display());
                Self::failed(sentence).because(error)
            }
            GatewayError::Terminal(ref source) => {
                let sentence = format!("{error}: {source}");
                Self::failed(sentence).because(error)
            }
            GatewayError::Broker(_) | GatewayError::Fallen { .. } => {
                Self::failed(error.to_string()).because(error)
            }
        }
    }
}

/// Prints what the parser has to say, and gives the exit code: 0 for help, 64 for a mistake.
pub(super) fn after_parsing(error: &clap::Error) -> ExitCode {
    match error.print() {
        Ok(()) if !error.use_stderr() => DONE.into(),
        Ok(()) => USAGE.into(),
        Err(broken) => Failure::from(broken).tell(),
    }
}

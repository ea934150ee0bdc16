//! What is wrong with the settings, in words for the person who set them.

use std::fmt;

/// The settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl ConfigError {
    /// All that is wrong at once.
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort_by(|one, other| one.place().cmp(&other.place()));
        Self { faults }
    }

    /// A single fault.
    pub(super) fn one(fault: Fault) -> Self {
        Self::new(vec![fault])
    }

    /// Every fault: those of `.env` by line, then the others by name.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [fault] => write!(f, "a setting is wrong: {fault}"),
            faults => {
                write!(f, "{} settings are wrong:", faults.len())?;
                faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

/// One wrong setting: its name, what was expected, and what was there instead unless that is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    name: String,
    line: Option<usize>,
    expected: String,
    found: Option<String>,
}

impl Fault {
    /// A setting that is not as expected.
    pub(super) fn new(name: &str, expected: &str) -> Self {
        Self { name: name.to_owned(), line: None, expected: expected.to_owned(), found: None }
    }

    /// Says in which line of `.env` it stands.
    pub(super) fn at(mut self, line: Option<usize>) -> Self {
        self.line = line;
        self
    }

    /// Says what was there; never for a secret.
    pub(super) fn found(mut self, value: &str) -> Self {
        self.found = Some(value.chars().take(80).collect());
        self
    }

    /// Where it stands among the others.
    fn place(&self) -> (usize, &str) {
        (self.line.unwrap_or(usize::MAX), &self.name)
    }

    /// The setting's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.line {
            Some(line) if self.name == ".env" => write!(f, ", line {line}")?,
            Some(line) => write!(f, " (.env, line {line})")?,
            None => {}
        }
        write!(f, ": expected {}", self.expected)?;
        match &self.found {
            Some(found) => write!(f, ", found {found:?}"),
            None => Ok(()),
        }
    }
}

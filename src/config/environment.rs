//! The environment: the process's variables over those of `.env`, and the faults found on the way.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;

use super::dotenv::{self, Entry};
use super::fault::{ConfigError, Fault};

/// Looks variables up, and keeps what is wrong with them until the end, so that all faults are told at once.
pub(super) struct Environment<'a> {
    process: &'a dyn Fn(&str) -> Option<OsString>,
    names: Vec<String>,
    file: BTreeMap<String, Entry>,
    faults: Vec<Fault>,
}

/// A value that is set and not empty.
struct Found {
    text: String,
    line: Option<usize>,
    /// What is wrong with its line in `.env`, should the value be right.
    fault: Option<Fault>,
}

impl<'a> Environment<'a> {
    /// Reads `<home>/.env`; `process`, in which these names are set, is asked first.
    pub(super) fn open(
        home: &Path,
        process: &'a dyn Fn(&str) -> Option<OsString>,
        names: Vec<String>,
    ) -> Self {
        let mut faults = Vec::new();
        let file = dotenv::read(home, &mut faults);
        Self { process, names, file, faults }
    }

    /// Every name that is set, here or there.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().chain(self.file.keys()).map(String::as_str)
    }

    /// Says what was wrong, if anything was.
    pub(super) fn finish(mut self) -> Option<ConfigError> {
        // What nobody asked for is not as it should be, either.
        self.faults.extend(self.file.into_values().filter_map(|entry| entry.fault));
        (!self.faults.is_empty()).then(|| ConfigError::new(self.faults))
    }

    /// A variable as `parse` reads it; `None` when it is not set, or wrong and therefore noted.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let Found { text, line, fault } = self.look_up(name, expected)?;
        let value = parse(&text);
        self.faults.extend(match value {
            Some(_) => fault,
            None => Some(Fault::new(name, expected).at(line).found(&text)),
        });
        value
    }

    /// Like [`Self::parsed`], but a wrong value is not shown: it is a secret, or may hold one.
    pub(super) fn discreet<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let Found { text, line, fault } = self.look_up(name, expected)?;
        let value = parse(&text);
        self.faults.extend(match value {
            Some(_) => fault,
            None => Some(Fault::new(name, expected).at(line)),
        });
        value
    }

    /// A key or token: visible ASCII, since it becomes part of a header.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
        let expected = "one word of visible ASCII, as the provider gave it";
        let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        self.discreet(name, expected, |text| is_word(text).then(|| SecretString::from(text)))
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, name: &str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.parsed(name, &expected, |text| text.parse().ok().filter(|n| bounds.contains(n)))
            .unwrap_or(default)
    }

    /// A time in milliseconds within bounds.
    pub(super) fn milliseconds(
        &mut self,
        name: &str,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> Duration {
        let expected = format!("milliseconds, from {} to {}", bounds.start(), bounds.end());
        let parse = |text: &str| text.parse().ok().filter(|n| bounds.contains(n));
        Duration::from_millis(self.parsed(name, &expected, parse).unwrap_or(default))
    }

    /// One of several words, in either case.
    pub(super) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let expected = match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        };
        self.word_as(name, &expected, words)
    }

    /// The same, where there is more to say of what is expected than the words.
    pub(super) fn word_as<T: Copy>(
        &mut self,
        name: &str,
        expected: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let meant =
            |text: &str| words.iter().find(|(w, _)| w.eq_ignore_ascii_case(text)).map(|(_, t)| *t);
        self.parsed(name, expected, meant)
    }

    /// Notes that a variable is missing.
    pub(super) fn missing(&mut self, name: &str, expected: &str) {
        let noted = self.faults.iter().any(|fault| fault.name() == name);
        if !noted {
            self.faults.push(Fault::new(name, expected));
        }
    }

    fn look_up(&mut self, name: &str, expected: &str) -> Option<Found> {
        debug_assert!(super::is_known(name), "{name} is not in the list");
        let found = match (self.process)(name) {
            Some(value) => match value.into_string() {
                Ok(text) => Found { text, line: None, fault: None },
                Err(_not_unicode) => {
                    self.faults.push(Fault::new(name, &format!("{expected}, in UTF-8")));
                    return None;
                }
            },
            None => {
                let entry = self.file.get_mut(name)?;
                let (line, fault) = (Some(entry.line), entry.fault.take());
                Found { text: entry.value.clone(), line, fault }
            }
        };
        let text = found.text.trim().to_owned();
        (!text.is_empty()).then_some(Found { text, ..found })
    }
}

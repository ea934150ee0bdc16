//! Logs: to standard error for a gateway that runs by itself, to a bounded file for one inside a chat.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogSettings};

/// The size at which a log file is put aside; one such file is kept besides the current one.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// The filter is none.
    #[error("the log level is no filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The log file cannot be written.
    #[error("cannot write the log file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This process logs already.
    #[error("logs are set up already")]
    Twice(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Logs to standard error, for the rest of the process.
///
/// # Errors
/// When this process logs already.
pub(crate) fn to_stderr(settings: &LogSettings) -> Result<(), TelemetryError> {
    start(settings, io::stderr().is_terminal(), io::stderr)
}

/// Logs to a file that is put aside when it has grown, for the rest of the process.
///
/// # Errors
/// When the file cannot be written, or this process logs already.
pub(crate) fn to_file(settings: &LogSettings, path: &Path) -> Result<(), TelemetryError> {
    let file = BoundedFile::open(path, MAX_FILE_BYTES)
        .map_err(|source| TelemetryError::File { path: path.to_owned(), source })?;
    start(settings, false, Mutex::new(file))
}

fn start<W>(settings: &LogSettings, colours: bool, writer: W) -> Result<(), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&settings.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let ours = filter_fn(|metadata| is_ours_to_tell(metadata.target(), *metadata.level()));
    let started = match settings.format {
        LogFormat::Pretty => {
            builder.with_ansi(colours).with_target(false).finish().with(ours).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().with(ours).try_init(),
    };
    started.map_err(|error| TelemetryError::Twice(error.into()))
}

/// Whether something may stand in the log, whatever level is asked for. What libraries say of their inner workings holds
/// addresses that are secrets and whole requests: only what they warn of and tell of themselves is for others to read.
fn is_ours_to_tell(target: &str, level: Level) -> bool {
    level <= Level::INFO || target.split("::").next() == Some(env!("CARGO_CRATE_NAME"))
}

/// A file that takes so many bytes; then it becomes `<name>.1`, in place of the one before, and begins anew.
struct BoundedFile {
    path: PathBuf,
    file: File,
    size: u64,
    most: u64,
}

impl BoundedFile {
    fn open(path: &Path, most: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, most })
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        std::fs::rename(&self.path, aside)?;
        *self = Self::open(&self.path, self.most)?;
        Ok(())
    }
}

impl Write for BoundedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size > 0 && self.size + bytes.len() as u64 > self.most {
            self.put_aside()?;
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libraries_whisper_is_not_told() {
        for (target, level, told) in [
            ("hermitcrab::channel::slack", Level::TRACE, true),
            ("hermitcrabs", Level::TRACE, false),
            ("tungstenite::handshake::client", Level::TRACE, false),
            ("slack_morphism", Level::DEBUG, false),
            ("slack_morphism", Level::INFO, true),
            ("hyper", Level::ERROR, true),
        ] {
            assert_eq!(is_ours_to_tell(target, level), told, "{target} {level}");
        }
    }

    #[test]
    fn a_log_file_never_outgrows_its_bound_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/chat.log");
        let mut file = BoundedFile::open(&path, 100).unwrap();
        for number in 0..50 {
            writeln!(file, "this is line {number:03}").unwrap();
        }
        drop(file);
        let mut file = BoundedFile::open(&path, 100).unwrap();
        writeln!(file, "this is line 050").unwrap();
        let (new, old) =
            (std::fs::read(&path).unwrap(), std::fs::read(path.with_extension("log.1")));
        let old = old.unwrap();
        assert!(new.len() <= 100 && old.len() <= 100);
        let both = String::from_utf8([old, new].concat()).unwrap();
        assert!(both.ends_with("this is line 049\nthis is line 050\n"), "{both}");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }
}

//! Whether a file is a store of ours, found out without touching it.
//!
//! Whatever is refused here keeps its every byte, and nothing is put beside it: the header is read as a file, and
//! the schema through a connection that may not even take a lock.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::StoreError;
use super::migrate::{self, APPLICATION_ID, beside};

/// The first bytes of a database, as <https://sqlite.org/fileformat.html> describes them.
const HEADER: usize = 100;

/// Looks at a database from outside.
///
/// # Errors
/// [`StoreError::Damaged`] and [`StoreError::Newer`]; [`StoreError::NotThere`] when there is no file.
pub(super) fn file(path: &Path) -> Result<(), StoreError> {
    let log = fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len());
    header(path, log > 0)?;
    // With a log the file alone may be between two states; then the writer's connection looks.
    if log > 0 {
        return Ok(());
    }
    let failed = |error| refused(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(immutable(path), flags).map_err(failed)?;
    schema(path, &connection).map(|_version| ())
}

/// Looks at a database through a connection, and tells its version.
///
/// # Errors
/// [`StoreError::Damaged`] and [`StoreError::Newer`].
pub(super) fn schema(path: &Path, connection: &Connection) -> Result<u32, StoreError> {
    let failed = |error| refused(path, error);
    let found = migrate::version(connection).map_err(failed)?;
    let known = migrate::known();
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    if found == 0 {
        return Err(damaged(path, "it has no version".to_owned()));
    }
    let there = parts(connection).map_err(failed)?;
    let mut sound = Connection::open_in_memory().map_err(failed)?;
    migrate::migrate(&mut sound, 0, found).map_err(failed)?;
    let wanted = parts(&sound).map_err(failed)?;
    match wanted.iter().find(|part| !there.contains(part)) {
        Some((name, _)) => {
            Err(damaged(path, format!("its {name} is missing or not as it was made")))
        }
        None => Ok(found),
    }
}

/// The tables and indexes of a database: name and definition.
fn parts(connection: &Connection) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema")?;
    let parts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    parts.collect()
}

fn header(path: &Path, has_log: bool) -> Result<(), StoreError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::NotThere(format!("store {}", path.display())),
        io::ErrorKind::UnexpectedEof => damaged(path, "it is too short".to_owned()),
        _ => StoreError::failed("read the store", error),
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut bytes = [0; HEADER];
    file.read_exact(&mut bytes).map_err(unreadable)?;
    if !bytes.starts_with(b"SQLite format 3\0") {
        return Err(damaged(path, "it is not an SQLite database".to_owned()));
    }
    if number(&bytes, 68) != APPLICATION_ID.cast_unsigned() {
        return Err(damaged(path, "another program made it".to_owned()));
    }
    let found = number(&bytes, 60);
    let known = migrate::known();
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    // Two bytes at 16; the one size that they cannot hold, 65536, stands as 1.
    let page = match number(&bytes, 16) >> 16 {
        1 => 65_536,
        page => u64::from(page),
    };
    let sound_page = page.is_power_of_two() && page >= 512;
    if !sound_page || (!has_log && length < page * u64::from(number(&bytes, 28))) {
        return Err(damaged(path, "it is shorter than its header says".to_owned()));
    }
    Ok(())
}

/// The big-endian number at a place of the header.
fn number(header: &[u8; HEADER], at: usize) -> u32 {
    let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_be_bytes(bytes.unwrap_or_default())
}

fn damaged(path: &Path, detail: String) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), detail }
}

/// What SQLite thinks of a database that it will not open.
fn refused(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            damaged(path, error.to_string())
        }
        _ => StoreError::sqlite("read the store", error),
    }
}

/// The name under which SQLite opens a file without locks, log or index: nothing may change it meanwhile.
fn immutable(path: &Path) -> OsString {
    let mut uri = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02X}").bytes()),
            _ => uri.push(*byte),
        }
    }
    uri.extend(b"?immutable=1");
    OsString::from_vec(uri)
}

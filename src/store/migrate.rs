//! Migrations: an append-only list whose positions are the versions, and how a database is made.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::connection;
use super::error::StoreError;

/// What has been done to the schema, in order. Nothing that was released is ever changed, only added to.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_base.sql"),
    include_str!("migrations/0002_requests_of_attempts.sql"),
    include_str!("migrations/0003_runs_of_sandbox.sql"),
    include_str!("migrations/0004_kind_of_sandbox.sql"),
    include_str!("migrations/0005_changed_and_attached.sql"),
    include_str!("migrations/0006_files_and_reactions.sql"),
    include_str!("migrations/0007_context_and_registration.sql"),
    include_str!("migrations/0008_drafts.sql"),
];

/// What marks a database as ours: `CRAB`, in SQLite's application id.
pub(super) const APPLICATION_ID: i32 = 0x4352_4142;

/// The newest version that this program knows.
pub(super) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Makes an empty database of the newest version.
///
/// It is made under another name and renamed when it is whole, so that a file of the right name always has a
/// header that tells its version, wherever the process was killed.
///
/// # Errors
/// When the folder cannot be written to; [`StoreError::Damaged`] when the log of a database that is gone lies
/// there, which SQLite would apply to the new one.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::failed("create the store", error);
    if beside(path, "-wal").try_exists().map_err(failed)? {
        let detail = "its log is there, but the database is gone".to_owned();
        return Err(StoreError::Damaged { path: path.to_owned(), detail });
    }
    let unfinished = beside(path, ".new");
    for leftover in [beside(&unfinished, "-journal"), unfinished.clone()] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(failed)?;
    let make = || {
        let mut connection = connection::writer(&unfinished)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        migrate(&mut connection, 0, known())?;
        connection.close().map_err(|(_connection, error)| error)
    };
    make().map_err(|error| StoreError::sqlite("create the store", error))?;
    fs::rename(&unfinished, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Brings a database from one version to another, one transaction for each step.
///
/// # Errors
/// When SQLite fails; the steps before stand.
pub(super) fn migrate(connection: &mut Connection, from: u32, to: u32) -> rusqlite::Result<()> {
    let steps = MIGRATIONS.iter().zip(1..);
    for (sql, version) in steps.filter(|(_, version)| (from + 1..=to).contains(version)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The version of an open database.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// A file whose name is that of another and a suffix, as SQLite names what it leaves beside a database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

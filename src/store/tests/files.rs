//! The store as files: who may read them, what is refused, and what outlives the process.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::{Home, keep, main_chat, said};
use crate::model::Kept;
use crate::model::{Group, GroupName, Seq};
use crate::store::{Store, StoreError, migrate};

/// Every file of a folder, with its bytes.
fn snapshot(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart() {
    let home = Home::new();
    for round in 1..=3_u64 {
        let store = home.open();
        if round == 1 {
            store.add_group(Group::new(GroupName::main()), Vec::new()).await.unwrap();
        }
        assert_eq!(keep(&store, &main_chat(), &format!("m{round}")).await, Seq(round));
        if round == 2 {
            store.close().await;
        }
        drop(store);
    }
    let store = home.open();
    let kept = store.keep(said(&main_chat(), "m2", "again")).await.unwrap().0;
    assert_eq!(kept, Kept::Known(Seq(2)));
    assert_eq!(store.messages(&main_chat(), Seq(0), 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let home = Home::new();
    let store = home.with_main().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = home.folder.path().join("store");
    assert_eq!(mode(&folder), 0o700);
    let names = snapshot(&folder).into_keys().collect::<Vec<_>>();
    assert_eq!(names, ["gateway.lock", "messages.db", "messages.db-shm", "messages.db-wal"]);
    for name in names {
        assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
    }
    store.close().await;
    drop(store);
    assert_eq!(snapshot(&folder).into_keys().collect::<Vec<_>>(), ["gateway.lock", "messages.db"]);

    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let _store = home.open();
    assert_eq!((mode(&folder), mode(&home.path())), (0o700, 0o600));
}

#[tokio::test]
async fn a_second_gateway_hears_who_has_the_store() {
    let home = Home::new();
    let store = home.with_main().await;
    let error = Store::open(&home.path(), home.clock()).err().unwrap();
    let own = format!("the store is in use by the gateway with process id {}", std::process::id());
    assert_eq!(error.to_string(), own);

    let beside = Store::open_beside(&home.path(), home.clock()).unwrap();
    assert_eq!(beside.groups().await.unwrap().len(), 1);
    beside.add_group(Group::new("family".parse().unwrap()), Vec::new()).await.unwrap();
    assert_eq!(store.groups().await.unwrap().len(), 2);
    drop(store);
    home.open();
}

#[tokio::test]
async fn after_the_close_every_method_says_so() {
    let home = Home::new();
    let store = home.with_main().await;
    let twin = store.clone();
    store.close().await;
    store.close().await;
    assert!(matches!(twin.groups().await, Err(StoreError::Closed)));
    let late = twin.keep(said(&main_chat(), "late", "")).await;
    assert!(matches!(late, Err(StoreError::Closed)));
}

#[test]
fn nothing_is_made_beside_a_gateway_that_never_was() {
    let home = Home::new();
    let error = Store::open_beside(&home.path(), home.clock()).err().unwrap();
    assert!(matches!(error, StoreError::NotThere(_)), "{error}");
    assert_eq!(fs::read_dir(home.folder.path()).unwrap().count(), 0);
}

/// Makes a store, changes the file, and returns what opening it says; whatever that is, nothing may have changed.
fn refusal(change: impl FnOnce(&Path)) -> StoreError {
    let home = Home::new();
    drop(home.open());
    change(&home.path());
    fs::remove_file(home.path().with_file_name("gateway.lock")).unwrap();
    let folder = home.folder.path().join("store");
    let before = snapshot(&folder);
    let error = Store::open(&home.path(), home.clock()).err().expect("it must be refused");
    let beside = Store::open_beside(&home.path(), home.clock()).err().expect("and beside, too");
    assert_eq!(error.to_string(), beside.to_string());
    let after = snapshot(&folder);
    assert!(before == after, "{:?} became {:?}", before.keys(), after.keys());
    error
}

fn with_sqlite(sql: &'static str) -> impl FnOnce(&Path) {
    move |path| {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

fn with_bytes(at: usize, bytes: &'static [u8]) -> impl FnOnce(&Path) {
    move |path| {
        let mut file = fs::read(path).unwrap();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(path, file).unwrap();
    }
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let error = refusal(with_sqlite("PRAGMA user_version = 4711"));
    let expected = StoreError::Newer { path: "".into(), found: 4711, known: migrate::known() };
    assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected));
    assert!(error.to_string().contains("version 4711"), "{error}");
}

#[test]
fn a_damaged_store_is_refused_and_left_alone() {
    let malformed = "PRAGMA writable_schema = ON;
                     UPDATE sqlite_schema SET sql = 'CREATE TABLE runs (' WHERE name = 'runs'";
    type Change = Box<dyn FnOnce(&Path)>;
    let cases: Vec<(&str, Change)> = vec![
        ("too short", Box::new(|path| fs::write(path, "").unwrap())),
        ("not an SQLite database", Box::new(|path| fs::write(path, [b'x'; 8192]).unwrap())),
        ("not an SQLite database", Box::new(with_bytes(0, b"sqlite"))),
        ("another program made it", Box::new(with_sqlite("PRAGMA application_id = 1"))),
        ("shorter than its header", Box::new(with_bytes(16, &[0, 3]))),
        (
            "shorter than its header",
            Box::new(|path| {
                let file = fs::read(path).unwrap();
                fs::write(path, &file[..file.len() - 4096]).unwrap();
            }),
        ),
        ("malformed database schema", Box::new(with_sqlite(malformed))),
        ("its outbox_open is missing", Box::new(with_sqlite("DROP INDEX outbox_open"))),
        ("its chats is", Box::new(with_sqlite("ALTER TABLE chats DROP COLUMN name"))),
        ("it has no version", Box::new(with_sqlite("PRAGMA user_version = 0"))),
        ("malformed", Box::new(with_bytes(100, &[0; 64]))),
    ];
    for (detail, change) in cases {
        let error = refusal(change);
        assert!(matches!(error, StoreError::Damaged { .. }), "{detail}: {error:?}");
        assert!(error.to_string().contains(detail), "{detail}: {error}");
    }
}

/// Copies a store with its log, as the disk has it when the process is killed.
fn killed(home: &Home) -> Home {
    let other = Home::new();
    fs::create_dir(other.path().parent().unwrap()).unwrap();
    for suffix in ["", "-wal"] {
        fs::copy(migrate::beside(&home.path(), suffix), migrate::beside(&other.path(), suffix))
            .unwrap();
    }
    other
}

#[tokio::test]
async fn what_is_only_in_the_log_outlives_a_kill() {
    let home = Home::new();
    let store = home.with_main().await;
    let seq = keep(&store, &main_chat(), "m1").await;
    let after = killed(&home).open();
    assert_eq!(after.messages(&main_chat(), Seq(0), 10).await.unwrap()[0].seq, seq);
}

#[tokio::test]
async fn what_only_the_log_tells_is_refused_and_not_tidied_up() {
    let cases =
        [("written by a newer", "PRAGMA user_version = 4711"), ("is damaged", "DROP TABLE usage")];
    for (expected, sql) in cases {
        let home = Home::new();
        let store = home.with_main().await;
        let connection = Connection::open(home.path()).unwrap();
        connection.execute_batch(sql).unwrap();
        let killed = killed(&home);
        let (path, log) = (killed.path(), migrate::beside(&killed.path(), "-wal"));
        let before = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
        let error = Store::open(&path, home.clock()).err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(before == (fs::read(&path).unwrap(), fs::read(&log).unwrap()), "{expected}");
        drop(store);
    }
}

#[test]
fn the_log_of_a_lost_database_is_not_given_to_a_new_one() {
    let home = Home::new();
    drop(home.open());
    fs::rename(home.path(), home.path().with_file_name("messages.db-wal")).unwrap();
    let error = Store::open(&home.path(), home.clock()).err().unwrap();
    assert!(error.to_string().contains("the database is gone"), "{error}");
}

#[test]
fn tables_of_others_beside_ours_do_no_harm() {
    let home = Home::new();
    drop(home.open());
    with_sqlite("CREATE TABLE notes (a); CREATE INDEX by_time ON messages (timestamp)")(
        &home.path(),
    );
    home.open();
}

#[test]
fn a_store_that_was_half_made_is_made_anew() {
    let home = Home::new();
    let unfinished = home.path().with_file_name("messages.db.new");
    fs::create_dir(unfinished.parent().unwrap()).unwrap();
    fs::write(&unfinished, "half").unwrap();
    fs::write(home.path().with_file_name("messages.db.new-journal"), "half").unwrap();
    drop(home.open());
    let names = snapshot(unfinished.parent().unwrap()).into_keys().collect::<Vec<_>>();
    assert_eq!(names, ["gateway.lock", "messages.db"]);
}

/// Applied migrations are history: this changes only by growing.
#[test]
fn the_schema_is_what_the_migrations_make_of_it() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate::migrate(&mut connection, 0, migrate::known()).unwrap();
    let sql = "SELECT group_concat(sql, ';' || char(10, 10) ORDER BY type DESC, name)
               FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'";
    let schema: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    insta::assert_snapshot!(schema);
}

#[test]
fn each_version_opens_and_becomes_the_newest() {
    for version in 1..=migrate::known() {
        let home = Home::new();
        drop(home.open());
        fs::remove_file(home.path()).unwrap();
        let mut connection = Connection::open(home.path()).unwrap();
        connection.pragma_update(None, "application_id", migrate::APPLICATION_ID).unwrap();
        migrate::migrate(&mut connection, 0, version).unwrap();
        drop(connection);
        let beside = Store::open_beside(&home.path(), home.clock());
        assert_eq!(beside.is_ok(), version == migrate::known());
        drop(beside);
        drop(home.open());
        let connection = Connection::open(home.path()).unwrap();
        assert_eq!(migrate::version(&connection).unwrap(), migrate::known());
    }
}

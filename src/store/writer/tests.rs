//! What a group of operations promises, tried on the writing thread's own thread.

use rusqlite::params;
use tokio::sync::oneshot::Receiver;

use super::*;
use crate::store::error::Stop;

/// A thread over a table `kept` that takes each number once.
fn thread() -> (tempfile::TempDir, WriterThread) {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join("t.db")).unwrap();
    crate::store::connection::make_durable(&connection).unwrap();
    connection
        .execute_batch(
            "PRAGMA foreign_keys = ON;
             CREATE TABLE kept (number INTEGER PRIMARY KEY, text TEXT);
             CREATE TABLE refers (number INTEGER REFERENCES kept (number));",
        )
        .unwrap();
    (folder, WriterThread::new(connection, Arc::default()))
}

type Answer<T> = Receiver<Result<T, StoreError>>;

fn operation<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> Step<T> + Send + 'static,
) -> (Box<dyn Operation>, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    let name = name!("test", "try");
    (Box::new(Pending { name, work: Some(work), result: None, reply }), answer)
}

fn keep(number: i64) -> (Box<dyn Operation>, Answer<usize>) {
    operation(move |connection| {
        let sql = "INSERT INTO kept VALUES (?1, hex(zeroblob(300)))";
        Ok(connection.prepare_cached(sql)?.execute([number])?)
    })
}

fn run(thread: &WriterThread, mut group: Vec<Box<dyn Operation>>) {
    let committed = thread.commit(&mut group);
    settle(&mut group, &committed);
}

fn kept(thread: &WriterThread) -> Vec<i64> {
    let mut statement = thread.connection.prepare("SELECT number FROM kept").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// A group outlives what the most careful of its members asks for; a loss of power cannot be had in a test.
#[test]
fn a_group_is_as_durable_as_its_most_durable_member() {
    let (_folder, thread) = thread();
    let passing = |number| {
        let (reply, _) = oneshot::channel();
        let work = move |connection: &Connection| {
            Ok(connection.execute("INSERT INTO kept VALUES (?1, '')", [number])?)
        };
        let name = name!("test", "try").while_powered();
        Box::new(Pending { name, work: Some(work), result: None, reply }) as Box<dyn Operation>
    };
    let synchronous = || -> i64 {
        thread.connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap()
    };
    let (normal, full) = (1, 2);
    for (group, expected) in [
        (vec![keep(1).0], full),
        (vec![passing(2), passing(3)], normal),
        (vec![passing(4), keep(5).0], full),
        (vec![passing(6)], normal),
    ] {
        run(&thread, group);
        assert_eq!(synchronous(), expected);
    }
    assert_eq!(kept(&thread), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn one_that_fails_takes_no_other_with_it() {
    let (_folder, thread) = thread();
    let (first, mut first_answer) = keep(1);
    let (refused, mut refused_answer) = operation(|connection| {
        connection.execute("INSERT INTO kept VALUES (2, '')", [])?;
        Err::<(), _>(Stop::from(StoreError::Conflict("no".to_owned())))
    });
    let (twice, mut twice_answer) = keep(1);
    let (last, mut last_answer) = keep(3);
    run(&thread, vec![first, refused, twice, last]);
    assert_eq!(first_answer.try_recv().unwrap().unwrap(), 1);
    assert!(matches!(refused_answer.try_recv().unwrap(), Err(StoreError::Conflict(_))));
    let twice = twice_answer.try_recv().unwrap().unwrap_err();
    assert_eq!(twice.to_string(), "could not try");
    assert_eq!(last_answer.try_recv().unwrap().unwrap(), 1);
    assert_eq!(kept(&thread), [1, 3]);
}

#[test]
fn one_that_panics_takes_no_other_with_it() {
    let (_folder, thread) = thread();
    let (first, mut first_answer) = keep(1);
    let (faulty, mut faulty_answer) = operation(|connection| -> Step<()> {
        let mut statement = connection.prepare_cached("INSERT INTO kept VALUES (?1, '')")?;
        statement.execute([2])?;
        panic!("on purpose, with a statement in hand")
    });
    let (last, mut last_answer) = keep(3);
    run(&thread, vec![first, faulty, last]);
    let error = faulty_answer.try_recv().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "could not try");
    assert!(first_answer.try_recv().unwrap().is_ok() && last_answer.try_recv().unwrap().is_ok());
    assert_eq!(kept(&thread), [1, 3]);
}

#[test]
fn nobody_hears_before_the_commit() {
    let (folder, thread) = thread();
    let path = folder.path().join("t.db");
    let (first, mut first_answer) = keep(1);
    let (look, mut look_answer) = operation(move |_connection| {
        let heard = first_answer.try_recv().is_ok();
        let beside = Connection::open(&path)?;
        let visible: i64 = beside.query_row("SELECT count(*) FROM kept", [], |row| row.get(0))?;
        Ok((heard, visible, first_answer))
    });
    run(&thread, vec![first, look]);
    let (heard, visible, mut first_answer) = look_answer.try_recv().unwrap().unwrap();
    assert_eq!((heard, visible), (false, 0));
    assert_eq!(first_answer.try_recv().unwrap().unwrap(), 1);
}

#[test]
fn when_the_commit_fails_all_hear_it_and_the_next_one_works() {
    let (_folder, thread) = thread();
    let (first, mut first_answer) = keep(1);
    let (dangling, mut dangling_answer) = operation(|connection| {
        connection.execute_batch("PRAGMA defer_foreign_keys = ON")?;
        Ok(connection.execute("INSERT INTO refers VALUES (77)", [])?)
    });
    run(&thread, vec![first, dangling]);
    for answer in [&mut first_answer, &mut dangling_answer] {
        let error = answer.try_recv().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "could not commit to the store");
    }
    assert_eq!(kept(&thread), [0; 0]);
    let (next, mut answer) = keep(2);
    run(&thread, vec![next]);
    assert_eq!(answer.try_recv().unwrap().unwrap(), 1);
    assert_eq!(kept(&thread), [2]);
}

#[test]
fn a_full_disk_is_said_to_all_until_there_is_room() {
    let (_folder, thread) = thread();
    let pages: i64 =
        thread.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let limit = |pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        thread.connection.query_row(&sql, params![], |_row| Ok(())).unwrap();
    };
    limit(pages + 4);
    let is_full = || thread.full.load(Ordering::Relaxed);
    let mut confirmed = Vec::new();
    for number in (1..).step_by(2) {
        let ((one, mut one_answer), (two, mut two_answer)) = (keep(number), keep(number + 1));
        run(&thread, vec![one, two]);
        match (one_answer.try_recv().unwrap(), two_answer.try_recv().unwrap()) {
            (Ok(_), Ok(_)) => confirmed.extend([number, number + 1]),
            (Err(StoreError::DiskFull), Err(StoreError::DiskFull)) => break,
            other => panic!("one had room and the other had not: {other:?}"),
        }
        assert!(!is_full());
    }
    assert!(is_full() && !confirmed.is_empty());
    assert_eq!(kept(&thread), confirmed);

    let (nothing, mut answer) = operation(|_connection| Ok(()));
    run(&thread, vec![nothing]);
    assert!(answer.try_recv().unwrap().is_ok() && is_full());

    limit(1_000_000);
    let (again, mut answer) = keep(confirmed.last().unwrap() + 1);
    run(&thread, vec![again]);
    assert!(answer.try_recv().unwrap().is_ok() && !is_full());
}

#[tokio::test]
async fn what_was_queued_is_done_even_if_nobody_waits() {
    let (folder, thread) = thread();
    let path = folder.path().join("t.db");
    drop(thread);
    let writer = Writer::start(Connection::open(&path).unwrap()).unwrap();
    let add = |number: i64| {
        writer.write(name!("test", "try"), move |connection| {
            Ok(connection.execute("INSERT INTO kept VALUES (?1, '')", [number])?)
        })
    };
    tokio::select! {
        biased;
        _ = add(1) => panic!("no commit is that quick"),
        () = async {} => {}
    }
    assert_eq!(add(2).await.unwrap(), 1);
    writer.stop().await;
    let connection = Connection::open(&path).unwrap();
    let count: i64 =
        connection.query_row("SELECT count(*) FROM kept", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 2);
    assert!(matches!(add(3).await, Err(StoreError::Closed)));
}

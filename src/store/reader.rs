//! The readers: a few threads with read-only connections, so that looking never waits for writing.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::{Step, StoreError, contain};
use super::threads::{Inbox, Threads};

/// The way to the reading threads.
pub(super) struct Readers {
    threads: Threads<Look>,
}

/// One look into the store, with who waits for it.
type Look = Box<dyn FnOnce(&Connection) + Send>;

impl Readers {
    /// Starts one thread for each connection.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn start(connections: Vec<Connection>) -> Result<Self, StoreError> {
        let work = connections
            .into_iter()
            .map(|connection| {
                move |inbox: &mut Inbox<Look>| {
                    while let Some(look) = inbox.next() {
                        look(&connection);
                    }
                }
            })
            .collect();
        let threads = Threads::start("store-reader", work)
            .map_err(|error| StoreError::failed("start the readers", error))?;
        Ok(Self { threads })
    }

    /// Does `work`, all of which sees the store as it is at one moment.
    ///
    /// # Errors
    /// What `work` came to.
    pub(super) async fn read<T, W>(&self, doing: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Step<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let look = move |connection: &Connection| {
            let result = snapshot(connection, work).map_err(|stop| stop.into_error(doing));
            // Whoever asked may have gone.
            reply.send(result).ok();
        };
        self.threads.submit(Box::new(look)).await?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits until one of the threads has ended, of itself or by [`Readers::stop`].
    pub(super) async fn ended(&self) {
        self.threads.ended().await;
    }

    /// Waits until all that is queued is done and the threads have ended.
    pub(super) async fn stop(&self) {
        self.threads.stop().await;
    }
}

fn snapshot<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Step<T>) -> Step<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = contain(|| work(connection));
    connection.prepare_cached("COMMIT")?.execute([])?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_panics_fails_and_the_next_one_works() {
        let readers = Readers::start(vec![Connection::open_in_memory().unwrap()]).unwrap();
        let faulty = readers.read("look", |_connection| -> Step<()> { panic!("on purpose") });
        assert_eq!(faulty.await.unwrap_err().to_string(), "could not look");
        let next = readers.read("look", |connection| {
            Ok(connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)
        });
        assert_eq!(next.await.unwrap(), 1);
    }
}

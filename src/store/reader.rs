//! The readers: a few threads with read-only connections, so that looking never waits for writing.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::{Step, StoreError};
use super::threads::{Inbox, Threads};

/// The way to the reading threads.
pub(super) struct Readers {
    threads: Threads<Job>,
}

type Job = Box<dyn FnOnce(&Connection) + Send>;

impl Readers {
    /// Starts one thread for each connection.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn start(connections: Vec<Connection>) -> Result<Self, StoreError> {
        let work = connections
            .into_iter()
            .map(|connection| {
                move |inbox: &mut Inbox<Job>| {
                    while let Some(job) = inbox.next() {
                        job(&connection);
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
        let job = move |connection: &Connection| {
            let result = snapshot(connection, work).map_err(|stop| stop.into_error(doing));
            // Whoever asked may have gone.
            reply.send(result).ok();
        };
        self.threads.submit(Box::new(job)).await?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits until all that is queued is done and the threads have ended.
    pub(super) async fn stop(&self) {
        self.threads.stop().await;
    }
}

fn snapshot<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Step<T>) -> Step<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = work(connection);
    connection.prepare_cached("COMMIT")?.execute([])?;
    result
}

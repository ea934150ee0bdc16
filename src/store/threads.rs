//! The store's own threads, and the bounded queue that leads to them.
//!
//! What was queued is carried out, also when nobody waits for it any more; after the stop nothing new is taken.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::error::StoreError;

/// How many items may wait before those who bring more have to.
const QUEUE: usize = 256;

/// Threads that work off one queue until they are stopped or dropped.
pub(super) struct Threads<T> {
    tx: mpsc::Sender<Post<T>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// Cancelled by the first thread that ends, be it by a panic.
    ended: CancellationToken,
}

/// What comes through the queue.
enum Post<T> {
    Item(T),
    /// The sender is kept until the thread ends; that it is gone tells the one who waits.
    Stop(oneshot::Sender<()>),
}

/// A thread's end of the queue.
pub(super) struct Inbox<T> {
    rx: Arc<Mutex<mpsc::Receiver<Post<T>>>>,
    stops: Vec<oneshot::Sender<()>>,
}

impl<T> Threads<T> {
    /// Starts one thread for each piece of `work`.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(super) fn start<W>(name: &str, work: Vec<W>) -> io::Result<Self>
    where
        T: Send + 'static,
        W: FnOnce(&mut Inbox<T>) + Send + 'static,
    {
        let (tx, rx) = mpsc::channel(QUEUE);
        let rx = Arc::new(Mutex::new(rx));
        let ended = CancellationToken::new();
        let handles = work
            .into_iter()
            .map(|work| {
                let mut inbox = Inbox { rx: Arc::clone(&rx), stops: Vec::new() };
                let thread = std::thread::Builder::new().name(name.to_owned());
                let ended = ended.clone().drop_guard();
                thread.spawn(move || {
                    work(&mut inbox);
                    drop(ended);
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { tx, handles: Mutex::new(handles), ended })
    }

    /// Queues an item, waiting while the queue is full.
    ///
    /// # Errors
    /// [`StoreError::Closed`] after the stop.
    pub(super) async fn submit(&self, item: T) -> Result<(), StoreError> {
        self.tx.send(Post::Item(item)).await.or(Err(StoreError::Closed))
    }

    /// Waits until a thread has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Waits until the threads have finished what is queued and ended.
    pub(super) async fn stop(&self) {
        let (tx, ended) = oneshot::channel();
        // Both are refused when another stop came first, and then there is only its end to wait for.
        self.tx.send(Post::Stop(tx)).await.ok();
        ended.await.ok();
        self.join();
    }

    fn join(&self) {
        for handle in locked(&self.handles).drain(..) {
            if handle.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

impl<T> Drop for Threads<T> {
    fn drop(&mut self) {
        let (nobody, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.tx, nobody));
        self.join();
    }
}

impl<T> Inbox<T> {
    /// Waits for an item; `None` is the end.
    pub(super) fn next(&mut self) -> Option<T> {
        let rx = Arc::clone(&self.rx);
        let mut rx = locked(&rx);
        loop {
            let post = rx.blocking_recv()?;
            if let Some(item) = self.item(post, &mut rx) {
                return Some(item);
            }
        }
    }

    /// The next item, if one waits already.
    pub(super) fn try_next(&mut self) -> Option<T> {
        let rx = Arc::clone(&self.rx);
        let mut rx = locked(&rx);
        loop {
            let post = rx.try_recv().ok()?;
            if let Some(item) = self.item(post, &mut rx) {
                return Some(item);
            }
        }
    }

    /// How many items wait.
    pub(super) fn len(&self) -> usize {
        locked(&self.rx).len()
    }

    fn item(&mut self, post: Post<T>, rx: &mut mpsc::Receiver<Post<T>>) -> Option<T> {
        match post {
            Post::Item(item) => Some(item),
            Post::Stop(tx) => {
                rx.close();
                self.stops.push(tx);
                None
            }
        }
    }
}

/// A lock whose holder panicked guards nothing here that could be half-changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

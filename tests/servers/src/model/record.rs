//! What the server was asked, for tests to read and to wait for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::{HeaderMap, Method};
use serde_json::Value;
use tokio::sync::watch;

/// Bodies kept, in bytes on the wire; a server that runs as a program for weeks must not grow.
const KEPT_BYTES: usize = 64 << 20;

/// What a request is reckoned at beside its body, so that empty ones are bounded too.
const REQUEST_BYTES: usize = 1 << 10;

/// A request as it came in.
#[derive(Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The path, still percent-encoded, without the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; `null` when there was none or it was not JSON.
    pub body: Value,
    /// The size of the body in bytes.
    pub size: usize,
}

impl Seen {
    /// A header's value, when it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The requests of one server.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    kept: Mutex<Kept>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Kept {
    requests: VecDeque<Arc<Seen>>,
    bytes: usize,
}

impl Recorder {
    /// Keeps a request, then tells those who wait.
    pub(super) fn record(&self, seen: Arc<Seen>) {
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.bytes += seen.size + REQUEST_BYTES;
            kept.requests.push_back(seen);
            while kept.bytes > KEPT_BYTES {
                let Some(oldest) = kept.requests.pop_front() else { break };
                kept.bytes -= oldest.size + REQUEST_BYTES;
            }
        }
        self.count.send_modify(|count| *count += 1);
    }

    /// The requests that are kept, oldest first.
    pub(super) fn requests(&self) -> Vec<Arc<Seen>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.requests.iter().cloned().collect()
    }

    /// How many there were in all.
    pub(super) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until there were `n` in all.
    pub(super) async fn wait_for(&self, n: usize) -> Vec<Arc<Seen>> {
        let mut count = self.count.subscribe();
        drop(count.wait_for(|&count| count >= n).await.expect("this recorder owns the sender"));
        self.requests()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_still_counted() {
        let recorder = Recorder::default();
        for size in [0, KEPT_BYTES / 2, KEPT_BYTES / 2] {
            recorder.record(Arc::new(Seen {
                method: Method::POST,
                path: String::new(),
                headers: HeaderMap::new(),
                body: Value::Null,
                size,
            }));
        }
        assert_eq!((recorder.requests().len(), recorder.count()), (1, 3));
    }
}

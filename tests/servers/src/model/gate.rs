//! Gates: places where an answer waits until the test lets it go, so that no test sleeps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// A named place where requests wait; clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: watch::Sender<bool>,
    arrivals: watch::Sender<usize>,
}

impl Gate {
    /// Lets through all who wait and all who come later.
    pub fn open(&self) {
        self.0.open.send_replace(true);
    }

    /// Holds whoever comes from now on.
    pub fn close(&self) {
        self.0.open.send_replace(false);
    }

    /// Waits until `n` answers in all have come to this gate, held or not.
    pub async fn arrived(&self, n: usize) {
        let mut arrivals = self.0.arrivals.subscribe();
        drop(arrivals.wait_for(|&arrived| arrived >= n).await.expect("this gate owns the sender"));
    }

    /// Waits at this gate until it is open.
    pub(super) async fn pass(&self) {
        let mut open = self.0.open.subscribe();
        self.0.arrivals.send_modify(|arrived| *arrived += 1);
        drop(open.wait_for(|&open| open).await.expect("this gate owns the sender"));
    }
}

/// The gates of one server, made when first named.
#[derive(Debug, Default)]
pub(super) struct Gates(Mutex<HashMap<String, Gate>>);

impl Gates {
    /// The gate of this name.
    pub(super) fn named(&self, name: &str) -> Gate {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.entry(name.to_owned()).or_default().clone()
    }
}

//! A gateway in the test's hands, which speaks the wire by hand.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::gateway::{Home, PATIENCE};

/// A socket at which a chat finds a gateway.
pub(crate) struct Door(UnixListener);

/// The chat that came in.
pub(crate) struct Guest(BufReader<UnixStream>);

impl Door {
    /// Opens it in a new home.
    pub(crate) fn open(home: &Home) -> Self {
        std::fs::create_dir(home.path().join("store")).unwrap();
        Self(UnixListener::bind(home.socket()).unwrap())
    }

    /// Waits for a chat that says hello, and welcomes it; others only look whether somebody is there.
    pub(crate) async fn welcome(&self) -> Guest {
        loop {
            let (stream, _) = timeout(PATIENCE, self.0.accept()).await.unwrap().unwrap();
            let mut guest = Guest(BufReader::new(stream));
            if guest.hear().await.is_some_and(|hello| hello["type"] == "hello") {
                guest
                    .tell(json!({
                        "type": "welcome", "assistant": "Andy", "needs_trigger": false,
                        "trigger": "@Andy", "sandbox": "none",
                    }))
                    .await;
                return guest;
            }
        }
    }
}

impl Guest {
    /// Tells it a frame.
    pub(crate) async fn tell(&mut self, frame: Value) {
        self.0.write_all(format!("{frame}\n").as_bytes()).await.unwrap();
    }

    /// Tells it that there is a sandbox.
    pub(crate) async fn tell_state(&mut self) {
        self.tell(json!({ "type": "status", "state": { "sandbox": { "ready": true } } })).await;
    }

    /// The next frame that it says; `None` when it is gone.
    pub(crate) async fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.0.read_line(&mut line)).await.unwrap();
        read.ok().filter(|read| *read > 0)?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// The next frame of this type; others are passed over.
    pub(crate) async fn hear_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.hear().await.unwrap_or_else(|| panic!("it leaves without {kind}"));
            if frame["type"] == kind {
                return frame;
            }
        }
    }
}

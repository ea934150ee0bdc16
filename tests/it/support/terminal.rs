//! A terminal client that speaks the wire by hand, so that the product's own client cannot hide a fault.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// A connection to the gateway.
pub(crate) struct Terminal {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Terminal {
    /// Connects and says hello for a group, and a thread of its chat; `seen` is the last answer it has.
    pub(crate) async fn connect(
        socket: &Path,
        group: &str,
        thread: Option<&str>,
        seen: Option<u64>,
    ) -> std::io::Result<Self> {
        let (read, write) = UnixStream::connect(socket).await?.into_split();
        let mut terminal = Self { lines: BufReader::new(read).lines(), write };
        let mut hello = json!({ "type": "hello", "version": 2, "group": group });
        if let Some(thread) = thread {
            hello["thread"] = json!(thread);
        }
        if let Some(seen) = seen {
            hello["seen"] = json!(seen);
        }
        terminal.send(hello).await?;
        Ok(terminal)
    }

    /// Says something under an id.
    pub(crate) async fn say(&mut self, id: &str, text: &str) -> std::io::Result<()> {
        self.send(json!({ "type": "say", "id": id, "text": text })).await
    }

    /// Acknowledges an answer.
    pub(crate) async fn ack(&mut self, outbox: u64) -> std::io::Result<()> {
        self.send(json!({ "type": "ack", "outbox": outbox })).await
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: Value) -> std::io::Result<()> {
        let mut line = frame.to_string();
        line.push('\n');
        self.write.write_all(line.as_bytes()).await
    }

    /// The next frame; `None` when the gateway is gone.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let line = self.lines.next_line().await.ok()??;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// The next frame of a type; others are passed over.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Option<Value> {
        loop {
            let frame = self.next().await?;
            if frame["type"] == kind {
                return Some(frame);
            }
        }
    }

    /// The next answer that has something to say or ends a run, acknowledged.
    pub(crate) async fn answer(&mut self) -> Option<Value> {
        let answer = self.next_of("answer").await?;
        self.ack(answer["outbox"].as_u64().unwrap()).await.ok()?;
        Some(answer)
    }
}

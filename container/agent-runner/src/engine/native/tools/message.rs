//! The tool `send_message`: asks the gateway, and waits for its answer.

use std::fs;
use std::time::Duration;

use protocol::{Reply, Request, layout};
use serde::Deserialize;

use super::{ToolError, told};
use crate::files::{self, Durability};
use crate::settings::Settings;
use crate::watch::Watch;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the model writes.
#[derive(Debug, Deserialize)]
pub(super) struct Input {
    text: String,
    chat: Option<String>,
}

/// Leaves the request under its name, and returns what the gateway says to it.
pub(super) async fn send(
    settings: &Settings,
    name: &str,
    input: Input,
) -> Result<String, ToolError> {
    let request = Request::SendMessage { text: input.text, chat: input.chat };
    let bytes = serde_json::to_vec(&request).map_err(|error| told(error.to_string()))?;
    if bytes.len() > layout::MAX_FILE_BYTES {
        return Err(told("the message is too long; send a shorter one, or write a file"));
    }
    let name = format!("{name}.json");
    let replies = settings.ipc.join(layout::REPLIES);
    let mut watch = Watch::new(&replies);
    let messages = settings.ipc.join(layout::MESSAGES);
    files::write_atomic(&messages, &name, &bytes, Durability::Durable)
        .map_err(|error| told(format!("the message cannot be handed over: {error}")))?;
    let path = replies.join(name);
    let reply = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Ok(bytes) = fs::read(&path) {
                return bytes;
            }
            watch.changed().await;
        }
    });
    let bytes = reply.await.map_err(|_elapsed| {
        told("the gateway has not answered in 30 seconds; the message may still be sent")
    })?;
    // The gateway clears the directory with the sandbox at the latest.
    fs::remove_file(&path).ok();
    match serde_json::from_slice::<Reply>(&bytes) {
        Ok(Reply { ok: true, text, .. }) => Ok(text),
        Ok(Reply { ok: false, text, .. }) => Err(told(text)),
        Err(error) => Err(told(format!("the gateway's answer is not readable: {error}"))),
    }
}

//! The tools that ask the gateway, and wait for its answer: each is a request of its own name.

use std::fs;
use std::time::Duration;

use protocol::{Reply, Request, layout};
use serde_json::Value;

use super::{ToolError, parse, told};
use crate::files::{self, Durability};
use crate::settings::Settings;
use crate::watch::Watch;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Leaves what the model asks with a tool under the request's name, and returns what the gateway says to it.
pub(super) async fn ask(
    settings: &Settings,
    name: &str,
    tool: &str,
    input: &Value,
) -> Result<String, ToolError> {
    let mut asked = input.clone();
    if let Some(fields) = asked.as_object_mut() {
        fields.insert("type".to_owned(), tool.into());
    }
    let request: Request = parse(&asked)?;
    let bytes = serde_json::to_vec(&request).map_err(|error| told(error.to_string()))?;
    if bytes.len() > layout::MAX_FILE_BYTES {
        return Err(told("this is too long; say less at once, or write a file"));
    }
    let name = format!("{name}.json");
    let replies = settings.ipc.join(layout::REPLIES);
    let mut watch = Watch::new(&replies);
    let does = matches!(request, Request::RegisterGroup { .. } | Request::ListChats {});
    let mailbox = settings.ipc.join(if does { layout::TASKS } else { layout::MESSAGES });
    files::write_atomic(&mailbox, &name, &bytes, Durability::Durable)
        .map_err(|error| told(format!("the request cannot be handed over: {error}")))?;
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
        told("the gateway has not answered in 30 seconds; what was asked may still be done")
    })?;
    // The gateway clears the directory with the sandbox at the latest.
    fs::remove_file(&path).ok();
    match serde_json::from_slice::<Reply>(&bytes) {
        Ok(Reply { ok: true, text, .. }) => Ok(text),
        Ok(Reply { ok: false, text, .. }) => Err(told(text)),
        Err(error) => Err(told(format!("the gateway's answer is not readable: {error}"))),
    }
}

//! What we say: each message carries the id of its row in the outbox, by which it is found again.

use serde_json::{Value, json};

use super::fault::ApiError;
use super::read::text;
use super::workspace::Workspace;
use crate::channel::{Parcel, SendError};
use crate::model::Receipt;

/// The type of the metadata that our messages carry.
const EVENT_TYPE: &str = "hermitcrab";
/// The most pages of a history that are looked through for one message.
const MOST_PAGES: usize = 10;

/// Posts a message.
pub(super) async fn send(
    workspace: &Workspace,
    channel: &str,
    parcel: &Parcel,
) -> Result<Receipt, SendError> {
    let mut body = json!({
        "channel": channel,
        "markdown_text": parcel.text,
        "metadata": { "event_type": EVENT_TYPE, "event_payload": { "outbox": parcel.id.to_string() } },
        "unfurl_links": false,
    });
    if let (Some(thread), Some(body)) = (&parcel.conversation.thread, body.as_object_mut()) {
        body.insert("thread_ts".to_owned(), thread.as_str().into());
    }
    let answer = workspace.api.write("chat.postMessage", &body).await;
    let answer = answer.map_err(|error| not_sent(workspace, &error))?;
    Ok(Receipt { external_id: answer.get("ts").and_then(Value::as_str).map(str::to_owned) })
}

/// Looks for a message that may have been posted.
pub(super) async fn find(
    workspace: &Workspace,
    channel: &str,
    parcel: &Parcel,
) -> Result<Option<Receipt>, SendError> {
    let id = parcel.id.to_string();
    let mut cursor = String::new();
    for _page in 0..MOST_PAGES {
        let page = page(workspace, channel, parcel, &cursor).await;
        let page = page.map_err(|error| not_sent(workspace, &error))?;
        let messages = page.get("messages").and_then(Value::as_array);
        let found = messages.into_iter().flatten().find(|message| {
            message.pointer("/metadata/event_type").and_then(Value::as_str) == Some(EVENT_TYPE)
                && message.pointer("/metadata/event_payload/outbox").and_then(Value::as_str)
                    == Some(&id)
        });
        if let Some(found) = found {
            return Ok(Some(Receipt { external_id: Some(text(found, "ts").to_owned()) }));
        }
        cursor = page
            .pointer("/response_metadata/next_cursor")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    Ok(None)
}

async fn page(
    workspace: &Workspace,
    channel: &str,
    parcel: &Parcel,
    cursor: &str,
) -> Result<Value, ApiError> {
    let mut args = vec![("channel", channel), ("include_all_metadata", "true"), ("limit", "200")];
    if !cursor.is_empty() {
        args.push(("cursor", cursor));
    }
    let method = match &parcel.conversation.thread {
        Some(thread) => {
            args.push(("ts", thread.as_str()));
            "conversations.replies"
        }
        None => "conversations.history",
    };
    workspace.api.read(method, &args).await
}

/// What a failed call means for a message.
fn not_sent(workspace: &Workspace, error: &ApiError) -> SendError {
    workspace.note(error);
    match error {
        // Until somebody has mended the tokens, there is nobody to take it.
        _ if error.fatal().is_some() => SendError::Absent,
        ApiError::Refused { .. } => SendError::Refused { reason: error.to_string() },
        ApiError::Limited { after } => SendError::Later {
            reason: error.to_string(),
            retry_at: workspace.clock.now().checked_add(*after).ok(),
        },
        ApiError::Failed { what } => SendError::Doubtful { reason: what.clone() },
    }
}

//! `hermitcrab group chats`: the chats that the channels have told of, to find the one that is to be answered.

use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::exit::Failure;
use crate::cli::output;
use crate::cli::place::Place;
use crate::model::ChannelName;
use crate::store::ChatRow;

/// The most chats that are listed.
const MOST: usize = 500;

/// A chat as `group chats --json` shows it. The names are part of the interface.
#[derive(Debug, Serialize)]
struct Entry {
    chat: String,
    name: Option<String>,
    group: Option<String>,
    last_message_at: Option<String>,
}

/// Lists the chats, the newest first; those of the terminal belong to their groups from the beginning.
///
/// # Errors
/// When the store cannot be read, or the output cannot be written.
pub(super) async fn list(place: &Place, format: Format) -> Result<(), Failure> {
    let mut chats = match place.open_store()? {
        Some(store) => store.newest_chats(MOST).await?,
        None if format.json => Vec::new(),
        None => return Ok(output::line(place.nothing_here())?),
    };
    chats.retain(|chat| *chat.id.channel() != ChannelName::terminal());
    if format.json {
        let entry = |chat: &ChatRow| Entry {
            chat: chat.id.to_string(),
            name: chat.name.clone(),
            group: chat.group.as_ref().map(ToString::to_string),
            last_message_at: chat.last_message_at.map(|at| at.to_string()),
        };
        return Ok(output::json(&chats.iter().map(entry).collect::<Vec<_>>())?);
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let columns = |chat: &ChatRow| {
        [
            chat.id.to_string(),
            or_none(chat.name.clone()),
            or_none(chat.group.as_ref().map(ToString::to_string)),
            or_none(chat.last_message_at.map(|at| output::time(at, &place.zone))),
        ]
    };
    output::table(["CHAT", "NAME", "GROUP", "LAST MESSAGE"], chats.iter().map(columns).collect())?;
    if chats.iter().any(|chat| chat.group.is_none()) {
        output::aside(format_args!(
            "`hermitcrab group add NAME --chat CHAT` has a chat answered; in those without a group nothing is kept"
        ));
    }
    Ok(())
}

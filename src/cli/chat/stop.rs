//! `/stop`: all that is not answered yet is given up, and none of it is lost to the person.

use std::io;

use serde_json::Value;

use super::talk::Talk;
use crate::cli::exit::Failure;
use crate::text::count;

/// The most conversations that are looked through for one.
const MOST: usize = 1_000;

/// Gives up the messages that wait to be said, and shows them once more, so that they can be copied.
///
/// # Errors
/// When the terminal is gone.
pub(super) fn give_up(talk: &mut Talk<'_>) -> io::Result<()> {
    let given_up = talk.link.give_up();
    if given_up.is_empty() {
        return Ok(());
    }
    let number = u64::try_from(given_up.len()).unwrap_or(u64::MAX);
    let messages = count(number, "queued message is", "queued messages are");
    talk.screen.note(&format!("({messages} given up)"))?;
    given_up.iter().try_for_each(|text| talk.screen.quote("given up", text))
}

/// Stops the conversation's run and what waits for one, while this chat waits for no answer; says so when there is
/// nothing to stop.
///
/// # Errors
/// When the terminal is gone.
pub(super) async fn stop(talk: &mut Talk<'_>) -> Result<(), Failure> {
    if talk.link.is_away() {
        return Ok(talk.screen.note("(the gateway is away: there is nothing to stop now)")?);
    }
    match waits(talk).await {
        Ok(true) => {}
        Ok(false) => talk.screen.note("(there is nothing to stop)")?,
        Err(failure) => talk.screen.note(failure.sentence())?,
    }
    // Something may have come after the look.
    talk.link.cancel().await;
    Ok(())
}

/// Whether the conversation has a run, or waits for one.
async fn waits(talk: &Talk<'_>) -> Result<bool, Failure> {
    let Some(conversation) = talk.link.conversation() else { return Ok(false) };
    // Asked before the store: what leaves the queue meanwhile has a run then.
    let live = talk.place.ask_gateway().await?.unwrap_or_default();
    if is_queued(&live, &conversation.to_string()) {
        return Ok(true);
    }
    let Some(store) = talk.place.open_store()? else { return Ok(false) };
    if store.unfinished_runs().await?.iter().any(|run| run.conversation == conversation) {
        return Ok(true);
    }
    let due = store.due(MOST).await?;
    Ok(due.iter().any(|due| due.conversation == conversation))
}

/// Whether the gateway has it in the queue, of which it names the first ones only.
fn is_queued(live: &Value, conversation: &str) -> bool {
    let named = live["queue"].as_array().map_or(&[][..], Vec::as_slice);
    let unnamed = live["queued"].as_u64() > u64::try_from(named.len()).ok();
    unnamed || named.iter().any(|named| named == conversation)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conversation_that_may_be_among_the_unnamed_counts_as_queued() {
        for (live, queued) in [
            (Value::Null, false),
            (json!({ "queued": 0, "queue": [] }), false),
            (json!({ "queued": 1, "queue": ["terminal:family"] }), false),
            (json!({ "queued": 1, "queue": ["terminal:main"] }), true),
            (json!({ "queued": 2, "queue": ["terminal:family"] }), true),
        ] {
            assert_eq!(is_queued(&live, "terminal:main"), queued, "{live}");
        }
    }
}

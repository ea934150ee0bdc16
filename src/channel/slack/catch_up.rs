//! Catch-up: after every connect, what was said while we were away.
//!
//! Slack brings nothing that was said while no socket was there, so each registered chat is read from the last
//! message that is kept, its threads with it, and kept in the order in which it was said. Until that is done nothing
//! that comes in live is kept in that chat; the mark from which it is read stays in the store until then, so a crash
//! on the way leaves no hole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::event::Message;
use super::fault::ApiError;
use super::id::{ConversationId, Ts};
use super::intake::{Inlet, Origin, lock, unread};
use super::json::list;
use super::limit::Haste;
use crate::channel::{Mark, NotKept};

/// What is older is not caught up with: three days, a weekend and a bit.
const AGE: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// How far before the last kept message it is looked for threads that have been answered in since.
const LOOK_BACK: Duration = Duration::from_secs(24 * 60 * 60);
/// The most pages of one chat, its threads included.
const MOST_PAGES: usize = 100;
/// How many messages a page has at most.
const PAGE: &str = "200";

/// What is still to be fetched, by chat.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Counts the connects, so that what one of them has found is not taken for done by another's end.
    round: u64,
    chats: HashMap<ConversationId, (u64, Vec<Mark>)>,
}

impl Inlet<'_> {
    /// Marks from where each chat is to be caught up with. A socket that was just connected is not read before.
    ///
    /// # Errors
    /// When the store does not tell.
    pub(super) async fn connected(&self) -> Result<(), NotKept> {
        let now = self.workspace.clock.now();
        let since = now.checked_sub(AGE).unwrap_or(now);
        let marks = self.intake.marks(&self.workspace.channel, since).await?;
        let mut missed = lock(&self.missed);
        missed.round += 1;
        let round = missed.round;
        for mark in marks {
            let Some(channel) = self.workspace.channel_of(&mark.place.chat) else { continue };
            let entry = missed.chats.entry(channel).or_insert((round, Vec::new()));
            if entry.0 != round {
                *entry = (round, Vec::new());
            }
            entry.1.push(mark);
        }
        self.away.notify_one();
        Ok(())
    }

    /// Catches up with one chat after the other, also with those in which nothing comes in, until `stop`.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let work = async {
            loop {
                self.away.notified().await;
                let mut failures = 0;
                while let Some(channel) = self.next() {
                    let lane = self.lane(&channel);
                    let turn = lane.lock().await;
                    let done = self.catch_up(&channel).await;
                    drop(turn);
                    if let Err(NotKept { reason }) = done {
                        warn!(channel.name = "slack", reason, "not caught up yet");
                        failures += 1;
                        sleep(self.workspace.pace.wait(failures)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }

    fn next(&self) -> Option<ConversationId> {
        lock(&self.missed).chats.keys().min().cloned()
    }

    /// Fetches and keeps what was missed in a chat, unless that is done; its lane is held.
    ///
    /// # Errors
    /// When Slack or the store do not answer now.
    pub(super) async fn catch_up(&self, channel: &ConversationId) -> Result<(), NotKept> {
        let due = lock(&self.missed).chats.get(channel).cloned();
        let Some((round, marks)) = due else { return Ok(()) };
        match self.missed_in(channel, &marks).await {
            Ok(messages) => {
                let count = messages.len();
                for message in messages.values() {
                    self.keep(message, Origin::Said).await?;
                }
                for mark in &marks {
                    self.intake.caught_up(&mark.place).await?;
                }
                if count > 0 {
                    info!(channel.name = "slack", %channel, count, "caught up");
                }
            }
            // The marks stay: once the bot may read there again, it is caught up with.
            Err(ApiError::Refused { code }) => {
                warn!(channel.name = "slack", %channel, code, "what was missed cannot be read");
            }
            Err(error) => return Err(unread(error)),
        }
        let mut missed = lock(&self.missed);
        if missed.chats.get(channel).is_some_and(|(latest, _)| *latest == round) {
            missed.chats.remove(channel);
        }
        Ok(())
    }

    /// What was said in a chat after its marks, in order.
    async fn missed_in(
        &self,
        channel: &ConversationId,
        marks: &[Mark],
    ) -> Result<BTreeMap<Ts, Message>, ApiError> {
        let mut found = BTreeMap::new();
        let last = |mark: &Mark| mark.last.as_ref()?.id.as_str().parse::<Ts>().ok();
        let whole = marks.iter().find(|mark| mark.place.thread.is_none()).and_then(last);
        // Where nobody has ever said anything there is nothing to go on from.
        let Some(last_kept) = whole else { return Ok(found) };
        let now = self.workspace.clock.now();
        let oldest = Ts::at(now.checked_sub(AGE).unwrap_or(now));
        let from = last_kept.before(LOOK_BACK).max(oldest);
        let mut pages = Pages { left: MOST_PAGES };
        let mut threads: BTreeMap<Ts, Ts> = BTreeMap::new();
        for mark in marks {
            let root = mark.place.thread.as_ref().and_then(|root| root.as_str().parse().ok());
            if let (Some(root), Some(last)) = (root, last(mark)) {
                threads.insert(root, last);
            }
        }
        let args = [("oldest", from.to_string())];
        for message in self.all(&mut pages, "conversations.history", channel, &args).await? {
            let answered = message.replies.and_then(|replies| replies.latest);
            if answered.is_some_and(|latest| latest > last_kept) {
                threads.entry(message.ts).or_insert(last_kept);
            }
            if message.ts > last_kept {
                found.insert(message.ts, message);
            }
        }
        for (root, last) in threads {
            let args = [("ts", root.to_string()), ("oldest", last.max(oldest).to_string())];
            let replies = self.all(&mut pages, "conversations.replies", channel, &args).await;
            let replies = match replies {
                // The root was deleted.
                Err(error) if error.code() == Some("thread_not_found") => continue,
                replies => replies?,
            };
            let newer = replies.into_iter().filter(|reply| reply.ts > last.max(oldest));
            found.extend(newer.map(|reply| (reply.ts, reply)));
        }
        Ok(found)
    }

    /// What was said in a thread before a message, its root first.
    pub(super) async fn thread_until(
        &self,
        channel: &ConversationId,
        root: Ts,
        until: Ts,
    ) -> Result<Vec<Message>, ApiError> {
        let args = [("ts", root.to_string()), ("latest", until.to_string())];
        let mut pages = Pages { left: MOST_PAGES };
        let mut found = self.all(&mut pages, "conversations.replies", channel, &args).await?;
        found.retain(|message| message.ts < until);
        found.sort_by_key(|message| message.ts);
        Ok(found)
    }

    /// One message.
    pub(super) async fn message(
        &self,
        channel: &ConversationId,
        ts: Ts,
    ) -> Result<Option<Message>, ApiError> {
        let ts_text = ts.to_string();
        let args = [("channel", channel.as_str()), ("ts", &ts_text), ("limit", PAGE)];
        let page = match self.workspace.ask("conversations.replies", &args).await {
            Err(ApiError::Refused { .. }) => return Ok(None),
            page => page?,
        };
        Ok(messages(&page, channel).find(|message| message.ts == ts))
    }

    /// All pages of a history or a thread, as far as there may be any more.
    async fn all(
        &self,
        pages: &mut Pages,
        method: &'static str,
        channel: &ConversationId,
        args: &[(&str, String)],
    ) -> Result<Vec<Message>, ApiError> {
        let (mut found, mut seen, mut cursor) = (Vec::new(), HashSet::new(), String::new());
        loop {
            if pages.left == 0 {
                warn!(channel.name = "slack", %channel, "more was missed than can be caught up with");
                return Ok(found);
            }
            pages.left -= 1;
            let mut args: Vec<(&str, &str)> =
                args.iter().map(|(name, value)| (*name, value.as_str())).collect();
            args.extend([("channel", channel.as_str()), ("limit", PAGE), ("cursor", &cursor)]);
            args.retain(|(_, value)| !value.is_empty());
            let page = self.workspace.ask_with(method, &args, Haste::AtLeisure).await?;
            found.extend(messages(&page, channel).filter(|message| seen.insert(message.ts)));
            let next = page.pointer("/response_metadata/next_cursor").and_then(Value::as_str);
            cursor = next.unwrap_or_default().to_owned();
            if cursor.is_empty() {
                return Ok(found);
            }
        }
    }
}

/// How many pages may still be asked for.
struct Pages {
    left: usize,
}

/// The messages of a page; one without a name is none.
fn messages<'p>(
    page: &'p Value,
    channel: &'p ConversationId,
) -> impl Iterator<Item = Message> + 'p {
    list(page, "messages").filter_map(|json| Message::parse(json, Some(channel.clone())).ok())
}

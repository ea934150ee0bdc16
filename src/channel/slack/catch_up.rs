//! Catch-up: after every connect, what was said while we were away.
//!
//! Slack brings nothing that was said while no socket was there, so each registered chat is read from the last
//! message that is kept, its threads with it, and kept in the order in which it was said. Until that is done nothing
//! that comes in live is kept in that chat; the mark from which it is read stays in the store until it has been read to
//! the end, so neither a crash nor a failure on the way leaves a hole. What fails is tried again, after all others had
//! their turn.
//!
//! That a message is kept does not say that all before it are: one may have come over another socket, or again after its
//! ack was lost. What could not be kept makes its chat due at once, before anything later is kept there; for the rest it
//! is read from a little before the mark, as long as Slack itself would have brought it again.
//!
//! Where one socket took over from another, Slack had a socket to bring everything to, and brings again what was not
//! acked: then only the history is read, and the threads in which it shows an answer that is not kept. Otherwise every
//! thread is read as well in which somebody has spoken of late, for an answer in an old thread shows nowhere else.
//!
//! What cannot be known: answers in a thread of which we have heard nothing for days; that a message which was kept
//! before was deleted meanwhile, unless it is the root of a thread; that one was changed which is older than a day, or
//! stands in a thread that nobody has answered in since.

mod plan;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::plan::{AGE, Bounds, Found, Left};
use super::event::Message;
use super::fault::ApiError;
use super::id::{ConversationId, Ts};
use super::intake::{Inlet, Origin, lock, unread};
use super::json::list;
use super::limit::Haste;
use crate::channel::{Kept, Mark, NotKept};

/// How many messages a page has at most.
const PAGE: &str = "200";

/// What is still to be fetched, by chat.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Counts what makes chats due, so that what one of them has found is not taken for done by another's end.
    round: u64,
    chats: HashMap<ConversationId, Due>,
    /// Where it could not be read at all.
    refused: HashSet<ConversationId>,
}

/// Why it cannot be gone on with now.
enum Trouble {
    /// Slack does not answer, or refuses.
    Slack(ApiError),
    /// The store takes nothing.
    Store(NotKept),
}

/// What is to be fetched of one chat.
#[derive(Debug, Clone, Default)]
struct Due {
    round: u64,
    /// Whether something came since it was begun that could not be kept, either.
    again: bool,
    /// Whether threads are read that the history does not show.
    wholly: bool,
    /// Threads that are read in any case.
    roots: BTreeSet<Ts>,
    /// From where, once the store was asked.
    marks: Option<Vec<Mark>>,
    /// What is left of it, once it was begun.
    left: Option<Left>,
}

impl Inlet<'_> {
    /// Makes each chat due. A socket that was just connected is not read before; `wholly` tells that Slack had no other
    /// to bring things to.
    ///
    /// # Errors
    /// When the store does not tell.
    pub(super) async fn connected(&self, wholly: bool) -> Result<(), NotKept> {
        let marks = self.marks(None).await?;
        let mut missed = lock(&self.missed);
        missed.round += 1;
        let mut chats: HashMap<ConversationId, Due> = HashMap::new();
        for mark in marks {
            let Some(channel) = self.workspace.channel_of(&mark.place.chat) else { continue };
            chats.entry(channel).or_default().marks.get_or_insert_default().push(mark);
        }
        for (channel, mut due) in chats {
            let before = missed.chats.remove(&channel).unwrap_or_default();
            due.round = missed.round;
            due.wholly = wholly || before.wholly || missed.refused.contains(&channel);
            due.roots = before.roots;
            missed.chats.insert(channel, due);
        }
        self.away.notify_one();
        Ok(())
    }

    /// Makes the chat of a message due that came and could not be kept, its thread in any case.
    pub(super) fn lacks(&self, message: &Message) {
        let mut missed = lock(&self.missed);
        let due = missed.chats.entry(message.chat.clone()).or_default();
        due.again = true;
        due.roots.extend(message.thread);
        self.away.notify_one();
    }

    async fn marks(&self, channel: Option<&ConversationId>) -> Result<Vec<Mark>, NotKept> {
        let now = self.workspace.clock.now();
        let since = now.checked_sub(AGE).unwrap_or(now);
        let one = channel.and_then(|channel| self.workspace.chat(channel));
        self.intake.marks(&self.workspace.channel, one.as_ref(), since).await
    }

    /// Catches up with one chat after the other, also with those in which nothing comes in, until `stop`.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let work = async {
            let mut failures = 0;
            loop {
                let due: BTreeSet<_> = lock(&self.missed).chats.keys().cloned().collect();
                if due.is_empty() {
                    self.away.notified().await;
                }
                let mut failed = false;
                for channel in due {
                    let lane = self.lane(&channel);
                    let _turn = lane.lock().await;
                    if let Err(NotKept { reason }) = self.catch_up(&channel).await {
                        warn!(channel.name = "slack", %channel, reason, "not caught up yet");
                        failed = true;
                    }
                }
                failures = if failed { failures + 1 } else { 0 };
                if failed {
                    sleep(self.workspace.pace.wait(failures)).await;
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }

    /// Fetches and keeps what was missed in a chat, unless that is done; its lane is held.
    ///
    /// # Errors
    /// When Slack or the store do not answer now; what was read to its end by then is not read again.
    pub(super) async fn catch_up(&self, channel: &ConversationId) -> Result<(), NotKept> {
        let mut due = match lock(&self.missed).chats.get_mut(channel) {
            None => return Ok(()),
            Some(due) => {
                due.again &= due.left.is_some();
                due.clone()
            }
        };
        let done = self.go_on(channel, &mut due).await;
        let mut missed = lock(&self.missed);
        if let Ok(may_be_read) = done {
            if may_be_read {
                missed.refused.remove(channel);
            } else {
                missed.refused.insert(channel.clone());
            }
        }
        if let Some(latest) = missed.chats.get_mut(channel)
            && latest.round == due.round
        {
            let Due { round, again, roots, .. } = std::mem::take(latest);
            match done {
                Ok(_) if again => *latest = Due { round, again, roots, ..Due::default() },
                Ok(_) => drop(missed.chats.remove(channel)),
                Err(_) => *latest = Due { again, roots, ..due },
            }
        }
        done.map(drop)
    }

    /// Goes on where it was left off; tells whether the chat may be read at all.
    async fn go_on(&self, channel: &ConversationId, due: &mut Due) -> Result<bool, NotKept> {
        let marks = match due.marks.take() {
            Some(marks) => marks,
            None => self.marks(Some(channel)).await?,
        };
        let marks = &*due.marks.insert(marks);
        // Without a mark of its own it belongs to no group.
        let Some(whole) = marks.iter().find(|mark| mark.place.thread.is_none()) else {
            return Ok(true);
        };
        let bounds = Bounds::of(whole, marks, Ts::at(self.workspace.clock.now()));
        let left = due.left.get_or_insert_with(|| Left::of(&bounds, due.wholly, &due.roots));
        match self.read_on(channel, &bounds, left).await {
            Ok(()) => {}
            // The marks stay: once the bot may read there again, it is caught up with.
            Err(Trouble::Slack(ApiError::Refused { code })) => {
                warn!(channel.name = "slack", %channel, code, "what was missed cannot be read");
                return Ok(false);
            }
            Err(Trouble::Slack(error)) => return Err(unread(error)),
            Err(Trouble::Store(error)) => return Err(error),
        }
        // That of the chat last: from it the threads are found that have none of their own.
        for mark in marks.iter().filter(|mark| mark.place.thread.is_some()).chain([whole]) {
            self.intake.caught_up(&mark.place).await?;
        }
        Ok(true)
    }

    /// Reads and keeps what is left of a chat: its history, then one thread after the other.
    async fn read_on(
        &self,
        channel: &ConversationId,
        bounds: &Bounds,
        left: &mut Left,
    ) -> Result<(), Trouble> {
        let mut count = 0;
        while let Some(from) = left.history {
            let args = [("oldest", from.to_string())];
            let found = self.range("conversations.history", channel, &args).await?;
            for message in found.messages() {
                left.answered(message, bounds);
            }
            // An answer has its place in the order of its thread.
            let said = found.messages().filter(|message| !message.is_reply());
            count += self.keep_all(said, bounds.from, bounds).await?;
            left.history = found.goes_on_after();
        }
        while let Some((&root, &last)) = left.threads.first_key_value() {
            let args = [("ts", root.to_string()), ("oldest", last.to_string())];
            let found = match self.range("conversations.replies", channel, &args).await {
                // The root was deleted.
                Err(error) if error.code() == Some("thread_not_found") => Found::default(),
                found => found?,
            };
            count += self.keep_all(found.messages(), last, bounds).await?;
            match found.goes_on_after() {
                Some(newest) => drop(left.threads.insert(root, newest)),
                None => drop(left.threads.remove(&root)),
            }
        }
        if count > 0 {
            info!(channel.name = "slack", %channel, count, "caught up");
        }
        Ok(())
    }

    /// Keeps what is newer than this, and follows what became of the rest; tells how many were not there.
    async fn keep_all(
        &self,
        messages: impl Iterator<Item = &Message>,
        from: Ts,
        bounds: &Bounds,
    ) -> Result<usize, NotKept> {
        let mut count = 0;
        for message in messages {
            if message.is_gone() {
                self.deleted(&message.chat, message.ts).await?;
                continue;
            }
            if message.ts > from {
                let kept = self.keep(message, Origin::Said).await?;
                count += usize::from(matches!(kept, Some(Kept::Fresh(_))));
            }
            if message.edited.is_some_and(|edited| edited > bounds.from) {
                self.edited(message).await?;
            }
        }
        Ok(count)
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

    /// The oldest messages of a history or a thread, whichever end it begins with.
    async fn range(
        &self,
        method: &'static str,
        channel: &ConversationId,
        args: &[(&str, String)],
    ) -> Result<Found, ApiError> {
        let (mut found, mut cursor) = (Found::default(), String::new());
        loop {
            let mut args: Vec<(&str, &str)> =
                args.iter().map(|(name, value)| (*name, value.as_str())).collect();
            args.extend([("channel", channel.as_str()), ("limit", PAGE), ("cursor", &cursor)]);
            args.retain(|(_, value)| !value.is_empty());
            let page = self.workspace.ask_with(method, &args, Haste::AtLeisure).await?;
            messages(&page, channel).for_each(|message| found.add(message));
            let next = page.pointer("/response_metadata/next_cursor").and_then(Value::as_str);
            cursor = next.unwrap_or_default().to_owned();
            if cursor.is_empty() {
                return Ok(found);
            }
        }
    }
}

/// The messages of a page; one without a name is none.
pub(super) fn messages<'p>(
    page: &'p Value,
    channel: &'p ConversationId,
) -> impl Iterator<Item = Message> + 'p {
    list(page, "messages").filter_map(|json| Message::parse(json, Some(channel.clone())).ok())
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        Self::Slack(error)
    }
}

impl From<NotKept> for Trouble {
    fn from(error: NotKept) -> Self {
        Self::Store(error)
    }
}

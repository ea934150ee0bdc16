//! Catch-up: after every connect, what was said while we were away.
//!
//! Slack brings nothing that was said while no socket was there, so each registered chat is read from the last
//! message that is kept, its threads with it, and each conversation is kept in the order in which it was said. The mark
//! from which it is read stays in the store until all has been read to the end, so neither a crash nor a failure on the
//! way leaves a hole. What fails is tried again, while the others go on.
//!
//! It may be long, and Slack takes few calls a minute. So a chat is read in parts, its history and each of its threads,
//! with one after the other of each chat in turn, and without its lane but for the keeping. What comes in live waits only
//! for the parts that its own conversation needs; it has them read at once, before all others.
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
mod read;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::plan::{AGE, Found, Left, Part};
pub(super) use self::read::messages;
use super::event::Message;
use super::fault::ApiError;
use super::id::{ConversationId, Ts};
use super::intake::{Inlet, Origin, unread};
use super::limit::Haste;
use super::lock::lock;
use crate::channel::{Kept, Mark, NotKept};

/// What is still to be fetched, by chat.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Counts what makes chats due, so that what one of them has found is not taken for done by another's end.
    round: u64,
    chats: HashMap<ConversationId, Due>,
    /// Where it could not be read at all.
    refused: HashSet<ConversationId>,
}

/// What is to be fetched of one chat.
#[derive(Debug, Default)]
struct Due {
    round: u64,
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
        due.roots.extend(message.thread);
        if let Some(left) = &mut due.left {
            left.lacks(message);
        }
        self.away.notify_one();
    }

    async fn marks(&self, channel: Option<&ConversationId>) -> Result<Vec<Mark>, NotKept> {
        let now = self.workspace.clock.now();
        let since = now.checked_sub(AGE).unwrap_or(now);
        let one = channel.and_then(|channel| self.workspace.chat(channel));
        self.intake.marks(&self.workspace.channel, one.as_ref(), since).await
    }

    /// Catches up with all chats, a part of each in turn, also with those in which nothing comes in, until `stop`.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let work = async {
            let mut resting: HashMap<ConversationId, (u32, Instant)> = HashMap::new();
            loop {
                let due: BTreeSet<_> = lock(&self.missed).chats.keys().cloned().collect();
                if due.is_empty() {
                    self.away.notified().await;
                    continue;
                }
                resting.retain(|channel, _rest| due.contains(channel));
                let now = Instant::now();
                let rests = |channel: &ConversationId| {
                    resting.get(channel).is_some_and(|(_, until)| *until > now)
                };
                let ready: Vec<_> = due.into_iter().filter(|channel| !rests(channel)).collect();
                if let (true, Some(until)) =
                    (ready.is_empty(), resting.values().map(|(_, until)| *until).min())
                {
                    tokio::select! {
                        () = self.away.notified() => {}
                        () = sleep_until(until.into()) => {}
                    }
                }
                for channel in ready {
                    let Err(NotKept { reason }) = self.go_on(&channel).await else {
                        resting.remove(&channel);
                        continue;
                    };
                    warn!(channel.name = "slack", %channel, reason, "not caught up yet");
                    let failures = resting.get(&channel).map_or(1, |(failures, _)| failures + 1);
                    let until = Instant::now() + self.workspace.pace.wait(failures);
                    resting.insert(channel, (failures, until));
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }

    /// Fetches and keeps what was missed in the conversation of a message before it; the lane of its chat is held.
    ///
    /// # Errors
    /// When Slack or the store do not answer now; what was read to its end by then is not read again.
    pub(super) async fn catch_up(&self, message: &Message) -> Result<(), NotKept> {
        let channel = &message.chat;
        while let Some(due) = self.next(channel, Some(message)).await? {
            let found = self.fetch_part(channel, due.1, Haste::Now).await;
            self.take(channel, due, found, &BTreeSet::new()).await?;
        }
        Ok(())
    }

    /// Fetches the next part of a chat while its lane is free, and keeps it.
    async fn go_on(&self, channel: &ConversationId) -> Result<(), NotKept> {
        let lane = self.lane(channel);
        let due = {
            let mut turn = lane.lock().await;
            let Some(due) = self.next(channel, None).await? else {
                return self.finish(channel).await;
            };
            *turn = Some(BTreeSet::new());
            due
        };
        let found = self.fetch_part(channel, due.1, Haste::AtLeisure).await;
        let mut turn = lane.lock().await;
        let changed = turn.take().unwrap_or_default();
        self.take(channel, due, found, &changed).await
    }

    /// The next part of a chat, or the next that a message waits for, with the round that it belongs to.
    async fn next(
        &self,
        channel: &ConversationId,
        message: Option<&Message>,
    ) -> Result<Option<(u64, Part)>, NotKept> {
        loop {
            self.begin(channel).await?;
            let mut missed = lock(&self.missed);
            let Some(due) = missed.chats.get_mut(channel) else { return Ok(None) };
            // There may have been a new connect meanwhile.
            let Some(left) = &mut due.left else { continue };
            let part = match message {
                Some(message) => left.next_before(message),
                None => left.next(),
            };
            return Ok(part.map(|part| (due.round, part)));
        }
    }

    /// Finds out what is to be read of a chat that is due, unless that is known.
    async fn begin(&self, channel: &ConversationId) -> Result<(), NotKept> {
        let (round, marks) = match lock(&self.missed).chats.get(channel) {
            Some(Due { left: None, round, marks, .. }) => (*round, marks.clone()),
            _ => return Ok(()),
        };
        let marks = match marks {
            Some(marks) => marks,
            None => self.marks(Some(channel)).await?,
        };
        let mut missed = lock(&self.missed);
        let Some(due) = missed.chats.get_mut(channel).filter(|due| due.round == round) else {
            return Ok(());
        };
        let now = Ts::at(self.workspace.clock.now());
        due.left = Left::of(&marks, now, due.wholly, &due.roots);
        due.marks = Some(marks);
        if due.left.is_none() {
            missed.chats.remove(channel);
        }
        Ok(())
    }

    /// Keeps a part that was fetched, unless somebody did who could not wait; its lane is held. What was `changed` since
    /// it was asked for is newer than what was fetched of it.
    async fn take(
        &self,
        channel: &ConversationId,
        (round, part): (u64, Part),
        found: Result<Found, ApiError>,
        changed: &BTreeSet<Ts>,
    ) -> Result<(), NotKept> {
        let from = match lock(&self.missed).chats.get(channel) {
            Some(Due { round: now, left: Some(left), .. })
                if *now == round && left.is_due(part) =>
            {
                left.from()
            }
            _ => return Ok(()),
        };
        let found = match found {
            Ok(found) => found,
            // The marks stay: once the bot may read there again, it is caught up with.
            Err(ApiError::Refused { code }) => {
                warn!(channel.name = "slack", %channel, code, "what was missed cannot be read");
                let mut missed = lock(&self.missed);
                missed.refused.insert(channel.clone());
                missed.chats.remove(channel);
                return Ok(());
            }
            Err(error) => return Err(unread(error)),
        };
        // An answer has its place in the order of its thread.
        let is_here = |message: &&Message| part.thread.is_some() || !message.is_reply();
        let kept_to = if part.thread.is_some() { part.after } else { from };
        let said = found.messages().filter(is_here);
        let count = self.keep_all(said, (kept_to, from), changed).await?;
        let mut missed = lock(&self.missed);
        if let Some(Due { round: now, left: Some(left), .. }) = missed.chats.get_mut(channel)
            && *now == round
        {
            left.read(part, &found);
            left.count += count;
        }
        Ok(())
    }

    /// Notes that all of a chat is kept, if it was due; its lane is held.
    async fn finish(&self, channel: &ConversationId) -> Result<(), NotKept> {
        let (round, marks, count) = match lock(&self.missed).chats.get(channel) {
            Some(Due { round, marks: Some(marks), left: Some(left), .. }) => {
                (*round, marks.clone(), left.count)
            }
            _ => return Ok(()),
        };
        let (whole, threads): (Vec<_>, Vec<_>) =
            marks.iter().partition(|mark| mark.place.thread.is_none());
        // That of the chat last: from it the threads are found that have none of their own.
        for mark in threads.into_iter().chain(whole) {
            self.intake.caught_up(&mark.place).await?;
        }
        if count > 0 {
            info!(channel.name = "slack", %channel, count, "caught up");
        }
        let mut missed = lock(&self.missed);
        missed.refused.remove(channel);
        if let Some(due) = missed.chats.get_mut(channel).filter(|due| due.round == round) {
            if due.left.as_mut().is_some_and(|left| left.next().is_some()) {
                // Something came meanwhile that was not kept.
                let roots = std::mem::take(&mut due.roots);
                *due = Due { round, roots, ..Due::default() };
            } else {
                missed.chats.remove(channel);
            }
        }
        Ok(())
    }

    /// Keeps what is newer than the first of these, and follows what became of the rest since the second; tells how many
    /// were not there.
    async fn keep_all(
        &self,
        messages: impl Iterator<Item = &Message>,
        (kept_to, seen_to): (Ts, Ts),
        changed: &BTreeSet<Ts>,
    ) -> Result<usize, NotKept> {
        let mut count = 0;
        for message in messages {
            if message.is_gone() {
                self.deleted(&message.chat, message.ts).await?;
                continue;
            }
            if message.ts > kept_to {
                let kept = self.keep(message, Origin::Missed).await?;
                count += usize::from(matches!(kept, Some(Kept::Fresh(_))));
            }
            let edited = message.edited.is_some_and(|edited| edited > seen_to);
            if edited && !changed.contains(&message.ts) {
                self.edited(message).await?;
            }
        }
        Ok(count)
    }
}

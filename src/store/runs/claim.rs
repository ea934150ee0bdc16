//! How a run comes to its messages: claimed before it starts, and more while it goes on.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::{RunRow, change_time, unfinished};
use crate::model::{
    Conversation, Group, KeptMessage, RunId, SandboxId, SandboxKind, Seen, Seq, SessionId,
};
use crate::store::Store;
use crate::store::error::{Step, StoreError};
use crate::store::groups::group;
use crate::store::intake::{MOST_TEXT, gather, message};
use crate::store::router::mark_seen;
use crate::store::values::{Count, Millis, count, thread_key};
use crate::store::writer::name;

/// How many messages a run takes at a time while it goes on.
const MORE: usize = 200;

/// The wish to run for a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimRun {
    /// What the run is about.
    pub(crate) conversation: Conversation,
    /// How many messages it takes; of more, or of more than a few MiB, the newest are taken.
    pub(crate) max_messages: usize,
    /// What the router has just seen, noted in the same transaction.
    pub(crate) seen: Option<Seen>,
    /// The sandbox in which it is to happen.
    pub(crate) sandbox: Option<SandboxId>,
    /// Its kind, where that is known already.
    pub(crate) kind: Option<SandboxKind>,
}

/// A run that is to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claimed {
    /// The run.
    pub(crate) run: RunId,
    /// What it is about.
    pub(crate) conversation: Conversation,
    /// The group that it runs for.
    pub(crate) group: Group,
    /// Which attempt at these messages it is, from 1.
    pub(crate) attempt: u32,
    /// What it deals with, oldest first; before it what its thread hangs on, for the first run in a thread.
    pub(crate) messages: Vec<KeptMessage>,
    /// How many older messages were left out.
    pub(crate) omitted: u64,
    /// The first message that it deals with, be it one that was left out.
    pub(crate) from: Seq,
    /// The last message that it began with.
    pub(crate) begun: Seq,
    /// The last message that was handed to it; later than `begun` only for one that is taken up again.
    pub(crate) through: Seq,
    /// The session to resume.
    pub(crate) session: Option<SessionId>,
    /// The sandbox in which it is to happen.
    pub(crate) sandbox: Option<SandboxId>,
    /// Its kind, as far as it is known.
    pub(crate) kind: Option<SandboxKind>,
}

/// A part of a conversation.
struct Range {
    /// The last message before it.
    after: Seq,
    /// The last message in it.
    through: Seq,
}

/// The messages that a run begins with.
struct Taken {
    messages: Vec<KeptMessage>,
    omitted: u64,
    from: Seq,
}

/// Where a conversation stands that may get a run.
struct Candidate {
    group: Group,
    cursor: Seq,
    attempt: u32,
    session: Option<SessionId>,
}

impl Store {
    /// Claims a run for a conversation: gathers the messages by others past its cursor, and writes the run's row.
    ///
    /// `None` when none of them wakes the assistant, when another run has not ended, when the conversation pauses after a
    /// failure, or when the chat is not registered.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn claim_run(&self, claim: ClaimRun) -> Result<Option<Claimed>, StoreError> {
        let now = self.now();
        self.write(name!("claim_run", "claim a run").while_powered(), move |connection| {
            if let Some(Seen { through, triggered }) = claim.seen {
                mark_seen(connection, &claim.conversation, through, Some(triggered))?;
            }
            let Some(candidate) = candidate(connection, &claim.conversation, now)? else {
                return Ok(None);
            };
            claim_for(connection, &claim, candidate, now)
        })
        .await
    }

    /// An unfinished run as it was claimed, to be taken up again; `None` when it has ended, or its group is gone.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn claimed(&self, run: RunId) -> Result<Option<Claimed>, StoreError> {
        self.read("read a run", move |connection| {
            let Some(row) = unfinished(connection, run)? else { return Ok(None) };
            let sql = "SELECT g.*, u.begun_seq, s.session_id FROM runs u
                       JOIN registered_groups g ON g.name = u.group_name
                       LEFT JOIN sessions s ON s.chat_id = u.chat_id AND s.thread = u.thread
                       WHERE u.id = ?1";
            let found = connection.prepare_cached(sql)?.query_row([run], |row| {
                Ok((group(row)?, row.get::<_, Seq>("begun_seq")?, row.get("session_id")?))
            });
            let Some((group, begun, session)) = found.optional()? else { return Ok(None) };
            let after = Seq(row.from.0.saturating_sub(1));
            let range = Range { after, through: begun };
            let taken = newest(connection, &row.conversation, range, MORE)?;
            let RunRow { conversation, attempt, through, sandbox, kind, .. } = row;
            Ok(taken.map(|Taken { messages, omitted, from }| Claimed {
                run,
                conversation,
                group,
                attempt,
                messages,
                omitted,
                from,
                begun,
                through,
                session,
                sandbox,
                kind,
            }))
        })
        .await
    }

    /// Notes that a sandbox has the run. Nothing changes for a run that has ended.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn run_started(
        &self,
        run: RunId,
        sandbox: &SandboxId,
    ) -> Result<(), StoreError> {
        let (now, sandbox) = (self.now(), sandbox.clone());
        self.write(
            name!("run_started", "note the start of a run").while_powered(),
            move |connection| {
                if unfinished(connection, run)?.is_none() {
                    return Ok(());
                }
                let sql =
                "UPDATE runs SET state = 'running', sandbox = ?2, started_at = ?3, updated_at = ?4
                       WHERE id = ?1";
                let changed = change_time(connection, now)?;
                connection.prepare_cached(sql)?.execute(params![
                    run,
                    sandbox,
                    Millis(now),
                    changed
                ])?;
                Ok(())
            },
        )
        .await
    }

    /// Notes in which sandbox a run is about to happen, where its claim said another or did not know the kind: before
    /// that sandbox is started, since no later gateway may take it for gone on another kind's word, and what it spends is
    /// put down for the run that names it.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn run_moved(
        &self,
        run: RunId,
        sandbox: &SandboxId,
        kind: SandboxKind,
    ) -> Result<(), StoreError> {
        let (now, sandbox) = (self.now(), sandbox.clone());
        self.write(name!("run_moved", "note the sandbox of a run").while_powered(), move |connection| {
            if unfinished(connection, run)?.is_none() {
                return Ok(());
            }
            let sql =
                "UPDATE runs SET sandbox = ?2, sandbox_kind = ?3, updated_at = ?4 WHERE id = ?1";
            let changed = change_time(connection, now)?;
            connection.prepare_cached(sql)?.execute(params![run, sandbox, kind, changed])?;
            Ok(())
        })
        .await
    }

    /// Hands a run the messages after a place, at most 200 at a time; `None` when there are none, or it has ended.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn extend_run(
        &self,
        run: RunId,
        after: Seq,
    ) -> Result<Option<Vec<KeptMessage>>, StoreError> {
        let now = self.now();
        self.write(name!("extend_run", "hand a run more messages").while_powered(), move |connection| {
            let Some(row) = unfinished(connection, run)? else { return Ok(None) };
            let sql = "SELECT * FROM messages
                       WHERE chat_id = ?1 AND thread = ?2 AND seq > ?3 AND NOT is_from_me
                       ORDER BY seq LIMIT ?4";
            let Conversation { chat, thread } = &row.conversation;
            let mut statement = connection.prepare_cached(sql)?;
            let values = params![chat, thread_key(thread.as_ref()), after, Count::of(MORE)];
            let found = statement.query_map(values, message)?;
            let more = gather(found, &mut { MOST_TEXT })?;
            let Some(last) = more.last() else { return Ok(None) };
            let sql =
                "UPDATE runs SET through_seq = max(through_seq, ?2), updated_at = ?3 WHERE id = ?1";
            let changed = change_time(connection, now)?;
            connection.prepare_cached(sql)?.execute(params![run, last.seq, changed])?;
            Ok(Some(more))
        })
        .await
    }
}

fn candidate(
    connection: &Connection,
    conversation: &Conversation,
    now: Timestamp,
) -> Step<Option<Candidate>> {
    let sql = "SELECT g.*, r.cursor, r.attempt, s.session_id
               FROM router_state r
               JOIN chats c ON c.chat_id = r.chat_id
               JOIN registered_groups g ON g.name = c.group_name
               LEFT JOIN sessions s ON s.chat_id = r.chat_id AND s.thread = r.thread
               WHERE r.chat_id = ?1 AND r.thread = ?2 AND r.triggered_seq > r.cursor
                   AND coalesce(r.not_before <= ?3, TRUE) AND NOT EXISTS (
                   SELECT 1 FROM runs WHERE runs.chat_id = r.chat_id AND runs.thread = r.thread
                       AND runs.state IN ('claimed', 'running')
               )";
    let key = params![conversation.chat, thread_key(conversation.thread.as_ref()), Millis(now)];
    let candidate = connection.prepare_cached(sql)?.query_row(key, |row| {
        Ok(Candidate {
            group: group(row)?,
            cursor: row.get("cursor")?,
            attempt: row.get("attempt")?,
            session: row.get("session_id")?,
        })
    });
    Ok(candidate.optional()?)
}

fn claim_for(
    connection: &Connection,
    claim: &ClaimRun,
    candidate: Candidate,
    now: Timestamp,
) -> Step<Option<Claimed>> {
    let Candidate { group, cursor, attempt, session } = candidate;
    let ClaimRun { conversation, max_messages, sandbox, kind, .. } = claim;
    let range = Range { after: cursor, through: Seq(u64::MAX) };
    let taken = newest(connection, conversation, range, (*max_messages).max(1))?;
    let Some(Taken { messages, omitted, from }) = taken else { return Ok(None) };
    let Some(through) = messages.last().map(|message| message.seq) else { return Ok(None) };
    let thread = thread_key(conversation.thread.as_ref());
    let attempt = attempt.saturating_add(1);
    let sql =
        "INSERT INTO runs (chat_id, thread, group_name, from_seq, begun_seq, through_seq, attempt,
                                 state, sandbox, sandbox_kind, created_at, updated_at)
               VALUES (:chat, :thread, :group, :from, :through, :through, :attempt,
                       'claimed', :sandbox, :kind, :now, :changed)
               RETURNING id";
    let changed = change_time(connection, now)?;
    let run = connection.prepare_cached(sql)?.query_row(
        named_params! {
            ":chat": conversation.chat, ":thread": thread, ":group": group.name,
            ":from": from, ":through": through, ":attempt": attempt, ":sandbox": sandbox,
            ":kind": kind,
            ":now": Millis(now), ":changed": changed,
        },
        |row| row.get(0),
    )?;
    Ok(Some(Claimed {
        run,
        conversation: conversation.clone(),
        group,
        attempt,
        messages,
        omitted,
        from,
        begun: through,
        through,
        session,
        sandbox: sandbox.clone(),
        kind: *kind,
    }))
}

/// The message that a thread hangs on, which bears the thread's name, while no run has dealt with the thread: it was said
/// in the chat itself, before anybody could know of a thread.
fn root(connection: &Connection, conversation: &Conversation) -> Step<Option<KeptMessage>> {
    let sql = "SELECT m.* FROM messages m
               JOIN router_state r ON r.chat_id = m.chat_id AND r.thread = m.id AND r.cursor = 0
               WHERE m.chat_id = ?1 AND m.id = ?2 AND m.thread = ''";
    let (chat, thread) = (&conversation.chat, thread_key(conversation.thread.as_ref()));
    Ok(connection.prepare_cached(sql)?.query_row(params![chat, thread], message).optional()?)
}

/// The newest messages by others in a range, and before them what their thread hangs on if it is new to us; `None` when there are none.
fn newest(
    connection: &Connection,
    conversation: &Conversation,
    Range { after, through }: Range,
    limit: usize,
) -> Step<Option<Taken>> {
    let sql = "SELECT * FROM messages
               WHERE chat_id = ?1 AND thread = ?2 AND seq > ?3 AND seq <= ?4 AND NOT is_from_me
               ORDER BY seq DESC LIMIT ?5";
    let (chat, thread) = (&conversation.chat, thread_key(conversation.thread.as_ref()));
    let mut statement = connection.prepare_cached(sql)?;
    let found =
        statement.query_map(params![chat, thread, after, through, Count::of(limit)], message)?;
    let mut messages = gather(found, &mut { MOST_TEXT })?;
    let Count(taken) = Count::of(messages.len());
    messages.extend(root(connection, conversation)?);
    messages.reverse();
    let sql = "SELECT count(*) AS waiting, min(seq) AS first FROM messages
               WHERE chat_id = ?1 AND thread = ?2 AND seq > ?3 AND seq <= ?4 AND NOT is_from_me";
    let (waiting, first): (u64, Option<Seq>) = connection
        .prepare_cached(sql)?
        .query_row(params![chat, thread, after, through], |row| {
            Ok((count(row, "waiting")?, row.get("first")?))
        })?;
    let omitted = waiting.saturating_sub(taken);
    Ok(first.map(|from| Taken { messages, omitted, from }))
}

//! How a run ends: outcome, session, cursor and answer in one transaction, and once.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::{RunRow, RunState, change_time, unfinished};
use crate::model::{Content, Conversation, RunEnd, RunId, Seq, SessionId};
use crate::store::Store;
use crate::store::error::{Step, StoreError};
use crate::store::outbox::{self, NewOutboxRow};
use crate::store::router::move_cursor;
use crate::store::values::{Millis, thread_key};
use crate::store::writer::name;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FinishRun {
    /// The run.
    pub(crate) run: RunId,
    /// [`RunState::Done`] or [`RunState::Cancelled`].
    pub(crate) state: RunState,
    /// The session to resume next time; `None` leaves what is there.
    pub(crate) session: Option<SessionId>,
    /// The last message that it dealt with; never counted further than what was handed to it.
    pub(crate) through: Seq,
    /// What to say in the chat, be it nothing to those who wait for an end.
    pub(crate) answer: Option<String>,
}

impl Store {
    /// Ends a run that was answered or cancelled: moves the cursor, keeps the session, and puts the answer in the
    /// outbox. Nothing changes for a run that has ended.
    ///
    /// # Errors
    /// [`StoreError::NotThere`], and [`StoreError::Conflict`] for another state.
    pub(crate) async fn finish_run(&self, end: FinishRun) -> Result<(), StoreError> {
        let now = self.now();
        self.write(name!("finish_run", "finish a run"), move |connection| {
            finish(connection, end, now)
        })
        .await
    }

    /// Ends a run that failed; its conversation waits for another attempt until `not_before`. Nothing changes for a
    /// run that has ended.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn fail_run(
        &self,
        run: RunId,
        error: &str,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        let (now, error) = (self.now(), error.to_owned());
        self.write(name!("fail_run", "note that a run failed"), move |connection| {
            let Some(run) = unfinished(connection, run)? else { return Ok(()) };
            let ending =
                Ending { state: RunState::Failed, error: Some(&error), ..Ending::of(&run) };
            end(connection, &run, &ending, now)?;
            let sql = "UPDATE router_state SET attempt = attempt + 1, not_before = ?3
                       WHERE chat_id = ?1 AND thread = ?2";
            let thread = thread_key(run.conversation.thread.as_ref());
            let values = params![run.conversation.chat, thread, Millis(not_before)];
            connection.prepare_cached(sql)?.execute(values)?;
            Ok(())
        })
        .await
    }

    /// Ends a run that failed for the last time: moves the cursor past its messages and says so in the chat. Nothing
    /// changes for a run that has ended.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn give_up_run(
        &self,
        run: RunId,
        error: &str,
        sentence: &str,
        through: Seq,
    ) -> Result<(), StoreError> {
        let (now, error, text) = (self.now(), error.to_owned(), sentence.to_owned());
        self.write(name!("give_up_run", "give up on messages"), move |connection| {
            let Some(run) = unfinished(connection, run)? else { return Ok(()) };
            let through = through.min(run.through);
            let state = RunState::GivenUp;
            end(connection, &run, &Ending { state, error: Some(&error), through }, now)?;
            move_cursor(connection, &run.conversation, through)?;
            let new = NewOutboxRow {
                conversation: run.conversation,
                run: Some(run.id),
                content: Content::Text(text),
            };
            outbox::insert(connection, &new, Some(RunEnd { through, answered: false }), now)?;
            Ok(())
        })
        .await
    }

    /// Gives up, by somebody's wish, what waits in a conversation that has no run: moves the cursor past what
    /// triggered and says `sentence`; whether anything waited.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn cancel_waiting(
        &self,
        conversation: &Conversation,
        sentence: &str,
    ) -> Result<bool, StoreError> {
        let (now, text) = (self.now(), sentence.to_owned());
        let conversation = conversation.clone();
        self.write(name!("cancel_waiting", "give up what waits"), move |connection| {
            let sql = "SELECT triggered_seq FROM router_state r
                       WHERE chat_id = ?1 AND thread = ?2 AND triggered_seq > cursor AND NOT EXISTS (
                           SELECT 1 FROM runs WHERE runs.chat_id = r.chat_id
                               AND runs.thread = r.thread AND runs.state IN ('claimed', 'running')
                       )";
            let key = params![conversation.chat, thread_key(conversation.thread.as_ref())];
            let waits = connection.prepare_cached(sql)?.query_row(key, |row| row.get::<_, Seq>(0));
            let Some(through) = waits.optional()? else { return Ok(false) };
            move_cursor(connection, &conversation, through)?;
            let new = NewOutboxRow { conversation, run: None, content: Content::Text(text) };
            outbox::insert(connection, &new, Some(RunEnd { through, answered: false }), now)?;
            Ok(true)
        })
        .await
    }

    /// Ends a run that the gateway had to break off; it does not count as an attempt. Nothing changes for a run that
    /// has ended.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn release_run(&self, run: RunId) -> Result<(), StoreError> {
        let now = self.now();
        self.write(name!("release_run", "release a run"), move |connection| {
            let Some(run) = unfinished(connection, run)? else { return Ok(()) };
            end(connection, &run, &Ending { state: RunState::Interrupted, ..Ending::of(&run) }, now)
        })
        .await
    }
}

/// What the ledger is told of a run's end.
struct Ending<'a> {
    state: RunState,
    through: Seq,
    error: Option<&'a str>,
}

impl Ending<'_> {
    fn of(run: &RunRow) -> Self {
        Self { state: run.state, through: run.through, error: None }
    }
}

fn finish(connection: &Connection, done: FinishRun, now: Timestamp) -> Step<()> {
    let FinishRun { run: id, state, session, through, answer } = done;
    if !matches!(state, RunState::Done | RunState::Cancelled) {
        let reason = format!("a run does not finish as {}", state.as_str());
        return Err(StoreError::Conflict(reason).into());
    }
    let Some(run) = unfinished(connection, id)? else { return Ok(()) };
    let through = through.min(run.through);
    end(connection, &run, &Ending { state, through, error: None }, now)?;
    move_cursor(connection, &run.conversation, through)?;
    if let Some(session) = session {
        keep_session(connection, &run, &session, now)?;
    }
    let Some(text) = answer else { return Ok(()) };
    let new = NewOutboxRow {
        conversation: run.conversation,
        run: Some(id),
        content: Content::Text(text),
    };
    let end = RunEnd { through, answered: state == RunState::Done };
    outbox::insert(connection, &new, Some(end), now)?;
    Ok(())
}

fn end(connection: &Connection, run: &RunRow, ending: &Ending<'_>, now: Timestamp) -> Step<()> {
    let sql = "UPDATE runs SET state = :state, through_seq = :through, finished_at = :now, updated_at = :changed,
                   error = :error
               WHERE id = :run";
    let Ending { state, through, error } = ending;
    let changed = change_time(connection, now)?;
    connection.prepare_cached(sql)?.execute(named_params! {
        ":state": state, ":through": through, ":now": Millis(now), ":changed": changed,
        ":error": error, ":run": run.id,
    })?;
    Ok(())
}

/// Keeps the session, unless the chat has gone to another group meanwhile: that one does not know it.
fn keep_session(
    connection: &Connection,
    run: &RunRow,
    session: &SessionId,
    now: Timestamp,
) -> Step<()> {
    let sql = "INSERT INTO sessions (chat_id, thread, session_id, updated_at)
               SELECT chat_id, :thread, :session, :now FROM chats
               WHERE chat_id = :chat AND group_name = :group
               ON CONFLICT DO UPDATE SET session_id = excluded.session_id, updated_at = excluded.updated_at";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":thread": thread_key(run.conversation.thread.as_ref()), ":session": session,
        ":now": Millis(now), ":chat": run.conversation.chat, ":group": run.group,
    })?;
    Ok(())
}

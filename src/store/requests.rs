//! What agents ask for: each request is carried out once, and answered as often as it is seen.

use rusqlite::{OptionalExtension, named_params, params};

use super::Store;
use super::error::StoreError;
use super::outbox::{self, OutboxDraft};
use super::values::Millis;
use super::writer::name;
use crate::model::{GroupName, RequestId, SandboxId};

/// Which request: its id is the agent's word and counts only within its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey {
    /// The group whose agent asks.
    pub(crate) group: GroupName,
    /// The sandbox that it asks from.
    pub(crate) sandbox: SandboxId,
    /// The request.
    pub(crate) id: RequestId,
}

/// What the agent was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredReply {
    /// Whether it was done.
    pub(crate) ok: bool,
    /// What was done, or why it was not.
    pub(crate) text: String,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// What the agent is to be told, now or again.
    pub(crate) reply: StoredReply,
    /// Whether the request was new, and its effect took place.
    pub(crate) fresh: bool,
}

impl Store {
    /// Answers a request and puts its effect into the outbox, in one transaction; a request that was seen before has
    /// no effect and gets the answer of the first time.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn answer_request(
        &self,
        request: RequestKey,
        reply: StoredReply,
        effect: Option<OutboxDraft>,
    ) -> Result<Answered, StoreError> {
        let now = self.now();
        self.write(name!("answer_request", "answer a request"), move |connection| {
            let RequestKey { group, sandbox, id } = &request;
            let sql = "SELECT ok, text FROM requests
                       WHERE group_name = ?1 AND sandbox = ?2 AND id = ?3";
            let known = connection
                .prepare_cached(sql)?
                .query_row(params![group, sandbox, id], |row| {
                    Ok(StoredReply { ok: row.get(0)?, text: row.get(1)? })
                })
                .optional()?;
            if let Some(reply) = known {
                return Ok(Answered { reply, fresh: false });
            }
            let sql = "INSERT INTO requests (group_name, sandbox, id, ok, text, created_at)
                       VALUES (:group, :sandbox, :id, :ok, :text, :now)";
            connection.prepare_cached(sql)?.execute(named_params! {
                ":group": group, ":sandbox": sandbox, ":id": id,
                ":ok": reply.ok, ":text": reply.text, ":now": Millis(now),
            })?;
            if let Some(draft) = &effect {
                outbox::insert(connection, draft, None, now)?;
            }
            Ok(Answered { reply, fresh: true })
        })
        .await
    }
}

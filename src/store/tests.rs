//! What the store promises, held against real SQLite in a temporary folder.

mod catch_up;
mod drafts;
mod files;
mod groups;
mod intake;
mod outbox;
mod plans;
mod prune;
mod revise;
mod router;
mod runs;
mod sent;
mod upgrade;
mod walk;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;

use super::writer::name;
use super::{ClaimRun, Claimed, FinishRun, GroupChats, Listed, RunState, Store, StoreError};
use crate::clock::{ManualClock, SharedClock};
use crate::model::{
    ChatId, Conversation, Group, GroupName, Incoming, Kept, Message, Seen, Sender, Seq, ThreadId,
};

/// A store in a folder of its own, with a clock that stands still.
pub(super) struct Home {
    pub(super) folder: TempDir,
    pub(super) clock: Arc<ManualClock>,
}

impl Home {
    /// A folder with no store yet.
    pub(super) fn new() -> Self {
        let start = Timestamp::from_second(1_700_000_000).unwrap();
        Self { folder: TempDir::new().unwrap(), clock: ManualClock::at(start) }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("store/messages.db")
    }

    pub(super) fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    pub(super) fn open(&self) -> Store {
        Store::open(&self.path(), self.clock()).unwrap()
    }

    /// Opens the store and gives it the main group.
    pub(super) async fn with_main(&self) -> Store {
        let store = self.open();
        store.add_group(Group::new(GroupName::main()), Vec::new()).await.unwrap();
        store
    }
}

impl Store {
    /// Lets nothing be put into a table from now on, as on a disk without room, or lets it again.
    pub(crate) async fn refuse(&self, table: &'static str, refuse: bool) {
        let sql = if refuse {
            format!(
                "CREATE TRIGGER refuse_{table} BEFORE INSERT ON {table}
                 BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        } else {
            format!("DROP TRIGGER refuse_{table}")
        };
        let set = self.write(name!("refuse", "refuse rows"), move |connection| {
            Ok(connection.execute_batch(&sql)?)
        });
        set.await.expect("the trigger is made, and there");
    }
}

/// The terminal's conversation of the main group.
pub(super) fn main_chat() -> Conversation {
    Conversation { chat: ChatId::terminal(&GroupName::main()), thread: None }
}

/// The same in a thread.
pub(super) fn main_thread(thread: &str) -> Conversation {
    Conversation { thread: Some(thread.parse::<ThreadId>().unwrap()), ..main_chat() }
}

/// Something that somebody says.
pub(super) fn said(conversation: &Conversation, id: &str, text: &str) -> Incoming {
    let message = Message {
        chat: conversation.chat.clone(),
        thread: conversation.thread.clone(),
        id: id.parse().unwrap(),
        sender: Sender { id: "u1".to_owned(), name: "José".to_owned(), outside: false },
        text: text.to_owned(),
        attachments: Vec::new(),
        addressed: false,
        sent_at: Timestamp::from_second(1_600_000_000).unwrap(),
        from_me: false,
    };
    Incoming { message, chat_name: None, context: false }
}

/// Claims a run that must be there.
pub(super) async fn claim(store: &Store, conversation: &Conversation) -> Claimed {
    let claim = ClaimRun {
        conversation: conversation.clone(),
        max_messages: 10,
        seen: Some(Seen { through: Seq(9_000), triggered: Seq(9_000) }),
        sandbox: None,
        kind: None,
    };
    store.claim_run(claim).await.unwrap().expect("there is something to run for")
}

/// A run's good end, with an answer.
pub(super) fn done(claimed: &Claimed, answer: &str) -> FinishRun {
    FinishRun {
        run: claimed.run,
        state: RunState::Done,
        session: None,
        through: claimed.through,
        answer: Some(answer.to_owned()),
    }
}

/// Keeps a message that must be new.
pub(super) async fn keep(store: &Store, conversation: &Conversation, id: &str) -> Seq {
    match store.keep(said(conversation, id, id)).await.unwrap().0 {
        Kept::Fresh(seq) => seq,
        other => panic!("{id} is {other:?}"),
    }
}

impl Store {
    /// Makes chats come to a group and leave it.
    async fn change_chats(
        &self,
        group: &GroupName,
        added: &[&ChatId],
        removed: &[&ChatId],
    ) -> Result<(), StoreError> {
        let all = |chats: &[&ChatId]| chats.iter().map(|chat| (*chat).clone()).collect();
        let chats = GroupChats { added: all(added), removed: all(removed) };
        self.change_group(group, chats, Ok).await
    }
}

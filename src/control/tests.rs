//! Who may ask what, and what is left of a file that an agent wants sent.

use std::collections::HashSet;
use std::fs;

use super::*;
use crate::clock;
use crate::model::{Group, Incoming, Message, Seen, Sender, Seq};
use crate::store::{ClaimRun, Listed};

/// CVE-2026-56693: a privileged request was carried out for a group that was not privileged.
#[test]
fn cve_2026_56693_who_may_ask_what() {
    let (main, family, work) =
        (GroupName::main(), "family".parse().unwrap(), "work".parse().unwrap());
    let text = String::new;
    let requests = [
        Request::SendMessage { text: text(), chat: None },
        Request::SendFile { path: text(), caption: None, chat: None },
        Request::React { emoji: text() },
        Request::RegisterGroup {
            chat: text(),
            name: text(),
            folder: None,
            trigger: None,
            requires_trigger: None,
        },
        Request::ListChats {},
    ];
    for (group, owner, talk, rule) in [
        (&main, Some(&main), true, true),
        (&main, Some(&family), true, true),
        (&main, None, false, true),
        (&family, Some(&family), true, false),
        (&family, Some(&work), false, false),
        (&family, Some(&main), false, false),
        (&family, None, false, false),
    ] {
        let found = requests.each_ref().map(|request| may(group, request, owner));
        assert_eq!(found, [talk, talk, talk, rule, rule], "{group} in a chat of {owner:?}");
    }
}

/// A gateway's home with a file of the main group's, and a run of it that asks.
struct Home {
    folder: tempfile::TempDir,
    store: Store,
    control: Control,
    asker: Asker,
}

impl Home {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("groups/main")).unwrap();
        fs::write(folder.path().join("groups/main/report.txt"), "as it was").unwrap();
        let store = Store::open(&folder.path().join("store/messages.db"), clock::system()).unwrap();
        store.add_group(Group::new(GroupName::main()), Vec::new()).await.unwrap();
        let conversation =
            Conversation { chat: ChatId::terminal(&GroupName::main()), thread: None };
        let message = Message {
            chat: conversation.chat.clone(),
            thread: None,
            id: "m1".parse().unwrap(),
            sender: Sender { id: "u1".to_owned(), name: "José".to_owned(), outside: false },
            text: "the report, please".to_owned(),
            attachments: Vec::new(),
            addressed: true,
            sent_at: clock::system().now(),
            from_me: false,
        };
        store.keep(Incoming { message, chat_name: None, context: false }).await.unwrap();
        let claim = ClaimRun {
            conversation: conversation.clone(),
            max_messages: 1,
            seen: Some(Seen { through: Seq(1), triggered: Seq(1) }),
            sandbox: None,
            kind: None,
        };
        let run = store.claim_run(claim).await.unwrap().unwrap().run;
        let asker = Asker { group: GroupName::main(), run, conversation, from: Seq(1) };
        let files = Outgoing::open(folder.path(), &HashSet::new()).unwrap();
        let control = Control::new(store.clone(), files, Arc::default());
        Self { folder, store, control, asker }
    }

    /// Asks for the file.
    async fn ask(&self, id: &str) -> Option<(bool, String)> {
        let request =
            Request::SendFile { path: "report.txt".to_owned(), caption: None, chat: None };
        let reply = self.control.decide(&self.asker, &id.parse().unwrap(), request).await?;
        Some((reply.ok, reply.text))
    }

    /// How many copies lie there.
    fn copies(&self) -> usize {
        fs::read_dir(self.folder.path().join("store/outgoing")).unwrap().count()
    }
}

fn promised() -> Option<(bool, String)> {
    Some((true, "it will be sent".to_owned()))
}

#[tokio::test]
async fn a_file_is_copied_for_each_row_and_for_nothing_else() {
    let home = Home::new().await;
    for table in ["requests", "outbox"] {
        home.store.refuse(table, true).await;
        for _look in 0..3 {
            assert_eq!((home.ask("r1").await, home.copies()), (None, 0), "{table}");
        }
        home.store.refuse(table, false).await;
    }
    for _look in 0..3 {
        assert_eq!((home.ask("r1").await, home.copies()), (promised(), 1));
    }
    // What was answered is not even looked for.
    fs::remove_file(home.folder.path().join("groups/main/report.txt")).unwrap();
    assert_eq!((home.ask("r1").await, home.copies()), (promised(), 1));
    assert_eq!(home.ask("r2").await.map(|(ok, _)| ok), Some(false));
    assert_eq!(home.store.outbox(9, Listed::All).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_group_has_only_so_much_waiting_to_be_sent() {
    let home = Home::new().await;
    for number in 1..=MAX_WAITING_BYTES / MAX_SENT_BYTES {
        let content = Content::File(SentFile {
            name: "large".to_owned(),
            bytes: MAX_SENT_BYTES,
            caption: String::new(),
            source: "groups/main/large".into(),
            copy: format!("copy{number}").into(),
        });
        let conversation = home.asker.conversation.clone();
        let new = NewOutboxRow { conversation, run: Some(home.asker.run), content };
        let reply = StoredReply { ok: true, text: String::new() };
        let key = key(&home.asker, &format!("before{number}").parse().unwrap());
        home.store.answer_request(key, reply, Effect::Send(new)).await.unwrap();
    }
    let refused = Some((false, Refusal::TooMuch.to_string()));
    assert_eq!((home.ask("r1").await, home.copies()), (refused, 0));
    let oldest = home.store.outbox(99, Listed::All).await.unwrap().pop().unwrap();
    home.store.outbox_failed(oldest.id, "no", None).await.unwrap();
    assert_eq!((home.ask("r2").await, home.copies()), (promised(), 1));
}

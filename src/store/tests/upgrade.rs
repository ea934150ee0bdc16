//! A store that an older program has filled is read right by this one.

use std::fs;

use jiff::Timestamp;
use rusqlite::Connection;

use super::{Home, claim, said};
use crate::clock;
use crate::model::{
    ChannelName, ChatId, Content, Conversation, Kept, OutboxId, Receipt, RunId, SentFile, Seq,
};
use crate::store::{
    Effect, Listed, NewOutboxRow, OutboxState, RequestKey, RunState, Store, StoredReply, migrate,
};

/// Two groups, of which the first is older than the chats that joined it: one with messages, one where nothing was said
/// yet; a chat of no group; work in every state.
const VERSION_5: &str = r#"
    INSERT INTO registered_groups VALUES
        ('main', NULL, 0, '{}', 1000), ('team', '@Andy', 1, '{}', 2000);
    INSERT INTO chats (chat_id, name, group_name, last_message_time, mark_seq) VALUES
        ('slack:T/C1', '#general', 'team', NULL, 2), ('slack:T/C2', NULL, 'team', NULL, NULL),
        ('slack:T/C3', '#stray', NULL, 7000, NULL), ('terminal:main', NULL, 'main', NULL, NULL),
        ('terminal:team', NULL, 'team', NULL, NULL);
    INSERT INTO messages (chat_id, thread, id, sender, sender_name, timestamp, is_from_me, content,
                          addressed, sender_outside, attachments, revision) VALUES
        ('slack:T/C1', '', '5.000001', 'U1', 'Ada', 5000, 0, 'one', 1, 0, NULL, NULL),
        ('slack:T/C1', '5.000001', '6.000001', 'U2', 'Bob', 6000, 0, 'two', 0, 1,
         '[{"name":"a.txt","path":"files/a.txt","bytes":3,"kind":"text/plain"}]', 'edited'),
        ('terminal:main', '', 'm1', 'owner', 'You', 4000, 0, 'three', 0, 0, NULL, NULL);
    INSERT INTO router_state (chat_id, thread, last_seq, seen_seq, triggered_seq, cursor) VALUES
        ('slack:T/C1', '', 1, 1, 1, 1), ('slack:T/C1', '5.000001', 2, 2, 2, 0),
        ('terminal:main', '', 3, 0, 0, 0);
    INSERT INTO sessions VALUES ('slack:T/C1', '', 'session-1', 5500);
    INSERT INTO runs (id, chat_id, thread, group_name, from_seq, begun_seq, through_seq, attempt,
                      state, sandbox, created_at, started_at, finished_at, updated_at, sandbox_kind)
    VALUES
        (1, 'slack:T/C1', '', 'team', 1, 1, 1, 1, 'done', 's1', 5100, 5200, 5300, 5300, 'docker'),
        (2, 'slack:T/C1', '5.000001', 'team', 2, 2, 2, 1, 'running', 's2', 6100, 6200, NULL, 6200,
         'bubblewrap');
    INSERT INTO outbox (channel, chat_id, thread, run, ends_through, ends_answered, state, attempts,
                        created_at, sent_at, external_id, error, text) VALUES
        ('slack', 'slack:T/C1', '', 1, 1, 1, 'sent', 1, 5300, 5400, '5.000002', NULL, 'first'),
        ('slack', 'slack:T/C1', '', NULL, NULL, NULL, 'failed', 1, 5500, NULL, NULL, 'no', 'lost'),
        ('slack', 'slack:T/C1', '5.000001', 2, NULL, NULL, 'sending', 1, 6300, NULL, NULL, NULL,
         'on its way'),
        ('slack', 'slack:T/C1', '5.000001', 2, NULL, NULL, 'pending', 0, 6400, NULL, NULL, NULL,
         'next');
    INSERT INTO requests VALUES ('slack:T/C1', '5.000001', 2, 'r1', 1, 'sent', 6300);
"#;

/// A store of version 5 with all that, opened by this program.
fn upgraded(home: &Home) -> Store {
    fs::create_dir(home.path().parent().unwrap()).unwrap();
    let mut connection = Connection::open(home.path()).unwrap();
    connection.pragma_update(None, "application_id", migrate::APPLICATION_ID).unwrap();
    migrate::migrate(&mut connection, 0, 5).unwrap();
    connection.execute_batch(VERSION_5).unwrap();
    drop(connection);
    home.open()
}

fn chat(id: &str) -> ChatId {
    id.parse().unwrap()
}

/// The conversation in the first chat, or in its thread.
fn place(thread: Option<&str>) -> Conversation {
    Conversation { chat: chat("slack:T/C1"), thread: thread.map(|id| id.parse().unwrap()) }
}

const THREAD: Option<&str> = Some("5.000001");

#[tokio::test]
async fn what_an_older_program_kept_is_read_as_it_was() {
    let home = Home::new();
    let store = upgraded(&home);
    let groups = store.groups().await.unwrap();
    let names: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!((names, groups[1].trigger.as_deref()), (vec!["main", "team"], Some("@Andy")));
    let owner = async |id| store.group_of(&chat(id)).await.unwrap().map(|it| it.name.to_string());
    assert_eq!(owner("slack:T/C2").await.as_deref(), Some("team"));
    assert_eq!(owner("slack:T/C3").await, None);
    let chats = store.newest_chats(9).await.unwrap();
    assert_eq!(chats.len(), 5);

    let [one] = &*store.messages(&place(None), Seq(0), 9).await.unwrap() else { panic!() };
    assert_eq!((&*one.message.text, one.message.addressed), ("one", true));
    let [two] = &*store.messages(&place(THREAD), Seq(0), 9).await.unwrap() else { panic!() };
    assert_eq!((&*two.message.sender.name, two.message.sender.outside), ("Bob", true));
    assert_eq!(two.message.attachments.len(), 1);

    let runs = store.runs(9).await.unwrap();
    let states: Vec<_> = runs.iter().map(|run| (run.id, run.state)).collect();
    assert_eq!(states, [(RunId(2), RunState::Running), (RunId(1), RunState::Done)]);
    let claimed = store.claimed(RunId(2)).await.unwrap().unwrap();
    let last = claimed.messages.last().map(|message| message.seq);
    assert_eq!((last, claimed.through), (Some(Seq(2)), Seq(2)));
    let unfinished = store.unfinished_runs().await.unwrap();
    assert_eq!(unfinished, runs[..1]);

    let rows = store.outbox(9, Listed::All).await.unwrap();
    let listed: Vec<_> =
        rows.iter().rev().map(|row| (row.content.to_string(), row.state)).collect();
    let expected = [
        ("first", OutboxState::Sent),
        ("lost", OutboxState::Failed),
        ("on its way", OutboxState::Sending),
        ("next", OutboxState::Pending),
    ];
    assert_eq!(listed, expected.map(|(text, state)| (text.to_owned(), state)));
    assert!(rows.iter().all(|row| matches!(row.content, Content::Text(_))));
    assert!(rows[3].ends.is_some() && rows[3].external_id.is_some());
    assert_eq!(store.outbox_files().await.unwrap(), []);
}

#[tokio::test]
async fn work_goes_on_where_an_older_program_left_it() {
    let home = Home::new();
    let store = upgraded(&home);
    let slack: ChannelName = "slack".parse().unwrap();
    let due = async || {
        let due = store.outbox_due(&slack, 9).await.unwrap();
        due.iter().map(|row| row.id.0).collect::<Vec<_>>()
    };
    assert_eq!(due().await, [3]);
    store.outbox_failed(OutboxId(3), "no", Some("It was not sent.".to_owned())).await.unwrap();
    assert_eq!(due().await, [4]);
    store.outbox_sending(OutboxId(4)).await.unwrap();
    store.outbox_sent(OutboxId(4), &Receipt { external_id: None }).await.unwrap();
    assert_eq!(due().await, [5]);

    let key = |id: &str| RequestKey {
        conversation: place(THREAD),
        from: Seq(2),
        id: id.parse().unwrap(),
    };
    let reply = |text: &str| StoredReply { ok: true, text: text.to_owned() };
    assert_eq!(store.told(&key("r1")).await.unwrap(), Some(reply("sent")));
    let file = Content::File(SentFile {
        name: "a".to_owned(),
        bytes: 1,
        caption: String::new(),
        source: "groups/team/a".into(),
        copy: "copy".into(),
    });
    let new =
        NewOutboxRow { conversation: place(THREAD), run: Some(RunId(2)), content: file.clone() };
    store.answer_request(key("r2"), reply("it will be"), Effect::Send(new)).await.unwrap();
    assert_eq!(store.outbox(1, Listed::All).await.unwrap()[0].content, file);
    let fresh = store.keep(said(&place(None), "8.000001", "four")).await.unwrap().0;
    assert_eq!(fresh, Kept::Fresh(Seq(4)));
    assert_eq!(claim(&store, &place(None)).await.session, Some("session-1".parse().unwrap()));
    store.drafted(&place(THREAD), &"9.000001".parse().unwrap()).await.unwrap();
    assert_eq!(store.drafts(&slack).await.unwrap().len(), 1);
}

/// Since when a chat belongs to its group an older program did not write down.
#[tokio::test]
async fn nothing_is_looked_for_that_was_said_before_a_chat_may_have_joined() {
    let home = Home::new();
    let before = clock::system().now();
    let store = upgraded(&home);
    let marks = store.marks(&"slack".parse().unwrap(), None, Timestamp::UNIX_EPOCH).await.unwrap();
    let since = |id: &str, thread: Option<&str>| {
        let thread = thread.map(|id| id.parse().unwrap());
        let found = marks.iter().find(|it| it.place.chat == chat(id) && it.place.thread == thread);
        let mark = found.unwrap();
        (mark.last.as_ref().map(|last| last.id.to_string()), mark.since)
    };
    let second = |n| Timestamp::from_second(n).unwrap();
    // The mark of before stands: what was being fetched then is fetched.
    assert_eq!(since("slack:T/C1", None), (Some("6.000001".to_owned()), second(6)));
    assert_eq!(since("slack:T/C1", THREAD), (Some("6.000001".to_owned()), second(6)));
    let (last, joined) = since("slack:T/C2", None);
    assert_eq!(last, None);
    assert!(joined >= second(before.as_second()) && joined <= clock::system().now(), "{joined}");
    assert_eq!(marks.len(), 3, "a chat of no group has none");
}

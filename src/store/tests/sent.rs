//! What is sent beside words, and what else agents have done.

use super::outbox::{reply, request, row};
use super::{Home, claim, main_chat, said};
use crate::model::{ChatId, Content, GroupName, OutboxId, Receipt, RunId, SentFile, TriggerWish};
use crate::store::{Effect, NewOutboxRow, Registration, Store, StoreError, StoredReply};

fn file(name: &str, bytes: u64) -> Content {
    Content::File(SentFile {
        name: name.to_owned(),
        bytes,
        caption: "as promised".to_owned(),
        source: format!("groups/main/{name}").into(),
        copy: format!("copy-of-{name}").into(),
    })
}

/// Has an agent of a run send this.
async fn send(store: &Store, run: Option<RunId>, id: &str, content: Content) {
    let new = NewOutboxRow { conversation: main_chat(), run, content };
    store.answer_request(request(id), reply("sent"), Effect::Send(new)).await.unwrap();
}

#[tokio::test]
async fn files_and_reactions_come_back_as_they_were_put() {
    let home = Home::new();
    let store = home.with_main().await;
    store.keep(said(&main_chat(), "m1", "hello")).await.unwrap();
    let run = claim(&store, &main_chat()).await.run;
    let reaction = Content::Reaction { emoji: "eyes".to_owned(), message: "m1".parse().unwrap() };
    let contents = [file("a", 5), reaction, file("b", 7)];
    for (id, content) in ["1", "2", "3"].into_iter().zip(contents.clone()) {
        send(&store, Some(run), id, content).await;
    }
    for (id, content) in (1..).zip(contents) {
        assert_eq!(row(&store, id).await.content, content);
    }
    let waiting = |name, bytes| match file(name, bytes) {
        Content::File(file) => (Some(GroupName::main()), file),
        other => panic!("{other}"),
    };
    assert_eq!(store.outbox_files().await.unwrap(), [waiting("a", 5), waiting("b", 7)]);

    store.outbox_begun(OutboxId(1), "too early").await.unwrap();
    assert_eq!(row(&store, 1).await.external_id, None);
    store.outbox_sending(OutboxId(1)).await.unwrap();
    store.outbox_begun(OutboxId(1), "F1").await.unwrap();
    assert_eq!(row(&store, 1).await.external_id.as_deref(), Some("F1"));
    store.outbox_sent(OutboxId(1), &Receipt { external_id: None }).await.unwrap();
    store.outbox_failed(OutboxId(3), "no", None).await.unwrap();
    assert_eq!(store.outbox_files().await.unwrap(), []);
}

#[tokio::test]
async fn a_run_answers_the_last_message_that_addressed_it() {
    let home = Home::new();
    let store = home.with_main().await;
    for id in ["m1", "m2", "m3"] {
        store.keep(said(&main_chat(), id, "hello")).await.unwrap();
    }
    assert_eq!(store.answered_by(RunId(1)).await.unwrap(), None);
    let run = claim(&store, &main_chat()).await.run;
    // What came later is not what it was given.
    store.keep(said(&main_chat(), "m4", "later")).await.unwrap();
    assert_eq!(store.answered_by(run).await.unwrap(), Some("m3".parse().unwrap()));
    let seen = |triggered| {
        rusqlite::Connection::open(home.path())
            .unwrap()
            .execute("UPDATE router_state SET triggered_seq = ?1", [triggered])
            .unwrap()
    };
    seen(2);
    assert_eq!(store.answered_by(run).await.unwrap(), Some("m2".parse().unwrap()));
    seen(4);
    assert_eq!(store.answered_by(run).await.unwrap(), Some("m3".parse().unwrap()));
}

#[tokio::test]
async fn a_chat_is_registered_with_its_answer_or_not_at_all() {
    let home = Home::new();
    let store = home.with_main().await;
    let register = |chat: &str, group: &str, word, needed| {
        let group: GroupName = group.parse().unwrap();
        let trigger = TriggerWish::new(&group, word, needed).unwrap();
        Effect::Register(Registration { chat: chat.parse().unwrap(), group, trigger })
    };
    let owner = async |chat: &str| {
        let chat: ChatId = chat.parse().unwrap();
        store.group_of(&chat).await.unwrap().map(|group| group.name.to_string())
    };
    let effect = register("slack:T/1", "family", Some("@Crab"), None);
    assert!(store.answer_request(request("1"), reply("done"), effect).await.unwrap().fresh);
    assert_eq!(owner("slack:T/1").await.as_deref(), Some("family"));
    assert_eq!(owner("terminal:family").await.as_deref(), Some("family"));
    // A second chat of the group leaves its rules as they are, unless it says so.
    let effect = register("slack:T/2", "family", None, None);
    store.answer_request(request("2"), reply("done"), effect).await.unwrap();
    let family = store.group_of(&"slack:T/2".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((family.trigger.as_deref(), family.needs_trigger()), (Some("@Crab"), true));
    let effect = register("slack:T/2", "family", None, Some(false));
    store.answer_request(request("3"), reply("done"), effect).await.unwrap();
    assert!(!store.group(&family.name).await.unwrap().unwrap().needs_trigger());

    let effect = register("slack:T/1", "work", None, None);
    let taken = store.answer_request(request("4"), reply("done"), effect).await;
    assert!(matches!(taken, Err(StoreError::Taken { .. })), "{taken:?}");
    assert_eq!(owner("slack:T/1").await.as_deref(), Some("family"));
    assert_eq!(store.group(&"work".parse().unwrap()).await.unwrap(), None, "all of it or nothing");
    let refused = StoredReply { ok: false, text: "taken".to_owned() };
    let kept = store.answer_request(request("4"), refused, Effect::Nothing).await.unwrap();
    assert!(kept.fresh, "the request can still be refused");
}

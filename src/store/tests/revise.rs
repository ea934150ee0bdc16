//! What becomes of messages that are changed or deleted.

use super::{Home, claim, done, keep, main_chat, main_thread, said};
use crate::model::{Attachment, Conversation, Found, KeptMessage, MessageId, Revision, Seen, Seq};
use crate::store::{ClaimRun, Store};

fn id(text: &str) -> MessageId {
    text.parse().unwrap()
}

async fn all(store: &Store, conversation: &Conversation) -> Vec<KeptMessage> {
    store.messages(conversation, Seq(0), 99).await.unwrap()
}

/// Amends a message of the main chat; tells whether it is to be looked at again.
async fn amend(store: &Store, message: &str, text: &str) -> (Found, bool) {
    let chat = main_chat().chat;
    let (found, again) =
        store.amend(&chat, &id(message), text.to_owned(), Vec::new()).await.unwrap();
    (found, again.is_some_and(|unseen| unseen.messages[0].message.text == text))
}

#[tokio::test]
async fn what_a_channel_knows_of_a_message_comes_back() {
    let home = Home::new();
    let store = home.with_main().await;
    let mut incoming = said(&main_thread("t"), "1", "look");
    incoming.message.addressed = true;
    incoming.message.sender.outside = true;
    incoming.message.attachments = vec![Attachment {
        name: "Bild \"1\".png".to_owned(),
        path: "files/1-bild.png".into(),
        bytes: 1 << 40,
        kind: "image/png".to_owned(),
        id: Some("F1".to_owned()),
        group: "main".parse().ok(),
    }];
    store.keep(incoming.clone()).await.unwrap();
    let kept = all(&store, &main_thread("t")).await;
    assert_eq!(kept[0].message, incoming.message);
    assert_eq!(kept[0].revision, Revision::Original);
    let unseen = store.news(9).await.unwrap().unseen;
    assert_eq!(unseen[0].messages[0].message, incoming.message);
}

#[tokio::test]
async fn an_edit_is_followed_and_a_preview_is_none() {
    let home = Home::new();
    let store = home.with_main().await;
    keep(&store, &main_chat(), "1").await;
    assert_eq!(amend(&store, "1", "1").await.0, Found::Kept);
    assert_eq!(all(&store, &main_chat()).await[0].revision, Revision::Original);
    assert_eq!(amend(&store, "1", "one").await.0, Found::Kept);
    let kept = all(&store, &main_chat()).await;
    assert_eq!((kept[0].message.text.as_str(), kept[0].revision), ("one", Revision::Edited));
    assert_eq!(amend(&store, "2", "two").await, (Found::Unknown, false));
    let elsewhere = "slack:T01/C02".parse().unwrap();
    let (found, _) = store.amend(&elsewhere, &id("1"), "x".to_owned(), Vec::new()).await.unwrap();
    assert_eq!(found, Found::Unknown, "an id counts in its chat only");
}

#[tokio::test]
async fn an_edit_is_looked_at_again_while_no_run_has_dealt_with_the_message() {
    let home = Home::new();
    let store = home.with_main().await;
    let seq = keep(&store, &main_chat(), "1").await;
    assert!(amend(&store, "1", "a").await.1, "the router may be looking at what it was");
    store.mark_seen(&main_chat(), seq, None).await.unwrap();
    assert!(amend(&store, "1", "b").await.1);
    store.mark_seen(&main_chat(), Seq(0), Some(seq)).await.unwrap();
    assert_eq!(store.due(9).await.unwrap().len(), 1);
    let run = claim(&store, &main_chat()).await;
    assert_eq!(run.messages[0].message.text, "b");
    store.finish_run(done(&run, "answer")).await.unwrap();
    assert!(!amend(&store, "1", "c").await.1, "it is history");
}

#[tokio::test]
async fn of_a_deleted_message_nothing_is_left_but_its_place() {
    let home = Home::new();
    let store = home.with_main().await;
    let mut incoming = said(&main_chat(), "1", "secret");
    let (name, kind) = ("x".to_owned(), "text/plain".to_owned());
    incoming.message.attachments =
        vec![Attachment { name, path: "files/x".into(), bytes: 1, kind, id: None, group: None }];
    store.keep(incoming.clone()).await.unwrap();
    let chat = main_chat().chat;
    for _ in 0..2 {
        assert_eq!(store.retract(&chat, &id("1")).await.unwrap(), Found::Kept);
        let kept = all(&store, &main_chat()).await;
        let message = &kept[0].message;
        assert_eq!((message.text.as_str(), message.attachments.len()), ("", 0));
        assert_eq!(kept[0].revision, Revision::Deleted);
    }
    assert_eq!(amend(&store, "1", "back").await.0, Found::Kept);
    store.keep(incoming).await.unwrap();
    assert_eq!(all(&store, &main_chat()).await[0].message.text, "", "neither brings it back");
    assert_eq!(store.retract(&chat, &id("2")).await.unwrap(), Found::Unknown);
}

#[tokio::test]
async fn what_waits_because_of_a_deleted_message_is_looked_at_anew() {
    let home = Home::new();
    let store = home.with_main().await;
    let (main, chat) = (main_chat(), main_chat().chat);
    for number in ["1", "2", "3"] {
        keep(&store, &main, number).await;
    }
    store.mark_seen(&main, Seq(3), Some(Seq(2))).await.unwrap();
    store.retract(&chat, &id("3")).await.unwrap();
    assert_eq!(store.due(9).await.unwrap().len(), 1, "another message woke it");
    store.retract(&chat, &id("2")).await.unwrap();
    assert!(store.due(9).await.unwrap().is_empty());
    let unseen = store.news(9).await.unwrap().unseen;
    assert_eq!(unseen[0].messages.len(), 3, "the first may wake it as well");
    store.mark_seen(&main, Seq(3), Some(Seq(1))).await.unwrap();
    let run = claim(&store, &main).await;
    store.finish_run(done(&run, "answer")).await.unwrap();
    store.retract(&chat, &id("1")).await.unwrap();
    assert!(store.news(9).await.unwrap().unseen.is_empty(), "a run has dealt with it");
}

#[tokio::test]
async fn what_is_deleted_while_the_router_looks_at_it_wakes_nobody() {
    let home = Home::new();
    let store = home.with_main().await;
    for number in ["1", "2"] {
        keep(&store, &main_chat(), number).await;
    }
    store.retract(&main_chat().chat, &id("2")).await.unwrap();
    // The router has read both before, and writes down only now what it saw.
    store.mark_seen(&main_chat(), Seq(2), Some(Seq(2))).await.unwrap();
    let seen = Some(Seen { through: Seq(2), triggered: Seq(2) });
    let (sandbox, kind) = (None, None);
    let claim = ClaimRun { conversation: main_chat(), max_messages: 9, seen, sandbox, kind };
    assert_eq!(store.claim_run(claim).await.unwrap(), None);
    assert_eq!(store.news(9).await.unwrap().unseen[0].messages.len(), 2, "it looks again");
}

/// What hangs together: a thread begins under a message that was said in the chat itself.
#[tokio::test]
async fn the_first_run_in_a_thread_is_given_what_the_thread_hangs_on() {
    let home = Home::new();
    let store = home.with_main().await;
    let thread = main_thread("root");
    keep(&store, &main_chat(), "before").await;
    keep(&store, &main_chat(), "root").await;
    keep(&store, &thread, "reply").await;
    let ids = |claimed: &crate::store::Claimed| {
        claimed.messages.iter().map(|kept| kept.message.id.to_string()).collect::<Vec<_>>()
    };
    let run = claim(&store, &thread).await;
    assert_eq!(
        (ids(&run), run.omitted, run.from),
        (vec!["root".into(), "reply".into()], 0, Seq(3))
    );
    let again = store.claimed(run.run).await.unwrap().expect("it has not ended");
    assert_eq!((ids(&again), again.omitted), (ids(&run), 0));
    store.finish_run(done(&run, "answer")).await.unwrap();
    keep(&store, &thread, "more").await;
    let run = claim(&store, &thread).await;
    assert_eq!(ids(&run), ["more"], "it knows the thread by now");
    store.finish_run(done(&run, "answer")).await.unwrap();

    // The chat itself is a conversation of its own, in which the message stays.
    let claim = ClaimRun {
        conversation: main_chat(),
        max_messages: 9,
        seen: Some(Seen { through: Seq(2), triggered: Seq(2) }),
        sandbox: None,
        kind: None,
    };
    let run = store.claim_run(claim).await.unwrap().expect("it was never run for");
    assert_eq!(ids(&run), ["before", "root"]);
}

#[tokio::test]
async fn a_conversation_was_woken_once_something_woke_it() {
    let home = Home::new();
    let store = home.with_main().await;
    let thread = main_thread("t");
    assert!(!store.woken(&thread).await.unwrap(), "nobody has said anything there");
    let seq = keep(&store, &thread, "1").await;
    assert!(!store.news(9).await.unwrap().unseen[0].woken);
    store.mark_seen(&thread, seq, Some(seq)).await.unwrap();
    keep(&store, &thread, "2").await;
    assert!(store.woken(&thread).await.unwrap());
    assert!(store.news(9).await.unwrap().unseen[0].woken);
}

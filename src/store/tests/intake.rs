//! What is kept of what is said.

use std::time::Duration;

use jiff::Timestamp;

use super::{Home, keep, main_chat, main_thread, said};
use crate::model::Kept;
use crate::model::{Conversation, Group, Seq};

#[tokio::test]
async fn order_is_by_arrival_and_a_redelivery_finds_its_place() {
    let home = Home::new();
    let store = home.with_main().await;
    let thread = main_thread("t1");
    assert_eq!(keep(&store, &main_chat(), "b").await, Seq(1));
    assert_eq!(keep(&store, &thread, "a").await, Seq(2));
    assert_eq!(keep(&store, &main_chat(), "c").await, Seq(3));
    for (id, seq) in [("b", 1), ("a", 2), ("c", 3)] {
        let again = store.keep(said(&main_chat(), id, "other words")).await.unwrap().0;
        assert_eq!(again, Kept::Known(Seq(seq)));
    }
    assert_eq!(keep(&store, &main_chat(), "d").await, Seq(4), "a redelivery uses up no number");
    let ids = |kept: Vec<crate::model::KeptMessage>| {
        kept.into_iter().map(|kept| kept.message.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(store.messages(&main_chat(), Seq(0), 10).await.unwrap()), ["b", "c", "d"]);
    assert_eq!(ids(store.messages(&main_chat(), Seq(1), 10).await.unwrap()), ["c", "d"]);
    assert_eq!(ids(store.messages(&main_chat(), Seq(0), 1).await.unwrap()), ["b"]);
    assert_eq!(ids(store.messages(&thread, Seq(0), 10).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn the_same_id_in_another_chat_is_another_message() {
    let home = Home::new();
    let store = home.with_main().await;
    store.add_group(Group::new("other".parse().unwrap()), Vec::new()).await.unwrap();
    let other = Conversation { chat: "terminal:other".parse().unwrap(), thread: None };
    assert_eq!(keep(&store, &main_chat(), "1").await, Seq(1));
    assert_eq!(keep(&store, &other, "1").await, Seq(2));
}

#[tokio::test]
async fn every_text_comes_back_whole() {
    let home = Home::new();
    let store = home.with_main().await;
    let texts = [
        String::new(),
        "before\0after".to_owned(),
        "👩‍👩‍👧 \u{202e}x\u{feff}\r\n'; DROP TABLE messages; --".to_owned(),
        "ä".repeat(512 * 1024),
    ];
    for (number, text) in texts.iter().enumerate() {
        let mut incoming = said(&main_chat(), &number.to_string(), text);
        incoming.message.sender.name = "a\0b".to_owned();
        store.keep(incoming.clone()).await.unwrap();
        let kept = store.messages(&main_chat(), Seq(0), 10).await.unwrap();
        assert!(kept[number].message == incoming.message, "text {number}");
    }
}

#[tokio::test]
async fn of_a_chat_without_a_group_only_its_existence_is_kept() {
    let home = Home::new();
    let store = home.with_main().await;
    let stranger = Conversation { chat: "slack:T01/C02".parse().unwrap(), thread: None };
    let mut incoming = said(&stranger, "1", "private");
    incoming.chat_name = Some("general".to_owned());
    assert_eq!(store.keep(incoming.clone()).await.unwrap().0, Kept::Unregistered);
    let last = async || store.newest_chats(9).await.unwrap()[0].last_message_at;
    let first = incoming.message.sent_at;
    assert_eq!(last().await, Some(first));
    assert_eq!(store.newest_chats(9).await.unwrap()[0].name.as_deref(), Some("general"));

    for (later, expected) in [(30, 0), (90, 90), (10, 90)] {
        incoming.message.id = later.to_string().parse().unwrap();
        incoming.message.sent_at = first + Duration::from_secs(later);
        assert_eq!(store.keep(incoming.clone()).await.unwrap().0, Kept::Unregistered);
        assert_eq!(last().await, Some(first + Duration::from_secs(expected)), "{later}");
    }
    assert_eq!(store.messages(&stranger, Seq(0), 10).await.unwrap(), []);
    assert_eq!(store.counts().await.unwrap().messages, 0);
}

#[tokio::test]
async fn what_the_assistant_said_is_kept_and_wakes_nobody() {
    let home = Home::new();
    let store = home.with_main().await;
    let mut own = said(&main_chat(), "1", "@Andy");
    own.message.from_me = true;
    assert_eq!(store.keep(own.clone()).await.unwrap().0, Kept::Fresh(Seq(1)));
    assert_eq!(store.news(10).await.unwrap().unseen, []);
    assert_eq!(keep(&store, &main_chat(), "2").await, Seq(2));
    own.message.id = "3".parse().unwrap();
    store.keep(own).await.unwrap();
    let unseen = store.news(10).await.unwrap().unseen;
    assert_eq!(unseen[0].messages.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [Seq(2)]);
    assert_eq!(store.messages(&main_chat(), Seq(0), 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_chat_keeps_its_newest_name_and_time() {
    let home = Home::new();
    let store = home.with_main().await;
    let row = async || store.newest_chats(9).await.unwrap().pop().unwrap();
    assert_eq!((row().await.name, row().await.last_message_at), (None, None));
    let mut incoming = said(&main_thread("t"), "0", "");
    incoming.chat_name = Some("Home".to_owned());
    store.keep(incoming).await.unwrap();
    keep(&store, &main_chat(), "nameless").await;
    assert_eq!(row().await.name.as_deref(), Some("Home"));
    let mut incoming = said(&main_thread("t"), "1", "");
    incoming.chat_name = Some("House".to_owned());
    incoming.message.sent_at = Timestamp::from_second(1_800_000_000).unwrap();
    store.keep(incoming.clone()).await.unwrap();
    assert_eq!(row().await.name.as_deref(), Some("House"));
    assert_eq!(row().await.last_message_at, Some(incoming.message.sent_at));
    assert_eq!(row().await.group.unwrap().as_str(), "main");
}

#[tokio::test]
async fn what_is_addressed_with_the_second_word_of_it_is_looked_at_again() {
    let home = Home::new();
    let store = home.with_main().await;
    let seq = keep(&store, &main_chat(), "1").await;
    store.mark_seen(&main_chat(), seq, None).await.unwrap();
    let mut again = said(&main_chat(), "1", "1");
    assert_eq!(store.keep(again.clone()).await.unwrap(), (Kept::Known(seq), None));
    again.message.addressed = true;
    let (kept, unseen) = store.keep(again.clone()).await.unwrap();
    assert_eq!(kept, Kept::Known(seq));
    assert!(unseen.unwrap().messages[0].message.addressed);
    assert_eq!(store.keep(again).await.unwrap(), (Kept::Known(seq), None), "it is known by now");
    let mut context = said(&main_chat(), "2", "2");
    context.context = true;
    store.keep(context.clone()).await.unwrap();
    context.message.addressed = true;
    assert_eq!(store.keep(context).await.unwrap().1, None, "context wakes nobody");
    let messages = store.messages(&main_chat(), Seq(0), 9).await.unwrap();
    assert_eq!(messages.iter().map(|kept| kept.context).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn context_that_the_platform_brings_itself_is_a_message_of_its_own() {
    let home = Home::new();
    let store = home.with_main().await;
    for id in ["1", "2", "3"] {
        let mut context = said(&main_chat(), id, id);
        context.context = true;
        store.keep(context).await.unwrap();
    }
    let last = keep(&store, &main_chat(), "4").await;
    store.mark_seen(&main_chat(), last, Some(last)).await.unwrap();
    let chat = main_chat().chat;
    store.amend(&chat, &"2".parse().unwrap(), "two".to_owned(), Vec::new()).await.unwrap();
    store.retract(&chat, &"3".parse().unwrap()).await.unwrap();
    // What is meant for nobody stays where it is, and is looked at once more.
    let (kept, unseen) = store.keep(said(&main_chat(), "1", "1")).await.unwrap();
    assert_eq!(kept, Kept::Known(Seq(1)));
    assert!(!unseen.unwrap().messages[0].context);
    let addressed = |id: &str| {
        let mut mention = said(&main_chat(), id, id);
        mention.message.addressed = true;
        mention
    };
    // A mention comes after what was dealt with meanwhile, as it reads now.
    let (kept, unseen) = store.keep(addressed("2")).await.unwrap();
    assert_eq!((kept, unseen), (Kept::Fresh(Seq(5)), None));
    assert_eq!(store.keep(addressed("2")).await.unwrap(), (Kept::Known(Seq(5)), None));
    let news = store.news(9).await.unwrap().unseen;
    let message = &news[0].messages[0];
    assert_eq!((message.seq, message.message.text.as_str()), (Seq(5), "two"));
    assert!(message.message.addressed && !message.context);
    assert!(matches!(store.keep(addressed("3")).await.unwrap().0, Kept::Known(Seq(3))));
    let messages = store.messages(&main_chat(), Seq(0), 9).await.unwrap();
    assert_eq!(messages.iter().map(|kept| kept.seq.0).collect::<Vec<_>>(), [1, 3, 4, 5]);
}

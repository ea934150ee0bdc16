//! How far a channel has come, over lost connections and crashes.

use std::time::Duration;

use jiff::Timestamp;

use super::{Home, said};
use crate::clock::Clock;
use crate::model::{ChannelName, Conversation, Group, GroupName, Mark, ThreadId};
use crate::store::{GroupChats, Store};

fn slack() -> ChannelName {
    "slack".parse().unwrap()
}

fn place(chat: &str, thread: Option<&str>) -> Conversation {
    let thread = thread.map(|thread| thread.parse::<ThreadId>().unwrap());
    Conversation { chat: chat.parse().unwrap(), thread }
}

/// Says something at so many seconds.
async fn say(store: &Store, place: &Conversation, seconds: u64) {
    let id = format!("{seconds}.0");
    let mut incoming = said(place, &id, "hello");
    incoming.message.sent_at = Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
    store.keep(incoming).await.unwrap();
}

/// The marks, each as the place and the id of its last message.
async fn marks(store: &Store, threads_since: u64) -> Vec<String> {
    let since = Timestamp::UNIX_EPOCH + Duration::from_secs(threads_since);
    let marks = store.marks(&slack(), None, since).await.unwrap().into_iter();
    let text = |Mark { place, last, .. }: Mark| match last {
        Some(last) => {
            let seconds = last.sent_at.as_second();
            assert_eq!(last.id.as_str(), format!("{seconds}.0"));
            format!("{place} {seconds}")
        }
        None => format!("{place} -"),
    };
    marks.map(text).collect()
}

async fn with_chats(home: &Home) -> Store {
    let store = home.with_main().await;
    let chats = ["slack:T/A", "slack:T/B", "slacker:T/C"].map(|chat| chat.parse().unwrap());
    store.add_group(Group::new("work".parse().unwrap()), chats.into()).await.unwrap();
    store
}

#[tokio::test]
async fn each_chat_of_the_channel_and_each_thread_of_late_is_marked() {
    let home = Home::new();
    let store = with_chats(&home).await;
    say(&store, &place("slack:T/A", None), 10).await;
    say(&store, &place("slack:T/A", Some("10.0")), 20).await;
    say(&store, &place("slack:T/A", Some("old")), 15).await;
    say(&store, &place("slacker:T/C", None), 30).await;
    say(&store, &place("slack:T/unregistered", None), 30).await;
    say(&store, &super::main_chat(), 30).await;
    let expected = ["slack:T/A 15", "slack:T/B -", "slack:T/A#10.0 20"];
    assert_eq!(marks(&store, 16).await, expected);
    let all = ["slack:T/A 15", "slack:T/B -", "slack:T/A#10.0 20", "slack:T/A#old 15"];
    assert_eq!(marks(&store, 0).await, all);
}

#[tokio::test]
async fn a_mark_stays_until_all_is_there_whatever_comes_in_meanwhile() {
    let home = Home::new();
    let store = with_chats(&home).await;
    let (chat, thread) = (place("slack:T/A", None), place("slack:T/A", Some("10.0")));
    say(&store, &chat, 10).await;
    say(&store, &thread, 11).await;
    let marked = ["slack:T/A 11", "slack:T/B -", "slack:T/A#10.0 11"];
    assert_eq!(marks(&store, 0).await, marked);
    for place in [&chat, &thread] {
        say(&store, place, if place.thread.is_some() { 51 } else { 50 }).await;
    }
    assert_eq!(marks(&store, 0).await, marked, "a reconnect while it catches up");
    drop(store);
    let store = home.open();
    assert_eq!(marks(&store, 0).await, marked, "a restart");
    store.caught_up(&thread).await.unwrap();
    assert_eq!(marks(&store, 0).await, ["slack:T/A 11", "slack:T/B -", "slack:T/A#10.0 51"]);
    store.caught_up(&chat).await.unwrap();
    assert_eq!(marks(&store, 0).await, ["slack:T/A 51", "slack:T/B -", "slack:T/A#10.0 51"]);
}

#[tokio::test]
async fn a_chat_that_leaves_its_group_is_not_looked_through() {
    let home = Home::new();
    let store = with_chats(&home).await;
    say(&store, &place("slack:T/A", Some("1.0")), 10).await;
    assert_eq!(marks(&store, 0).await.len(), 3);
    let chats = GroupChats { removed: vec!["slack:T/A".parse().unwrap()], ..Default::default() };
    let work: GroupName = "work".parse().unwrap();
    store.change_group(&work, chats, Ok).await.unwrap();
    assert_eq!(marks(&store, 0).await, ["slack:T/B -"]);
}

#[tokio::test]
async fn one_chat_is_marked_alone_and_says_since_when_it_is_registered() {
    let home = Home::new();
    let store = with_chats(&home).await;
    let (one, since) = ("slack:T/A".parse().unwrap(), Timestamp::UNIX_EPOCH);
    say(&store, &place("slack:T/A", Some("t")), 10).await;
    say(&store, &place("slack:T/B", None), 11).await;
    let marked = store.marks(&slack(), Some(&one), since).await.unwrap();
    let places: Vec<_> = marked.iter().map(|mark| mark.place.to_string()).collect();
    assert_eq!(places, ["slack:T/A", "slack:T/A#t"]);
    assert_eq!(marked[0].since, home.clock.now());
    say(&store, &place("slack:T/A", None), 20).await;
    say(&store, &place("slack:T/B", None), 21).await;
    assert_eq!(marks(&store, 0).await, ["slack:T/A 10", "slack:T/B 21", "slack:T/A#t 10"]);
}

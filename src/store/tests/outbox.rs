//! What is sent, in which order, and what agents are told.

use std::time::Duration;

use jiff::civil::date;

use super::{Home, main_chat, main_thread};
use crate::clock::Clock;
use crate::model::{
    ChannelName, Content, Conversation, GroupName, OutboxId, Receipt, SandboxId, Seq, Usage,
};
use crate::store::{
    Again, Effect, Listed, NewOutboxRow, OutboxState, RequestKey, Store, StoreError, StoredReply,
};

fn slack(chat: &str) -> Conversation {
    Conversation { chat: format!("slack:{chat}").parse().unwrap(), thread: None }
}

pub(super) fn request(id: &str) -> RequestKey {
    RequestKey { conversation: main_chat(), from: Seq(1), id: id.parse().unwrap() }
}

pub(super) fn reply(text: &str) -> StoredReply {
    StoredReply { ok: true, text: text.to_owned() }
}

/// Has an agent say something.
async fn say(store: &Store, conversation: &Conversation, text: &str) {
    let new = NewOutboxRow {
        conversation: conversation.clone(),
        run: None,
        content: Content::Text(text.to_owned()),
    };
    let answered =
        store.answer_request(request(text), reply("sent"), Effect::Send(new)).await.unwrap();
    assert!(answered.fresh);
}

async fn due(store: &Store, channel: &str) -> Vec<u64> {
    let channel = channel.parse::<ChannelName>().unwrap();
    store.outbox_due(&channel, 9).await.unwrap().iter().map(|row| row.id.0).collect()
}

pub(super) async fn row(store: &Store, id: u64) -> crate::store::OutboxRow {
    let rows = store.outbox(99, Listed::All).await.unwrap();
    rows.into_iter().find(|row| row.id == OutboxId(id)).unwrap()
}

#[tokio::test]
async fn only_the_head_of_each_conversation_is_due() {
    let home = Home::new();
    let store = home.with_main().await;
    for (id, chat) in [("1", "a"), ("2", "a"), ("3", "b"), ("4", "a")] {
        say(&store, &slack(chat), id).await;
    }
    say(&store, &main_chat(), "5").await;
    say(&store, &main_thread("t"), "6").await;
    assert_eq!(due(&store, "slack").await, [1, 3]);
    assert_eq!(due(&store, "terminal").await, [5, 6]);
    assert_eq!(due(&store, "whatsapp").await, [0; 0]);
    assert_eq!(store.counts().await.unwrap().outbox_pending, 6);

    let receipt = Receipt { external_id: Some("ts1".to_owned()) };
    store.outbox_sending(OutboxId(1)).await.unwrap();
    assert_eq!(due(&store, "slack").await, [1, 3]);
    store.outbox_sent(OutboxId(1), &receipt).await.unwrap();
    assert_eq!(due(&store, "slack").await, [2, 3]);
    let sent = row(&store, 1).await;
    assert_eq!((sent.state, sent.attempts), (OutboxState::Sent, 1));
    assert_eq!((sent.external_id, sent.sent_at), (receipt.external_id, Some(home.clock.now())));

    store.outbox_failed(OutboxId(2), "not in channel", None).await.unwrap();
    assert_eq!(due(&store, "slack").await, [3, 4]);
    assert_eq!(store.counts().await.unwrap().outbox_failed, 1);
    let open = store.outbox(99, Listed::NotSent).await.unwrap();
    assert_eq!(open.iter().map(|row| row.id.0).collect::<Vec<_>>(), [6, 5, 4, 3, 2]);
}

#[tokio::test]
async fn a_pause_holds_up_its_own_conversation_only() {
    let home = Home::new();
    let store = home.with_main().await;
    for (id, chat) in [("1", "a"), ("2", "a"), ("3", "b")] {
        say(&store, &slack(chat), id).await;
    }
    let channel = "slack".parse::<ChannelName>().unwrap();
    let (now, later) = (home.clock.now(), home.clock.now() + Duration::from_secs(30));
    assert_eq!(store.outbox_next_at(&channel).await.unwrap(), Some(now));
    store.outbox_sending(OutboxId(1)).await.unwrap();
    store.outbox_later(OutboxId(1), Again::After(later), "429").await.unwrap();
    assert_eq!(due(&store, "slack").await, [3]);
    store.outbox_sent(OutboxId(3), &Receipt { external_id: None }).await.unwrap();
    assert_eq!(due(&store, "slack").await, [0; 0]);
    assert_eq!(store.outbox_next_at(&channel).await.unwrap(), Some(later));
    home.clock.advance(Duration::from_secs(30));
    assert_eq!(due(&store, "slack").await, [1]);
    let paused = row(&store, 1).await;
    assert_eq!((paused.attempts, paused.error.as_deref()), (1, Some("429")));

    store.outbox_sending(OutboxId(1)).await.unwrap();
    assert_eq!(store.outbox_next_at(&channel).await.unwrap(), None);
    store.outbox_absent(OutboxId(1), OutboxState::Pending, later).await.unwrap();
    let absent = row(&store, 1).await;
    assert_eq!((absent.state, absent.attempts), (OutboxState::Pending, 1));
    assert_eq!(due(&store, "slack").await, [1]);
}

#[tokio::test]
async fn a_doubtful_row_stays_marked_and_waits_to_be_looked_up() {
    let home = Home::new();
    let store = home.with_main().await;
    for id in ["1", "2"] {
        say(&store, &slack("a"), id).await;
    }
    let channel = "slack".parse::<ChannelName>().unwrap();
    let later = home.clock.now() + Duration::from_secs(30);
    store.outbox_doubtful(OutboxId(1), Again::After(later), "not being sent").await.unwrap();
    assert_eq!(row(&store, 1).await.error, None);
    store.outbox_sending(OutboxId(1)).await.unwrap();
    store.outbox_doubtful(OutboxId(1), Again::After(later), "broken pipe").await.unwrap();
    assert_eq!(due(&store, "slack").await, [0; 0]);
    assert_eq!(store.outbox_next_at(&channel).await.unwrap(), Some(later));
    let doubtful = row(&store, 1).await;
    assert_eq!((doubtful.state, doubtful.attempts), (OutboxState::Sending, 1));
    assert_eq!(doubtful.error.as_deref(), Some("broken pipe"));
    home.clock.advance(Duration::from_secs(30));
    assert_eq!(due(&store, "slack").await, [1]);

    // That nobody was there to be asked leaves it as doubtful as it was.
    let later = home.clock.now() + Duration::from_secs(60);
    store.outbox_absent(OutboxId(1), OutboxState::Sending, later).await.unwrap();
    let absent = row(&store, 1).await;
    assert_eq!((absent.state, absent.not_before), (OutboxState::Sending, Some(later)));
    assert_eq!(due(&store, "slack").await, [0; 0]);
    store.outbox_arrived(vec![main_chat(), slack("a")]).await.unwrap();
    assert_eq!(due(&store, "slack").await, [1]);
}

#[tokio::test]
async fn what_is_settled_stays_so() {
    let home = Home::new();
    let store = home.with_main().await;
    say(&store, &main_chat(), "1").await;
    let (id, receipt) = (OutboxId(1), Receipt { external_id: None });
    store.outbox_sent(id, &receipt).await.unwrap();
    let sent = row(&store, 1).await;
    let again = store.outbox_sending(id).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    store.outbox_sent(id, &Receipt { external_id: Some("x".to_owned()) }).await.unwrap();
    store.outbox_later(id, Again::After(home.clock.now()), "late").await.unwrap();
    store.outbox_absent(id, OutboxState::Pending, home.clock.now()).await.unwrap();
    store.outbox_doubtful(id, Again::After(home.clock.now()), "late").await.unwrap();
    store.outbox_arrived(vec![main_chat()]).await.unwrap();
    store.outbox_failed(id, "late", Some("too late".to_owned())).await.unwrap();
    assert_eq!(store.outbox(9, Listed::All).await.unwrap(), [sent]);
    let nobody = OutboxId(77);
    assert!(matches!(store.outbox_sending(nobody).await, Err(StoreError::NotThere(_))));
    assert!(matches!(store.outbox_sent(nobody, &receipt).await, Err(StoreError::NotThere(_))));
}

#[tokio::test]
async fn what_is_given_up_is_told_in_its_conversation_once() {
    let home = Home::new();
    let store = home.with_main().await;
    say(&store, &main_thread("t"), "1").await;
    let sentence = || Some("It could not be sent.".to_owned());
    for _again in 0..2 {
        store.outbox_failed(OutboxId(1), "no", sentence()).await.unwrap();
    }
    let told = row(&store, 2).await;
    assert_eq!((told.state, told.conversation), (OutboxState::Pending, main_thread("t")));
    assert_eq!((told.content, told.ends), (Content::Text("It could not be sent.".into()), None));
    assert_eq!(due(&store, "terminal").await, [2]);
    store.outbox_failed(OutboxId(2), "no", sentence()).await.unwrap();
    assert_eq!(store.outbox(9, Listed::All).await.unwrap().len(), 2);
    let nobody = store.outbox_failed(OutboxId(77), "no", sentence()).await;
    assert!(matches!(nobody, Err(StoreError::NotThere(_))));
}

#[tokio::test]
async fn a_request_is_carried_out_once_and_answered_always() {
    let home = Home::new();
    let store = home.with_main().await;
    let new = NewOutboxRow {
        conversation: main_chat(),
        run: None,
        content: Content::Text("hi".to_owned()),
    };
    let first = store.answer_request(request("r1"), reply("sent"), Effect::Send(new.clone())).await;
    let (first, again) = (
        first.unwrap(),
        store
            .answer_request(request("r1"), reply("other"), Effect::Send(new.clone()))
            .await
            .unwrap(),
    );
    assert_eq!((first.reply.clone(), first.fresh), (reply("sent"), true));
    assert_eq!((again.reply, again.fresh), (first.reply, false));
    assert_eq!(store.outbox(9, Listed::All).await.unwrap().len(), 1);

    let later = RequestKey { from: Seq(2), ..request("r1") };
    assert!(store.answer_request(later, reply("sent"), Effect::Send(new)).await.unwrap().fresh);
    let refused = StoredReply { ok: false, text: "you may not".to_owned() };
    let answer =
        store.answer_request(request("r2"), refused.clone(), Effect::Nothing).await.unwrap();
    assert_eq!((answer.reply, answer.fresh), (refused, true));
    assert_eq!(store.outbox(9, Listed::All).await.unwrap().len(), 2);
}

#[tokio::test]
async fn usage_adds_up_by_group_and_day() {
    let home = Home::new();
    let store = home.with_main().await;
    let usage = Usage {
        requests: 1,
        input_tokens: 2,
        output_tokens: 3,
        cache_read_tokens: 4,
        cache_write_tokens: 5,
        cost_micros: 6,
    };
    let (today, other) = (date(2026, 2, 8), "other".parse::<GroupName>().unwrap());
    let nowhere: SandboxId = "s1".parse().unwrap();
    for group in [&GroupName::main(), &other, &GroupName::main()] {
        store.add_usage(group, &nowhere, today, usage).await.unwrap();
    }
    store.add_usage(&other, &nowhere, date(2026, 2, 9), usage).await.unwrap();
    let mut twice = usage;
    twice += usage;
    assert_eq!(store.usage_on(today).await.unwrap(), [(GroupName::main(), twice), (other, usage)]);
    assert_eq!(store.usage_on(date(2026, 2, 7)).await.unwrap(), []);
}

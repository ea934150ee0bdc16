//! Groups and registration.

use super::{Home, claim, done, keep, main_chat};
use crate::model::{
    ChatId, Conversation, Group, GroupName, GroupSettings, Kept, MountRequest, Seq,
};
use crate::store::{ClaimRun, FinishRun, Store, StoreError};

fn family() -> Group {
    Group {
        name: "family".parse().unwrap(),
        trigger: Some("@José".to_owned()),
        requires_trigger: true,
        settings: GroupSettings {
            additional_mounts: vec![MountRequest {
                host_path: "~/photos".into(),
                container_path: "photos".into(),
                readonly: false,
            }],
            web_allow: vec!["*.example.org".to_owned()],
            daily_budget_micros: Some(5_000_000),
            timeout: Some(60_000),
        },
    }
}

#[tokio::test]
async fn a_group_comes_back_as_it_was_given() {
    let home = Home::new();
    let store = home.with_main().await;
    store.add_group(family()).await.unwrap();
    assert_eq!(store.group(&family().name).await.unwrap(), Some(family()));
    assert_eq!(store.group_of(&ChatId::terminal(&family().name)).await.unwrap(), Some(family()));
    assert_eq!(store.groups().await.unwrap(), [family(), Group::new(GroupName::main())]);

    let changed = Group { trigger: None, requires_trigger: false, ..family() };
    store.set_group(changed.clone()).await.unwrap();
    assert_eq!(store.group(&family().name).await.unwrap(), Some(changed));
    assert_eq!(store.group(&"other".parse().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_a_sentence() {
    let home = Home::new();
    let store = home.with_main().await;
    let chat: ChatId = "slack:T01/C02".parse().unwrap();
    let text = |result: Result<(), StoreError>| result.unwrap_err().to_string();
    let main = Group::new(GroupName::main());
    assert_eq!(text(store.add_group(main.clone()).await), "there is a group main already");
    assert_eq!(text(store.set_group(family()).await), "there is no group family");
    assert_eq!(text(store.remove_group(&family().name).await), "there is no group family");
    assert_eq!(text(store.remove_group(&main.name).await), "the group main cannot be removed");
    assert_eq!(text(store.register_chat(&chat, &family().name).await), "there is no group family");
    assert_eq!(
        text(store.unregister_chat(&chat, &main.name).await),
        "there is no chat slack:T01/C02 in the group main"
    );
    store.add_group(family()).await.unwrap();
    store.register_chat(&chat, &family().name).await.unwrap();
    assert_eq!(
        text(store.register_chat(&chat, &main.name).await),
        "the chat slack:T01/C02 belongs to the group family"
    );
    assert_eq!(store.group_of(&chat).await.unwrap(), Some(family()));
    assert_eq!(
        text(store.unregister_chat(&chat, &main.name).await),
        "there is no chat slack:T01/C02 in the group main"
    );
}

#[tokio::test]
async fn several_chats_belong_to_a_group_and_leave_it() {
    let home = Home::new();
    let store = home.with_main().await;
    store.add_group(family()).await.unwrap();
    let chats = ["slack:T01/C02", "whatsapp:12@g.us"].map(|id| id.parse::<ChatId>().unwrap());
    for chat in &chats {
        store.register_chat(chat, &family().name).await.unwrap();
        store.register_chat(chat, &family().name).await.unwrap();
    }
    let registered = async || {
        let chats = store.chats_of(&family().name, 9).await.unwrap().into_iter();
        chats.map(|chat| chat.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(registered().await, ["slack:T01/C02", "terminal:family", "whatsapp:12@g.us"]);

    store.unregister_chat(&chats[0], &family().name).await.unwrap();
    assert_eq!(registered().await, ["terminal:family", "whatsapp:12@g.us"]);

    let conversation = Conversation { chat: chats[1].clone(), thread: None };
    keep(&store, &conversation, "m1").await;
    store.remove_group(&family().name).await.unwrap();
    assert_eq!(registered().await, [""; 0]);
    assert_eq!(store.messages(&conversation, Seq(0), 10).await.unwrap().len(), 1);
    assert_eq!(store.unseen(10).await.unwrap(), []);
    let late = store.keep(super::said(&conversation, "m2", "")).await.unwrap();
    assert_eq!(late, Kept::Unregistered);
    let claim = ClaimRun { conversation, max_messages: 10, seen: None, sandbox: None, kind: None };
    assert_eq!(store.claim_run(claim).await.unwrap(), None);
}

#[tokio::test]
async fn new_rules_are_applied_to_what_no_run_has_dealt_with() {
    let home = Home::new();
    let store = home.with_main().await;
    keep(&store, &main_chat(), "m1").await;
    let run = claim(&store, &main_chat()).await;
    store.finish_run(done(&run, "")).await.unwrap();
    let waiting = keep(&store, &main_chat(), "m2").await;
    store.mark_seen(&main_chat(), waiting, None).await.unwrap();
    assert_eq!(store.unseen(10).await.unwrap(), []);

    store.set_group(Group::new(GroupName::main())).await.unwrap();
    let unseen = store.unseen(10).await.unwrap();
    assert_eq!(unseen[0].messages.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [waiting]);

    store.mark_seen(&main_chat(), waiting, None).await.unwrap();
    store.add_group(family()).await.unwrap();
    hand_over(&store, &GroupName::main(), &family().name).await;
    assert_eq!(store.unseen(10).await.unwrap()[0].group, family());
}

#[tokio::test]
async fn the_chats_with_the_newest_messages_come_first_and_no_more_than_asked_for() {
    let home = Home::new();
    let store = home.with_main().await;
    store.add_group(family()).await.unwrap();
    let chat = |id: &str| Conversation { chat: id.parse().unwrap(), thread: None };
    let said = async |id: &str, message: &str, second: i64| {
        let mut said = super::said(&chat(id), message, "");
        said.message.sent_at = jiff::Timestamp::from_second(second).unwrap();
        store.keep(said).await.unwrap();
    };
    store.register_chat(&chat("slack:T01/C02").chat, &family().name).await.unwrap();
    said("slack:T01/C02", "1", 1_800_000_060).await;
    said("slack:T01/C03", "1", 1_800_000_120).await;
    said("terminal:main", "1", 1_800_000_000).await;
    let ids = |chats: Vec<crate::store::ChatRow>| {
        chats.iter().map(|chat| chat.id.to_string()).collect::<Vec<_>>()
    };
    let newest = async |limit| ids(store.newest_chats(limit).await.unwrap());
    let all = ["slack:T01/C03", "slack:T01/C02", "terminal:main", "terminal:family"];
    assert_eq!(newest(9).await, all);
    assert_eq!(newest(2).await, all[..2]);
    let of_family = ids(store.chats_of(&family().name, 1).await.unwrap());
    assert_eq!(of_family, ["slack:T01/C02"], "one that is not registered belongs to nobody");
}

/// Makes a chat belong to another group.
async fn hand_over(store: &Store, from: &GroupName, to: &GroupName) {
    store.unregister_chat(&main_chat().chat, from).await.unwrap();
    store.register_chat(&main_chat().chat, to).await.unwrap();
}

#[tokio::test]
async fn a_chat_takes_no_session_to_another_group() {
    let home = Home::new();
    let store = home.with_main().await;
    store.add_group(family()).await.unwrap();
    let session = async |id: &str| {
        keep(&store, &main_chat(), id).await;
        let run = claim(&store, &main_chat()).await;
        let session = Some("s1".parse().unwrap());
        store.finish_run(FinishRun { session, ..done(&run, "") }).await.unwrap();
        run.session
    };
    assert_eq!(session("m1").await, None);
    assert_eq!(session("m2").await.unwrap().as_str(), "s1");
    hand_over(&store, &GroupName::main(), &family().name).await;
    assert_eq!(session("m3").await, None);

    keep(&store, &main_chat(), "m4").await;
    let run = claim(&store, &main_chat()).await;
    hand_over(&store, &family().name, &GroupName::main()).await;
    let session = Some("s2".parse().unwrap());
    store.finish_run(FinishRun { session, ..done(&run, "") }).await.unwrap();
    keep(&store, &main_chat(), "m5").await;
    assert_eq!(claim(&store, &main_chat()).await.session, None);
}

//! Groups and registration.

use super::{Home, claim, done, keep, main_chat};
use crate::model::{
    ChatId, Conversation, Engage, Group, GroupName, GroupSettings, Kept, MountRequest, Seq,
};
use crate::store::{ClaimRun, FinishRun, GroupChats, Store, StoreError};

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
            engage: Engage::Mention,
            allowed_senders: vec!["U01".to_owned()],
        },
    }
}

#[tokio::test]
async fn a_group_comes_back_as_it_was_given() {
    let home = Home::new();
    let store = home.with_main().await;
    store.add_group(family(), Vec::new()).await.unwrap();
    assert_eq!(store.group(&family().name).await.unwrap(), Some(family()));
    assert_eq!(store.group_of(&ChatId::terminal(&family().name)).await.unwrap(), Some(family()));
    assert_eq!(store.groups().await.unwrap(), [family(), Group::new(GroupName::main())]);

    let changed = Group { trigger: None, requires_trigger: false, ..family() };
    let without = |group| Ok(Group { trigger: None, requires_trigger: false, ..group });
    store.change_group(&family().name, GroupChats::default(), without).await.unwrap();
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
    assert_eq!(
        text(store.add_group(main.clone(), Vec::new()).await),
        "there is a group main already"
    );
    assert_eq!(
        text(store.change_chats(&family().name, &[&chat], &[]).await),
        "there is no group family"
    );
    assert_eq!(text(store.remove_group(&family().name).await), "there is no group family");
    assert_eq!(text(store.remove_group(&main.name).await), "the group main cannot be removed");
    let not_there = "there is no chat slack:T01/C02 in the group main";
    assert_eq!(text(store.change_chats(&main.name, &[], &[&chat]).await), not_there);
    store.add_group(family(), vec![chat.clone()]).await.unwrap();
    let taken = "the chat slack:T01/C02 belongs to the group family";
    assert_eq!(text(store.change_chats(&main.name, &[&chat], &[]).await), taken);
    let other = Group { name: "other".parse().unwrap(), ..family() };
    assert_eq!(text(store.add_group(other.clone(), vec![chat.clone()]).await), taken);
    assert_eq!(store.group(&other.name).await.unwrap(), None, "all of it or nothing");
    assert_eq!(store.group_of(&chat).await.unwrap(), Some(family()));
    assert_eq!(text(store.change_chats(&main.name, &[], &[&chat]).await), not_there);
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_there_afterwards() {
    let home = Home::new();
    let store = home.with_main().await;
    // Another connection, as the command line has it beside the gateway.
    let beside = Store::open_beside(&home.path(), home.clock()).unwrap();
    let add_host = |store: Store, number: usize| async move {
        let add = move |mut group: Group| {
            group.settings.web_allow.push(format!("h{number}.example.org"));
            Ok(group)
        };
        store.change_group(&GroupName::main(), GroupChats::default(), add).await.unwrap();
    };
    let changes = (0..40).map(|n| add_host(if n % 2 == 0 { &store } else { &beside }.clone(), n));
    futures_util::future::join_all(changes).await;
    let main = store.group(&GroupName::main()).await.unwrap().unwrap();
    assert_eq!(main.settings.web_allow.len(), 40, "{:?}", main.settings.web_allow);

    let chat: ChatId = "slack:T01/C02".parse().unwrap();
    let gone = GroupChats { added: vec![chat.clone()], removed: vec![chat.clone()] };
    let refused = store.change_group(&GroupName::main(), gone, |_main| Ok(family())).await;
    assert!(matches!(refused, Err(StoreError::NotThere(_))), "{refused:?}");
    assert_eq!(store.group(&GroupName::main()).await.unwrap(), Some(main), "all of it or nothing");
    assert_eq!(store.group_of(&chat).await.unwrap(), None);
}

#[tokio::test]
async fn several_chats_belong_to_a_group_and_leave_it() {
    let home = Home::new();
    let store = home.with_main().await;
    store.add_group(family(), Vec::new()).await.unwrap();
    let chats = ["slack:T01/C02", "whatsapp:12@g.us"].map(|id| id.parse::<ChatId>().unwrap());
    for chat in &chats {
        store.change_chats(&family().name, &[chat], &[]).await.unwrap();
        store.change_chats(&family().name, &[chat], &[]).await.unwrap();
    }
    let registered = async || {
        let chats = store.chats_of(&family().name, 9).await.unwrap().into_iter();
        chats.map(|chat| chat.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(registered().await, ["slack:T01/C02", "terminal:family", "whatsapp:12@g.us"]);

    store.change_chats(&family().name, &[], &[&chats[0]]).await.unwrap();
    assert_eq!(registered().await, ["terminal:family", "whatsapp:12@g.us"]);

    let conversation = Conversation { chat: chats[1].clone(), thread: None };
    keep(&store, &conversation, "m1").await;
    store.remove_group(&family().name).await.unwrap();
    assert_eq!(registered().await, [""; 0]);
    assert_eq!(store.messages(&conversation, Seq(0), 10).await.unwrap().len(), 1);
    assert_eq!(store.news(10).await.unwrap().unseen, []);
    let late = store.keep(super::said(&conversation, "m2", "")).await.unwrap().0;
    assert_eq!(late, Kept::Unregistered);
    let claim = ClaimRun { conversation, max_messages: 10, seen: None, sandbox: None, kind: None };
    assert_eq!(store.claim_run(claim).await.unwrap(), None);
}

#[tokio::test]
async fn new_rules_are_applied_to_what_waits_and_not_to_what_was_refused() {
    let home = Home::new();
    let store = home.with_main().await;
    keep(&store, &main_chat(), "m1").await;
    let run = claim(&store, &main_chat()).await;
    store.finish_run(done(&run, "")).await.unwrap();
    let waiting = keep(&store, &main_chat(), "m2").await;
    store.mark_seen(&main_chat(), waiting, Some(waiting)).await.unwrap();
    assert_eq!(store.news(10).await.unwrap().unseen, []);

    let allowed = |group: Group| {
        let settings = GroupSettings { timeout: Some(1), ..group.settings.clone() };
        Ok(Group { settings, ..group })
    };
    let main = GroupName::main();
    store.change_group(&main, GroupChats::default(), allowed).await.unwrap();
    let unseen = store.news(10).await.unwrap().unseen;
    assert_eq!(unseen[0].messages.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [waiting]);

    store.mark_seen(&main_chat(), waiting, Some(waiting)).await.unwrap();
    store.add_group(family(), Vec::new()).await.unwrap();
    hand_over(&store, &GroupName::main(), &family().name).await;
    assert_eq!(store.news(10).await.unwrap().unseen[0].group, family());
}

/// Whoever lifts a rule does not set off what was refused under it, perhaps days ago.
#[tokio::test]
async fn what_was_refused_is_not_set_off_by_new_rules() {
    let home = Home::new();
    let store = home.with_main().await;
    let refused = keep(&store, &main_chat(), "m1").await;
    store.mark_seen(&main_chat(), refused, None).await.unwrap();
    let lifted = |group: Group| Ok(Group { requires_trigger: !group.requires_trigger, ..group });
    store.change_group(&GroupName::main(), GroupChats::default(), lifted).await.unwrap();
    assert_eq!(store.news(10).await.unwrap().unseen, []);
    store.add_group(family(), Vec::new()).await.unwrap();
    hand_over(&store, &GroupName::main(), &family().name).await;
    assert_eq!(store.news(10).await.unwrap().unseen, []);
}

#[tokio::test]
async fn the_chats_with_the_newest_messages_come_first_and_no_more_than_asked_for() {
    let home = Home::new();
    let store = home.with_main().await;
    store.add_group(family(), Vec::new()).await.unwrap();
    let chat = |id: &str| Conversation { chat: id.parse().unwrap(), thread: None };
    let said = async |id: &str, message: &str, second: i64| {
        let mut said = super::said(&chat(id), message, "");
        said.message.sent_at = jiff::Timestamp::from_second(second).unwrap();
        store.keep(said).await.unwrap();
    };
    let slack = chat("slack:T01/C02").chat;
    store.change_chats(&family().name, &[&slack], &[]).await.unwrap();
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
    store.change_chats(from, &[], &[&main_chat().chat]).await.unwrap();
    store.change_chats(to, &[&main_chat().chat], &[]).await.unwrap();
}

#[tokio::test]
async fn a_chat_takes_no_session_to_another_group() {
    let home = Home::new();
    let store = home.with_main().await;
    store.add_group(family(), Vec::new()).await.unwrap();
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

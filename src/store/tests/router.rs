//! What the router sees, and what waits.

use std::time::Duration;

use super::{Home, claim, done, keep, main_chat, main_thread, said};
use crate::clock::Clock;
use crate::model::{Conversation, GroupName, RunEnd, Seq};
use crate::store::router::Due;
use crate::store::{ClaimRun, Listed, News, Store};

async fn unseen(store: &Store) -> Vec<(Conversation, Vec<u64>)> {
    let unseen = store.news(100).await.unwrap().unseen.into_iter();
    unseen
        .map(|it| (it.conversation, it.messages.iter().map(|kept| kept.seq.0).collect()))
        .collect()
}

async fn due(store: &Store) -> Vec<Conversation> {
    store.due(100).await.unwrap().into_iter().map(|due| due.conversation).collect()
}

#[tokio::test]
async fn what_was_seen_is_not_shown_again() {
    let home = Home::new();
    let store = home.with_main().await;
    let (main, thread) = (main_chat(), main_thread("t1"));
    for (id, conversation) in [("1", &main), ("2", &thread), ("3", &main)] {
        keep(&store, conversation, id).await;
    }
    assert_eq!(unseen(&store).await, [(main.clone(), vec![1, 3]), (thread.clone(), vec![2])]);
    store.mark_seen(&main, Seq(1), None).await.unwrap();
    assert_eq!(unseen(&store).await, [(thread.clone(), vec![2]), (main.clone(), vec![3])]);
    store.mark_seen(&main, Seq(3), None).await.unwrap();
    store.mark_seen(&main, Seq(1), None).await.unwrap();
    store.mark_seen(&thread, Seq(9_000), None).await.unwrap();
    assert_eq!(unseen(&store).await, []);
    keep(&store, &thread, "4").await;
    assert_eq!(unseen(&store).await, [(thread, vec![4])]);
    assert_eq!(due(&store).await, []);
}

#[tokio::test]
async fn the_idle_have_news_until_they_wait() {
    let home = Home::new();
    let store = home.with_main().await;
    let main = main_chat();
    let idle = async || store.news_of_the_idle(9).await.unwrap().unseen.len();
    let seq = keep(&store, &main, "1").await;
    assert_eq!(idle().await, 1);
    store.mark_seen(&main, seq, Some(seq)).await.unwrap();
    keep(&store, &main, "2").await;
    assert_eq!((idle().await, unseen(&store).await.len()), (0, 1));
    claim(&store, &main).await;
    keep(&store, &main, "3").await;
    assert_eq!(idle().await, 0);
}

#[tokio::test]
async fn a_look_is_bounded() {
    let home = Home::new();
    let store = home.with_main().await;
    let text = format!("{}\0{}", "ä".repeat(16 * 1024), "ä".repeat(32 * 1024));
    store.keep(said(&main_chat(), "0", &text)).await.unwrap();
    for number in 1..=200 {
        keep(&store, &main_chat(), &number.to_string()).await;
    }
    let News { unseen, more } = store.news(9).await.unwrap();
    assert_eq!((unseen[0].messages.len(), more), (200, true));
    // A trigger may stand at the very end: a message is shown whole.
    assert!(unseen[0].messages[0].message.text == text, "a message was cut");
    let last = unseen[0].messages.last().unwrap().seq;
    store.mark_seen(&main_chat(), last, None).await.unwrap();
    let News { unseen, more } = store.news(9).await.unwrap();
    assert_eq!((unseen[0].messages.len(), more), (1, false));
    assert!(store.news(1).await.unwrap().more, "as many as asked for");
    store.mark_seen(&main_chat(), Seq(9_000), None).await.unwrap();
    for number in 201..=300 {
        let large = said(&main_thread("t"), &number.to_string(), &text);
        store.keep(large).await.unwrap();
    }
    keep(&store, &main_thread("u"), "301").await;
    let News { unseen, more } = store.news(9).await.unwrap();
    assert_eq!(unseen.iter().map(|it| it.messages.len()).collect::<Vec<_>>(), [43]);
    assert!(more, "the text of the others did not fit");
    assert_eq!(store.news(0).await.unwrap().unseen, []);
}

#[tokio::test]
async fn conversations_wait_in_the_order_in_which_they_began_to() {
    let home = Home::new();
    let store = home.with_main().await;
    let names = ["c", "a", "b"].map(main_thread);
    for (round, id) in (0..2).flat_map(|round| names.iter().map(move |name| (round, name))) {
        let seq = keep(&store, id, &format!("{round}{id}")).await;
        store.mark_seen(id, seq, Some(seq)).await.unwrap();
    }
    let seq = keep(&store, &names[0], "again").await;
    store.mark_seen(&names[0], seq, Some(seq)).await.unwrap();
    assert_eq!(due(&store).await, names);
    assert_eq!(store.due(1).await.unwrap().len(), 1);
    assert_eq!(store.counts().await.unwrap().pending_conversations, 3);
}

#[tokio::test]
async fn a_conversation_waits_until_its_run_has_dealt_with_it() {
    let home = Home::new();
    let store = home.with_main().await;
    let main = main_chat();
    let first = keep(&store, &main, "1").await;
    store.mark_seen(&main, first, Some(first)).await.unwrap();
    let waiting = Due { conversation: main.clone(), group: GroupName::main(), not_before: None };
    assert_eq!(store.due(9).await.unwrap(), std::slice::from_ref(&waiting));

    let run = claim(&store, &main).await;
    assert_eq!(due(&store).await, []);
    let later = home.clock.now() + Duration::from_secs(5);
    store.fail_run(run.run, "it broke", later).await.unwrap();
    let paused = Due { not_before: Some(later), ..waiting.clone() };
    assert_eq!(store.due(9).await.unwrap(), [paused]);
    let early = ClaimRun {
        conversation: main.clone(),
        max_messages: 9,
        seen: None,
        sandbox: None,
        kind: None,
    };
    assert_eq!(
        store.claim_run(early).await.unwrap(),
        None,
        "it pauses, whatever is said meanwhile"
    );

    home.clock.advance(Duration::from_secs(5));
    let run = claim(&store, &main).await;
    let follow_up = keep(&store, &main, "2").await;
    store.mark_seen(&main, follow_up, Some(follow_up)).await.unwrap();
    store.finish_run(done(&run, "first")).await.unwrap();
    assert_eq!(store.due(9).await.unwrap(), [waiting]);
    let run = claim(&store, &main).await;
    store.finish_run(done(&run, "second")).await.unwrap();
    assert_eq!(due(&store).await, []);
}

#[tokio::test]
async fn a_message_that_a_run_took_before_the_router_looked_is_not_looked_at_again() {
    let home = Home::new();
    let store = home.with_main().await;
    keep(&store, &main_chat(), "1").await;
    let run = claim(&store, &main_chat()).await;
    let second = keep(&store, &main_chat(), "2").await;
    store.extend_run(run.run, run.through).await.unwrap();
    let end = crate::store::FinishRun { through: second, ..done(&run, "") };
    store.finish_run(end).await.unwrap();
    assert_eq!(unseen(&store).await, []);
    store.mark_seen(&main_chat(), second, Some(second)).await.unwrap();
    assert_eq!(due(&store).await, []);
}

#[tokio::test]
async fn who_leaves_the_group_waits_for_nothing() {
    let home = Home::new();
    let store = home.with_main().await;
    let seq = keep(&store, &main_chat(), "1").await;
    store.mark_seen(&main_chat(), seq, Some(seq)).await.unwrap();
    let (main, chat) = (GroupName::main(), main_chat().chat);
    store.change_chats(&main, &[], &[&chat]).await.unwrap();
    assert_eq!(due(&store).await, []);
    store.change_chats(&main, &[&chat], &[]).await.unwrap();
    assert_eq!(due(&store).await, [main_chat()]);
}

#[tokio::test]
async fn what_waits_without_a_run_can_be_given_up() {
    let home = Home::new();
    let store = home.with_main().await;
    let main = main_chat();
    assert!(!store.cancel_waiting(&main, "Stopped.").await.unwrap(), "nothing waits");
    let seq = keep(&store, &main, "1").await;
    store.mark_seen(&main, seq, Some(seq)).await.unwrap();
    let run = claim(&store, &main).await;
    assert!(!store.cancel_waiting(&main, "Stopped.").await.unwrap(), "a run is under way");
    store.fail_run(run.run, "it broke", home.clock.now() + Duration::from_secs(5)).await.unwrap();
    assert!(store.cancel_waiting(&main, "Stopped.").await.unwrap());
    assert_eq!(store.due(9).await.unwrap(), []);
    let rows = store.outbox(9, Listed::All).await.unwrap();
    assert_eq!(
        (rows[0].content.to_string().as_str(), rows[0].ends),
        ("Stopped.", Some(RunEnd { through: seq, answered: false }))
    );
}

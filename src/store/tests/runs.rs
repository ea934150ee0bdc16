//! The ledger: claims, follow-ups and ends.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::date;

use super::{Home, claim, done, keep, main_chat, main_thread, said};
use crate::clock::Clock;
use crate::model::{Group, GroupName, RunEnd, RunId, SandboxId, SandboxKind, Seen, Seq, Usage};
use crate::store::{ClaimRun, Claimed, FinishRun, Listed, RunState, Store, StoreError};

fn wish(max_messages: usize) -> ClaimRun {
    let seen = Some(Seen { through: Seq(9_000), triggered: Seq(9_000) });
    ClaimRun { conversation: main_chat(), max_messages, seen, sandbox: None, kind: None }
}

async fn state(store: &Store, run: RunId) -> RunState {
    store.run(run).await.unwrap().unwrap().state
}

#[tokio::test]
async fn a_claim_takes_the_newest_messages_and_tells_of_the_others() {
    let home = Home::new();
    let store = home.with_main().await;
    assert_eq!(store.claim_run(wish(2)).await.unwrap(), None);
    for id in ["1", "2", "3"] {
        keep(&store, &main_chat(), id).await;
    }
    keep(&store, &main_thread("t"), "elsewhere").await;
    let mut own = said(&main_chat(), "own", "");
    own.message.from_me = true;
    store.keep(own).await.unwrap();

    let claimed = store.claim_run(wish(2)).await.unwrap().unwrap();
    let seqs = claimed.messages.iter().map(|kept| kept.seq.0).collect::<Vec<_>>();
    assert_eq!(seqs, [2, 3]);
    let expected = Claimed {
        conversation: main_chat(),
        run: RunId(1),
        group: Group::new(GroupName::main()),
        attempt: 1,
        messages: claimed.messages.clone(),
        omitted: 1,
        from: Seq(1),
        begun: Seq(3),
        through: Seq(3),
        session: None,
        sandbox: None,
        kind: None,
    };
    assert_eq!(claimed, expected);
    assert_eq!(store.claim_run(wish(2)).await.unwrap(), None);
    let row = store.run(RunId(1)).await.unwrap().unwrap();
    assert_eq!((row.from, row.through, row.state), (Seq(1), Seq(3), RunState::Claimed));
    assert_eq!(store.unfinished_runs().await.unwrap(), [row]);
    assert_eq!(store.counts().await.unwrap().runs_unfinished, 1);
}

#[tokio::test]
async fn more_text_than_there_is_room_for_is_taken_in_parts() {
    let home = Home::new();
    let store = home.with_main().await;
    let text = "x".repeat(1024 * 1024);
    for id in 1..=6 {
        store.keep(said(&main_chat(), &id.to_string(), &text)).await.unwrap();
    }
    let claimed = store.claim_run(wish(9)).await.unwrap().unwrap();
    assert_eq!((claimed.messages.len(), claimed.omitted), (4, 2));
    assert_eq!((claimed.from, claimed.through), (Seq(1), Seq(6)));
    for id in 7..=12 {
        store.keep(said(&main_chat(), &id.to_string(), &text)).await.unwrap();
    }
    let more = async |after| store.extend_run(claimed.run, Seq(after)).await.unwrap();
    let count = async |after| more(after).await.map(|more| more.len());
    assert_eq!((count(6).await, count(10).await, count(12).await), (Some(4), Some(2), None));
}

#[tokio::test]
async fn what_the_router_saw_is_noted_with_the_claim() {
    let home = Home::new();
    let store = home.with_main().await;
    let seq = keep(&store, &main_chat(), "1").await;
    let claim = ClaimRun { seen: Some(Seen { through: seq, triggered: seq }), ..wish(9) };
    let run = store.claim_run(claim).await.unwrap().unwrap();
    assert_eq!(store.news(9).await.unwrap().unseen, []);
    store.release_run(run.run).await.unwrap();
    assert_eq!(store.due(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_is_handed_what_came_since() {
    let home = Home::new();
    let store = home.with_main().await;
    keep(&store, &main_chat(), "1").await;
    let run = claim(&store, &main_chat()).await.run;
    assert_eq!(store.extend_run(run, Seq(1)).await.unwrap(), None);
    let second = keep(&store, &main_chat(), "2").await;
    // As often as it is asked: whether it was really left is not known here.
    for _ in 0..2 {
        let more = store.extend_run(run, Seq(1)).await.unwrap().unwrap();
        assert_eq!(more.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [second]);
        assert_eq!(store.run(run).await.unwrap().unwrap().through, second);
    }
    assert_eq!(store.extend_run(run, second).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_is_taken_up_as_it_was_claimed() {
    let home = Home::new();
    let store = home.with_main().await;
    for id in 0..=200 {
        keep(&store, &main_chat(), &id.to_string()).await;
    }
    let sandbox = Some("box1".parse().unwrap());
    let claim = ClaimRun { sandbox, kind: Some(SandboxKind::Bubblewrap), ..wish(200) };
    let claimed = store.claim_run(claim).await.unwrap().unwrap();
    assert_eq!((claimed.messages.len(), claimed.omitted), (200, 1));
    assert_eq!(store.claimed(claimed.run).await.unwrap(), Some(claimed.clone()));
    let last = keep(&store, &main_chat(), "follow-up").await;
    store.extend_run(claimed.run, claimed.through).await.unwrap();
    let expected = Claimed { through: last, ..claimed.clone() };
    assert_eq!(store.claimed(claimed.run).await.unwrap(), Some(expected));
    store.finish_run(done(&claimed, "")).await.unwrap();
    assert_eq!(store.claimed(claimed.run).await.unwrap(), None);
    assert!(matches!(store.claimed(RunId(77)).await, Err(StoreError::NotThere(_))));
}

#[tokio::test]
async fn an_end_moves_everything_at_once_and_only_once() {
    let home = Home::new();
    let store = home.with_main().await;
    keep(&store, &main_chat(), "1").await;
    let claimed = claim(&store, &main_chat()).await;
    let sandbox: SandboxId = "box1".parse().unwrap();
    store.run_started(claimed.run, &sandbox).await.unwrap();
    assert_eq!(state(&store, claimed.run).await, RunState::Running);
    home.clock.advance(Duration::from_secs(1));
    let usage = Usage { requests: 2, input_tokens: 3, cost_micros: 4, ..Usage::default() };
    store.add_usage(&GroupName::main(), &sandbox, date(2026, 2, 8), usage).await.unwrap();
    let session = Some("s1".parse().unwrap());
    let end = FinishRun { session, ..done(&claimed, "hello") };
    store.finish_run(end.clone()).await.unwrap();

    let row = store.run(claimed.run).await.unwrap().unwrap();
    assert_eq!((row.state, row.usage), (RunState::Done, usage));
    assert_eq!(row.sandbox.as_ref(), Some(&sandbox));
    assert_eq!(row.finished_at.unwrap(), row.started_at.unwrap() + Duration::from_secs(1));
    let outbox = store.outbox(9, Listed::All).await.unwrap();
    assert_eq!(outbox.len(), 1);
    assert_eq!(outbox[0].run, Some(claimed.run));
    assert_eq!(
        (outbox[0].content.to_string().as_str(), outbox[0].ends),
        ("hello", Some(RunEnd { through: Seq(1), answered: true }))
    );

    keep(&store, &main_chat(), "2").await;
    let next = claim(&store, &main_chat()).await;
    assert_eq!((next.from, next.session.clone()), (Seq(2), Some("s1".parse().unwrap())));

    let again = FinishRun { answer: Some("twice".to_owned()), ..end };
    store.finish_run(again).await.unwrap();
    let later = home.clock.now();
    store.fail_run(claimed.run, "late", later).await.unwrap();
    store.give_up_run(claimed.run, "late", "sorry", Seq(1)).await.unwrap();
    store.release_run(claimed.run).await.unwrap();
    store.run_started(claimed.run, &sandbox).await.unwrap();
    assert_eq!(store.extend_run(claimed.run, claimed.through).await.unwrap(), None);
    assert_eq!(store.run(claimed.run).await.unwrap().unwrap(), row);
    assert_eq!(store.outbox(9, Listed::All).await.unwrap(), outbox);
    assert_eq!(state(&store, next.run).await, RunState::Claimed);
}

#[tokio::test]
async fn an_end_counts_no_further_than_what_was_handed_over() {
    let home = Home::new();
    let store = home.with_main().await;
    keep(&store, &main_chat(), "1").await;
    let claimed = claim(&store, &main_chat()).await;
    let second = keep(&store, &main_chat(), "2").await;
    let greedy = FinishRun { through: second, ..done(&claimed, "") };
    store.finish_run(greedy).await.unwrap();
    assert_eq!(claim(&store, &main_chat()).await.from, second);
}

#[tokio::test]
async fn attempts_are_counted_until_the_cursor_moves() {
    let home = Home::new();
    let store = home.with_main().await;
    keep(&store, &main_chat(), "1").await;
    let now = home.clock.now();
    for attempt in 1..=3 {
        let claimed = claim(&store, &main_chat()).await;
        assert_eq!(claimed.attempt, attempt);
        store.fail_run(claimed.run, "no", now).await.unwrap();
        let released = claim(&store, &main_chat()).await;
        assert_eq!(released.attempt, attempt + 1);
        store.release_run(released.run).await.unwrap();
        assert_eq!(state(&store, released.run).await, RunState::Interrupted);
    }
    let last = claim(&store, &main_chat()).await;
    store.give_up_run(last.run, "exit 137", "sorry", last.through).await.unwrap();
    let row = store.run(last.run).await.unwrap().unwrap();
    assert_eq!((row.state, row.error.as_deref()), (RunState::GivenUp, Some("exit 137")));
    let outbox = store.outbox(9, Listed::NotSent).await.unwrap();
    assert_eq!(
        (outbox[0].content.to_string().as_str(), outbox[0].ends),
        ("sorry", Some(RunEnd { through: Seq(1), answered: false }))
    );
    assert_eq!(store.counts().await.unwrap().given_up, 1);
    assert_eq!(store.claim_run(wish(9)).await.unwrap(), None);
    keep(&store, &main_chat(), "2").await;
    assert_eq!(claim(&store, &main_chat()).await.attempt, 1);
}

#[tokio::test]
async fn a_cancelled_run_ends_without_an_answer() {
    let home = Home::new();
    let store = home.with_main().await;
    keep(&store, &main_chat(), "1").await;
    let claimed = claim(&store, &main_chat()).await;
    let state = RunState::Cancelled;
    let end = FinishRun { state, answer: None, ..done(&claimed, "") };
    store.finish_run(end.clone()).await.unwrap();
    store.finish_run(end).await.unwrap();
    assert_eq!(store.outbox(9, Listed::All).await.unwrap(), []);
    assert_eq!(store.claim_run(wish(9)).await.unwrap(), None);

    keep(&store, &main_chat(), "2").await;
    let claimed = claim(&store, &main_chat()).await;
    let end = FinishRun { state, ..done(&claimed, "stopped") };
    store.finish_run(end).await.unwrap();
    assert_eq!(
        store.outbox(1, Listed::All).await.unwrap()[0].ends,
        Some(RunEnd { through: Seq(2), answered: false })
    );
}

#[tokio::test]
async fn a_run_ends_in_one_of_two_ways_and_must_exist() {
    let home = Home::new();
    let store = home.with_main().await;
    keep(&store, &main_chat(), "1").await;
    let claimed = claim(&store, &main_chat()).await;
    let odd = FinishRun { state: RunState::Failed, ..done(&claimed, "") };
    assert!(matches!(store.finish_run(odd).await, Err(StoreError::Conflict(_))));
    let nobody = RunId(77);
    let lost = FinishRun { run: nobody, ..done(&claimed, "") };
    assert!(matches!(store.finish_run(lost).await, Err(StoreError::NotThere(_))));
    assert!(matches!(store.extend_run(nobody, Seq(0)).await, Err(StoreError::NotThere(_))));
    assert!(matches!(store.release_run(nobody).await, Err(StoreError::NotThere(_))));
    assert_eq!(store.run(nobody).await.unwrap(), None);
    assert_eq!(state(&store, claimed.run).await, RunState::Claimed);
}

#[tokio::test]
async fn one_who_follows_misses_no_change() {
    let home = Home::new();
    let store = home.with_main().await;
    let mut seen = Timestamp::UNIX_EPOCH;
    let mut changes = Vec::new();
    for id in ["1", "2"] {
        keep(&store, &main_chat(), id).await;
        let claimed = claim(&store, &main_chat()).await;
        for step in 0..3 {
            match step {
                0 => {}
                1 => store.run_started(claimed.run, &"box1".parse().unwrap()).await.unwrap(),
                _ => store.finish_run(done(&claimed, "")).await.unwrap(),
            }
            // The clock stands still, and still each change is later than the one before.
            for row in store.runs_changed_after(seen, 9).await.unwrap() {
                seen = row.updated_at;
                changes.push((row.id.0, row.state.as_str()));
            }
        }
    }
    let expected = [(1, "claimed"), (1, "running"), (1, "done")];
    let expected = expected.into_iter().chain([(2, "claimed"), (2, "running"), (2, "done")]);
    assert_eq!(changes, expected.collect::<Vec<_>>());
    let newest = store.runs(1).await.unwrap();
    assert_eq!(newest[0].id, RunId(2));
}

#[tokio::test]
async fn a_call_is_put_down_for_the_latest_run_of_its_sandbox_and_for_no_other() {
    let home = Home::new();
    let store = home.with_main().await;
    let (ours, theirs): (SandboxId, SandboxId) = ("s1".parse().unwrap(), "s2".parse().unwrap());
    let mut runs = Vec::new();
    for (id, sandbox) in [("1", &ours), ("2", &ours), ("3", &theirs)] {
        keep(&store, &main_chat(), id).await;
        let claimed = claim(&store, &main_chat()).await;
        store.run_started(claimed.run, sandbox).await.unwrap();
        store.give_up_run(claimed.run, "late", "sorry", claimed.through).await.unwrap();
        runs.push(claimed.run);
    }
    let before = store.run(runs[1]).await.unwrap().unwrap().updated_at;
    let usage = Usage { requests: 1, output_tokens: 7, cost_micros: 4, ..Usage::default() };
    store.add_usage(&GroupName::main(), &ours, date(2026, 2, 8), usage).await.unwrap();
    let mut counted = Vec::new();
    for run in &runs {
        counted.push(store.run(*run).await.unwrap().unwrap().usage);
    }
    assert_eq!(counted, [Usage::default(), usage, Usage::default()]);
    let changed = store.runs_changed_after(before, 9).await.unwrap();
    assert!(changed.iter().any(|run| run.id == runs[1]), "whoever follows the runs learns of it");
}

#[tokio::test]
async fn a_run_that_moved_to_another_sandbox_is_charged_for_it_before_anybody_says_that_it_started()
{
    let home = Home::new();
    let store = home.with_main().await;
    let (warm, fresh): (SandboxId, SandboxId) = ("s1".parse().unwrap(), "s2".parse().unwrap());
    keep(&store, &main_chat(), "1").await;
    let wish = ClaimRun { sandbox: Some(warm.clone()), ..wish(10) };
    let claimed = store.claim_run(wish).await.unwrap().unwrap();
    store.run_moved(claimed.run, &fresh, SandboxKind::Fake).await.unwrap();
    let usage = Usage { requests: 1, cost_micros: 4, ..Usage::default() };
    store.add_usage(&GroupName::main(), &fresh, date(2026, 2, 8), usage).await.unwrap();
    store.add_usage(&GroupName::main(), &warm, date(2026, 2, 8), usage).await.unwrap();
    let run = store.run(claimed.run).await.unwrap().unwrap();
    assert_eq!((run.usage, run.sandbox), (usage, Some(fresh.clone())));

    store.give_up_run(claimed.run, "late", "sorry", claimed.through).await.unwrap();
    store.run_moved(claimed.run, &warm, SandboxKind::Fake).await.unwrap();
    let run = store.run(claimed.run).await.unwrap().unwrap();
    assert_eq!(run.sandbox, Some(fresh), "a run that is over moves no more");
}

/// The router may have looked just before what it saw was given up.
#[tokio::test]
async fn what_was_given_up_meanwhile_is_not_claimed() {
    let home = Home::new();
    let store = home.with_main().await;
    let addressed = keep(&store, &main_chat(), "1").await;
    keep(&store, &main_chat(), "2").await;
    store.mark_seen(&main_chat(), addressed, Some(addressed)).await.unwrap();
    assert!(store.cancel_waiting(&main_chat(), "Stopped.").await.unwrap());
    let late =
        ClaimRun { seen: Some(Seen { through: addressed, triggered: addressed }), ..wish(10) };
    assert_eq!(store.claim_run(late).await.unwrap(), None);
}

//! Random walks along the way of a message, held against a model of what must hold after every step.

use std::collections::BTreeSet;

use proptest::prelude::{Strategy, prop_oneof, proptest};
use proptest::test_runner::Config;
use tokio::runtime::Builder;

use super::{Home, done, keep, main_chat};
use crate::clock::Clock;
use crate::model::Seq;
use crate::store::{ClaimRun, Claimed, FinishRun, Listed, Store};

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Somebody says something; whether it addresses the assistant.
    Say(bool),
    /// The router looks.
    Look,
    /// A run starts, with at most so many messages.
    Claim(usize),
    /// The run takes what came since.
    Extend,
    /// The run ends; whether it dealt with what it took last.
    Finish(bool),
    /// The run fails.
    Fail,
    /// The run is broken off.
    Release,
    /// The run fails for the last time.
    GiveUp,
    /// The process ends and starts again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::bool::ANY.prop_map(Step::Say),
        3 => proptest::strategy::Just(Step::Look),
        3 => (1..4_usize).prop_map(Step::Claim),
        2 => proptest::strategy::Just(Step::Extend),
        2 => proptest::bool::ANY.prop_map(Step::Finish),
        1 => proptest::strategy::Just(Step::Fail),
        1 => proptest::strategy::Just(Step::Release),
        1 => proptest::strategy::Just(Step::GiveUp),
        1 => proptest::strategy::Just(Step::Restart),
    ]
}

/// The store, and what the walker knows of it.
struct Walker {
    home: Home,
    store: Store,
    /// Addressed messages that no answer or apology has come after.
    waiting: BTreeSet<Seq>,
    addressed: BTreeSet<Seq>,
    run: Option<Claimed>,
    said: usize,
    ends: usize,
}

impl Walker {
    async fn take(&mut self, step: Step) {
        match step {
            Step::Say(addressed) => {
                self.said += 1;
                let seq = keep(&self.store, &main_chat(), &self.said.to_string()).await;
                if addressed {
                    self.waiting.insert(seq);
                    self.addressed.insert(seq);
                }
            }
            Step::Look => self.look().await,
            Step::Claim(max_messages) => {
                let claim = ClaimRun {
                    conversation: main_chat(),
                    max_messages,
                    seen: None,
                    sandbox: None,
                    kind: None,
                };
                let claimed = self.store.claim_run(claim).await.unwrap();
                assert!(claimed.is_none() || self.run.is_none(), "two runs at a time");
                self.run = self.run.take().or(claimed);
            }
            Step::Extend => {
                let Some(run) = &mut self.run else { return };
                if let Some(more) = self.store.extend_run(run.run, run.through).await.unwrap() {
                    assert!(more.first().unwrap().seq > run.through);
                    run.through = more.last().unwrap().seq;
                }
            }
            Step::Finish(all) => {
                let Some(run) = self.run.take() else { return };
                let claimed = run.messages.last().unwrap().seq;
                let through = if all { run.through } else { claimed };
                let end = FinishRun { through, ..done(&run, "answer") };
                self.store.finish_run(end.clone()).await.unwrap();
                self.store.finish_run(end).await.unwrap();
                self.answered(through);
            }
            Step::Fail => {
                let Some(run) = self.run.take() else { return };
                let now = self.home.clock.now();
                self.store.fail_run(run.run, "failed", now).await.unwrap();
            }
            Step::Release => {
                let Some(run) = self.run.take() else { return };
                self.store.release_run(run.run).await.unwrap();
            }
            Step::GiveUp => {
                let Some(run) = self.run.take() else { return };
                self.store.give_up_run(run.run, "failed", "sorry", run.through).await.unwrap();
                self.answered(run.through);
            }
            Step::Restart => {
                self.store.close().await;
                // Whoever still has the closed store would hold its lock.
                let closed = std::mem::replace(&mut self.store, Home::new().open());
                drop(closed);
                self.store = self.home.open();
            }
        }
    }

    async fn look(&self) {
        for unseen in self.store.news(9).await.unwrap().unseen {
            let seqs = unseen.messages.iter().map(|kept| kept.seq).collect::<Vec<_>>();
            let triggered = seqs.iter().copied().filter(|seq| self.addressed.contains(seq)).max();
            let through = *seqs.last().expect("what is unseen has messages");
            self.store.mark_seen(&unseen.conversation, through, triggered).await.unwrap();
        }
        assert_eq!(
            self.store.news(9).await.unwrap().unseen,
            [],
            "the router has looked at everything"
        );
    }

    fn answered(&mut self, through: Seq) {
        self.ends += 1;
        self.waiting.retain(|seq| *seq > through);
    }

    async fn check(&self) {
        let unfinished = self.store.unfinished_runs().await.unwrap();
        let run = self.run.as_ref().map(|run| (run.run, run.through));
        assert_eq!(unfinished.first().map(|row| (row.id, row.through)), run);
        let outbox = self.store.outbox(1_000, Listed::All).await.unwrap();
        assert_eq!(outbox.len(), self.ends, "one row for each end");
    }

    /// Lets the router and the runs go on until nothing waits; nothing addressed may be left.
    async fn settle(&mut self) {
        if self.run.is_some() {
            self.take(Step::Release).await;
        }
        self.look().await;
        while !self.store.due(9).await.unwrap().is_empty() {
            self.take(Step::Claim(2)).await;
            self.take(Step::Finish(true)).await;
        }
        assert_eq!(self.waiting, BTreeSet::new(), "addressed and never answered");
    }
}

proptest! {
    #![proptest_config(Config { cases: 48, ..Config::default() })]

    #[test]
    fn nothing_addressed_is_lost(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let home = Home::new();
            let store = home.with_main().await;
            let mut walker = Walker {
                home,
                store,
                waiting: BTreeSet::new(),
                addressed: BTreeSet::new(),
                run: None,
                said: 0,
                ends: 0,
            };
            for step in steps {
                walker.take(step).await;
                walker.check().await;
            }
            walker.settle().await;
        });
    }
}

//! Rows whose sending fails, and how long they wait.

use std::collections::HashSet;

use async_trait::async_trait;

use super::*;
use crate::channel::Intake;
use crate::clock;
use crate::model::{Activity, ChatId, Group, GroupName, SentFile, Seq};
use crate::store::{Effect, Listed, NewOutboxRow, RequestKey, StoredReply};

/// A platform that says nothing of what became of a message, until when it may be asked again.
struct Mute(ChannelName, Option<Timestamp>);

#[async_trait]
impl Channel for Mute {
    fn name(&self) -> &ChannelName {
        &self.0
    }

    fn state(&self) -> ChannelState {
        ChannelState::Connecting
    }

    async fn run(&self, _intake: &dyn Intake, stop: CancellationToken) {
        stop.cancelled().await;
    }

    async fn send(&self, _parcel: &Parcel) -> Result<Receipt, SendError> {
        panic!("whether it has arrived is not known");
    }

    async fn find(&self, _parcel: &Parcel) -> Result<Option<Receipt>, SendError> {
        Err(SendError::Later { reason: "not now".to_owned(), retry_at: self.1 })
    }

    async fn show(&self, _conversation: &Conversation, _activity: &Activity) {}
}

#[tokio::test]
async fn a_look_up_is_an_attempt_unless_the_platform_names_a_time() {
    let chat = ChatId::terminal(&GroupName::main());
    let place = Conversation { chat: chat.clone(), thread: None };
    for retry_at in [None, Timestamp::from_second(5_000_000_000).ok()] {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("messages.db"), clock::system()).unwrap();
        store.add_group(Group::new(GroupName::main()), vec![chat.clone()]).await.unwrap();
        let key =
            RequestKey { conversation: place.clone(), from: Seq(1), id: "r".parse().unwrap() };
        let content = Content::Text("hello".to_owned());
        let new = NewOutboxRow { conversation: place.clone(), run: None, content };
        let reply = StoredReply { ok: true, text: "sent".to_owned() };
        store.answer_request(key, reply, Effect::Send(new)).await.unwrap();
        let channel = Arc::new(Mute(ChannelName::terminal(), retry_at));
        let wake = Arc::new(Notify::new());
        std::fs::create_dir(home.path().join("store")).unwrap();
        let files = Outgoing::open(home.path(), &HashSet::new()).unwrap();
        let outbox = Outbox::new(channel, store.clone(), files, clock::system(), wake);
        let row = async || store.outbox(1, Listed::All).await.unwrap().remove(0);
        store.outbox_sending(row().await.id).await.unwrap();
        let mut looked = 0;
        while row().await.state == OutboxState::Sending && looked < 2 * ATTEMPTS {
            outbox.send(&row().await, &CancellationToken::new()).await.unwrap();
            looked += 1;
        }
        let row = row().await;
        if let Some(at) = retry_at {
            assert_eq!((row.state, row.not_before), (OutboxState::Sending, Some(at)));
            // It has not failed, however often it was put off.
            assert_eq!(row.attempts, 1);
        } else {
            assert_eq!((row.state, looked), (OutboxState::Failed, ATTEMPTS - 1));
        }
    }
}

#[test]
fn people_are_told_what_was_promised_to_them_where_they_can_be_told() {
    let refused = |for_chat: Option<&str>| SendError::Refused {
        reason: "code".to_owned(),
        for_chat: for_chat.map(str::to_owned),
    };
    let lost = || SendError::Doubtful { reason: "broken pipe".to_owned(), retry_at: None };
    let file = || {
        Content::File(SentFile {
            name: "a.pdf".to_owned(),
            bytes: 1,
            caption: String::new(),
            source: "groups/main/a.pdf".into(),
            copy: "copy".into(),
        })
    };
    let text = || Content::Text("hello".to_owned());
    let eyes = || Content::Reaction { emoji: "eyes".to_owned(), message: "m1".parse().unwrap() };
    for (content, error, expected) in [
        (text(), refused(Some("why")), Some("My message could not be sent in full: why.")),
        (file(), refused(Some("why")), Some("The file a.pdf could not be sent: why.")),
        (eyes(), refused(Some("why")), Some("The reaction :eyes: could not be sent: why.")),
        (text(), refused(None), None),
        (file(), refused(None), None),
        (eyes(), refused(None), None),
        (text(), lost(), None),
        (file(), lost(), Some("The file a.pdf may not have arrived: it was tried 12 times.")),
        (eyes(), lost(), Some("The reaction :eyes: may not have arrived: it was tried 12 times.")),
    ] {
        assert_eq!(sentence(&content, &error).as_deref(), expected, "{content}, {error}");
    }
}

#[test]
fn waits_grow_and_stay_under_the_cap() {
    for (attempts, seconds) in [(0, 1), (1, 2), (5, 32), (11, 1_800), (200, 1_800)] {
        let wait = back_off(attempts).as_secs_f64();
        let base = f64::from(seconds);
        assert!((base..=base * 1.25).contains(&wait), "{attempts}: {wait}");
    }
}

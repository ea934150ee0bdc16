//! The line against a gateway in the test's hands, over a real socket.

use serde_json::Value;
use tokio::net::UnixListener;

use super::*;
use crate::channel::terminal::wire::WelcomeInfo;

struct Gateway {
    listener: UnixListener,
    folder: tempfile::TempDir,
}

struct Call {
    frames: Frames<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Gateway {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("chat.sock")).unwrap();
        Self { listener, folder }
    }

    fn link(&self) -> Link {
        Link::new(self.folder.path().join("chat.sock"), GroupName::main(), None)
    }

    /// Takes a call while `link` makes it, and returns it with what was said at first.
    async fn take(&self, link: &mut Link, says: usize) -> (Call, Vec<ClientFrame>) {
        let answer = async {
            let (reader, writer) = self.listener.accept().await.unwrap().0.into_split();
            let mut call = Call { frames: Frames::new(reader), writer };
            let mut said = Vec::new();
            for _ in 0..=says {
                said.push(call.next().await);
            }
            call.write(&welcome()).await;
            (call, said)
        };
        tokio::join!(answer, async { while !matches!(link.next().await, Event::Welcome(_)) {} }).0
    }
}

impl Call {
    async fn next(&mut self) -> ClientFrame {
        self.frames.next().await.unwrap().unwrap()
    }

    async fn write(&mut self, frame: &GatewayFrame) {
        wire::write(&mut self.writer, frame).await.unwrap();
    }
}

fn welcome() -> GatewayFrame {
    GatewayFrame::Welcome(WelcomeInfo {
        assistant: "Andy".into(),
        needs_trigger: false,
        trigger: "@Andy".into(),
        sandbox: "none".into(),
        sandbox_problem: None,
    })
}

fn answer(outbox: u64) -> GatewayFrame {
    GatewayFrame::Answer { outbox, text: format!("answer {outbox}"), through: None, ends: None }
}

fn hello(seen: u64) -> ClientFrame {
    let group = GroupName::MAIN.to_owned();
    ClientFrame::Hello { version: wire::VERSION, group, thread: None, seen: Some(seen) }
}

#[tokio::test]
async fn what_was_not_confirmed_is_said_again_under_the_same_id() {
    let gateway = Gateway::open();
    let mut link = gateway.link();
    let (mut call, said) = gateway.take(&mut link, 0).await;
    assert_eq!(said, [hello(0)]);

    let first = link.say("one".into()).await;
    let second = link.say("two".into()).await;
    let say = |id: &str, text: &str| ClientFrame::Say { id: id.into(), text: text.into() };
    assert_eq!(call.next().await, say(&first, "one"));
    assert_eq!(call.next().await, say(&second, "two"));
    call.write(&GatewayFrame::Kept { id: first, seq: 1, addressed: true }).await;
    assert!(matches!(link.next().await, Event::Kept { seq: 1, .. }));
    drop(call);
    assert!(matches!(link.next().await, Event::Lost));

    let (mut call, said) = gateway.take(&mut link, 1).await;
    assert_eq!(said, [hello(0), say(&second, "two")]);
    call.write(&GatewayFrame::Kept { id: second, seq: 2, addressed: true }).await;
    assert!(matches!(link.next().await, Event::Kept { seq: 2, .. }));
    drop(call);
    assert!(matches!(link.next().await, Event::Lost));
    assert_eq!(gateway.take(&mut link, 0).await.1, [hello(0)]);
}

#[tokio::test]
async fn an_answer_is_handed_on_once_and_confirmed_each_time() {
    let gateway = Gateway::open();
    let mut link = gateway.link();
    let (mut call, _) = gateway.take(&mut link, 0).await;
    call.write(&answer(7)).await;
    assert!(matches!(link.next().await, Event::Answer(Answer { outbox: 7, .. })));
    link.shown(7).await;
    assert_eq!(call.next().await, ClientFrame::Ack { outbox: 7 });
    drop(call);
    assert!(matches!(link.next().await, Event::Lost));

    let (mut call, said) = gateway.take(&mut link, 0).await;
    assert_eq!(said, [hello(7)]);
    call.write(&answer(7)).await;
    call.write(&answer(8)).await;
    assert!(matches!(link.next().await, Event::Answer(Answer { outbox: 8, .. })));
    assert_eq!(call.next().await, ClientFrame::Ack { outbox: 7 });
}

#[tokio::test]
async fn an_answer_that_waits_to_be_shown_is_not_handed_on_again() {
    let gateway = Gateway::open();
    let mut link = gateway.link();
    let (mut call, _) = gateway.take(&mut link, 0).await;
    call.write(&answer(7)).await;
    assert!(matches!(link.next().await, Event::Answer(Answer { outbox: 7, .. })));
    drop(call);
    assert!(matches!(link.next().await, Event::Lost));
    assert!(link.is_away());

    let (mut call, said) = gateway.take(&mut link, 0).await;
    assert!(!link.is_away());
    assert_eq!(said, [hello(0)]);
    call.write(&answer(7)).await;
    call.write(&answer(8)).await;
    assert!(matches!(link.next().await, Event::Answer(Answer { outbox: 8, .. })));
    link.shown(7).await;
    assert_eq!(call.next().await, ClientFrame::Ack { outbox: 7 });
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_called_until_it_is() {
    let Gateway { listener, folder } = Gateway::open();
    drop(listener);
    let socket = folder.path().join("chat.sock");
    let mut link = Link::new(socket.clone(), GroupName::main(), None);
    let said = link.say("early".into()).await;
    assert!(timeout(FIRST_PAUSE * 3, link.next()).await.is_err());
    std::fs::remove_file(&socket).unwrap();
    let gateway = Gateway { listener: UnixListener::bind(&socket).unwrap(), folder };
    let (_call, frames) = gateway.take(&mut link, 1).await;
    assert_eq!(frames[1], ClientFrame::Say { id: said, text: "early".into() });
}

#[tokio::test]
async fn the_end_waits_for_its_own_state_and_tells_what_was_not_kept() {
    let gateway = Gateway::open();
    let mut link = gateway.link();
    let (mut call, _) = gateway.take(&mut link, 0).await;
    link.ask_state().await;
    assert_eq!(call.next().await, ClientFrame::Status);
    link.say_later("one".into());
    link.say_later("two".into());
    let answers = async {
        let mut ids = Vec::new();
        while let ClientFrame::Say { id, .. } = call.next().await {
            ids.push(id);
        }
        let [one, two] = <[String; 2]>::try_from(ids).unwrap();
        // What was asked for long ago.
        call.write(&GatewayFrame::Status { state: Value::Null }).await;
        call.write(&GatewayFrame::Kept { id: one, seq: 1, addressed: true }).await;
        call.write(&GatewayFrame::NotKept { id: two, reason: "full".into() }).await;
        call.write(&GatewayFrame::Status { state: Value::Null }).await;
    };
    let (unkept, ()) = tokio::join!(link.settle(), answers);
    assert_eq!(unkept, [Unkept { text: "two".into(), reason: "full".into() }]);
    assert_eq!((link.unsaid(), link.unconfirmed()), (vec![], vec![]));
}

#[tokio::test]
async fn what_was_entered_is_there_as_long_as_nobody_takes_it() {
    let gateway = Gateway::open();
    let mut link = gateway.link();
    link.say_later("one".into());
    link.say_later("two".into());
    assert_eq!(link.settle().await, []);
    assert_eq!((link.unsaid(), link.unconfirmed()), (vec!["one", "two"], vec![]));
    let (call, _) = gateway.take(&mut link, 0).await;
    assert!(link.say_next().await.is_some());
    drop(call);
    assert!(matches!(link.next().await, Event::Lost));
    assert_eq!(link.settle().await, []);
    assert_eq!((link.unsaid(), link.unconfirmed()), (vec!["two"], vec!["one"]));
}

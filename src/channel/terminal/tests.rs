//! The contract of channels over a real socket, and what only the terminal does.

use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::wire::{ClientFrame, Frames, GatewayFrame, MAX_TEXT_BYTES, WelcomeInfo};
use super::*;
use crate::channel::contract::{RecordingIntake, Venue, channel_contract, parcel};
use crate::channel::{Kept, NotKept};
use crate::model::{ChatId, Seq};

struct TestDesk;

#[async_trait]
impl Desk for TestDesk {
    async fn welcome(&self, group: &GroupName) -> Option<WelcomeInfo> {
        (group.as_str() != "nowhere").then(|| WelcomeInfo {
            assistant: "Andy".into(),
            needs_trigger: !group.is_main(),
            trigger: "@Andy".into(),
            sandbox: "none".into(),
            sandbox_problem: None,
        })
    }

    async fn addressed(&self, _conversation: &Conversation, text: &str) -> bool {
        text.contains("@Andy")
    }

    async fn status(&self) -> serde_json::Value {
        serde_json::json!({ "runs": 0 })
    }
}

/// A channel that runs over a socket in a folder of its own.
struct House {
    terminal: Arc<Terminal>,
    folder: tempfile::TempDir,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl House {
    fn open(intake: Arc<RecordingIntake>) -> Self {
        Self::patient(intake, ACK_PATIENCE)
    }

    fn patient(intake: Arc<RecordingIntake>, patience: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let terminal = Terminal::bind(folder.path(), Arc::new(TestDesk), crate::clock::system());
        let terminal = Arc::new(Terminal { patience, ..terminal.unwrap() });
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let (runs, token) = (Arc::clone(&terminal), stop.clone());
        running.spawn(async move { runs.run(&*intake, token).await });
        Self { terminal, folder, stop, running }
    }

    async fn connect(&self) -> Raw {
        let stream = socket::connect(&self.folder.path().join(SOCKET)).await.unwrap();
        let (reader, writer) = stream.into_split();
        Raw { frames: Frames::new(reader), writer }
    }

    async fn enter(&self, group: &str, seen: Option<u64>) -> Raw {
        let mut raw = self.connect().await;
        raw.hello(group, seen).await;
        let welcome = raw.next().await;
        assert!(matches!(welcome, Some(GatewayFrame::Welcome(_))), "{welcome:?}");
        raw
    }

    async fn close(mut self) {
        self.stop.cancel();
        self.running.join_next().await.unwrap().unwrap();
        assert!(!self.folder.path().join(SOCKET).exists());
    }
}

/// A terminal in the test's hands.
struct Raw {
    frames: Frames<tokio::net::unix::OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Raw {
    async fn hello(&mut self, group: &str, seen: Option<u64>) {
        let group = group.to_owned();
        self.say(&ClientFrame::Hello { version: wire::VERSION, group, thread: None, seen }).await;
    }

    async fn say(&mut self, frame: &ClientFrame) {
        wire::write(&mut self.writer, frame).await.unwrap();
    }

    async fn next(&mut self) -> Option<GatewayFrame> {
        self.frames.next().await.unwrap()
    }
}

fn main_chat() -> Conversation {
    Conversation { chat: ChatId::terminal(&GroupName::main()), thread: None }
}

/// A person who acknowledges what is shown.
struct Person {
    house: House,
    writer: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    verdicts: tokio::sync::Mutex<mpsc::Receiver<Result<Kept, NotKept>>>,
    shown: watch::Receiver<Vec<String>>,
    _reading: JoinSet<()>,
}

#[async_trait]
impl Venue for Person {
    async fn open(intake: Arc<RecordingIntake>) -> Self {
        let house = House::open(intake);
        let Raw { mut frames, writer } = house.enter("main", None).await;
        let (tell_verdict, verdicts) = mpsc::channel(16);
        let (show, shown) = watch::channel(Vec::new());
        let writer = Arc::new(tokio::sync::Mutex::new(writer));
        let acks = Arc::clone(&writer);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            while let Ok(Some(frame)) = frames.next::<GatewayFrame>().await {
                match frame {
                    GatewayFrame::Kept { seq, .. } => {
                        tell_verdict.send(Ok(Kept::Fresh(Seq(seq)))).await.unwrap();
                    }
                    GatewayFrame::NotKept { reason, .. } => {
                        tell_verdict.send(Err(NotKept { reason })).await.unwrap();
                    }
                    GatewayFrame::Answer { outbox, text, .. } => {
                        show.send_modify(|shown| shown.push(text));
                        let ack = ClientFrame::Ack { outbox };
                        wire::write(&mut *acks.lock().await, &ack).await.unwrap();
                    }
                    _ => {}
                }
            }
        });
        Self { house, writer, verdicts: verdicts.into(), shown, _reading: reading }
    }

    fn channel(&self) -> &dyn Channel {
        &*self.house.terminal
    }

    fn conversation(&self) -> Conversation {
        main_chat()
    }

    async fn say(&self, id: &str, text: &str) -> Result<Kept, NotKept> {
        let frame = ClientFrame::Say { id: id.to_owned(), text: text.to_owned() };
        wire::write(&mut *self.writer.lock().await, &frame).await.unwrap();
        self.verdicts.lock().await.recv().await.unwrap()
    }

    async fn shown(&self, count: usize) -> Vec<String> {
        let mut shown = self.shown.clone();
        shown.wait_for(|shown| shown.len() >= count).await.unwrap().clone()
    }

    async fn close(self) {
        self.house.close().await;
    }
}

channel_contract!(Person);

#[tokio::test]
async fn bad_greetings_are_refused_with_a_sentence() {
    let house = House::open(Arc::default());
    let hello = |version, group: &str| ClientFrame::Hello {
        version,
        group: group.to_owned(),
        thread: None,
        seen: None,
    };
    for (greeting, said) in [
        (hello(9, "main"), "version"),
        (hello(wire::VERSION, "nowhere"), "there is no group \"nowhere\""),
        (hello(wire::VERSION, "../etc"), "there is no group"),
        (ClientFrame::Cancel, "the first line must be hello or status"),
    ] {
        let mut raw = house.connect().await;
        raw.say(&greeting).await;
        let Some(GatewayFrame::Refused { reason }) = raw.next().await else {
            panic!("{greeting:?} was not refused")
        };
        assert!(reason.contains(said), "{reason}");
        assert_eq!(raw.next().await, None);
    }
    house.close().await;
}

#[tokio::test]
async fn a_message_of_a_mebibyte_passes_and_a_larger_one_is_told_why_not() {
    let intake = Arc::<RecordingIntake>::default();
    let house = House::open(Arc::clone(&intake));
    let mut raw = house.enter("main", None).await;
    for (id, text, kept) in [
        ("1", "é".repeat(512 * 1024), true),
        ("2", "x".repeat(MAX_TEXT_BYTES + 1), false),
        ("3", " \n".to_owned(), false),
        ("bad\nid", "hello".to_owned(), false),
        ("4", "hello @Andy".to_owned(), true),
    ] {
        raw.say(&ClientFrame::Say { id: id.into(), text }).await;
        match raw.next().await.unwrap() {
            GatewayFrame::Kept { id: said, addressed, .. } => {
                assert!(kept, "{id:?}");
                assert_eq!((said.as_str(), addressed), (id, id == "4"));
            }
            GatewayFrame::NotKept { id: said, .. } => {
                assert_eq!((said.as_str(), kept), (id, false));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(intake.kept().len(), 2);
    house.close().await;
}

#[tokio::test]
async fn nonsense_after_the_greeting_ends_the_connection_with_a_sentence() {
    let house = House::open(Arc::default());
    let mut raw = house.enter("main", None).await;
    raw.writer.write_all(b"what?\n").await.unwrap();
    assert!(matches!(raw.next().await, Some(GatewayFrame::Refused { .. })));
    assert_eq!(raw.next().await, None);
    house.close().await;
}

#[tokio::test]
async fn nobody_there_is_absence_and_whoever_comes_is_announced() {
    let house = House::open(Arc::default());
    let mut arrivals = house.terminal.arrivals();
    let hello = parcel(&main_chat(), 7, "hello");
    assert_eq!(house.terminal.send(&hello).await, Err(SendError::Absent));
    assert_eq!(house.terminal.find(&hello).await, Err(SendError::Absent));

    let mut raw = house.enter("main", None).await;
    arrivals.changed().await.unwrap();
    let (sent, ()) = tokio::join!(house.terminal.send(&hello), async {
        let ends = Some(Ends { through: 7, answered: true });
        let (text, through) = ("hello".into(), Some(7));
        let expected = GatewayFrame::Answer { outbox: 7, text, through, ends };
        assert_eq!(raw.next().await, Some(expected));
        raw.say(&ClientFrame::Ack { outbox: 7 }).await;
    });
    sent.unwrap();
    house.close().await;
}

#[tokio::test]
async fn whoever_comes_back_says_what_was_seen() {
    let house = House::open(Arc::default());
    let mut raw = house.enter("main", Some(7)).await;
    let (old, new) = (parcel(&main_chat(), 7, "old"), parcel(&main_chat(), 8, "new"));
    assert!(house.terminal.find(&old).await.unwrap().is_some());
    assert_eq!(house.terminal.find(&new).await, Ok(None));
    house.terminal.send(&old).await.unwrap();
    let (sent, ()) = tokio::join!(house.terminal.send(&new), async {
        let frame = raw.next().await;
        assert!(matches!(frame, Some(GatewayFrame::Answer { outbox: 8, .. })), "{frame:?}");
        raw.say(&ClientFrame::Ack { outbox: 8 }).await;
    });
    sent.unwrap();
    house.close().await;
}

#[tokio::test]
async fn a_terminal_that_leaves_without_a_word_has_not_seen_it() {
    let house = House::open(Arc::default());
    let mut raw = house.enter("main", None).await;
    let hello = parcel(&main_chat(), 7, "hello");
    let (sent, ()) = tokio::join!(house.terminal.send(&hello), async {
        assert!(raw.next().await.is_some());
        drop(raw);
    });
    assert_eq!(sent, Err(SendError::Absent));
    house.close().await;
}

#[tokio::test]
async fn a_terminal_that_sleeps_is_absent_until_it_wakes_up_however_long_that_takes() {
    let house = House::patient(Arc::default(), Duration::ZERO);
    let mut raw = house.enter("main", None).await;
    let hello = parcel(&main_chat(), 7, "hello");
    for _ in 0..20 {
        assert_eq!(house.terminal.send(&hello).await, Err(SendError::Absent));
    }
    let mut arrivals = house.terminal.arrivals();
    arrivals.mark_unchanged();
    assert!(matches!(raw.next().await, Some(GatewayFrame::Answer { outbox: 7, .. })));
    raw.say(&ClientFrame::Ack { outbox: 7 }).await;
    arrivals.changed().await.unwrap();
    assert!(house.terminal.send(&hello).await.is_ok());
    house.terminal.show(&main_chat(), &Activity::Idle).await;
    assert_eq!(raw.next().await, Some(GatewayFrame::Idle), "it was told once");
    house.close().await;
}

#[tokio::test]
async fn everybody_in_a_conversation_hears_it_and_nobody_else() {
    let house = House::open(Arc::default());
    let (mut one, mut two) = (house.enter("main", None).await, house.enter("main", None).await);
    let mut other = house.enter("other", None).await;
    let hello = parcel(&main_chat(), 7, "hello");
    let (sent, ()) = tokio::join!(house.terminal.send(&hello), async {
        assert!(matches!(one.next().await, Some(GatewayFrame::Answer { .. })));
        assert!(matches!(two.next().await, Some(GatewayFrame::Answer { .. })));
        two.say(&ClientFrame::Ack { outbox: 7 }).await;
        assert_eq!(one.next().await, Some(GatewayFrame::Taken { outbox: 7 }));
    });
    sent.unwrap();
    other.say(&ClientFrame::Status).await;
    let state = serde_json::json!({ "runs": 0 });
    assert_eq!(other.next().await, Some(GatewayFrame::Status { state }));
    house.close().await;
}

#[tokio::test]
async fn what_one_says_the_others_of_the_conversation_hear_once_and_not_at_any_length() {
    let house = House::open(Arc::default());
    let (mut one, mut two) = (house.enter("main", None).await, house.enter("main", None).await);
    let mut other = house.enter("other", None).await;
    let long = "é".repeat(5_000);
    for (id, text) in [("1", "hello"), ("1", "hello"), ("2", &*long), ("3", " ")] {
        one.say(&ClientFrame::Say { id: id.into(), text: text.into() }).await;
        one.next().await.unwrap();
    }
    assert_eq!(two.next().await, Some(GatewayFrame::Said { text: "hello".into() }));
    let Some(GatewayFrame::Said { text }) = two.next().await else { panic!("it was not told") };
    assert!(text.len() < 5_000 && text.ends_with("é…"), "{} bytes", text.len());
    for raw in [&mut one, &mut two, &mut other] {
        raw.say(&ClientFrame::Status).await;
        let frame = raw.next().await;
        assert!(matches!(frame, Some(GatewayFrame::Status { .. })), "{frame:?}");
    }
    house.close().await;
}

#[tokio::test]
async fn whoever_only_asks_for_the_state_is_nobodys_audience() {
    let house = House::open(Arc::default());
    let arrivals = house.terminal.arrivals();
    let mut raw = house.connect().await;
    raw.say(&ClientFrame::Status).await;
    assert!(matches!(raw.next().await, Some(GatewayFrame::Status { .. })));
    assert_eq!(raw.next().await, None);
    assert!(!arrivals.has_changed().unwrap());
    house.close().await;
}

#[tokio::test]
async fn cancelling_names_the_conversation() {
    let intake = Arc::<RecordingIntake>::default();
    let house = House::open(Arc::clone(&intake));
    let mut raw = house.enter("main", None).await;
    raw.say(&ClientFrame::Cancel).await;
    raw.say(&ClientFrame::Status).await;
    assert!(matches!(raw.next().await, Some(GatewayFrame::Status { .. })));
    assert_eq!(intake.cancelled(), [main_chat()]);
    house.close().await;
}

#[tokio::test]
async fn activity_is_shown_as_it_comes() {
    let house = House::open(Arc::default());
    let mut raw = house.enter("main", None).await;
    for activity in [
        Activity::Working,
        Activity::Tool { name: "bash".into(), summary: "ls".into() },
        Activity::Text { delta: "Hel".into() },
        Activity::Text { delta: "lo".into() },
        Activity::Idle,
    ] {
        house.terminal.show(&main_chat(), &activity).await;
    }
    let mut text = String::new();
    let mut tools = 0;
    loop {
        match raw.next().await.unwrap() {
            GatewayFrame::Working => {}
            GatewayFrame::Tool { .. } => tools += 1,
            GatewayFrame::Text { delta } => text.push_str(&delta),
            GatewayFrame::Idle => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((text.as_str(), tools), ("Hello", 1));
    house.close().await;
}

//! Doors: the socket, the framed stream, and how they close.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use protocol::frame::{HEADER_BYTES, MAX_CONNECTIONS};
use protocol::{Frame, FrameKind};
use test_servers::model::{Fault, Script, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::support::{
    House, Inside, Reply, anthropic, client, demo, own_user, post, streamed, whole,
};

#[tokio::test]
async fn a_socket_is_gone_with_its_door() {
    let mut house = House::new(&demo());
    let mode = std::fs::metadata(house.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut open = UnixStream::connect(house.socket()).await.unwrap();
    house.door = None;
    assert!(!house.socket().exists());
    assert_eq!(open.read(&mut [0]).await.unwrap_or(0), 0, "open connections end");
}

#[tokio::test]
async fn a_path_may_be_long_and_a_stale_socket_is_replaced() {
    let house = House::new(&demo());
    let dir = house.dir.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("broker.sock"), "stale").unwrap();
    let socket = house.broker.bind(&dir, own_user()).unwrap();
    let door = house.broker.open_socket(socket, client("kin", &[]));
    // Connecting needs a short name, too.
    let short = house.dir.path().join("short");
    std::os::unix::fs::symlink(&dir, &short).unwrap();
    let stream = UnixStream::connect(short.join("broker.sock")).await.unwrap();
    assert_eq!(Inside::new(stream).await.ask(&whole("hello")).await.status, 200);
    drop(door);
    assert!(!dir.join("broker.sock").exists());

    let missing = house.dir.path().join("missing");
    let error = house.broker.bind(&missing, own_user()).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

/// The other end of a framed stream, as `agent-runner bridge` keeps it.
struct Bridge {
    to_broker: WriteHalf<DuplexStream>,
    connections: mpsc::Receiver<(Frame, Bytes)>,
    _reader: JoinSet<()>,
}

impl Bridge {
    fn new(stream: DuplexStream) -> Self {
        let (from_broker, to_broker) = tokio::io::split(stream);
        let (tx, connections) = mpsc::channel(1024);
        let mut reader = JoinSet::new();
        reader.spawn(read(from_broker, tx));
        Self { to_broker, connections, _reader: reader }
    }

    async fn say(&mut self, connection: u32, kind: FrameKind, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        let header = Frame { connection, kind, length }.encode();
        self.to_broker.write_all(&header).await.unwrap();
        self.to_broker.write_all(payload).await.unwrap();
    }

    /// Opens a connection and asks for a message on it, to be closed after the answer.
    async fn ask(&mut self, connection: u32, text: &str) {
        self.say(connection, FrameKind::Open, b"").await;
        let body = streamed(text).to_string();
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        // In pieces, so that the connections mix.
        for piece in [head.as_bytes(), body.as_bytes()].concat().chunks(50) {
            self.say(connection, FrameKind::Data, piece).await;
        }
    }

    /// Collects what comes until these connections have finished.
    async fn until_finished(&mut self, mut awaited: Vec<u32>) -> HashMap<u32, String> {
        let mut heard: HashMap<u32, String> = HashMap::new();
        while !awaited.is_empty() {
            let (frame, payload) = self.connections.recv().await.unwrap();
            match frame.kind {
                FrameKind::Data => {
                    heard
                        .entry(frame.connection)
                        .or_default()
                        .push_str(&String::from_utf8_lossy(&payload));
                }
                FrameKind::Finish => awaited.retain(|&number| number != frame.connection),
                other => panic!("{other:?}"),
            }
        }
        heard
    }
}

async fn read(mut from_broker: ReadHalf<DuplexStream>, tx: mpsc::Sender<(Frame, Bytes)>) {
    let mut header = [0; HEADER_BYTES];
    while from_broker.read_exact(&mut header).await.is_ok() {
        let frame = Frame::decode(header).unwrap();
        let mut payload = vec![0; usize::try_from(frame.length).unwrap()];
        from_broker.read_exact(&mut payload).await.unwrap();
        if tx.send((frame, payload.into())).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn many_connections_in_one_stream_and_one_that_is_reset() {
    let script = Script::echo().fault(Fault::hang_after("held", 2).first(1));
    let server = Server::start(script).await.unwrap();
    let house = House::new(&anthropic(&server.url()));
    let (ours, theirs) = tokio::io::duplex(4096);
    let door = house.broker.open_stream(theirs, client("streamed", &[]));
    let mut bridge = Bridge::new(ours);

    // The first answer is held back in its middle and its connection reset.
    bridge.ask(1_000, "[[id:1000]]").await;
    server.gate("held").arrived(1).await;
    bridge.say(1_000, FrameKind::Reset, b"").await;
    let (group, _) = house.book.recorded(1).await.remove(0);
    assert_eq!(group.as_str(), "streamed");

    // No more at a time than the other side opens.
    for some in (1..=40).collect::<Vec<u32>>().chunks(MAX_CONNECTIONS) {
        for &number in some {
            bridge.ask(number, &format!("[[id:{number}]]")).await;
        }
        let heard = bridge.until_finished(some.to_vec()).await;
        for number in some {
            assert!(heard[number].starts_with("HTTP/1.1 200 OK\r\n"), "{}", heard[number]);
            assert!(heard[number].contains(&format!("[[id:{number}]]")), "{}", heard[number]);
        }
    }
    assert_eq!(house.book.recorded(41).await.len(), 41);

    drop(bridge);
    door.ended().await;
}

#[tokio::test]
async fn who_opens_more_connections_than_can_be_served_holds_no_memory_with_them() {
    let server = Server::start(Script::echo().fault(Fault::hang("held"))).await.unwrap();
    let house = House::new(&anthropic(&server.url()));
    let (ours, theirs) = tokio::io::duplex(4096);
    let _door = house.broker.open_stream(theirs, client("streamed", &[]));
    let mut bridge = Bridge::new(ours);
    let served = u32::try_from(MAX_CONNECTIONS).unwrap();
    for number in 1..=served {
        bridge.ask(number, "hello").await;
    }
    server.gate("held").arrived(MAX_CONNECTIONS).await;
    let mut refused = Vec::new();
    for number in served + 1..=256 {
        bridge.say(number, FrameKind::Open, b"").await;
        if number > 2 * served {
            let (frame, _) = bridge.connections.recv().await.unwrap();
            assert_eq!(frame.kind, FrameKind::Reset);
            refused.push(frame.connection);
            // What is sent to it all the same is dropped, or the stream would be held up here.
            for _ in 0..16 {
                bridge.say(number, FrameKind::Data, &[b'x'; 64 * 1024]).await;
            }
        }
    }
    assert_eq!(refused, (2 * served + 1..=256).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_of_nonsense_ends() {
    let house = House::new(&demo());
    let (mut ours, theirs) = tokio::io::duplex(4096);
    let door = house.broker.open_stream(theirs, client("kin", &[]));
    ours.write_all(&[0xff; HEADER_BYTES]).await.unwrap();
    door.ended().await;
    assert_eq!(ours.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn frames_of_connections_that_are_not_there_are_ignored_and_double_ones_reset() {
    let house = House::new(&demo());
    let (ours, theirs) = tokio::io::duplex(4096);
    let _door = house.broker.open_stream(theirs, client("kin", &[]));
    let mut bridge = Bridge::new(ours);
    for kind in [FrameKind::Data, FrameKind::Finish, FrameKind::Reset] {
        bridge.say(7, kind, b"").await;
    }
    bridge.say(1, FrameKind::Open, b"").await;
    bridge.say(1, FrameKind::Open, b"").await;
    let (frame, _) = bridge.connections.recv().await.unwrap();
    assert_eq!((frame.connection, frame.kind), (1, FrameKind::Reset));
    bridge.ask(2, "hello").await;
    assert!(bridge.until_finished(vec![2]).await[&2].contains("message_stop"));
}

#[tokio::test]
async fn further_connections_wait_for_their_turn() {
    let script = Script::echo().fault(Fault::hang("held").first(16));
    let server = Server::start(script).await.unwrap();
    let house = House::new(&anthropic(&server.url()));
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let mut inside = house.connect().await;
        asking.spawn(async move {
            let response = inside.send(post("/v1/messages", &whole("hello"))).await;
            Reply::read(response).await.unwrap().status
        });
    }
    server.gate("held").arrived(16).await;
    assert_eq!(server.count(), 16);
    server.gate("held").open();
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(server.count(), 20);
}

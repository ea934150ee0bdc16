//! The broker's stream through an exec, where no socket can be mounted.

use std::time::Duration;

use hermitcrab::sandbox::SandboxKind;
use hermitcrab::sandbox::contract::{Stage, at_work, host};
use protocol::frame::HEADER_BYTES;
use protocol::{Frame, FrameKind, layout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::place::Place;

/// What the agent says arrives framed, and what is answered arrives at the agent.
#[tokio::test]
async fn a_connection_goes_through_an_exec() {
    let place = Place::new(SandboxKind::Docker);
    let sandbox = place.open().await.unwrap();
    let script = format!(
        "touch /workspace/ipc/at-work; until exec 3<>/dev/tcp/127.0.0.1/{port}; do sleep 0.05; done 2>/dev/null
         echo ping >&3; head -n 1 <&3 > /workspace/ipc/answer",
        port = layout::BROKER_PORT
    );
    let spec = place.running(&["bash", "-c", &script]);
    sandbox.start(&spec).await.unwrap();
    at_work(&spec).await;
    let mut stream = sandbox.bridge(&spec.id).await.unwrap();
    let conversation = async {
        let (open, _) = read(&mut stream).await;
        assert_eq!(open.kind, FrameKind::Open);
        let (data, said) = read(&mut stream).await;
        assert_eq!(
            (data.kind, data.connection, said.as_slice()),
            (FrameKind::Data, open.connection, &b"ping\n"[..])
        );
        let answer = b"pong\n";
        let frame = Frame { connection: open.connection, kind: FrameKind::Data, length: 5 };
        stream.write_all(&frame.encode()).await.unwrap();
        stream.write_all(answer).await.unwrap();
        stream.flush().await.unwrap();
        sandbox.wait(&spec.id).await.unwrap()
    };
    tokio::time::timeout(Duration::from_secs(60), conversation).await.expect("it does not hang");
    let answer = host(&spec, layout::IPC).join("answer");
    assert_eq!(std::fs::read_to_string(answer).unwrap(), "pong\n");
    sandbox.stop(&spec.id, Duration::ZERO).await.unwrap();
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> (Frame, Vec<u8>) {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await.unwrap();
    let frame = Frame::decode(header).expect("a header");
    let mut payload = vec![0; usize::try_from(frame.length).unwrap()];
    stream.read_exact(&mut payload).await.unwrap();
    (frame, payload)
}

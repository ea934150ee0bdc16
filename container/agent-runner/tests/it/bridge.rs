//! The bridge as the gateway starts it: a program with frames on its standard streams.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{ChildStdout, Command, Stdio};

use protocol::frame::HEADER_BYTES;
use protocol::{Frame, FrameKind};

use crate::support::BINARY;

fn receive(stdout: &mut ChildStdout) -> (Frame, Vec<u8>) {
    let mut header = [0; HEADER_BYTES];
    stdout.read_exact(&mut header).unwrap();
    let frame = Frame::decode(header).unwrap();
    let mut payload = vec![0; frame.length as usize];
    stdout.read_exact(&mut payload).unwrap();
    (frame, payload)
}

#[test]
fn it_waits_for_the_port_carries_connections_and_ends_with_its_input() {
    // The port is still held by an older bridge when this one starts.
    let older = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = older.local_addr().unwrap();
    let mut bridge = Command::new(BINARY)
        .args(["bridge", "--port", &address.port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (bridge.stdin.take().unwrap(), bridge.stdout.take().unwrap());
    drop(older);
    let mut program = loop {
        if let Ok(stream) = TcpStream::connect(address) {
            break stream;
        }
        std::thread::yield_now();
    };
    program.write_all(b"hello").unwrap();
    let (open, _) = receive(&mut stdout);
    assert_eq!(open.kind, FrameKind::Open);
    let (data, payload) = receive(&mut stdout);
    assert_eq!((data.kind, payload.as_slice()), (FrameKind::Data, b"hello".as_slice()));
    let answer = Frame { connection: open.connection, kind: FrameKind::Data, length: 2 };
    stdin.write_all(&[answer.encode().as_slice(), b"hi"].concat()).unwrap();
    let mut said = [0; 2];
    program.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hi");
    drop(stdin);
    assert!(bridge.wait().unwrap().success());
}

//! The model server as a program: its one line, an answer, the end by Ctrl-C, and a bad script.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_model");

#[test]
fn it_prints_its_address_and_answers_until_ctrl_c() {
    let mut child = Command::new(PROGRAM).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("http://").unwrap();
    assert!(address.starts_with("127.0.0.1:"));

    let body =
        r#"{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello?"}]}"#;
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v1/messages HTTP/1.1\r\nhost: test\r\nanthropic-version: 2023-06-01\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("hello?"), "{answer}");

    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn it_says_what_is_wrong_with_a_script() {
    for (script, part) in [("/nowhere.json", "cannot read"), ("Cargo.toml", "is not a script")] {
        let output = Command::new(PROGRAM).args(["--script", script]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(part), "{said}");
        assert!(output.stdout.is_empty());
    }
}

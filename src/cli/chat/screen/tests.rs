//! What a terminal shows in the end.

use super::*;

/// What a terminal shows in the end, line by line, after the given actions.
fn shown(columns: Option<usize>, act: impl FnOnce(&mut Screen<&mut Vec<u8>>)) -> String {
    let mut out = Vec::new();
    act(&mut Screen::new(&mut out, columns, InputLine::default()));
    let raw = String::from_utf8(out).unwrap().replace(DIM, "").replace(PLAIN, "");
    let visible = |line: &str| line.rsplit(WIPE).next().unwrap_or("").to_owned();
    raw.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

fn text(delta: &str) -> GatewayFrame {
    GatewayFrame::Text { delta: delta.into() }
}

fn tool(summary: &str) -> GatewayFrame {
    GatewayFrame::Tool { name: "bash".into(), summary: summary.into() }
}

#[test]
fn an_answer_that_was_streamed_is_not_repeated() {
    let seen = shown(Some(80), |screen| {
        screen.begin().unwrap();
        for piece in ["\n\nHel", "lo,\n", "world", "."] {
            screen.show(&text(piece)).unwrap();
            screen.tick().unwrap();
        }
        screen.answer("Hello,\nworld.\n\n").unwrap();
        screen.end().unwrap();
    });
    assert_eq!(seen, "Hello,\nworld.\n\n");
}

#[test]
fn what_was_said_before_a_tool_stands_and_the_answer_follows_once() {
    let seen = shown(Some(80), |screen| {
        screen.begin().unwrap();
        screen.show(&text("I will look.")).unwrap();
        screen.show(&tool("ls")).unwrap();
        screen.show(&text("\n\nThere is nothing.")).unwrap();
        screen.answer("There is nothing.").unwrap();
        screen.end().unwrap();
    });
    assert_eq!(seen, "I will look.\nThere is nothing.\n\n");
}

#[test]
fn an_answer_that_was_streamed_with_gaps_is_given_whole() {
    let seen = shown(Some(80), |screen| {
        screen.begin().unwrap();
        screen.show(&text("Hello, w")).unwrap();
        screen.answer("Hello, world.").unwrap();
        screen.end().unwrap();
    });
    assert_eq!(seen, "Hello, w\nHello, world.\n\n");
}

#[test]
fn what_is_no_terminal_gets_whole_answers_only() {
    let seen = shown(None, |screen| {
        screen.begin().unwrap();
        screen.show(&tool("ls")).unwrap();
        screen.show(&text("Hel")).unwrap();
        screen.tick().unwrap();
        screen.answer("Hello.").unwrap();
        screen.note("(that was it)").unwrap();
        screen.end().unwrap();
    });
    assert_eq!(seen, "Hello.\n(that was it)\n\n");
}

#[test]
fn the_line_says_what_is_done_and_never_wraps() {
    let long = "x".repeat(300);
    let seen = shown(Some(40), |screen| {
        screen.begin().unwrap();
        screen.show(&tool(&long)).unwrap();
    });
    assert!(seen.contains("bash: xxx"), "{seen}");
    assert!(seen.chars().count() <= 40, "{seen}");
    let wide = fit(&"語".repeat(100), 20);
    assert!(wide.chars().count() <= 11, "{wide}");
}

#[test]
fn nothing_that_the_agent_says_reaches_the_terminal_as_a_command() {
    for (said, seen) in [
        ("a\x1b]52;c;cHduZWQ=\x07b", "a␛]52;c;cHduZWQ=␇b"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
    ] {
        let shown = shown(Some(80), |screen| {
            screen.begin().unwrap();
            screen.show(&text(said)).unwrap();
            screen.end().unwrap();
        });
        assert!(shown.contains(seen), "{shown:?}");
    }
}

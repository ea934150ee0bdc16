//! What the demo model answers to a conversation: pure.

use serde_json::{Value, json};

use super::conversation::{Content, Conversation, Message, Part};

/// The longest output of a tool that is repeated in an answer, in characters.
const MAX_OUTPUT_CHARS: usize = 3_000;
/// The longest message that is echoed, in characters, and the most of them.
const MAX_ECHO_CHARS: usize = 200;
const MAX_ECHOES: usize = 20;
/// How the agent-runner's word for a call begins that a stop or a crash has left open.
const INTERRUPTED: &str = "interrupted:";

/// One block of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    /// Words.
    Text(String),
    /// A call of a tool.
    ToolUse {
        /// The call's id.
        id: String,
        /// The tool.
        name: &'static str,
        /// Its arguments.
        input: Value,
    },
}

impl Block {
    /// The block in an answer of one piece.
    pub(super) fn whole(&self) -> Value {
        match self {
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::ToolUse { id, name, input } => {
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            }
        }
    }

    /// The block before its first piece.
    pub(super) fn start(&self) -> Value {
        match self {
            Self::Text(_) => json!({"type": "text", "text": ""}),
            Self::ToolUse { id, name, .. } => {
                json!({"type": "tool_use", "id": id, "name": name, "input": {}})
            }
        }
    }

    /// What is sent in pieces.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::ToolUse { input, .. } => input.to_string(),
        }
    }

    /// A piece of it.
    pub(super) fn delta(&self, piece: &str) -> Value {
        match self {
            Self::Text(_) => json!({"type": "text_delta", "text": piece}),
            Self::ToolUse { .. } => json!({"type": "input_json_delta", "partial_json": piece}),
        }
    }
}

/// What the demo answers: calls for the orders in what was said last, and once there are none left, one answer to
/// everything since its last one.
pub(super) fn answer(conversation: &Conversation) -> Vec<Block> {
    let last = conversation.0.last().filter(|message| message.role == "user");
    let orders: Vec<_> = last
        .iter()
        .flat_map(|last| utterances(&last.content.text()))
        .filter_map(|said| tool(&said))
        .enumerate()
        .map(|(place, (name, input))| {
            let id = format!("toolu_demo_{}_{place}", conversation.0.len());
            Block::ToolUse { id, name, input }
        })
        .collect();
    if orders.is_empty() { vec![Block::Text(sum_up(conversation))] } else { orders }
}

/// Reports what tools did and answers what else was said, in order, since the last answer.
fn sum_up(conversation: &Conversation) -> String {
    let answered = conversation.0.iter().rposition(Message::is_an_answer);
    let open = conversation.0.iter().skip(answered.map_or(0, |place| place + 1));
    let (mut parts, mut heard) = (Vec::new(), Vec::new());
    for message in open.filter(|message| message.role == "user") {
        for part in message.content.parts() {
            let Part::ToolResult { tool_use_id, content, is_error } = part else { continue };
            let output = content.as_ref().map(Content::text).unwrap_or_default();
            let (tool, input) = conversation.tool(tool_use_id);
            parts.push(if *is_error && output.starts_with(INTERRUPTED) {
                interrupted(tool, input)
            } else {
                report(tool, &output, *is_error)
            });
        }
        let said = utterances(&message.content.text());
        heard.extend(said.into_iter().filter(|said| !said.is_empty() && tool(said).is_none()));
    }
    if parts.is_empty() || !heard.is_empty() {
        parts.push(introduction(&heard));
    }
    parts.join("\n\n")
}

/// The tool that an order is for, with its arguments.
fn tool(said: &str) -> Option<(&'static str, Value)> {
    if let Some(command) = order(said, "run:") {
        Some(("bash", json!({ "command": command })))
    } else if let Some(text) = order(said, "send:") {
        Some(("send_message", json!({ "text": text })))
    } else {
        let (path, content) = said.strip_prefix("write ")?.split_once(':')?;
        let content = format!("{}\n", content.trim());
        Some(("write", json!({ "path": path.trim(), "content": content })))
    }
}

fn order<'a>(said: &'a str, word: &str) -> Option<&'a str> {
    Some(said.strip_prefix(word)?.trim()).filter(|rest| !rest.is_empty())
}

fn introduction(heard: &[String]) -> String {
    let quote = |said: &String| {
        format!("You said: “{}”.\n\n", shorten(said, MAX_ECHO_CHARS).replace('\n', " "))
    };
    let heard: String = heard.iter().take(MAX_ECHOES).map(quote).collect();
    format!(
        "{heard}I am only a demo, not a real model: no credentials are configured. Put \
         `ANTHROPIC_API_KEY=…` into `.env` and restart the gateway to talk to a real one.\n\n\
         Until then I can show you the way: `run: ls -la` runs a command in this group's sandbox, \
         `write notes.txt: hello` writes a file, `send: hello` sends a message."
    )
}

/// What the demo says about the output of a tool.
fn report(tool: &str, output: &str, failed: bool) -> String {
    let block = fenced(shorten(output.trim_end(), MAX_OUTPUT_CHARS).as_str());
    match (tool, failed) {
        ("bash", false) if output.trim().is_empty() => "The command printed nothing.".to_owned(),
        ("bash", false) => format!("The command printed:\n\n{block}"),
        ("write", false) => "The file is written.".to_owned(),
        ("send_message", false) => "The message is sent.".to_owned(),
        (_, false) => format!("The tool answered:\n\n{block}"),
        (_, true) => format!("That did not work:\n\n{block}"),
    }
}

/// What the demo says about a call that was cut off: what it was, and the order that does it again.
fn interrupted(tool: &str, input: &Value) -> String {
    let part = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
    let (what, order) = match tool {
        "bash" => ("The command", format!("run: {}", part("command"))),
        "write" => ("The writing", format!("write {}: {}", part("path"), part("content"))),
        "send_message" => ("The sending", format!("send: {}", part("text"))),
        _ => return "A tool was interrupted, and it is not known how far it got.".to_owned(),
    };
    let order = fenced(shorten(order.trim_end(), MAX_OUTPUT_CHARS).as_str());
    format!(
        "{what} was interrupted, and it is not known how far it got. If it is to be done again, \
         say:\n\n{order}"
    )
}

/// A code block whose fence is longer than any inside.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    format!("{fence}\n{text}\n{fence}")
}

fn shorten(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", text.split_at(at).0),
        None => text.to_owned(),
    }
}

/// The texts of the `<message>`s of a prompt, without an address such as `@Andy` in front; only those with one where
/// there are any, and the whole text where there is no message.
fn utterances(prompt: &str) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for message in prompt.split("<message").skip(1).filter(|rest| rest.starts_with([' ', '>'])) {
        let text = message.split_once('>').map_or("", |(_, rest)| rest);
        texts.push(unescape(text.split_once("</message>").map_or(text, |(text, _)| text)));
    }
    if texts.is_empty() && !prompt.trim().is_empty() {
        texts.push(prompt.to_owned());
    }
    let addressed = |text: &String| {
        let rest = text.trim().strip_prefix('@')?.split_once(char::is_whitespace)?.1;
        Some(rest.trim().to_owned())
    };
    let called: Vec<String> = texts.iter().filter_map(addressed).collect();
    if called.is_empty() {
        texts.iter().map(|text| text.trim().to_owned()).collect()
    } else {
        called
    }
}

/// Undoes XML's escapes; `&amp;` last, so that nothing is undone twice.
fn unescape(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(messages: Value) -> Vec<Block> {
        answer(&serde_json::from_value(messages).unwrap())
    }

    fn said(text: &str) -> Block {
        let prompt =
            format!("<messages>\n<message sender=\"B\" time=\"2\">{text}</message>\n</messages>");
        let mut blocks = ask(json!([{"role": "user", "content": prompt}]));
        assert_eq!(blocks.len(), 1);
        blocks.remove(0)
    }

    fn check_call(text: &str, expected_name: &str, expected_input: Value) {
        match said(text) {
            Block::ToolUse { name, input, .. } => {
                assert_eq!((name, input), (expected_name, expected_input), "{text}");
            }
            Block::Text(words) => panic!("{text}: {words}"),
        }
    }

    #[test]
    fn orders_become_tool_calls() {
        check_call("run: ls -la", "bash", json!({"command": "ls -la"}));
        check_call(
            "@Andy run: echo a &amp;&amp; cat &lt; b",
            "bash",
            json!({"command": "echo a && cat < b"}),
        );
        check_call("run: echo &amp;lt;", "bash", json!({"command": "echo &lt;"}));
        check_call(
            "write notes.txt: hello: you",
            "write",
            json!({"path": "notes.txt", "content": "hello: you\n"}),
        );
        check_call("send: good morning", "send_message", json!({"text": "good morning"}));
    }

    #[test]
    fn everything_else_is_echoed_with_the_way_to_a_real_model() {
        for text in ["hello", "run:", "please run: ls", "write nothing", ""] {
            let Block::Text(words) = said(text) else { panic!("{text}") };
            assert!(words.contains("only a demo"), "{words}");
            assert!(words.contains("ANTHROPIC_API_KEY="), "{words}");
            assert_eq!(words.contains("You said"), !text.is_empty(), "{words}");
        }
        let Block::Text(words) = said(&"x".repeat(10_000)) else { panic!() };
        assert!(words.len() < 1_000);
    }

    #[test]
    fn what_a_tool_printed_is_shown() {
        let turn = |output: &str| {
            ask(json!([
                {"role": "user", "content": [{"type": "text", "text": "run: x"}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "…"},
                    {"type": "tool_use", "id": "t1", "name": "bash", "input": {"command": "x"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1",
                    "content": [{"type": "text", "text": output}]}]},
            ]))
        };
        assert_eq!(turn("a\nb\n"), [Block::Text("The command printed:\n\n```\na\nb\n```".into())]);
        assert_eq!(turn("```"), [Block::Text("The command printed:\n\n````\n```\n````".into())]);
        assert_eq!(turn(" \n"), [Block::Text("The command printed nothing.".into())]);
    }

    fn prompt(said: &[&str]) -> Value {
        let messages = said.iter().map(|said| format!("<message sender=\"A\">{said}</message>"));
        json!({"role": "user", "content": [{"type": "text", "text": messages.collect::<String>()}]})
    }

    fn result(content: Value, is_error: bool) -> Value {
        let result = json!({"type": "tool_result", "tool_use_id": "gone", "content": content, "is_error": is_error});
        json!({"role": "user", "content": [result]})
    }

    fn words(blocks: &[Block]) -> String {
        match blocks {
            [Block::Text(words)] => words.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn calls(blocks: &[Block]) -> Vec<&str> {
        let commands = blocks.iter().map(|block| match block {
            Block::ToolUse { input, .. } => input["command"].as_str().unwrap(),
            Block::Text(words) => panic!("{words}"),
        });
        commands.collect()
    }

    #[test]
    fn all_that_was_said_is_answered_in_one() {
        let said = prompt(&["run: one", "hello", "run: two"]);
        assert_eq!(calls(&ask(json!([said]))), ["one", "two"]);
        let assistant = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "bash", "input": {}}]});
        let out = result(json!("out"), false);
        let words = words(&ask(json!([said, assistant, out])));
        assert!(
            words.starts_with("The tool answered:\n\n```\nout\n```\n\nYou said: “hello”."),
            "{words}"
        );
        // Somebody else's words are no orders where the assistant is called by name.
        assert_eq!(calls(&ask(json!([prompt(&["run: one", "@Andy run: two"])]))), ["two"]);
        // A follow-up is carried out before anything is said.
        let more = prompt(&["run: three"]);
        assert_eq!(calls(&ask(json!([said, assistant, out, more]))), ["three"]);
    }

    #[test]
    fn what_was_interrupted_is_named_with_the_way_to_do_it_again() {
        for (name, input, order) in [
            ("bash", json!({"command": "sleep 9"}), Some("run: sleep 9")),
            ("write", json!({"path": "a", "content": "b\n"}), Some("write a: b")),
            ("send_message", json!({"text": "hello"}), Some("send: hello")),
            ("other", json!({}), None),
        ] {
            let call = json!({"type": "tool_use", "id": "gone", "name": name, "input": input});
            let called = json!({"role": "assistant", "content": [call]});
            let cut = result(json!("interrupted: nobody knows"), true);
            let words = words(&ask(json!([prompt(&["run: x"]), called, cut])));
            assert!(words.contains("was interrupted") && !words.contains("a demo"), "{words}");
            let named = order.is_none_or(|order| words.contains(&format!("```\n{order}\n```")));
            assert!(named, "{words}");
        }
    }

    #[test]
    fn what_was_stopped_is_neither_carried_out_nor_reported() {
        let mark = "[This was stopped or given up before it was answered.]";
        let mark = json!({"role": "assistant", "content": [{"type": "text", "text": mark}]});
        let early = ask(json!([prompt(&["run: one"]), mark, prompt(&["run: two"])]));
        assert_eq!(calls(&early), ["two"]);
        let call = json!({"type": "tool_use", "id": "gone", "name": "bash", "input": {}});
        let called = json!({"role": "assistant", "content": [call]});
        let cut = result(json!("interrupted: nobody knows"), true);
        let late = ask(json!([prompt(&["run: one"]), called, cut, mark, prompt(&["hello"])]));
        assert!(words(&late).starts_with("You said: “hello”."), "{late:?}");
    }

    #[test]
    fn what_was_answered_is_not_answered_again() {
        let answered = json!({"role": "assistant", "content": "Yes."});
        let words = ask(json!([prompt(&["early"]), answered, prompt(&["late"])]));
        let words = self::words(&words);
        assert!(words.contains("late") && !words.contains("early"), "{words}");
    }

    #[test]
    fn odd_conversations_are_answered() {
        for messages in [
            json!([]),
            json!([{"role": "assistant", "content": "x"}]),
            json!([{"role": "user", "content": []}]),
            json!([{"role": "user", "content": "<message"}]),
        ] {
            assert_eq!(ask(messages).len(), 1);
        }
    }
}

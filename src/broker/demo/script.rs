//! What the demo model answers to a conversation: pure.

use serde_json::{Value, json};

use super::conversation::{Content, Conversation, Part};

/// The longest output of a tool that is repeated in an answer, in characters.
const MAX_OUTPUT_CHARS: usize = 3_000;
/// The longest message that is echoed, in characters.
const MAX_ECHO_CHARS: usize = 200;

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

/// What the demo answers.
pub(super) fn answer(conversation: &Conversation) -> Vec<Block> {
    let Some(last) = conversation.0.iter().rfind(|message| message.role == "user") else {
        return vec![Block::Text(introduction(""))];
    };
    let mut blocks = Vec::new();
    for part in last.content.parts() {
        if let Part::ToolResult { tool_use_id, content, is_error } = part {
            let output = content.as_ref().map(Content::text).unwrap_or_default();
            blocks.push(Block::Text(report(conversation.tool(tool_use_id), &output, *is_error)));
        }
    }
    let text = last.content.text();
    if blocks.is_empty() || !text.trim().is_empty() {
        blocks.push(respond(&last_utterance(&text), conversation.0.len()));
    }
    blocks
}

/// What the demo does about what was said.
fn respond(said: &str, turn: usize) -> Block {
    let call = |name, input| Block::ToolUse { id: format!("toolu_demo_{turn}"), name, input };
    if let Some(command) = order(said, "run:") {
        call("bash", json!({ "command": command }))
    } else if let Some(text) = order(said, "send:") {
        call("send_message", json!({ "text": text }))
    } else if let Some((path, content)) =
        said.strip_prefix("write ").and_then(|rest| rest.split_once(':'))
    {
        let content = format!("{}\n", content.trim());
        call("write", json!({ "path": path.trim(), "content": content }))
    } else {
        Block::Text(introduction(said))
    }
}

fn order<'a>(said: &'a str, word: &str) -> Option<&'a str> {
    Some(said.strip_prefix(word)?.trim()).filter(|rest| !rest.is_empty())
}

fn introduction(said: &str) -> String {
    let heard = match said {
        "" => String::new(),
        said => format!("You said: “{}”.\n\n", shorten(said, MAX_ECHO_CHARS).replace('\n', " ")),
    };
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

/// The text of the last `<message>` of a prompt, without an address such as `@Andy` in front; where there is none,
/// the whole text.
fn last_utterance(prompt: &str) -> String {
    let last = prompt.rfind("<message ").or_else(|| prompt.rfind("<message>"));
    let text = match last.and_then(|at| prompt.split_at(at).1.split_once('>')) {
        Some((_, rest)) => unescape(rest.split_once("</message>").map_or(rest, |(text, _)| text)),
        None => prompt.to_owned(),
    };
    let text = text.trim();
    let text = match text.strip_prefix('@').and_then(|rest| rest.split_once(char::is_whitespace)) {
        Some((_, rest)) => rest.trim_start(),
        None => text,
    };
    text.to_owned()
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
        let prompt = format!(
            "<messages>\n<message sender=\"A\" time=\"1\">run: old</message>\n\
             <message sender=\"B\" time=\"2\">{text}</message>\n</messages>"
        );
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

    #[test]
    fn what_comes_with_a_tools_output_is_answered_too() {
        let blocks = ask(json!([{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "gone", "content": "out", "is_error": true},
            {"type": "text", "text": "<messages><message sender=\"A\">run: date</message></messages>"},
        ]}]));
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0], Block::Text("That did not work:\n\n```\nout\n```".into()));
        assert!(matches!(&blocks[1], Block::ToolUse { name: "bash", .. }));
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

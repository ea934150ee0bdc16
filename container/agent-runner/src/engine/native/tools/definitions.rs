//! What the model is told of each tool: its name, what it does, what it takes.

use serde_json::{Map, Value, json};

const PATH: &str = "A path, absolute or relative to your working directory.";

/// The definitions of the tools, as the service takes them; some are for the main group only.
pub(crate) fn definitions(main: bool) -> Vec<Value> {
    let mut all = vec![bash()];
    all.extend(files());
    all.extend(searches());
    all.extend(messages());
    if main {
        all.extend(groups());
    }
    all
}

fn bash() -> Value {
    define(
        "bash",
        "Runs a command with bash in your working directory and returns what it printed. Output beyond 64 KiB loses \
         its middle. To leave something running, put it in the background with its output in a file.",
        [
            ("command", needed(text("The command."))),
            ("timeout_seconds", count("When to kill it: 120 if left out, at most 600.")),
        ],
    )
}

fn files() -> [Value; 3] {
    [
        define(
            "read",
            "Returns lines of a text file, each with its number and a tab before it.",
            [
                ("path", needed(text(PATH))),
                ("offset", count("The first line, counted from 1.")),
                ("limit", count("How many lines; 2000 if left out.")),
            ],
        ),
        define(
            "write",
            "Writes a whole file, in place of what it held. Makes missing directories.",
            [("path", needed(text(PATH))), ("content", needed(text("The content.")))],
        ),
        define(
            "edit",
            "Replaces text in a file. The old text must stand there exactly once, or replace_all must be true.",
            [
                ("path", needed(text(PATH))),
                (
                    "old_text",
                    needed(text("The text to replace, exactly as it stands in the file.")),
                ),
                ("new_text", needed(text("The text to put in its place."))),
                ("replace_all", flag("Whether to replace it everywhere.")),
            ],
        ),
    ]
}

fn searches() -> [Value; 2] {
    [
        define(
            "glob",
            "Finds files whose path fits a pattern such as `**/*.md`, latest changes first. Leaves out what .gitignore \
             names.",
            [
                ("pattern", needed(text("The pattern, relative to the directory."))),
                ("path", text("The directory to look in; your working directory if left out.")),
            ],
        ),
        define(
            "grep",
            "Finds lines that match a regular expression (Rust syntax). Leaves out binary files and what .gitignore \
             names.",
            [
                ("pattern", needed(text("The regular expression."))),
                (
                    "path",
                    text("A file or directory to look in; your working directory if left out."),
                ),
                ("glob", text("Look only in files whose path fits this pattern.")),
                ("ignore_case", flag("Whether capital and small letters are the same.")),
                ("files_only", flag("Whether to return only the paths of files with a match.")),
            ],
        ),
    ]
}

fn messages() -> [Value; 3] {
    const CHAT: &str = "Another chat, if you may write there; this conversation if left out.";
    [
        define(
            "send_message",
            "Sends a message to the chat at once, while you go on working. Your final answer is sent by itself; do not \
             repeat it here.",
            [("text", needed(text("The message, in Markdown."))), ("chat", text(CHAT))],
        ),
        define(
            "send_file",
            "Sends a file of your working directory to the chat, as it is now: 25 MiB at most, no link.",
            [
                (
                    "path",
                    needed(text("Its path, relative to /workspace/group or absolute beneath it.")),
                ),
                ("caption", text("What to say with it, in Markdown.")),
                ("chat", text(CHAT)),
            ],
        ),
        define(
            "react",
            "Puts an emoji on the message that you were last addressed with.",
            [("emoji", needed(text("Its name, such as thumbsup or eyes.")))],
        ),
    ]
}

fn groups() -> [Value; 2] {
    [
        define(
            "list_chats",
            "Lists the chats that are known, newest first: which group each belongs to, or that it is not registered.",
            [],
        ),
        define(
            "register_group",
            "Gives a chat to a group, so that people there are answered. Makes the group if there is none of that name. \
             Only when the owner asks for it.",
            [
                ("chat", needed(text("The chat's id, as list_chats shows it."))),
                ("name", needed(text("The group: small letters, digits and dashes."))),
                (
                    "trigger",
                    text("The word that wakes you there; left out, a mention of your name does."),
                ),
                ("requires_trigger", flag("False if everything that is said there is for you.")),
            ],
        ),
    ]
}

/// An argument of a tool.
struct Argument {
    schema: Value,
    needed: bool,
}

fn text(description: &str) -> Argument {
    optional(json!({"type": "string", "description": description}))
}

fn count(description: &str) -> Argument {
    optional(json!({"type": "integer", "minimum": 1, "description": description}))
}

fn flag(description: &str) -> Argument {
    optional(json!({"type": "boolean", "description": description}))
}

fn optional(schema: Value) -> Argument {
    Argument { schema, needed: false }
}

fn needed(argument: Argument) -> Argument {
    Argument { needed: true, ..argument }
}

fn define<const N: usize>(
    name: &str,
    description: &str,
    arguments: [(&str, Argument); N],
) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (argument, Argument { schema, needed }) in arguments {
        properties.insert(argument.to_owned(), schema);
        required.extend(needed.then(|| argument.to_owned()));
    }
    json!({
        "name": name,
        "description": description,
        "input_schema": {"type": "object", "properties": properties, "required": required},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_defined_once_with_what_it_requires() {
        let names = |tools: &[Value]| {
            let names = tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned());
            names.collect::<Vec<_>>().join(" ")
        };
        let tools = definitions(false);
        let everybodys = "bash read write edit glob grep send_message send_file react";
        assert_eq!(names(&tools), everybodys);
        let mains = format!("{everybodys} list_chats register_group");
        assert_eq!(names(&definitions(true)), mains);
        let edit = &tools[3]["input_schema"];
        assert_eq!(edit["required"], json!(["path", "old_text", "new_text"]));
        assert_eq!(edit["properties"]["replace_all"]["type"], "boolean");
    }
}

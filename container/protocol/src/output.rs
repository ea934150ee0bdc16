//! What comes out of a sandbox. Everything here is written by, or within reach of, an agent that is not trusted.

use serde::{Deserialize, Serialize};

/// One file of `progress/`: a batch of signs, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The run they belong to; 0 while the agent-runner is idle.
    pub run: u64,
    /// What happened.
    pub signs: Vec<Sign>,
}

/// One sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sign {
    /// The agent-runner is up and looks for input.
    Started,
    /// The prompt was read.
    Accepted,
    /// Nothing new, but alive.
    Heartbeat,
    /// A piece of the answer as it is written.
    Text {
        /// The piece.
        delta: String,
    },
    /// A tool begins to work.
    Tool {
        /// The tool's name.
        name: String,
        /// What it is about to do, in a few words.
        summary: String,
    },
    /// The engine can take follow-ups now.
    Ready {
        /// The last `seq` that it has been given, with the prompt or a follow-up.
        through: u64,
    },
    /// The model asked for patience and the engine waits.
    Waiting {
        /// Why, for a person.
        reason: String,
    },
    /// The session could not be resumed and a fresh one was started.
    FreshSession {
        /// Why, for a person.
        reason: String,
    },
}

/// `done.json`: how a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// The run.
    pub run: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The session to resume next time.
    pub session: Option<String>,
    /// The highest [`crate::FollowUp::through`] that the engine took; `None` when it took none.
    pub through: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The agent's answer, Markdown; empty when it has nothing to add to what it sent.
    Answer {
        /// The text.
        text: String,
    },
    /// The run was cancelled by the gateway's wish.
    Cancelled,
    /// The engine gave up.
    Failed(Failure),
}

/// Why an engine gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What the gateway can do about it.
    pub kind: FailureKind,
    /// What happened, for the log.
    pub message: String,
}

/// What the gateway can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The provider is busy: the same run may succeed later.
    Overloaded,
    /// A limit of the owner's stopped the call; the message is the sentence to show.
    Refused,
    /// The credentials were not accepted: retrying is useless.
    Credentials,
    /// Anything else: worth a retry.
    Other,
}

/// One file of `messages/` or `tasks/`: what the agent asks of the gateway.
///
/// The request's id is its file name without `.json`. An id seen again is answered again, not done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Says something in a chat. The field's file form calls this `message`.
    #[serde(alias = "message")]
    SendMessage {
        /// The text, Markdown.
        text: String,
        /// The chat; `None` is the conversation of the run.
        #[serde(default, alias = "chatJid")]
        chat: Option<String>,
    },
    /// Sends a file of the group's folder, as it is when the gateway reads the request.
    SendFile {
        /// Its path, absolute or relative to the group's folder.
        path: String,
        /// What is said with it, Markdown.
        #[serde(default)]
        caption: Option<String>,
        /// The chat; `None` is the conversation of the run.
        #[serde(default, alias = "chatJid")]
        chat: Option<String>,
    },
    /// Reacts to the message that the run answers.
    React {
        /// The emoji's name, such as `thumbsup`, with or without its colons; the character itself is refused.
        emoji: String,
    },
    /// Gives a chat to a group, which is made when there is none of that name; for the main group only.
    RegisterGroup {
        /// The chat.
        #[serde(alias = "jid")]
        chat: String,
        /// The group's name.
        name: String,
        /// The group's name, where `name` is one for people: so the field's file form has it.
        #[serde(default)]
        folder: Option<String>,
        /// What wakes the assistant in the group.
        #[serde(default)]
        trigger: Option<String>,
        /// Whether a message needs the trigger.
        #[serde(default, alias = "requiresTrigger")]
        requires_trigger: Option<bool>,
    },
    /// Lists the chats that are known, registered or not; for the main group only.
    ListChats {},
}

/// `replies/<request id>.json`: what became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's id.
    pub id: String,
    /// Whether it was carried out.
    pub ok: bool,
    /// What was done, or why not, for the agent to read.
    pub text: String,
}

//! The script: what the model says, to whom, and how it misbehaves; built in Rust or read as JSON.
//!
//! ```
//! let script: test_servers::model::Script = serde_json::from_str(r#"{
//!     "keys": {"api": "sk-test"},
//!     "faults": [{"kind": {"refuse": {"failure": "rate_limited", "retry_after_s": 2}}, "first": 1}],
//!     "rules": [
//!         {"when": {"contains": "weather"}, "answer": {"turns": [
//!             {"blocks": [{"text": "Let me look."},
//!                         {"tool_use": {"name": "bash", "input": {"command": "date"}}}]},
//!             {"blocks": [{"text": "It said: {tool_result}"}],
//!              "usage": {"input": 1200, "output": 9}}
//!         ]}}
//!     ],
//!     "otherwise": "echo"
//! }"#)?;
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::Deserialize;
use serde_json::Value;

use super::fault::Fault;

/// What a server answers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The credentials that are accepted; none configured means that any are.
    pub keys: Keys,
    /// Faults of any request, whichever rule it meets; they come before a turn's own fault.
    pub faults: Vec<Fault>,
    /// The first rule that fits gives the answer.
    pub rules: Vec<Rule>,
    /// The answer when no rule fits.
    pub otherwise: Answer,
}

/// The credentials that are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// Anthropic: the value of `x-api-key`, or of `Authorization: Bearer`.
    pub api: Option<String>,
    /// Bedrock: the access key id in the credential scope.
    pub aws_access_key: Option<String>,
    /// Bedrock: the region in the credential scope.
    pub aws_region: Option<String>,
    /// Bedrock: a bearer token that is taken in place of a signature.
    pub aws_bearer: Option<String>,
}

/// An answer and who gets it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whom it fits.
    pub when: When,
    /// What they get.
    pub answer: Answer,
}

/// Which requests a rule fits. "The text" is that of the last user message that carries any.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Every request.
    Any,
    /// The text contains this.
    Contains(String),
    /// The whole text fits this pattern: `*` is any characters, `?` is one.
    Glob(String),
    /// It is the n-th request, counted from 1. Not counted are token counts, requests that the
    /// checks refuse, and those spoilt by a fault: their retry is the same request again.
    Request(u64),
}

/// How an answer is made.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// [`ECHO_PREFIX`](super::ECHO_PREFIX), then every `[[id:…]]` of the text, in order, each
    /// after a space.
    #[default]
    Echo,
    /// For every `[[bash:COMMAND]]` of the text one call of the tool `bash`, one after another,
    /// then [`TOOL_PREFIX`](super::TOOL_PREFIX) and what the last call printed. Text without any
    /// is echoed. A command ends at the first `]]`.
    Tool,
    /// These, one per step: the first answers the text, the second what the tools of the first
    /// said, and so on; the last one is repeated.
    Turns(Vec<Turn>),
}

/// One answer of the model.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Turn {
    /// What it says and which tools it calls.
    pub blocks: Vec<Block>,
    /// Why it stops; left out, `tool_use` when it calls a tool and `end_turn` otherwise.
    pub stop: Option<StopReason>,
    /// What it is said to cost; left out, a quarter of the bytes that went in and out.
    pub usage: Option<Usage>,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

/// A content block.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Text, with parts of the request where it says `{last_user}`, `{tool_result}` (of the last
    /// tool), `{system}`, `{model}`, `{tools}` (their names), `{messages}` (how many),
    /// `{request}` (the n-th), `{unanswered}` (every `[[id:…]]` that was said since the assistant
    /// last came to an end, once) or `{new}` (those of them that no call of a tool has named).
    Text(String),
    /// A call of a tool.
    ToolUse {
        /// The tool.
        name: String,
        /// Its arguments, an object; its strings are filled as text is.
        input: Value,
    },
}

/// Why a model stops, as both services name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It is done.
    EndTurn,
    /// It wrote `max_tokens`.
    MaxTokens,
    /// It wrote one of the stop sequences.
    StopSequence,
    /// It waits for a tool.
    ToolUse,
    /// A long turn is interrupted and may be continued.
    PauseTurn,
    /// It will not answer.
    Refusal,
    /// The context is full.
    ModelContextWindowExceeded,
}

impl StopReason {
    /// The name on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::MaxTokens => "max_tokens",
            Self::StopSequence => "stop_sequence",
            Self::ToolUse => "tool_use",
            Self::PauseTurn => "pause_turn",
            Self::Refusal => "refusal",
            Self::ModelContextWindowExceeded => "model_context_window_exceeded",
        }
    }
}

/// Tokens, as they are reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Read, other than through the cache.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Put into the cache.
    pub cache_write: u64,
    /// Read from the cache.
    pub cache_read: u64,
}

impl Script {
    /// A script that answers everything with [`Answer::Echo`].
    #[must_use]
    pub fn echo() -> Self {
        Self::default()
    }

    /// A script that answers everything with [`Answer::Tool`].
    #[must_use]
    pub fn tool() -> Self {
        Self { otherwise: Answer::Tool, ..Self::default() }
    }

    /// A script that answers the n-th request with the n-th turn, and echoes after the last.
    #[must_use]
    pub fn turns(turns: impl IntoIterator<Item = Turn>) -> Self {
        (1..).zip(turns).fold(Self::default(), |script, (n, turn)| {
            script.rule(When::Request(n), Answer::Turns(vec![turn]))
        })
    }

    /// What the program serves when it is given no script: it says what it is and what to type.
    #[must_use]
    pub fn tour() -> Self {
        let help = "I am a test server, not a model. You wrote:\n\n{last_user}\n\nI was sent \
                    {messages} messages and these tools: {tools}. Type `[[bash:ls -la]]` and I \
                    will call the tool `bash` with that command, or `[[id:1]]` and I will repeat \
                    it.";
        Self::default()
            .rule(When::Contains("[[bash:".into()), Answer::Tool)
            .rule(When::Contains("[[id:".into()), Answer::Echo)
            .rule(When::Any, Answer::Turns(vec![Turn::text(help)]))
    }

    /// Adds a rule after those that are there.
    #[must_use]
    pub fn rule(mut self, when: When, answer: Answer) -> Self {
        self.rules.push(Rule { when, answer });
        self
    }

    /// Adds a rule: to text that contains this, these turns.
    #[must_use]
    pub fn on(self, text: &str, turns: impl IntoIterator<Item = Turn>) -> Self {
        self.rule(When::Contains(text.to_owned()), Answer::Turns(turns.into_iter().collect()))
    }

    /// Adds a fault of any request, after those that are there.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Accepts these credentials only.
    #[must_use]
    pub fn keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }
}

impl Turn {
    /// A turn that says this.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::default().and_text(text)
    }

    /// A turn that calls this tool.
    #[must_use]
    pub fn tool(name: &str, input: Value) -> Self {
        Self::default().and_tool(name, input)
    }

    /// Also says this.
    #[must_use]
    pub fn and_text(mut self, text: &str) -> Self {
        self.blocks.push(Block::Text(text.to_owned()));
        self
    }

    /// Also calls this tool.
    #[must_use]
    pub fn and_tool(mut self, name: &str, input: Value) -> Self {
        self.blocks.push(Block::ToolUse { name: name.to_owned(), input });
        self
    }

    /// Stops for this reason.
    #[must_use]
    pub fn stop(mut self, reason: StopReason) -> Self {
        self.stop = Some(reason);
        self
    }

    /// Is said to cost this.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Goes wrong.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }
}

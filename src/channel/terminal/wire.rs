//! The terminal's wire: JSON lines over the socket `store/chat.sock`, bounded in both directions.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

use crate::model::Activity;

/// The version of this wire; raised when an old reader would misread a new writer.
pub(crate) const VERSION: u32 = 2;
/// The most bytes of one message: a mebibyte and room for what people paste around it.
pub(crate) const MAX_TEXT_BYTES: usize = 1024 * 1024 + 256 * 1024;
/// The most bytes of one line; JSON writes some characters with six bytes.
const MAX_LINE_BYTES: usize = 6 * MAX_TEXT_BYTES + 4096;

/// What a terminal says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ClientFrame {
    /// The first line: who is there.
    Hello {
        /// [`VERSION`] of the terminal.
        version: u32,
        /// The group to talk to.
        group: String,
        /// The thread, for a conversation beside the group's first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<String>,
        /// The highest outbox id that this terminal has shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<u64>,
    },
    /// A message.
    Say {
        /// Chosen by the terminal; said again with the same id, it is kept once.
        id: String,
        /// What is said.
        text: String,
    },
    /// Ends the run of this conversation.
    Cancel,
    /// An answer has been shown.
    Ack {
        /// Which.
        outbox: u64,
    },
    /// Asks for the gateway's state; also without a hello, and then the gateway hangs up.
    Status,
}

/// What the gateway says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum GatewayFrame {
    /// The answer to a good hello.
    Welcome(WelcomeInfo),
    /// The answer to a bad one, or to nonsense; the gateway hangs up.
    Refused {
        /// Why, in a sentence.
        reason: String,
    },
    /// A message is on disk.
    Kept {
        /// Which, by the terminal's id.
        id: String,
        /// Its place in the order of arrival.
        seq: u64,
        /// Whether it is addressed to the assistant; otherwise no answer will come.
        addressed: bool,
    },
    /// A message could not be kept.
    NotKept {
        /// Which, by the terminal's id.
        id: String,
        /// Why, in a sentence.
        reason: String,
    },
    /// The conversation waits for a slot.
    Queued {
        /// How many conversations are ahead.
        ahead: usize,
    },
    /// The agent is at work.
    Working,
    /// The agent uses a tool.
    Tool {
        /// The tool.
        name: String,
        /// What it does, in a few words.
        summary: String,
    },
    /// A piece of the answer as it is written.
    Text {
        /// The piece.
        delta: String,
    },
    /// The run waits for a provider or for its next attempt.
    Waiting {
        /// Why, in a sentence.
        reason: String,
    },
    /// The run is over.
    Idle,
    /// What the assistant says for good; to be acknowledged.
    Answer {
        /// The row of the outbox.
        outbox: u64,
        /// Markdown; may be empty.
        text: String,
        /// The last message that the run which says it was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<u64>,
        /// Set when this ends a run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends: Option<Ends>,
    },
    /// Another terminal of the conversation has said something.
    Said {
        /// What, or as much of it as says what it is.
        text: String,
    },
    /// Another terminal of the conversation has shown an answer.
    Taken {
        /// Which.
        outbox: u64,
    },
    /// The gateway's state.
    Status {
        /// As `hermitcrab status --json` shows it.
        state: serde_json::Value,
    },
}

/// How the run that an answer ends went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ends {
    /// The last message that it dealt with.
    pub(crate) through: u64,
    /// Whether it answered; otherwise the text says why not.
    pub(crate) answered: bool,
}

/// What a terminal is told when it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WelcomeInfo {
    /// The assistant's name.
    pub(crate) assistant: String,
    /// Whether messages must bear the trigger.
    pub(crate) needs_trigger: bool,
    /// The trigger.
    pub(crate) trigger: String,
    /// The kind of sandbox, in a line.
    pub(crate) sandbox: String,
    /// Why there is no sandbox, and what mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox_problem: Option<String>,
}

impl From<&Activity> for GatewayFrame {
    fn from(activity: &Activity) -> Self {
        match activity.clone() {
            Activity::Queued { ahead } => Self::Queued { ahead },
            Activity::Working => Self::Working,
            Activity::Tool { name, summary } => Self::Tool { name, summary },
            Activity::Text { delta } => Self::Text { delta },
            Activity::Waiting { reason } => Self::Waiting { reason },
            Activity::Idle => Self::Idle,
        }
    }
}

/// A line could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// A line is longer than any that we write.
    #[error("a line is too long: at most {} KiB of text fit into a message", MAX_TEXT_BYTES / 1024)]
    TooLong,
    /// A line is no frame of this version.
    #[error("a line is not understood")]
    NotUnderstood(#[source] serde_json::Error),
}

/// Reads frames, one a line; what has been read of a line is kept when [`Frames::next`] is dropped.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    reader: BufReader<R>,
    partial: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Reads from a connection.
    pub(crate) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), partial: Vec::new() }
    }

    /// The next frame; `None` at the end. A line that the end cuts off is nobody's word.
    ///
    /// # Errors
    /// When there is no frame, after which the connection is of no more use.
    pub(crate) async fn next<F: for<'a> Deserialize<'a>>(
        &mut self,
    ) -> Result<Option<F>, WireError> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok(None);
            }
            let newline = available.iter().position(|&byte| byte == b'\n');
            let taken = newline.map_or(available.len(), |at| at + 1);
            if self.partial.len() + taken > MAX_LINE_BYTES {
                return Err(WireError::TooLong);
            }
            self.partial.extend(available.iter().take(taken));
            self.reader.consume(taken);
            if newline.is_some() {
                let line = std::mem::take(&mut self.partial);
                return serde_json::from_slice(&line).map(Some).map_err(WireError::NotUnderstood);
            }
        }
    }
}

/// Writes a frame as one line.
///
/// # Errors
/// When the connection broke.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frame: &impl Serialize,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(frame)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<Option<ClientFrame>, WireError> {
        Frames::new(bytes).next().await
    }

    #[tokio::test]
    async fn frames_are_lines_with_a_type() {
        let hello = r#"{"type":"hello","version":2,"group":"main"}"#.to_owned() + "\n";
        let expected =
            ClientFrame::Hello { version: 2, group: "main".into(), thread: None, seen: None };
        assert_eq!(read(hello.as_bytes()).await.unwrap(), Some(expected));
        assert_eq!(read(b"{\"type\":\"cancel\"}\n").await.unwrap(), Some(ClientFrame::Cancel));
        assert_eq!(read(b"").await.unwrap(), None);
        assert_eq!(read(b"{\"type\":\"cancel\"}").await.unwrap(), None, "a torn line");
    }

    #[tokio::test]
    async fn nonsense_is_not_understood() {
        for nonsense in [
            "\n",
            "hello\n",
            "{\"type\":\"shout\"}\n",
            "{\"type\":\"ack\",\"outbox\":1,\"x\":2}\n",
            "{\"type\":\"ack\",\"outbox\":-1}\n",
        ] {
            let read = read(nonsense.as_bytes()).await;
            assert!(matches!(read, Err(WireError::NotUnderstood(_))), "{nonsense:?}: {read:?}");
        }
        assert!(matches!(read(b"\"\xff\"\n").await, Err(WireError::NotUnderstood(_))));
    }

    #[tokio::test]
    async fn the_longest_message_passes_however_json_writes_it() {
        let frame = ClientFrame::Say { id: "1".into(), text: "\u{1}".repeat(MAX_TEXT_BYTES) };
        let mut line = Vec::new();
        write(&mut line, &frame).await.unwrap();
        assert_eq!(read(&line).await.unwrap(), Some(frame));
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_short() {
        let endless = tokio::io::repeat(b'x');
        let read = Frames::new(endless).next::<ClientFrame>().await;
        assert!(matches!(read, Err(WireError::TooLong)), "{read:?}");
    }

    #[test]
    fn the_gateways_frames_are_as_documented() {
        let frames = [
            GatewayFrame::Welcome(WelcomeInfo {
                assistant: "Andy".into(),
                needs_trigger: true,
                trigger: "@Andy".into(),
                sandbox: "bubblewrap".into(),
                sandbox_problem: None,
            }),
            GatewayFrame::Refused { reason: "no".into() },
            GatewayFrame::Kept { id: "a".into(), seq: 7, addressed: true },
            GatewayFrame::NotKept { id: "a".into(), reason: "full".into() },
            GatewayFrame::Queued { ahead: 2 },
            GatewayFrame::Working,
            GatewayFrame::Tool { name: "bash".into(), summary: "ls".into() },
            GatewayFrame::Text { delta: "Hel".into() },
            GatewayFrame::Waiting { reason: "busy".into() },
            GatewayFrame::Idle,
            GatewayFrame::Answer { outbox: 3, text: "Hello".into(), through: Some(5), ends: None },
            GatewayFrame::Answer {
                outbox: 4,
                text: String::new(),
                through: None,
                ends: Some(Ends { through: 7, answered: true }),
            },
            GatewayFrame::Said { text: "Hi".into() },
            GatewayFrame::Taken { outbox: 4 },
            GatewayFrame::Status { state: serde_json::json!({"runs": 0}) },
        ];
        let lines: Vec<_> = frames.iter().map(|f| serde_json::to_string(f).unwrap()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"type":"welcome","assistant":"Andy","needs_trigger":true,"trigger":"@Andy","sandbox":"bubblewrap"}
        {"type":"refused","reason":"no"}
        {"type":"kept","id":"a","seq":7,"addressed":true}
        {"type":"not_kept","id":"a","reason":"full"}
        {"type":"queued","ahead":2}
        {"type":"working"}
        {"type":"tool","name":"bash","summary":"ls"}
        {"type":"text","delta":"Hel"}
        {"type":"waiting","reason":"busy"}
        {"type":"idle"}
        {"type":"answer","outbox":3,"text":"Hello","through":5}
        {"type":"answer","outbox":4,"text":"","ends":{"through":7,"answered":true}}
        {"type":"said","text":"Hi"}
        {"type":"taken","outbox":4}
        {"type":"status","state":{"runs":0}}
        "#);
        for (frame, line) in frames.iter().zip(lines) {
            assert_eq!(serde_json::from_str::<GatewayFrame>(&line).unwrap(), *frame);
        }
    }
}

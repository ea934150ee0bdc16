//! One terminal's connection: hello, then messages in and frames out, until either side is done.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tracing::debug;

use super::Terminal;
use super::clients::{Client, Presence};
use super::wire::{self, ClientFrame, Frames, GatewayFrame, MAX_TEXT_BYTES, WireError};
use crate::channel::{Intake, Kept};
use crate::model::{
    ChatId, Conversation, GroupName, Incoming, Message, MessageId, Sender, ThreadId,
};
use crate::text::cut;

/// How long a terminal may take to say who it is, and the gateway to say goodbye.
const GREETING: Duration = Duration::from_secs(10);
/// The most bytes of a message that the other terminals of its conversation are told.
const PASSED_ON: usize = 4 * 1024;
/// How long a terminal may leave one frame unread while its buffers are full.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves one connection until the terminal leaves.
pub(super) async fn serve(terminal: &Terminal, stream: UnixStream, intake: &dyn Intake) {
    let (reader, mut writer) = stream.into_split();
    let mut frames = Frames::new(reader);
    let greeting = timeout(GREETING, greet(terminal, &mut frames)).await;
    let presence = match greeting.unwrap_or_else(|_| Err("nobody said hello".to_owned())) {
        Ok(Greeting::Stays(presence)) => presence,
        Ok(Greeting::Asks) => {
            let state = terminal.desk.status().await;
            return part(&mut writer, &GatewayFrame::Status { state }).await;
        }
        Ok(Greeting::Gone) => return,
        Err(reason) => return part(&mut writer, &GatewayFrame::Refused { reason }).await,
    };
    let client = &*presence.client;
    debug!(chat.id = %client.conversation(), "a terminal came");

    let talk = Talk { terminal, client, intake };
    let mut writing = std::pin::pin!(write_out(client, &mut writer));
    let read_to_the_end = tokio::select! {
        () = talk.listen(&mut frames) => true,
        () = &mut writing => false,
    };
    if read_to_the_end {
        client.backlog.finish();
        if timeout(GREETING, writing).await.is_err() {
            debug!("a terminal left without reading what was said");
        }
    }
    debug!(chat.id = %client.conversation(), "a terminal left");
}

/// How a connection begins.
enum Greeting {
    /// With a hello: a terminal that takes part in a conversation.
    Stays(Presence),
    /// With the question how the gateway is; whoever asks takes part in no conversation.
    Asks,
    /// With its end.
    Gone,
}

/// Takes the first line; `Err` with a sentence when it is a bad one.
async fn greet(
    terminal: &Terminal,
    frames: &mut Frames<OwnedReadHalf>,
) -> Result<Greeting, String> {
    let (version, group, thread, seen) = match frames.next().await {
        Ok(Some(ClientFrame::Hello { version, group, thread, seen })) => {
            (version, group, thread, seen)
        }
        Ok(Some(ClientFrame::Status)) => return Ok(Greeting::Asks),
        Ok(Some(_)) => return Err("the first line must be hello or status".to_owned()),
        Ok(None) | Err(WireError::Broken(_)) => return Ok(Greeting::Gone),
        Err(error) => return Err(error.to_string()),
    };
    if version != wire::VERSION {
        let ours = wire::VERSION;
        return Err(format!(
            "the gateway speaks version {ours} here, this terminal version {version}; restart the older one"
        ));
    }
    let unknown =
        || format!("there is no group {group:?}; `hermitcrab group list` shows those there are");
    let name: GroupName = group.parse().map_err(|_invalid| unknown())?;
    let thread: Option<ThreadId> =
        thread.map(|thread| thread.parse()).transpose().map_err(|e| format!("{e}"))?;
    let welcome = terminal.desk.welcome(&name).await.ok_or_else(unknown)?;
    let conversation = Conversation { chat: ChatId::terminal(&name), thread };
    let welcome = GatewayFrame::Welcome(welcome);
    Ok(Greeting::Stays(terminal.clients.enter(conversation, seen.unwrap_or(0), welcome)))
}

/// Says one last thing.
async fn part(writer: &mut OwnedWriteHalf, frame: &GatewayFrame) {
    match timeout(GREETING, wire::write(writer, frame)).await {
        Ok(Ok(())) => {}
        _ => debug!("a terminal left before it heard what it is told"),
    }
}

/// Writes what waits for a terminal, until there will be no more or it does not read.
async fn write_out(client: &Client, writer: &mut OwnedWriteHalf) {
    while let Some(frame) = client.backlog.next().await {
        match timeout(PATIENCE, wire::write(writer, &frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_broken)) => return,
            Err(_elapsed) => return debug!("a terminal does not read and is hung up on"),
        }
    }
    if writer.shutdown().await.is_err() {
        debug!("a terminal left first");
    }
}

/// What a terminal says, once it is known.
struct Talk<'a> {
    terminal: &'a Terminal,
    client: &'a Client,
    intake: &'a dyn Intake,
}

impl Talk<'_> {
    /// Takes frames one after the other, so that a terminal cannot say more than the store can keep.
    async fn listen(&self, frames: &mut Frames<OwnedReadHalf>) {
        loop {
            match frames.next().await {
                Ok(Some(frame)) => {
                    if let Err(reason) = self.take(frame).await {
                        return self.client.backlog.must(GatewayFrame::Refused { reason });
                    }
                }
                Ok(None) | Err(WireError::Broken(_)) => return,
                Err(error) => {
                    let reason = error.to_string();
                    return self.client.backlog.must(GatewayFrame::Refused { reason });
                }
            }
        }
    }

    async fn take(&self, frame: ClientFrame) -> Result<(), String> {
        match frame {
            ClientFrame::Hello { .. } => return Err("hello is said once".to_owned()),
            ClientFrame::Say { id, text } => {
                let answer = match self.keep(&id, text).await {
                    Ok(kept) => kept,
                    Err(reason) => GatewayFrame::NotKept { id, reason },
                };
                self.client.backlog.must(answer);
            }
            ClientFrame::Cancel => self.intake.cancel(self.client.conversation()).await,
            ClientFrame::Ack { outbox } => self.terminal.clients.acknowledge(self.client, outbox),
            ClientFrame::Status => {
                let state = self.terminal.desk.status().await;
                self.client.backlog.must(GatewayFrame::Status { state });
            }
        }
        Ok(())
    }

    /// Keeps a message; the terminal is told that it is kept only after the intake has said so.
    async fn keep(&self, id: &str, text: String) -> Result<GatewayFrame, String> {
        let message_id: MessageId = id.parse().map_err(|error| format!("{error}"))?;
        if text.len() > MAX_TEXT_BYTES {
            let (has, most) = (text.len() / 1024, MAX_TEXT_BYTES / 1024);
            return Err(format!("the message has {has} KiB, and at most {most} KiB fit"));
        }
        if text.trim().is_empty() {
            return Err("the message is empty".to_owned());
        }
        let mut passed_on = cut(&text, PASSED_ON).to_owned();
        if passed_on.len() < text.len() {
            passed_on.push('…');
        }
        let conversation = self.client.conversation();
        let addressed = self.terminal.desk.addressed(conversation, &text).await;
        let message = Message {
            chat: conversation.chat.clone(),
            thread: conversation.thread.clone(),
            id: message_id,
            sender: Sender { id: "owner".to_owned(), name: "Owner".to_owned(), outside: false },
            text,
            attachments: Vec::new(),
            addressed: false,
            sent_at: self.terminal.clock.now(),
            from_me: false,
        };
        let kept = self.intake.keep(Incoming { message, chat_name: None, context: false }).await;
        if let Ok(Kept::Fresh(_)) = kept {
            self.terminal.clients.pass_on(self.client, &passed_on);
        }
        match kept {
            Ok(Kept::Fresh(seq) | Kept::Known(seq)) => {
                Ok(GatewayFrame::Kept { id: id.to_owned(), seq: seq.0, addressed })
            }
            Ok(Kept::Unregistered) => Err("the group is no longer there".to_owned()),
            Err(not_kept) => Err(not_kept.reason),
        }
    }
}

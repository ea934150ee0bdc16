//! `POST /_fake/<op>`: what the library offers, for tests in another process and for people.
//!
//! The body is JSON, so is the answer: `{"ts": …}` of a message that was made, `{"ok": …}` of
//! what may not be possible, or what was asked for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Shared;
use super::events::{Member, Reaction};
use super::fault::Fault;
use super::people::{ALICE, GENERAL};
use super::post::Post;
use super::serve::{json_response, text_response};
use super::world::World;

/// What can be asked for; the name of the variant is `<op>`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Op {
    UserMessage(Words),
    Edit {
        #[serde(default = "general")]
        channel: String,
        ts: String,
        text: String,
    },
    Delete {
        #[serde(default = "general")]
        channel: String,
        ts: String,
    },
    React(Emoji),
    Unreact(Emoji),
    Slash {
        #[serde(default = "general")]
        channel: String,
        #[serde(default = "alice")]
        user: String,
        command: String,
        #[serde(default)]
        text: String,
    },
    Click {
        #[serde(default = "general")]
        channel: String,
        #[serde(default = "alice")]
        user: String,
        ts: String,
        action_id: String,
    },
    Submit {
        view_id: String,
        #[serde(default = "alice")]
        user: String,
        #[serde(default)]
        values: Value,
    },
    Join {
        channel: String,
        user: String,
    },
    Leave {
        channel: String,
        user: String,
    },
    Event {
        event: Value,
    },
    Frame {
        text: String,
    },
    Disconnect {
        reason: String,
        #[serde(default)]
        after_ms: u64,
    },
    Abort {},
    Stall {},
    Fault(Fault),
    ClearFaults {},
    Release {},
    IgnoreAcks {
        acks: usize,
    },
    Revoke {
        code: String,
    },
    Restore {},
    Messages {
        #[serde(default = "general")]
        channel: String,
    },
    Calls {
        #[serde(default)]
        method: Option<String>,
    },
    Deliveries {},
    State {},
}

/// A message, and perhaps a file with it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    #[serde(default = "general")]
    channel: String,
    #[serde(default = "alice")]
    user: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    thread_ts: Option<String>,
    #[serde(default)]
    file: Option<Paper>,
    /// Any other field of the message.
    #[serde(default)]
    fields: Map<String, Value>,
}

/// A file of text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Paper {
    name: String,
    #[serde(default = "plain")]
    mime: String,
    content: String,
}

/// A reaction.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Emoji {
    #[serde(default = "general")]
    channel: String,
    #[serde(default = "alice")]
    user: String,
    ts: String,
    name: String,
}

fn general() -> String {
    GENERAL.to_owned()
}

fn alice() -> String {
    ALICE.to_owned()
}

fn plain() -> String {
    "text/plain".to_owned()
}

/// Does what a request asks for.
pub(super) fn control(shared: &Arc<Shared>, op: &str, body: &Bytes) -> Response<Full<Bytes>> {
    let args = if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(body) };
    let op = args.and_then(|args: Value| serde_json::from_value::<Op>(json!({ op: args })));
    match op {
        Err(error) => text_response(StatusCode::BAD_REQUEST, &error.to_string()),
        Ok(Op::Release {}) => {
            shared.released.send_replace(());
            json_response(&json!({}))
        }
        Ok(op) => json_response(&shared.change(|world| run(world, op))),
    }
}

fn run(world: &mut World, op: Op) -> Value {
    match op {
        Op::UserMessage(words) => json!({ "ts": world.user_message(words.post()) }),
        Op::Edit { channel, ts, text } => ok(world.edit(&channel, &ts, &text)),
        Op::Delete { channel, ts } => ok(world.delete(&channel, &ts)),
        Op::React(emoji) => emoji.react(world, Reaction::Add),
        Op::Unreact(emoji) => emoji.react(world, Reaction::Remove),
        Op::Slash { channel, user, command, text } => {
            world.slash(&channel, &user, &command, &text);
            ok(true)
        }
        Op::Click { channel, user, ts, action_id } => {
            ok(world.click(&channel, &user, &ts, &action_id))
        }
        Op::Submit { view_id, user, values } => ok(world.submit(&view_id, &user, &values)),
        Op::Join { channel, user } => ok(world.move_member(&channel, &user, Member::Joins)),
        Op::Leave { channel, user } => ok(world.move_member(&channel, &user, Member::Leaves)),
        Op::Event { event } => json!({ "event_id": world.emit(&event) }),
        Op::Messages { channel } => {
            world.messages(&channel).iter().map(|message| message.json().clone()).collect()
        }
        Op::Calls { method } => calls(world, method.as_deref()),
        Op::Deliveries {} => deliveries(world),
        Op::State {} => json!({
            "sockets": world.sockets(), "sockets_opened": world.sockets_opened(),
            "deliveries": world.deliveries().total(), "acked": world.acked(),
            "unacked": world.unacked(), "calls": world.counts, "hung": world.hung(),
            "statuses": world.statuses().total(), "strays": world.strays().total(),
        }),
        quiet => {
            order(world, quiet);
            json!({})
        }
    }
}

/// Does what always succeeds.
fn order(world: &mut World, op: Op) {
    match op {
        Op::Frame { text } => world.frame(&text),
        Op::Disconnect { reason, after_ms } => {
            world.disconnect(&reason, Duration::from_millis(after_ms));
        }
        Op::Abort {} => world.abort_sockets(),
        Op::Stall {} => world.stall_sockets(),
        Op::Fault(fault) => world.faults.add(fault),
        Op::ClearFaults {} => world.faults.clear(),
        Op::IgnoreAcks { acks } => world.ignore_acks(acks),
        Op::Revoke { code } => world.revoked = Some(code),
        Op::Restore {} => world.revoked = None,
        _ => {}
    }
}

fn ok(done: bool) -> Value {
    json!({ "ok": done })
}

fn calls(world: &World, method: Option<&str>) -> Value {
    let wanted =
        world.calls.iter().filter(|call| method.is_none_or(|method| call.method == method));
    wanted
        .map(|call| {
            json!({
                "method": call.method, "args": call.args, "status": call.status,
                "error": call.error, "carried_out": call.carried_out,
                "content_type": call.content_type, "user_agent": call.user_agent,
            })
        })
        .collect()
}

fn deliveries(world: &World) -> Value {
    let write = |delivery: &super::Delivery| {
        json!({
            "kind": delivery.kind.word(), "event": delivery.event, "event_id": delivery.event_id,
            "channel": delivery.channel, "ts": delivery.ts, "attempt": delivery.attempt,
            "socket": delivery.socket, "answer": delivery.answer,
            "acked_us": delivery.acked.map(|time| time.as_micros().to_string()),
        })
    };
    world.deliveries().iter().map(write).collect()
}

impl Words {
    fn post(self) -> Post {
        let mut post = Post::new(&self.channel, &self.user, &self.text);
        post.thread_ts = self.thread_ts;
        post.fields = self.fields;
        match self.file {
            Some(Paper { name, mime, content }) => post.file(&name, &mime, content),
            None => post,
        }
    }
}

impl Emoji {
    fn react(&self, world: &mut World, reaction: Reaction) -> Value {
        let place = (self.channel.as_str(), self.ts.as_str());
        ok(world.react(place, &self.name, &self.user, reaction).is_ok())
    }
}

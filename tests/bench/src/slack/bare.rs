//! The floor: a client that acks whatever comes, at once, and does nothing else.

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use test_servers::slack::Slack;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

/// Connects the client to a workspace; it ends with what is returned.
pub(super) async fn connect(slack: &Slack) -> anyhow::Result<JoinSet<()>> {
    let url = socket_url(slack).await?;
    let address = slack.url();
    let stream = TcpStream::connect(address.trim_start_matches("http://")).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await?;
    let mut acking = JoinSet::new();
    acking.spawn(async move {
        while let Some(Ok(frame)) = socket.next().await {
            let Message::Text(text) = frame else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            let Some(id) = frame.get("envelope_id") else { continue };
            let ack = json!({ "envelope_id": id }).to_string();
            if socket.send(Message::text(ack)).await.is_err() {
                return;
            }
        }
    });
    slack.wait_for(|world| world.sockets() == 1).await;
    Ok(acking)
}

/// Asks for the address of a socket, by hand.
async fn socket_url(slack: &Slack) -> anyhow::Result<String> {
    let address = slack.url();
    let address = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let token = &slack.options().app_token;
    let request = format!(
        "POST /api/apps.connections.open HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let body: Value = serde_json::from_str(body)?;
    let url = body.get("url").and_then(Value::as_str);
    Ok(url.with_context(|| format!("refused: {body}"))?.to_owned())
}

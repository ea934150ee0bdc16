//! HTTP: from a connection to what it asks for, past the faults that were ordered.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::args::{Args, header};
use super::fault::{DOWNLOAD, FaultKind, RESPONSE_URL, SOCKET, UPLOAD};
use super::world::{Call, World};
use super::{Shared, api, control, socket};

/// The largest body, in bytes: files for tests are small.
const MAX_BODY: usize = 64 << 20;
/// What Slack shows, with status 200, to whoever may not download a file.
const LOG_IN: &str = "<!DOCTYPE html><html lang=\"en-US\"><head><title>Slack | Login</title></head>\
                      <body>Sign in to Slack</body></html>";

/// An answer; an error closes the connection without one.
type Reply = io::Result<Response<Full<Bytes>>>;

/// What a call comes to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What is answered.
    pub(super) response: Response<Full<Bytes>>,
    /// The code, when it was refused.
    pub(super) error: Option<String>,
}

impl Outcome {
    /// Done.
    pub(super) fn done(response: Response<Full<Bytes>>) -> Self {
        Self { response, error: None }
    }

    /// Not done.
    pub(super) fn refused(response: Response<Full<Bytes>>, code: &str) -> Self {
        Self { response, error: Some(code.to_owned()) }
    }

    /// 429.
    pub(super) fn rate_limited(retry_after_s: u64) -> Self {
        let mut response = json_response(&json!({ "ok": false, "error": "ratelimited" }));
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response.headers_mut().insert(RETRY_AFTER, retry_after_s.into());
        Self::refused(response, "ratelimited")
    }

    fn log_in(base: &str, path: &str) -> Self {
        let mut response = text_response(StatusCode::FOUND, "");
        let location = HeaderValue::from_str(&format!("{base}/login?redir=%2F{path}"));
        response.headers_mut().insert(LOCATION, location.expect("it came in as a path"));
        Self::refused(response, "log_in")
    }
}

/// Serves connections until the server ends.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => shared.spawn(serve(stream, Arc::clone(&shared))),
            // Too many open files: they become free when other connections end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { respond(&shared, request).await.map(write) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // An error here is a client that went away, or a fault that closes the connection.
    connection.with_upgrades().await.ok();
}

async fn respond(shared: &Arc<Shared>, mut request: Request<Incoming>) -> Reply {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let (root, rest) = path.split_once('/').unwrap_or((&path, ""));
    if root == "link" {
        return upgrade(shared, &mut request).await;
    }
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(text_response(StatusCode::PAYLOAD_TOO_LARGE, "too large"));
    };
    let body = body.to_bytes();
    match root {
        "api" => {
            let args = api::read(rest, &head, &body);
            let token = token(&head, &args);
            let channel = args.channel().to_owned();
            let method = rest.to_owned();
            let call = call(rest, &head);
            answer(shared, call, &channel, move |world, call| {
                let outcome = api::call(world, &method, &args, &token);
                call.args = args.into_json();
                outcome
            })
            .await
        }
        "upload" => {
            let id = rest.rsplit('/').next().unwrap_or_default().to_owned();
            let call = call(UPLOAD, &head);
            answer(shared, call, "", move |world, call| {
                call.args = json!({ "file": id, "size": body.len() });
                match world.take_upload(&id, &head, &body) {
                    Ok(size) => {
                        Outcome::done(text_response(StatusCode::OK, &format!("OK - {size}")))
                    }
                    Err(why) => Outcome::refused(text_response(StatusCode::BAD_REQUEST, why), why),
                }
            })
            .await
        }
        "files-pri" => {
            let rest = rest.to_owned();
            let call = call(DOWNLOAD, &head);
            answer(shared, call, "", move |world, call| {
                call.args = json!({ "path": rest });
                match world.download(&rest, &head) {
                    Some((mime, bytes)) => Outcome::done(response(StatusCode::OK, &mime, bytes)),
                    None => Outcome::log_in(&world.base, &format!("files-pri/{rest}")),
                }
            })
            .await
        }
        "hook" => {
            let id = rest.to_owned();
            let call = call(RESPONSE_URL, &head);
            answer(shared, call, "", move |world, call| {
                call.args = serde_json::from_slice(&body).unwrap_or_default();
                match world.respond_to(&id, &call.args) {
                    Ok(()) => Outcome::done(text_response(StatusCode::OK, "ok")),
                    Err(why) => Outcome::refused(text_response(StatusCode::NOT_FOUND, why), why),
                }
            })
            .await
        }
        "login" => Ok(response(StatusCode::OK, "text/html; charset=utf-8", LOG_IN.into())),
        "_fake" if head.method == Method::POST => Ok(control::control(shared, rest, &body)),
        _ => Ok(text_response(StatusCode::NOT_FOUND, "not found")),
    }
}

/// Carries out a call and keeps it, or lets a fault befall it.
async fn answer(
    shared: &Arc<Shared>,
    mut call: Call,
    channel: &str,
    carry_out: impl FnOnce(&mut World, &mut Call) -> Outcome,
) -> Reply {
    let fault = shared.change(|world| {
        let fault = world.faults.meet(&call.method, channel);
        world.hung += usize::from(fault == Some(FaultKind::Hang));
        fault
    });
    match fault {
        Some(FaultKind::Delay { ms }) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some(FaultKind::Hang) => shared.released().await,
        _ => {}
    }
    let closes = matches!(fault, Some(FaultKind::Drop | FaultKind::DropAfter));
    let outcome = shared.change(|world| {
        let befallen = fault.as_ref().and_then(|fault| befall(fault, &world.base));
        let outcome = match befallen {
            Some(outcome) => outcome,
            None => {
                let outcome = carry_out(world, &mut call);
                call.carried_out = outcome.error.is_none();
                outcome
            }
        };
        call.status = if closes { 0 } else { outcome.response.status().as_u16() };
        call.error.clone_from(&outcome.error);
        call.at = Instant::now();
        world.hung += usize::from(fault == Some(FaultKind::HangAfter));
        world.record(call);
        outcome
    });
    if fault == Some(FaultKind::HangAfter) {
        shared.released().await;
    }
    if closes {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let mut response = outcome.response;
    if fault == Some(FaultKind::Cut) {
        response.extensions_mut().insert(Cut);
    }
    Ok(response)
}

/// Marks an answer that is to break off in the middle.
#[derive(Debug, Clone)]
struct Cut;

/// Writes an answer, or half of it.
fn write(response: Response<Full<Bytes>>) -> Response<UnsyncBoxBody<Bytes, io::Error>> {
    let is_cut = response.extensions().get::<Cut>().is_some();
    response.map(|body| {
        let size = body.size_hint().lower();
        let whole = body.map_err(|never| match never {});
        if !is_cut {
            return whole.boxed_unsync();
        }
        let half = async move {
            let bytes = whole.collect().await?.to_bytes();
            let half = usize::try_from(size / 2).map_err(io::Error::other)?;
            Ok(Frame::data(bytes.slice(..half)))
        };
        let broken = async { Err(io::ErrorKind::ConnectionAborted.into()) };
        StreamBody::new(futures_util::stream::once(half).chain(futures_util::stream::once(broken)))
            .boxed_unsync()
    })
}

/// What a fault answers in place of the call, if it keeps the call from being carried out.
fn befall(fault: &FaultKind, base: &str) -> Option<Outcome> {
    Some(match fault {
        FaultKind::RateLimited { retry_after_s } => Outcome::rate_limited(*retry_after_s),
        FaultKind::Error { code } => {
            Outcome::refused(json_response(&json!({ "ok": false, "error": code })), code)
        }
        FaultKind::Status { status } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Outcome::refused(text_response(status, "upstream error"), status.as_str())
        }
        FaultKind::LogIn => Outcome::log_in(base, "fault"),
        FaultKind::Drop => Outcome::refused(text_response(StatusCode::OK, ""), "dropped"),
        FaultKind::Delay { .. }
        | FaultKind::Hang
        | FaultKind::HangAfter
        | FaultKind::DropAfter
        | FaultKind::Cut => return None,
    })
}

/// Makes a socket of a connection, if its ticket is good.
async fn upgrade(shared: &Arc<Shared>, request: &mut Request<Incoming>) -> Reply {
    let fault = shared.change(|world| {
        let fault = world.faults.meet(SOCKET, "");
        world.hung += usize::from(fault == Some(FaultKind::Hang));
        fault
    });
    match fault {
        Some(FaultKind::Delay { ms }) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some(FaultKind::Drop) => return Err(io::ErrorKind::ConnectionAborted.into()),
        Some(FaultKind::Status { status }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Ok(text_response(status, "upstream error"));
        }
        _ => {}
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let ticket = pairs.find(|(name, _)| name == "ticket").unwrap_or_default().1;
    if !shared.change(|world| world.take_ticket(&ticket)) {
        return Ok(text_response(StatusCode::NOT_FOUND, "the ticket is used or too old"));
    }
    let Some(key) = request.headers().get("sec-websocket-key") else {
        return Ok(text_response(StatusCode::BAD_REQUEST, "not a WebSocket"));
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let upgrade = hyper::upgrade::on(request);
    shared.spawn(socket::serve(Arc::clone(shared), upgrade, fault));
    let mut response = text_response(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.expect("base64 is a header's value"));
    Ok(response)
}

/// A call as it comes in.
fn call(method: &str, head: &Parts) -> Call {
    Call {
        method: method.to_owned(),
        args: Value::Null,
        content_type: header(head, "content-type").to_owned(),
        user_agent: header(head, "user-agent").to_owned(),
        status: 0,
        error: None,
        carried_out: false,
        at: Instant::now(),
    }
}

/// The token of a call: in its header, or among its arguments.
fn token(head: &Parts, args: &Args) -> String {
    let bearer = header(head, "authorization").strip_prefix("Bearer ");
    bearer.unwrap_or_else(|| args.text("token")).to_owned()
}

/// An answer in JSON.
pub(super) fn json_response(body: &Value) -> Response<Full<Bytes>> {
    response(StatusCode::OK, "application/json; charset=utf-8", body.to_string().into())
}

/// An answer in words.
pub(super) fn text_response(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body.to_owned().into())
}

fn response(status: StatusCode, mime: &str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let mime = HeaderValue::from_str(mime);
    let unknown = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, mime.unwrap_or(unknown));
    response
}

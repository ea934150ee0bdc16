//! What is answered on a connection from a sandbox.
//!
//! Method and path are on the list below or the request is refused; headers are rebuilt, never passed on; the
//! group is the door's. Content, headers and credentials are never logged.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

use super::bill::{Bill, metered};
use super::budget::Reservation;
use super::door::Room;
use super::provider::AnswerBody;
use super::reply::{self, Body, Reply};
use super::request::{Endpoint, ModelRequest};
use super::{
    Allowance, BODY_PATIENCE, HEADER_PATIENCE, MAX_BODY_BYTES, MAX_HEAD_BYTES, Shared, budget,
    call, demo, policy, price, terms,
};
use crate::model::GroupName;
use crate::text::one_line;

/// The most characters of a model's name that are told.
const MODEL_TOLD: usize = 80;

/// Serves one connection until it ends. It takes up its place until then, and while a tunnel is left of it.
pub(super) async fn serve<S>(stream: S, room: Arc<Room>, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    room.keep_pace().await;
    let place = Arc::new(place);
    let service = service_fn(move |request| {
        let (room, place) = (Arc::clone(&room), Arc::clone(&place));
        async move { Ok::<_, Infallible>(answer(&room, place, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // It also ends connections that are kept alive for nothing.
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!("a connection from a sandbox broke: {error}");
    }
}

async fn answer(
    room: &Arc<Room>,
    place: Arc<OwnedSemaphorePermit>,
    request: Request<Incoming>,
) -> Response<Body> {
    let slowed_down = room.keep_pace().await;
    let started = Instant::now();
    let route = Route::of(&request);
    let mut response = match route {
        Route::Model(endpoint) => model_call(room, endpoint, request).await,
        Route::Tunnel => room.shared.web.connect(room, place, request).await.into_response(),
        Route::Greeting => greeting(),
        Route::PlainProxy => {
            Reply::refused("the broker carries web requests only as CONNECT, which is to say https")
                .into()
        }
        Route::Refused => Reply::refused("the broker does not offer this").into(),
    };
    if response.status().is_client_error() {
        room.refused();
        if slowed_down {
            // What else was sent on this connection need not even be read.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    log(room, route, response.status(), started);
    response
}

/// A request that came to something has a line of its own; of what was refused, [`Room::refused`] tells the number.
fn log(room: &Room, route: Route, status: StatusCode, started: Instant) {
    let is_work = matches!(route, Route::Model(_) | Route::Tunnel) && status.is_success();
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                group.name = %room.client.group,
                sandbox.id = %room.client.sandbox,
                path = route.name(),
                status = status.as_u16(),
                duration_ms = started.elapsed().as_millis(),
                "the broker answered"
            )
        };
    }
    if is_work { line!(info) } else { line!(debug) }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Model(Endpoint),
    Tunnel,
    Greeting,
    PlainProxy,
    Refused,
}

impl Route {
    fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        if request.method() == Method::CONNECT {
            return Self::Tunnel;
        }
        if uri.scheme().is_some() {
            return Self::PlainProxy;
        }
        match (request.method(), uri.path()) {
            (&Method::POST, "/v1/messages") => Self::Model(Endpoint::Messages),
            (&Method::POST, "/v1/messages/count_tokens") => Self::Model(Endpoint::CountTokens),
            (&Method::GET | &Method::HEAD, "/") => Self::Greeting,
            _ => Self::Refused,
        }
    }

    /// What the log calls it; what the sandbox wrote is not logged.
    fn name(self) -> &'static str {
        match self {
            Self::Model(endpoint) => endpoint.path(),
            Self::Tunnel => "CONNECT",
            Self::Greeting => "/",
            Self::PlainProxy | Self::Refused => "refused",
        }
    }
}

fn greeting() -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply::respond(StatusCode::OK, headers, reply::full(Bytes::from_static(b"hermitcrab broker\n")))
}

async fn model_call(room: &Room, endpoint: Endpoint, request: Request<Incoming>) -> Response<Body> {
    let (shared, group) = (&room.shared, &room.client.group);
    let allowance = match admit(shared, group).await {
        Ok(allowance) => allowance,
        Err(refusal) => return refusal.into(),
    };
    let (parts, body) = request.into_parts();
    let (body, _memory) = match read_body(room, body).await {
        Ok(body) => body,
        Err(refusal) => return refusal.into(),
    };
    let call = match ModelRequest::parse(endpoint, &parts.headers, body, &shared.model) {
        Ok(call) => call,
        Err(invalid) => {
            let (status, kind) = (StatusCode::BAD_REQUEST, "invalid_request_error");
            return Reply::error(status, kind, &invalid.to_string()).into();
        }
    };
    if let Err(refusal) = policy::check(&call) {
        return refusal.into();
    }
    let reservation = match within_budget(shared, group, allowance, &call).await {
        Ok(reservation) => reservation,
        Err(refusal) => return refusal.into(),
    };
    let answer = match call::ask(&shared.sources, &call).await {
        Ok(answer) => answer,
        Err(failure) => return failure.reply.into(),
    };
    let counts = endpoint == Endpoint::Messages;
    let mut bill = Bill::new(room, &call.model, reservation, counts);
    let mut headers = answer.headers;
    match answer.body {
        AnswerBody::Whole(json) => {
            bill.settle_whole(&json).await;
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            reply::respond(StatusCode::OK, headers, reply::full(json))
        }
        AnswerBody::Events(chunks) => {
            let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
            headers.entry(CONTENT_TYPE).or_insert(kind);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            reply::respond(StatusCode::OK, headers, metered(chunks, bill))
        }
    }
}

/// Whether a call may be made: pace and budget.
async fn admit(shared: &Shared, group: &GroupName) -> Result<Allowance, Reply> {
    shared.calls.admit(group, tokio::time::Instant::now()).map_err(|wait| {
        let message = "this group makes too many model calls; it may go on in a moment";
        Reply::error(StatusCode::TOO_MANY_REQUESTS, reply::REFUSED, message).retry_after(wait)
    })?;
    shared.ledger.may_spend(group).await.map_err(|sentence| Reply::refused(&sentence))
}

/// Whether a budget, where there is one, covers a call: what has no price or another one than the list's would pass it
/// by, and what is under way has not been put down yet.
async fn within_budget(
    shared: &Shared,
    group: &GroupName,
    allowance: Allowance,
    call: &ModelRequest,
) -> Result<Option<Reservation>, Reply> {
    let is_free = call.endpoint == Endpoint::CountTokens
        || shared.sources.iter().all(|source| source.provider.name() == demo::NAME);
    if allowance == Allowance::Unlimited || is_free {
        return Ok(None);
    }
    if !price::is_known(&call.model) {
        return Err(Reply::refused(&format!(
            "the group has a daily budget, and the price of {} is not known here, so the budget could not stop it; \
             name a model with a known price in ANTHROPIC_MODEL, or lift the budget: \
             hermitcrab group set {group} --budget -",
            one_line(&call.model, MODEL_TOLD)
        )));
    }
    terms::check(call, group)?;
    budget::reserve(shared, group, call).await
}

/// Reads a request's body, and holds the memory for it against the door's share.
async fn read_body(room: &Room, body: Incoming) -> Result<(Bytes, OwnedSemaphorePermit), Reply> {
    let too_large = || {
        let message = format!("a request may have {} MiB at most", MAX_BODY_BYTES >> 20);
        Reply::error(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", &message)
    };
    let late = || Reply::error(StatusCode::REQUEST_TIMEOUT, "api_error", "the body did not come");
    let max = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
    let expected = body.size_hint().upper().unwrap_or(max);
    if expected > max {
        return Err(too_large());
    }
    let reading = async {
        let memory = room.reserve(expected).await;
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
        Some((body.ok()?.to_bytes(), memory?))
    };
    match tokio::time::timeout(BODY_PATIENCE, reading).await {
        Ok(Some(read)) => Ok(read),
        Ok(None) => Err(too_large()),
        Err(_elapsed) => Err(late()),
    }
}

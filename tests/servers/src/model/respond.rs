//! One request: recorded, checked, planned, answered.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::anthropic::Anthropic;
use super::ask::Ask;
use super::bedrock::Bedrock;
use super::check::{Form, check};
use super::failure::Failure;
use super::fault::FaultKind;
use super::message::{Message, quarter};
use super::record::Seen;
use super::script::Keys;
use super::wire::{self, Body, Wire};
use super::{State, signature, stream};

/// The largest body, in bytes: the API's own limit for messages.
const MAX_BODY: usize = 32 << 20;

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Messages,
    CountTokens,
    Invoke { model: String, stream: bool },
    Unknown,
}

/// Answers one request.
pub(super) async fn respond(state: &State, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let (wire, route) = route(&head.method, &path);
    let Some(raw) = collect(body).await else {
        return wire::refuse(wire, &Failure::TooLarge, None);
    };
    let parsed = serde_json::from_slice::<Value>(&raw);
    let reason = parsed
        .as_ref()
        .err()
        .map(|error| Failure::Invalid(format!("The request body is not valid JSON: {error}")));
    let seen = Arc::new(Seen {
        method: head.method,
        path,
        headers: head.headers,
        body: parsed.unwrap_or_default(),
        size: raw.len(),
    });
    state.recorder.record(Arc::clone(&seen));
    match checked(&route, &seen, state.planner.keys(), reason) {
        Err(failure) => wire::refuse(wire, &failure, None),
        Ok(_) if route == Route::CountTokens => {
            wire::json(&json!({ "input_tokens": quarter(seen.size) }))
        }
        Ok(ask) => answer(state, &ask, wire).await,
    }
}

/// The body, or nothing when it is too large or the client went away.
///
/// What is past the limit is read and dropped, so that the client is not cut off while it writes
/// and reads the refusal.
async fn collect(mut body: Incoming) -> Option<Bytes> {
    let mut kept = Vec::new();
    let mut size = 0_usize;
    while let Some(frame) = body.frame().await {
        let data = frame.ok()?.into_data().unwrap_or_default();
        size += data.len();
        if size <= MAX_BODY {
            kept.extend_from_slice(&data);
        }
    }
    (size <= MAX_BODY).then(|| kept.into())
}

fn route(method: &Method, path: &str) -> (&'static dyn Wire, Route) {
    let invoke = path.strip_prefix("/model/").and_then(|rest| rest.rsplit_once('/'));
    let posted = method == Method::POST;
    match (path, invoke) {
        ("/v1/messages", _) if posted => (&Anthropic, Route::Messages),
        ("/v1/messages/count_tokens", _) if posted => (&Anthropic, Route::CountTokens),
        (_, Some((id, "invoke"))) if posted => {
            (&Bedrock, Route::Invoke { model: percent_decoded(id), stream: false })
        }
        (_, Some((id, "invoke-with-response-stream"))) if posted => {
            (&Bedrock, Route::Invoke { model: percent_decoded(id), stream: true })
        }
        (_, Some(_)) => (&Bedrock, Route::Unknown),
        _ => (&Anthropic, Route::Unknown),
    }
}

/// The checks in the order of the real services: the path, who asks, then what.
fn checked(
    route: &Route,
    seen: &Seen,
    keys: &Keys,
    unparsed: Option<Failure>,
) -> Result<Ask, Failure> {
    match route {
        Route::Unknown => return Err(Failure::NotFound(seen.path.clone())),
        Route::Invoke { .. } => signature::bedrock(&seen.headers, keys)?,
        Route::Messages | Route::CountTokens => {
            signature::anthropic(&seen.headers, keys)?;
            if !seen.headers.contains_key("anthropic-version") {
                return Err(Failure::Invalid("anthropic-version: header is required".to_owned()));
            }
        }
    }
    if let Some(failure) = unparsed {
        return Err(failure);
    }
    let body = &seen.body;
    let (form, stream, model) = match route {
        Route::Invoke { model, stream } => (Form::Bedrock, *stream, model.as_str()),
        Route::CountTokens => (Form::CountTokens, false, text(body, "model")),
        _ => (Form::Messages, body.get("stream") == Some(&Value::Bool(true)), text(body, "model")),
    };
    check(body, form)?;
    Ok(Ask::read(body, model, stream, seen.size))
}

async fn answer(state: &State, ask: &Ask, wire: &dyn Wire) -> Response<Body> {
    let mut plan = state.planner.plan(ask);
    let fault = plan.fault.take();
    match &fault {
        Some(FaultKind::Refuse { failure, retry_after_s }) => {
            return wire::refuse(wire, failure, *retry_after_s);
        }
        Some(FaultKind::Break { failure, .. }) if !ask.stream => {
            return wire::refuse(wire, failure, None);
        }
        Some(FaultKind::Hang { gate, after: None }) => state.gates.named(gate).pass().await,
        _ => {}
    }
    let message = Message::new(ask, plan, wire.infix());
    let body = if ask.stream {
        stream::body(wire.events(&message), fault.as_ref(), wire, &state.gates)
    } else {
        stream::whole(&message, fault.as_ref(), &state.gates)
    };
    let mut response = Response::new(body);
    for (name, value) in wire.headers(&message, ask.stream) {
        response.headers_mut().insert(name, wire::header(&value));
    }
    response
}

fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The text that a path segment stands for; a `%` without two hexadecimal digits stays.
fn percent_decoded(segment: &str) -> String {
    let mut parts = segment.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.split_at_checked(2);
        match code.and_then(|(hex, rest)| Some((u8::from_str_radix(hex, 16).ok()?, rest))) {
            Some((byte, rest)) => {
                bytes.push(byte);
                bytes.extend(rest.bytes());
            }
            None => bytes.extend(b"%".iter().copied().chain(part.bytes())),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_id_is_decoded() {
        for (path, model) in [
            ("/model/m/invoke", "m"),
            ("/model/anthropic.claude-v2%3A0/invoke", "anthropic.claude-v2:0"),
            ("/model/arn%3aaws%3abedrock%2Fm%C3%A9/invoke", "arn:aws:bedrock/m\u{e9}"),
            ("/model/100%/invoke", "100%"),
            ("/model/%é/invoke", "%é"),
        ] {
            let (_, route) = route(&Method::POST, path);
            assert_eq!(route, Route::Invoke { model: model.to_owned(), stream: false }, "{path}");
        }
    }
}

//! The arguments of a call, from the query, a form, JSON or several parts.

use hyper::Method;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// What a method reads of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Forms and JSON.
    All,
    /// Forms only; to the method, JSON is a body without arguments, as it is to Slack.
    Forms,
}

/// The arguments by name.
#[derive(Debug, Default)]
pub(super) struct Args {
    map: Map<String, Value>,
    /// Whether they came by POST.
    pub(super) posted: bool,
}

/// Arguments that are structures; in a form they are written as JSON.
const STRUCTURES: &[&str] = &[
    "attachments",
    "blocks",
    "chunks",
    "files",
    "loading_messages",
    "metadata",
    "prompts",
    "view",
];

impl Args {
    /// Reads them all.
    pub(super) fn read(head: &Parts, body: &[u8], reads: Reads) -> Self {
        let mut args = Self { map: Map::new(), posted: head.method == Method::POST };
        args.read_form(head.uri.query().unwrap_or_default().as_bytes());
        if !args.posted {
            return args;
        }
        let kind = header(head, CONTENT_TYPE.as_str());
        if kind.starts_with("application/x-www-form-urlencoded") {
            args.read_form(body);
        } else if let Some(boundary) = boundary(kind) {
            for (name, value) in parts(body, boundary) {
                args.put(&name, String::from_utf8_lossy(value).into_owned());
            }
        } else if kind.starts_with("application/json")
            && reads == Reads::All
            && let Ok(Value::Object(object)) = serde_json::from_slice(body)
        {
            args.map.extend(object);
        }
        args
    }

    fn read_form(&mut self, form: &[u8]) {
        for (name, value) in form_urlencoded::parse(form) {
            self.put(&name, value.into_owned());
        }
    }

    fn put(&mut self, name: &str, value: String) {
        let parsed =
            STRUCTURES.contains(&name).then(|| serde_json::from_str(&value).ok()).flatten();
        self.map.insert(name.to_owned(), parsed.unwrap_or(Value::String(value)));
    }

    /// An argument that is text; empty when it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.map.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// An argument that is text and has to be there.
    pub(super) fn need(&self, name: &str) -> Result<&str, Refusal> {
        let value = self.text(name);
        if value.is_empty() { Err(Refusal::missing(name)) } else { Ok(value) }
    }

    /// Any argument; `null` when it is not there.
    pub(super) fn json(&self, name: &str) -> &Value {
        self.map.get(name).unwrap_or(&Value::Null)
    }

    /// An argument that is yes or no.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.json(name).as_bool().unwrap_or_else(|| matches!(self.text(name), "true" | "1"))
    }

    /// An argument that is a number.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        let number = self.json(name).as_u64().and_then(|number| usize::try_from(number).ok());
        number.or_else(|| self.text(name).parse().ok())
    }

    /// An argument that is a list, written as JSON or with commas.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        match self.json(name) {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            _ => self.text(name).split(',').filter(|item| !item.is_empty()).collect(),
        }
    }

    /// The conversation that the call is about.
    pub(super) fn channel(&self) -> &str {
        let channel = self.text("channel");
        if channel.is_empty() { self.text("channel_id") } else { channel }
    }

    /// Arguments as a test writes them.
    #[cfg(test)]
    pub(super) fn from_json(json: Value) -> Self {
        let Value::Object(map) = json else { panic!("arguments are an object: {json}") };
        Self { map, posted: true }
    }

    /// All of them, without a token.
    pub(super) fn into_json(mut self) -> Value {
        self.map.remove("token");
        Value::Object(self.map)
    }
}

/// A header of a request; empty when it is not there or no text.
pub(super) fn header<'a>(head: &'a Parts, name: &str) -> &'a str {
    head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What stands between the parts of a body.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (_, boundary) =
        content_type.strip_prefix("multipart/form-data")?.split_once("boundary=")?;
    Some(boundary.split(';').next().unwrap_or_default().trim().trim_matches('"'))
}

/// The parts of a body, each with its name.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<(String, &'a [u8])> {
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut rest = body;
    while let Some((_, after)) = split(rest, delimiter.as_bytes()) {
        let Some((head, tail)) = split(after, b"\r\n\r\n") else { break };
        let Some((content, _)) = split(tail, format!("\r\n{delimiter}").as_bytes()) else { break };
        let head = String::from_utf8_lossy(head);
        let name = head.split_once("name=\"").and_then(|(_, name)| name.split_once('"'));
        parts.push((name.map(|(name, _)| name.to_owned()).unwrap_or_default(), content));
        rest = tail.get(content.len()..).unwrap_or_default();
    }
    parts
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let position = bytes.windows(at.len()).position(|window| window == at)?;
    Some((bytes.get(..position)?, bytes.get(position + at.len()..)?))
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use serde_json::json;

    use super::*;

    fn args(method: Method, path: &str, kind: &str, body: &str, reads: Reads) -> Value {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, kind);
        let (head, ()) = request.body(()).unwrap().into_parts();
        Args::read(&head, body.as_bytes(), reads).into_json()
    }

    #[test]
    fn arguments_stand_in_many_places() {
        let (form, json) = ("application/x-www-form-urlencoded", "application/json; charset=utf-8");
        let several = "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\n\
                       content-disposition: form-data; name=\"blocks\"\r\n\r\n[]\r\n--b--\r\n";
        for (method, path, kind, body, reads, expected) in [
            (Method::GET, "/?a=1&b=x%20y", "", "", Reads::Forms, json!({ "a": "1", "b": "x y" })),
            (Method::POST, "/?a=1", form, "a=2&token=x", Reads::Forms, json!({ "a": "2" })),
            (Method::POST, "/", form, "blocks=%5B1%5D", Reads::All, json!({ "blocks": [1] })),
            (Method::POST, "/", form, "blocks=%5B1", Reads::All, json!({ "blocks": "[1" })),
            (Method::POST, "/", json, r#"{"a":1}"#, Reads::All, json!({ "a": 1 })),
            (Method::POST, "/", json, r#"{"a":1}"#, Reads::Forms, json!({})),
            (
                Method::POST,
                "/",
                "multipart/form-data; boundary=b",
                several,
                Reads::Forms,
                json!({ "a": "1", "blocks": [] }),
            ),
            (Method::POST, "/", "text/plain", "a=1", Reads::All, json!({})),
        ] {
            assert_eq!(args(method, path, kind, body, reads), expected, "{path} {kind} {body}");
        }
    }

    #[test]
    fn lists_and_numbers_are_written_in_two_ways() {
        let map = json!({ "a": ["x", "y"], "b": "x,y", "c": 7, "d": "7", "e": true, "f": "1" });
        let args = Args::from_json(map);
        assert_eq!((args.list("a"), args.list("b")), (vec!["x", "y"], vec!["x", "y"]));
        assert_eq!(
            (args.number("c"), args.number("d"), args.number("a")),
            (Some(7), Some(7), None)
        );
        assert!(args.flag("e") && args.flag("f") && !args.flag("g"));
    }
}

//! What a model call may not ask of the provider: to reach the web on the sandbox's behalf.
//!
//! The provider's own web tools, its MCP connector, and pictures named by address would carry words of the sandbox
//! to any server, past the group's list of hosts. So they are refused; everything that is computed where it is, at
//! the provider or in the sandbox, is allowed.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::reply::Reply;
use super::request::ModelRequest;

/// Tools by their type, without the date: those that the sandbox carries out itself, and those that stay within the
/// provider (<https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview>).
const HARMLESS_TOOLS: [&str; 7] = [
    "custom",
    "bash_",
    "text_editor_",
    "computer_",
    "memory_",
    "tool_search_tool_",
    "code_execution_",
];

/// Refuses a call that asks the provider to reach the web.
pub(super) fn check(call: &ModelRequest) -> Result<(), Reply> {
    let refused = |what: &str| {
        let message = format!("{what} would reach the web past what this group may reach");
        Err(Reply::refused(&message))
    };
    if call.member::<[IgnoredAny; 0]>("mcp_servers").is_some_and(|none| none.is_err()) {
        return refused("the provider's MCP connector");
    }
    if call.member::<Tools<Harmless>>("tools").is_some_and(|tools| tools.is_err()) {
        return refused("a tool of the provider's");
    }
    if call.member::<Sources>("messages").is_some_and(|messages| messages.is_err()) {
        return refused("a picture or document named by its address");
    }
    Ok(())
}

/// A list of tools, or of other things with a type, that a rule allows; reading anything else is an error. Nothing is
/// kept, however long the list.
pub(super) struct Tools<R>(PhantomData<R>);

/// Which types may be in a list.
pub(super) trait Rule {
    /// Whether this one may be.
    fn allows(kind: Option<&str>) -> bool;
}

/// What does not reach the web.
enum Harmless {}

impl Rule for Harmless {
    fn allows(kind: Option<&str>) -> bool {
        kind.is_none_or(|kind| HARMLESS_TOOLS.iter().any(|harmless| kind.starts_with(harmless)))
    }
}

#[derive(Deserialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl<'de, R: Rule> Deserialize<'de> for Tools<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self(PhantomData))
    }
}

impl<'de, R: Rule> Visitor<'de> for Tools<R> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tools")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut tools: A) -> Result<Self, A::Error> {
        while let Some(Tool { kind }) = tools.next_element()? {
            if !R::allows(kind.as_deref()) {
                return Err(serde::de::Error::custom("a tool that is not allowed"));
            }
        }
        Ok(self)
    }
}

/// Messages without a source that is named by its address; reading anything else is an error. Nothing is kept.
struct Sources;

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Within::Anything.deserialize(deserializer).map(|()| Self)
    }
}

/// Where in the messages the reader is.
#[derive(Clone, Copy)]
enum Within {
    Anything,
    /// The value of a `source`.
    Source,
    /// The value of the `type` of a `source`.
    SourceType,
}

impl<'de> DeserializeSeed<'de> for Within {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("messages")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match (self, key.as_str()) {
                // What a tool was called with is the tool's own.
                (Self::Anything, "input") => drop(map.next_value::<IgnoredAny>()?),
                (Self::Anything, "source") => map.next_value_seed(Self::Source)?,
                (Self::Source, "type") => map.next_value_seed(Self::SourceType)?,
                _ => map.next_value_seed(Self::Anything)?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Self::Anything)?.is_some() {}
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match (self, text) {
            (Self::SourceType, "url") => Err(E::custom("a source named by its address")),
            _ => Ok(()),
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::HeaderMap;
    use serde_json::{Value, json};

    use super::super::request::Endpoint;
    use super::*;

    fn is_allowed(body: Value) -> bool {
        let bytes = Bytes::from(body.to_string());
        let call = ModelRequest::parse(Endpoint::Messages, &HeaderMap::new(), bytes, "m").unwrap();
        check(&call).is_ok()
    }

    fn block(block: Value) -> Value {
        json!({"messages": [{"role": "user", "content": [block]}]})
    }

    #[test]
    fn what_stays_where_it_is_is_allowed() {
        for body in [
            json!({}),
            json!({"mcp_servers": []}),
            json!({"tools": [{"name": "a", "input_schema": {"type": "url"}}, {"type": "custom"}]}),
            json!({"tools": [{"type": "bash_20250124"}, {"type": "text_editor_20250728"}, {"type": null}]}),
            json!({"messages": [{"role": "user", "content": "source: url"}]}),
            block(json!({"type": "image", "source": {"type": "base64", "data": "aGk="}})),
            block(json!({"type": "text", "text": "x", "n": [1, -1, 1.5, true, null]})),
            block(json!({"type": "tool_use", "input": {"source": {"type": "url"}}})),
            block(json!({"type": "search_result", "source": "https://example.org"})),
            block(json!({"type": "url", "url": "x"})),
        ] {
            assert!(is_allowed(body.clone()), "{body}");
        }
    }

    #[test]
    fn what_would_reach_the_web_is_refused() {
        let nested = block(json!({"type": "image", "source": {"url": "https://x", "type": "url"}}));
        for body in [
            json!({"mcp_servers": [{"type": "url", "url": "https://x"}]}),
            json!({"mcp_servers": {"a": 1}}),
            json!({"tools": [{"name": "a"}, {"type": "web_search_20250305", "name": "web_search"}]}),
            json!({"tools": [{"type": "web_fetch_20250910"}]}),
            json!({"tools": [{"type": "mcp_toolset"}]}),
            json!({"tools": [{"type": 1}]}),
            json!({"tools": {}}),
            nested.clone(),
            block(json!({"type": "document", "source": {"type": "url", "url": "x"}})),
            block(
                json!({"type": "tool_result", "content": nested["messages"][0]["content"].clone()}),
            ),
            block(json!({"type": "document", "source": {"type": "content",
                "content": [{"type": "image", "source": {"type": "url"}}]}})),
        ] {
            assert!(!is_allowed(body.clone()), "{body}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused_and_not_followed() {
        let deep = format!(r#"{{"messages":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let call = ModelRequest::parse(Endpoint::Messages, &HeaderMap::new(), deep.into(), "m");
        assert!(check(&call.unwrap()).is_err());
    }
}

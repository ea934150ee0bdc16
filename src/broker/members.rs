//! A JSON object cut into its members, each value left as the bytes it is: pure, fit for fuzzing.

use std::ops::Range;

use bytes::Bytes;
use serde::de::IgnoredAny;

/// The most members that an object may have; no request has as many.
const MAX_MEMBERS: usize = 256;

/// A JSON object cut into its members.
///
/// Large requests are not built up in memory a second time, and what the provider gets is what the agent wrote.
#[derive(Debug)]
pub(super) struct Members {
    bytes: Bytes,
    /// Names and values; where a name comes twice, the last one counts and the others are forgotten.
    members: Vec<(String, Range<usize>)>,
}

impl Members {
    /// Cuts an object; `None` when it is none, or has more members than any request.
    pub(super) fn parse(bytes: Bytes) -> Option<Self> {
        let mut cursor = Cursor { bytes: &bytes, at: 0 };
        let mut members: Vec<(String, Range<usize>)> = Vec::new();
        cursor.expect(b'{')?;
        if !cursor.take(b'}') {
            loop {
                let (name, _) = cursor.value::<String>()?;
                cursor.expect(b':')?;
                let (IgnoredAny, range) = cursor.value()?;
                members.retain(|(known, _)| *known != name);
                members.push((name, range));
                // Comparing names must not become the sandbox's way to keep us busy.
                if members.len() > MAX_MEMBERS {
                    return None;
                }
                if !cursor.take(b',') {
                    break;
                }
            }
            cursor.expect(b'}')?;
        }
        cursor.skip_space();
        (cursor.at == bytes.len()).then_some(Self { bytes, members })
    }

    /// The names of all members.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// The size of the whole object in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// A member, read as this type; `None` when it is not there.
    pub(super) fn read<'a, T: serde::Deserialize<'a>>(
        &'a self,
        name: &str,
    ) -> Option<serde_json::Result<T>> {
        let (_, range) = self.members.iter().find(|(known, _)| known == name)?;
        Some(serde_json::from_slice(self.bytes.get(range.clone())?))
    }

    /// The object without the members `cut`, and with the JSON values `put` in front.
    pub(super) fn rewritten(&self, cut: &[&str], put: &[(&str, &[u8])]) -> Bytes {
        let kept = self.members.iter().filter(|(name, _)| !cut.contains(&name.as_str()));
        let kept = kept.filter_map(|(name, range)| Some((&**name, self.bytes.get(range.clone())?)));
        let mut out = Vec::with_capacity(self.bytes.len() + 64);
        for (name, value) in put.iter().copied().chain(kept) {
            out.push(if out.is_empty() { b'{' } else { b',' });
            out.extend(serde_json::to_vec(name).unwrap_or_default());
            out.push(b':');
            out.extend_from_slice(value);
        }
        if out.is_empty() {
            out.push(b'{');
        }
        out.push(b'}');
        out.into()
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.rest().iter().take_while(space).count();
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let there = self.rest().first() == Some(&byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn value<T: serde::Deserialize<'a>>(&mut self) -> Option<(T, Range<usize>)> {
        self.skip_space();
        let start = self.at;
        let mut values = serde_json::Deserializer::from_slice(self.rest()).into_iter::<T>();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some((value, start..self.at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn parse(text: &str) -> Option<Members> {
        Members::parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn what_is_not_cut_or_put_stays_as_it_is() {
        let object =
            parse(r#" { "a" : [1, 2] , "b":{"a":"}"},"n":12345678901234567890123 } "#).unwrap();
        let rewritten = object.rewritten(&["a", "z"], &[("z", b"0")]);
        assert_eq!(rewritten, r#"{"z":0,"b":{"a":"}"},"n":12345678901234567890123}"#);
        assert_eq!(object.read::<Vec<u8>>("a").unwrap().unwrap(), [1, 2]);
        assert!(object.read::<Value>("z").is_none());
        assert_eq!(parse("{}").unwrap().rewritten(&[], &[]), "{}");
    }

    #[test]
    fn nothing_else_is_an_object() {
        for text in [
            "",
            " ",
            "[]",
            "1",
            "{",
            "{}x",
            "{}{}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            "{a:1}",
            "{\u{0}}",
            r#"{"a":01}"#,
        ] {
            assert!(parse(text).is_none(), "{text:?}");
        }
        let many: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("\"{n}\":0")).collect();
        assert!(parse(&format!("{{{}}}", many.join(","))).is_none());
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(parse(&deep).is_some());
    }

    proptest! {
        #[test]
        fn what_it_takes_is_what_a_json_parser_takes(
            text in prop::collection::vec(prop::sample::select(br#"{}[]",:a1 e.-\tn"#.to_vec()), 0..40),
        ) {
            let text = String::from_utf8(text).unwrap();
            let whole = serde_json::from_str::<serde_json::Map<String, Value>>(&text);
            if let Ok(object) = whole {
                let cut = parse(&text).expect("an object");
                let again: serde_json::Map<String, Value> =
                    serde_json::from_slice(&cut.rewritten(&[], &[])).unwrap();
                prop_assert_eq!(again, object);
            }
        }
    }
}

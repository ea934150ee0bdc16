//! Credentials: a key or token at Anthropic, a signature's presence and scope at AWS.
//!
//! The signature itself is not computed: that the client signs rightly is the SDK's own promise,
//! but which key, region, service and headers it signs with is ours.

use hyper::HeaderMap;

use super::failure::{Denial, Failure};
use super::script::Keys;

/// Checks `x-api-key` or `Authorization: Bearer`, when a key is configured.
pub(super) fn anthropic(headers: &HeaderMap, keys: &Keys) -> Result<(), Failure> {
    let Some(expected) = keys.api.as_deref() else { return Ok(()) };
    match (text(headers, "x-api-key"), bearer(headers)) {
        (Some(key), _) if key == expected => Ok(()),
        (None, Some(token)) if token == expected => Ok(()),
        (Some(_), _) => Err(Failure::Unauthorized(Denial::Unknown)),
        (None, Some(_)) => Err(Failure::Unauthorized(Denial::Bearer)),
        (None, None) => Err(Failure::Unauthorized(Denial::Missing)),
    }
}

/// Checks that a request is signed for Bedrock, or carries the bearer token that is configured.
pub(super) fn bedrock(headers: &HeaderMap, keys: &Keys) -> Result<(), Failure> {
    let denied = |denial| Err(Failure::Unauthorized(denial));
    if let Some(token) = bearer(headers) {
        let known = keys.aws_bearer.as_deref() == Some(token);
        return if known { Ok(()) } else { denied(Denial::Bearer) };
    }
    let Some(authorization) = text(headers, "authorization") else {
        return denied(Denial::Missing);
    };
    let Some(signature) = Signature::read(authorization) else {
        return denied(Denial::Incomplete);
    };
    let date = text(headers, "x-amz-date").unwrap_or_default();
    // What is sent and matters has to be signed, or it could be swapped on the way.
    let token = headers.contains_key("x-amz-security-token").then_some("x-amz-security-token");
    let must = ["host", "x-amz-date"].into_iter().chain(token);
    if !must.into_iter().all(|name| signature.headers.contains(&name)) || !is_stamp(date) {
        return denied(Denial::Incomplete);
    }
    let [key, day, region, service, end] = signature.scope;
    let wanted = keys.aws_region.as_deref().unwrap_or(region);
    if !date.starts_with(day) || day.len() != 8 || region.is_empty() || region != wanted {
        return denied(Denial::Scope);
    }
    if service != "bedrock" || end != "aws4_request" {
        return denied(Denial::Scope);
    }
    if key.is_empty() || keys.aws_access_key.as_deref().is_some_and(|known| known != key) {
        return denied(Denial::Unknown);
    }
    Ok(())
}

/// The parts of an `Authorization` header as AWS Signature Version 4 writes it.
struct Signature<'a> {
    scope: [&'a str; 5],
    headers: Vec<&'a str>,
}

impl<'a> Signature<'a> {
    fn read(authorization: &'a str) -> Option<Self> {
        let parts: Vec<(&str, &str)> = authorization
            .strip_prefix("AWS4-HMAC-SHA256 ")?
            .split(',')
            .map(|part| part.trim().split_once('='))
            .collect::<Option<_>>()?;
        let part = |wanted| parts.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let signature = part("Signature")?;
        if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let scope: Vec<&str> = part("Credential")?.split('/').collect();
        Some(Self {
            scope: scope.try_into().ok()?,
            headers: part("SignedHeaders")?.split(';').collect(),
        })
    }
}

/// Whether this is a time as AWS writes it: `20260131T235959Z`.
fn is_stamp(date: &str) -> bool {
    let shape = |(index, byte): (usize, u8)| match index {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    date.len() == 16 && date.bytes().enumerate().all(shape)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    text(headers, "authorization")?.strip_prefix("Bearer ")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    const SIGNATURE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), value(v))).collect()
    }

    fn denial(result: Result<(), Failure>) -> Option<Denial> {
        match result {
            Ok(()) => None,
            Err(Failure::Unauthorized(denial)) => Some(denial),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_configured_key_must_be_there_and_right() {
        let keys = Keys { api: Some("sk-1".into()), ..Keys::default() };
        for (sent, expected) in [
            (vec![("x-api-key", "sk-1")], None),
            (vec![("authorization", "Bearer sk-1")], None),
            (vec![("x-api-key", "sk-2")], Some(Denial::Unknown)),
            (vec![("x-api-key", "sk-2"), ("authorization", "Bearer sk-1")], Some(Denial::Unknown)),
            (vec![("authorization", "Bearer sk-2")], Some(Denial::Bearer)),
            (vec![("authorization", "Basic sk-1")], Some(Denial::Missing)),
            (vec![], Some(Denial::Missing)),
        ] {
            assert_eq!(denial(anthropic(&headers(&sent), &keys)), expected, "{sent:?}");
        }
        assert_eq!(denial(anthropic(&HeaderMap::new(), &Keys::default())), None);
    }

    #[test]
    fn a_signature_must_be_whole_and_in_scope() {
        let keys = Keys {
            aws_access_key: Some("AKIA".into()),
            aws_region: Some("eu-west-1".into()),
            ..Keys::default()
        };
        let scope = "AKIA/20260131/eu-west-1/bedrock/aws4_request";
        let stamp = "20260131T235959Z";
        for (scope, signed, signature, date, expected) in [
            (scope, "host;x-amz-date", SIGNATURE, stamp, None),
            (scope, "content-type;host;x-amz-date", SIGNATURE, stamp, None),
            (scope, "x-amz-date", SIGNATURE, stamp, Some(Denial::Incomplete)),
            (scope, "host", SIGNATURE, stamp, Some(Denial::Incomplete)),
            (scope, "host;x-amz-date", "abc", stamp, Some(Denial::Incomplete)),
            (scope, "host;x-amz-date", SIGNATURE, "Sat, 31 Jan 2026", Some(Denial::Incomplete)),
            (scope, "host;x-amz-date", SIGNATURE, "20260201T000000Z", Some(Denial::Scope)),
            ("AKIA/20260131/eu-west-1/bedrock", "host", SIGNATURE, stamp, Some(Denial::Incomplete)),
        ] {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={signature}"
            );
            let sent = headers(&[("authorization", &authorization), ("x-amz-date", date)]);
            assert_eq!(denial(bedrock(&sent, &keys)), expected, "{authorization} {date}");
        }
    }

    #[test]
    fn the_scope_names_key_region_and_service() {
        let keys = Keys {
            aws_access_key: Some("AKIA".into()),
            aws_region: Some("eu-west-1".into()),
            ..Keys::default()
        };
        for (scope, expected) in [
            ("AKIB/20260131/eu-west-1/bedrock/aws4_request", Some(Denial::Unknown)),
            ("AKIA/20260131/us-east-1/bedrock/aws4_request", Some(Denial::Scope)),
            ("AKIA/20260131/eu-west-1/s3/aws4_request", Some(Denial::Scope)),
            ("AKIA/20260131/eu-west-1/bedrock/aws4", Some(Denial::Scope)),
            ("AKIA//eu-west-1/bedrock/aws4_request", Some(Denial::Scope)),
        ] {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, \
                 Signature={SIGNATURE}"
            );
            let sent =
                headers(&[("authorization", &authorization), ("x-amz-date", "20260131T235959Z")]);
            assert_eq!(denial(bedrock(&sent, &keys)), expected, "{scope}");
        }
    }

    #[test]
    fn a_session_token_must_be_signed_and_a_bearer_token_known() {
        let keys = Keys { aws_bearer: Some("token".into()), ..Keys::default() };
        let signed = |names: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=A/20260131/r/bedrock/aws4_request, \
                 SignedHeaders={names}, Signature={SIGNATURE}"
            )
        };
        for (authorization, expected) in [
            (signed("host;x-amz-date"), Some(Denial::Incomplete)),
            (signed("host;x-amz-date;x-amz-security-token"), None),
            ("Bearer token".to_owned(), None),
            ("Bearer other".to_owned(), Some(Denial::Bearer)),
        ] {
            let sent = headers(&[
                ("authorization", &authorization),
                ("x-amz-date", "20260131T235959Z"),
                ("x-amz-security-token", "session"),
            ]);
            assert_eq!(denial(bedrock(&sent, &keys)), expected, "{authorization}");
        }
        let sent = headers(&[("authorization", "Bearer token")]);
        assert_eq!(denial(bedrock(&sent, &Keys::default())), Some(Denial::Bearer));
        assert_eq!(denial(bedrock(&HeaderMap::new(), &keys)), Some(Denial::Missing));
    }
}

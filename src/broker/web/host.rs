//! Names of hosts, and which of them a group may reach: pure.

use std::fmt;
use std::net::IpAddr;

/// The longest name of a host.
const MAX_BYTES: usize = 253;

/// The name or the address of a host, in small letters, without brackets and without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host(String);

impl Host {
    /// Reads the host of a CONNECT request.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Some(address) = bracketed {
            // A zone would choose a network device of ours.
            return address.parse::<IpAddr>().ok().map(|address| Self(address.to_string()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
        (name.len() <= MAX_BYTES && name.split('.').all(label)).then_some(Self(name))
    }

    /// The host as text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a list allows this host: `example.org` is that host only, `*.example.org` all below it.
    pub(super) fn is_allowed(&self, allow: &[String]) -> bool {
        allow.iter().any(|rule| {
            let rule = rule.trim().trim_end_matches('.').to_ascii_lowercase();
            match rule.strip_prefix("*.") {
                Some(parent) => self
                    .0
                    .strip_suffix(parent)
                    .and_then(|below| below.strip_suffix('.'))
                    .is_some_and(|below| !below.is_empty() && !parent.is_empty()),
                None => self.0 == rule,
            }
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, rules: &[&str]) -> bool {
        let rules: Vec<String> = rules.iter().map(|&rule| rule.to_owned()).collect();
        Host::parse(host).unwrap().is_allowed(&rules)
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        for (host, rules, expected) in [
            ("example.org", &["example.org"][..], true),
            ("EXAMPLE.org.", &["example.org"], true),
            ("example.org", &["Example.ORG."], true),
            ("a.example.org", &["example.org"], false),
            ("a.example.org", &["*.example.org"], true),
            ("a.b.example.org", &["*.example.org"], true),
            ("example.org", &["*.example.org"], false),
            ("evilexample.org", &["*.example.org"], false),
            ("example.org.evil.net", &["example.org", "*.example.org"], false),
            ("example.org", &[], false),
            ("example.org", &["*"], false),
            ("example.org", &["*."], false),
            ("example.org", &["*.*"], false),
            ("example.org", &["", "."], false),
            ("127.0.0.1", &["127.0.0.1"], true),
            ("[2001:DB8:0::1]", &["2001:db8::1"], true),
        ] {
            assert_eq!(allowed(host, rules), expected, "{host} by {rules:?}");
        }
    }

    #[test]
    fn odd_hosts_are_none() {
        for host in [
            "",
            ".",
            "a..b",
            "a b",
            "é.org",
            "[::1",
            "[fe80::1%25eth0]",
            "[1.2.3.4.5]",
            "a/b",
            "a@b",
            "-\u{0}",
            &"a".repeat(64),
            &"a.".repeat(128),
        ] {
            assert_eq!(Host::parse(host), None, "{host}");
        }
    }
}

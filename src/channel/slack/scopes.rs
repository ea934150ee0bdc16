//! What the bot's token must be allowed, and what of it is missing.

use std::collections::BTreeSet;

/// What the bot may do, each with what it is needed for, for the person who has to grant it.
pub(crate) const BOT_SCOPES: &[(&str, &str)] = &[
    ("app_mentions:read", "to hear when somebody mentions it"),
    ("assistant:write", "to show what it is doing"),
    ("channels:history", "to read what is said in public channels that it is in"),
    ("channels:read", "to know the names of public channels"),
    ("chat:write", "to answer"),
    ("files:read", "to read files that people attach"),
    ("files:write", "to send files"),
    ("groups:history", "to read what is said in private channels that it is in"),
    ("groups:read", "to know the names of private channels"),
    ("im:history", "to read direct messages to it"),
    ("im:read", "to know with whom it has direct messages"),
    ("mpim:history", "to read group messages that it is in"),
    ("mpim:read", "to know who is in group messages"),
    ("reactions:read", "to hear when somebody stops it with a reaction"),
    ("reactions:write", "to react"),
    ("users:read", "to know people's names, and who is a guest"),
];

/// What the app's token must be allowed.
pub(crate) const APP_SCOPE: &str = "connections:write";

/// The scopes that Slack has granted, as the header `x-oauth-scopes` lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Reads the header.
    pub(crate) fn parse(header: &str) -> Self {
        let scopes = header.split(',').map(str::trim).filter(|scope| !scope.is_empty());
        Self(scopes.map(str::to_owned).collect())
    }

    /// Whether one is among them.
    pub(crate) fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// What the bot needs and was not granted, with what it is needed for.
    pub(crate) fn missing(&self) -> Vec<(&'static str, &'static str)> {
        BOT_SCOPES.iter().filter(|(scope, _)| !self.contains(scope)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let all: Vec<&str> = BOT_SCOPES.iter().map(|(scope, _)| *scope).collect();
        assert!(all.is_sorted());
        for (header, missing) in [
            (all.join(","), vec![]),
            (format!(" {} ,, more:scopes", all.join(" , ")), vec![]),
            (all[1..].join(","), vec![all[0]]),
            (all.join(",").replace("chat:write", "chat:write.public"), vec!["chat:write"]),
            (String::new(), all.clone()),
        ] {
            let found: Vec<&str> =
                Scopes::parse(&header).missing().into_iter().map(|(scope, _)| scope).collect();
            assert_eq!(found, missing, "{header:?}");
        }
    }
}

//! Who somebody is, from what Slack says of them: a member of this house, or somebody from outside.
//!
//! Whoever is not known to be a member is outside: what is missing or odd never lets anybody in.

use std::time::Duration;

use serde_json::Value;

use super::cache::Cache;
use super::id::{TeamId, UserId};
use super::json::{is_true, list, parsed, word};
use crate::text::one_line;

/// The longest name that is kept, in characters.
const MOST_NAME: usize = 80;
/// How many people are remembered.
const MOST_PEOPLE: usize = 5_000;
/// How long somebody may be another than Slack would say now.
const GOOD_FOR: Duration = Duration::from_secs(10 * 60);

/// Those of whom Slack was asked; `None`, that Slack knows nobody of this id.
pub(crate) type People = Cache<UserId, Option<Person>>;

/// Nobody is known yet.
pub(crate) fn nobody() -> People {
    People::new(MOST_PEOPLE, GOOD_FOR)
}

/// A workspace that we work for, as `auth.test` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    /// The workspace.
    pub(crate) team: TeamId,
    /// The organisation of several workspaces that it belongs to.
    pub(crate) enterprise: Option<TeamId>,
}

/// Somebody, as `users.info` describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// Their id.
    pub(crate) id: UserId,
    /// What people call them, on one line.
    pub(crate) name: String,
    /// Whether it is a program.
    pub(crate) is_bot: bool,
    /// Where they belong.
    pub(crate) standing: Standing,
}

/// Where somebody belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A full member of the workspace, or of its organisation.
    Member,
    /// A guest in several channels.
    Guest,
    /// A guest in one channel.
    SingleChannelGuest,
    /// Somebody of another organisation who shares a channel with us, or of whom Slack shows us no more than that.
    Stranger,
    /// Their account was closed.
    Deleted,
    /// Slack does not say enough.
    Unknown,
}

impl Standing {
    /// Whether they are from outside: only a full member is not.
    pub(crate) fn is_outside(self) -> bool {
        self != Self::Member
    }
}

impl Person {
    /// Reads somebody from the answer of `users.info`, or from its `user` alone; `None` when it names nobody.
    pub(crate) fn parse(info: &Value, home: &Home) -> Option<Self> {
        let user = info.get("user").filter(|user| user.is_object()).unwrap_or(info);
        let id: UserId = parsed(user, "id")?;
        let profile = user.get("profile").unwrap_or(&Value::Null);
        let names = [(profile, "display_name"), (profile, "real_name"), (user, "real_name")];
        let name = names
            .into_iter()
            .chain([(user, "name")])
            .filter_map(|(of, key)| word(of, key))
            .map(|name| one_line(name, MOST_NAME))
            .find(|name| !name.is_empty());
        Some(Self {
            name: name.unwrap_or_else(|| id.to_string()),
            is_bot: is_true(user, "is_bot") || id.as_str() == "USLACKBOT",
            standing: Standing::of(user, home),
            id,
        })
    }
}

/// Whether somebody of whom this is known is from outside.
pub(crate) fn is_outside(person: Option<&Person>) -> bool {
    person.is_none_or(|person| person.standing.is_outside())
}

impl Standing {
    fn of(user: &Value, home: &Home) -> Self {
        // What is there and says anything but no, says yes.
        let says = |key: &str| user.get(key).map(|value| value.as_bool() != Some(false));
        let yes = |key: &str| says(key) == Some(true);
        if yes("deleted") {
            Self::Deleted
        } else if yes("is_stranger") {
            Self::Stranger
        } else if yes("is_ultra_restricted") {
            Self::SingleChannelGuest
        } else if yes("is_restricted") {
            Self::Guest
        } else if says("is_restricted").is_none() || says("is_ultra_restricted").is_none() {
            // Slack says both of every member; where it does not, this is no such record.
            Self::Unknown
        } else {
            Self::by_team(user, home)
        }
    }

    /// A member of some workspace: is it ours?
    fn by_team(user: &Value, home: &Home) -> Self {
        let enterprise = user.get("enterprise_user").unwrap_or(&Value::Null);
        let same_enterprise = home.enterprise.is_some()
            && parsed::<TeamId>(enterprise, "enterprise_id") == home.enterprise;
        let in_team =
            list(enterprise, "teams").any(|team| team.as_str() == Some(home.team.as_str()));
        match parsed::<TeamId>(user, "team_id") {
            Some(team) if team == home.team => Self::Member,
            _ if same_enterprise || in_team => Self::Member,
            Some(_) => Self::Stranger,
            None => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn home() -> Home {
        Home { team: "T1".parse().unwrap(), enterprise: "E1".parse().ok() }
    }

    /// A full member, with some fields otherwise; `null` takes one away.
    fn user(fields: &Value) -> Value {
        let mut user = json!({
            "id": "U1", "team_id": "T1", "name": "al", "real_name": "Al Real", "deleted": false,
            "is_bot": false, "is_restricted": false, "is_ultra_restricted": false,
            "profile": { "display_name": "alice", "real_name": "Al Real" },
        });
        let user_fields = user.as_object_mut().unwrap();
        for (key, value) in fields.as_object().unwrap() {
            user_fields.insert(key.clone(), value.clone());
        }
        user_fields.retain(|_, value| !value.is_null());
        user
    }

    #[test]
    fn only_members_are_not_outside() {
        for (fields, standing) in [
            (json!({}), Standing::Member),
            (json!({ "is_admin": true, "novelty": {} }), Standing::Member),
            (json!({ "is_stranger": false }), Standing::Member),
            (json!({ "is_restricted": true }), Standing::Guest),
            (
                json!({ "is_restricted": true, "is_ultra_restricted": true }),
                Standing::SingleChannelGuest,
            ),
            (json!({ "is_ultra_restricted": true }), Standing::SingleChannelGuest),
            (json!({ "is_stranger": true }), Standing::Stranger),
            (json!({ "is_stranger": true, "is_restricted": null }), Standing::Stranger),
            (json!({ "team_id": "T2" }), Standing::Stranger),
            (
                json!({ "team_id": "T2", "enterprise_user": { "enterprise_id": "E1" } }),
                Standing::Member,
            ),
            (
                json!({ "team_id": "T2", "enterprise_user": { "enterprise_id": "E2" } }),
                Standing::Stranger,
            ),
            (
                json!({ "team_id": "E2", "enterprise_user": { "teams": ["T9", "T1"] } }),
                Standing::Member,
            ),
            (json!({ "deleted": true }), Standing::Deleted),
            (json!({ "team_id": null }), Standing::Unknown),
            (json!({ "is_restricted": null }), Standing::Unknown),
            (json!({ "is_ultra_restricted": null }), Standing::Unknown),
            (json!({ "is_restricted": "false" }), Standing::Guest),
        ] {
            let person = Person::parse(&user(&fields), &home()).unwrap();
            assert_eq!(person.standing, standing, "{fields}");
            assert_eq!(is_outside(Some(&person)), standing != Standing::Member, "{fields}");
        }
        assert!(is_outside(None));
        let alone = Home { enterprise: None, ..home() };
        let other = user(&json!({ "team_id": "T2", "enterprise_user": {} }));
        assert_eq!(Person::parse(&other, &alone).unwrap().standing, Standing::Stranger);
    }

    #[test]
    fn people_are_called_what_they_call_themselves() {
        for (fields, name) in [
            (json!({}), "alice"),
            (json!({ "profile": { "display_name": "", "real_name": "Al R" } }), "Al R"),
            (json!({ "profile": null }), "Al Real"),
            (json!({ "profile": { "display_name": " \n " }, "real_name": null }), "al"),
            (json!({ "profile": 7, "real_name": null, "name": null }), "U1"),
            (json!({ "profile": { "display_name": "a\nb\u{202e}" } }), "a b\\u{202e}"),
        ] {
            assert_eq!(Person::parse(&user(&fields), &home()).unwrap().name, name, "{fields}");
        }
    }

    #[test]
    fn answers_are_read_with_and_without_their_envelope() {
        let answer = json!({ "ok": true, "user": user(&json!({ "is_bot": true })) });
        assert!(Person::parse(&answer, &home()).unwrap().is_bot);
        assert!(Person::parse(&user(&json!({ "id": "USLACKBOT" })), &home()).unwrap().is_bot);
        for nobody in
            [json!({ "ok": false, "error": "user_not_found" }), json!(null), json!({ "id": 7 })]
        {
            assert_eq!(Person::parse(&nobody, &home()), None, "{nobody}");
        }
    }

    #[test]
    fn that_somebody_does_not_exist_is_remembered_too() {
        let (mut people, now) = (nobody(), Instant::now());
        let id: UserId = "U1".parse().unwrap();
        assert_eq!(people.get(&id, now), None);
        people.put(id.clone(), None, now);
        assert_eq!(people.get(&id, now), Some(&None));
        assert_eq!(people.get(&id, now + GOOD_FOR), None);
    }

    proptest! {
        #[test]
        fn no_one_comes_in_by_what_is_missing(mask in 0u8..8, odd in prop_oneof![Just(Value::Null), Just(json!("")), Just(json!(1))]) {
            prop_assume!(mask != 0);
            let keys = ["team_id", "is_restricted", "is_ultra_restricted"];
            let fields = keys.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0);
            let fields: serde_json::Map<_, _> = fields.map(|(_, key)| ((*key).to_owned(), odd.clone())).collect();
            let person = Person::parse(&user(&Value::Object(fields)), &home()).unwrap();
            prop_assert!(person.standing.is_outside());
        }
    }
}

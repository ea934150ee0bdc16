//! What somebody wants of a group, checked before the store is touched.

use std::path::{Component, Path};

use crate::cli::args::{GroupChange, GroupSet};
use crate::cli::exit::Failure;
use crate::model::{ChatId, Engage, Group, InvalidGroup, MountRequest, TriggerWish, movable};
use crate::store::GroupChats;

/// The word that empties a list or lifts a limit.
const NONE: &str = "-";

/// A change, checked; `None` leaves things as they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The chats that are to come and to go.
    pub(super) chats: GroupChats,
    trigger: TriggerWish,
    engage: Option<Engage>,
    senders: Senders,
    web_allow: Option<Vec<String>>,
    budget_micros: Option<Option<u64>>,
    mounts: Option<Vec<MountRequest>>,
}

/// Who is to be named among those who may wake the assistant, and who no longer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Senders {
    /// `None` leaves them as they are; nobody is to be named any more when it is empty.
    allowed: Option<Vec<String>>,
    forbidden: Vec<String>,
}

impl Wanted {
    /// Checks what was asked for of a new group.
    ///
    /// # Errors
    /// A sentence for what is wrong.
    pub(super) fn of_new(change: &GroupChange) -> Result<Self, Failure> {
        Self::read(change, &[], &[])
    }

    /// Checks what was asked for of a group that is there.
    ///
    /// # Errors
    /// A sentence for what is wrong.
    pub(super) fn of_existing(options: &GroupSet) -> Result<Self, Failure> {
        Self::read(&options.change, &options.remove_chat, &options.forbid_sender)
    }

    fn read(
        change: &GroupChange,
        removed: &[ChatId],
        forbidden: &[String],
    ) -> Result<Self, Failure> {
        let needed = change.no_trigger.then_some(false);
        let sentence = |error: InvalidGroup| Failure::usage(error.to_string());
        let trigger = TriggerWish::new(&change.name, change.trigger.as_deref(), needed);
        let trigger = trigger.map_err(sentence)?;
        change.chat.iter().chain(removed).try_for_each(movable).map_err(sentence)?;
        if let Some(chat) = removed.iter().find(|chat| change.chat.contains(chat)) {
            let sentence =
                format!("{chat} cannot come and go at once; say --chat or --remove-chat");
            return Err(Failure::usage(sentence));
        }
        Ok(Self {
            chats: GroupChats { added: change.chat.clone(), removed: removed.to_vec() },
            trigger,
            engage: change.engage,
            senders: Senders::read(&change.allow_sender, forbidden)?,
            web_allow: list(&change.allow_web, host)?,
            budget_micros: change.budget.as_deref().map(budget).transpose()?,
            mounts: list(&change.mount, mount)?,
        })
    }

    /// Whether nothing is asked for.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The group as it is to be.
    ///
    /// # Errors
    /// A sentence for what the group as it is does not allow.
    pub(super) fn apply_to(&self, mut group: Group) -> Result<Group, String> {
        self.trigger.apply_to(&mut group);
        if let Some(engage) = self.engage {
            group.settings.engage = engage;
        }
        self.senders.apply_to(&mut group)?;
        if let Some(hosts) = &self.web_allow {
            group.settings.web_allow.clone_from(hosts);
        }
        if let Some(budget) = self.budget_micros {
            group.settings.daily_budget_micros = budget;
        }
        if let Some(mounts) = &self.mounts {
            group.settings.additional_mounts.clone_from(mounts);
        }
        Ok(group)
    }
}

impl Senders {
    fn read(allowed: &[String], forbidden: &[String]) -> Result<Self, Failure> {
        let allowed = list(allowed, |text| sender("--allow-sender", text))?;
        let forbidden = forbidden.iter().map(|text| sender("--forbid-sender", text));
        let forbidden: Vec<String> = forbidden.collect::<Result<_, _>>()?;
        if let Some(both) = forbidden.iter().find(|id| allowed.iter().flatten().any(|it| it == *id))
        {
            let sentence = format!(
                "{both} cannot be allowed and forbidden at once; say --allow-sender or --forbid-sender"
            );
            return Err(Failure::usage(sentence));
        }
        Ok(Self { allowed, forbidden })
    }

    fn apply_to(&self, group: &mut Group) -> Result<(), String> {
        let named = &mut group.settings.allowed_senders;
        if let Some(stranger) = self.forbidden.iter().find(|id| !named.contains(id)) {
            return Err(format!(
                "{stranger} is not among those whom the group {} names; `hermitcrab group list` shows them",
                group.name
            ));
        }
        match self.allowed.as_deref() {
            Some([]) => named.clear(),
            Some(more) => {
                let new: Vec<String> =
                    more.iter().filter(|id| !named.contains(id)).cloned().collect();
                named.extend(new);
            }
            None => {}
        }
        let any = !named.is_empty();
        named.retain(|id| !self.forbidden.contains(id));
        // Nobody named is everybody: that must be meant.
        if any && named.is_empty() {
            return Err(format!(
                "nobody would be named in the group {}, and then everybody may wake the assistant; \
                 say --allow-sender - if that is meant",
                group.name
            ));
        }
        Ok(())
    }
}

/// A list that was given, or `-` for an empty one.
fn list<T>(
    given: &[String],
    read: impl Fn(&str) -> Result<T, Failure>,
) -> Result<Option<Vec<T>>, Failure> {
    match given {
        [] => Ok(None),
        [only] if only == NONE => Ok(Some(Vec::new())),
        some => some.iter().map(|text| read(text)).collect::<Result<_, _>>().map(Some),
    }
}

fn sender(option: &str, text: &str) -> Result<String, Failure> {
    let fits = (1..=256).contains(&text.len())
        && text != NONE
        && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if fits {
        Ok(text.to_owned())
    } else {
        Err(wrong(option, text, "an id of the platform, such as U012AB3CD"))
    }
}

fn host(text: &str) -> Result<String, Failure> {
    let name = text.to_ascii_lowercase();
    let labels = name.strip_prefix("*.").unwrap_or(&name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if labels.len() <= 253 && labels.contains('.') && labels.split('.').all(is_label) {
        Ok(name)
    } else {
        Err(wrong("--allow-web", text, "a host such as example.org or *.example.org"))
    }
}

/// Dollars, with at most six places behind the point, as millionths.
fn budget(text: &str) -> Result<Option<u64>, Failure> {
    if text == NONE {
        return Ok(None);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let micros = (!whole.is_empty() && digits(whole) && digits(fraction) && fraction.len() <= 6)
        .then(|| format!("{fraction:0<6}"))
        .and_then(|fraction| {
            let whole: u64 = whole.parse().ok()?;
            whole.checked_mul(1_000_000)?.checked_add(fraction.parse().ok()?)
        });
    micros
        .map(Some)
        .ok_or_else(|| wrong("--budget", text, "dollars such as 2.50, or - for no limit"))
}

/// `HOST:NAME`, read-only, or `HOST:NAME:rw`.
fn mount(text: &str) -> Result<MountRequest, Failure> {
    let fault = || {
        wrong(
            "--mount",
            text,
            "HOST:NAME or HOST:NAME:rw, HOST beginning with / or ~/, NAME without ..",
        )
    };
    let (rest, readonly) = match text.strip_suffix(":rw") {
        Some(rest) => (rest, false),
        None => (text.strip_suffix(":ro").unwrap_or(text), true),
    };
    let (host, name) = rest.rsplit_once(':').ok_or_else(fault)?;
    let is_plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let is_rooted = host.starts_with('/') || host.starts_with("~/");
    if name.is_empty() || !is_plain || !is_rooted {
        return Err(fault());
    }
    Ok(MountRequest { host_path: host.into(), container_path: name.into(), readonly })
}

fn wrong(option: &str, found: &str, expected: &str) -> Failure {
    Failure::usage(format!("{option} expects {expected}, not {found:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_not_addresses_of_everything() {
        for (text, read) in [
            ("example.org", Some("example.org")),
            ("*.Example.org", Some("*.example.org")),
            ("localhost", None),
            ("*", None),
            ("*.", None),
            ("https://example.org", None),
            ("example.org/path", None),
            ("example..org", None),
            ("-x.org", None),
        ] {
            assert_eq!(host(text).ok().as_deref(), read, "{text}");
        }
    }

    #[test]
    fn budgets_are_exact() {
        for (text, read) in [
            ("5", Some(Some(5_000_000))),
            ("2.50", Some(Some(2_500_000))),
            ("0.000001", Some(Some(1))),
            ("0", Some(Some(0))),
            ("-", Some(None)),
            ("-1", None),
            (".5", None),
            ("1e3", None),
            ("0.0000001", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(budget(text).ok(), read, "{text}");
        }
    }

    #[test]
    fn mounts_are_read_only_unless_said_otherwise() {
        for (text, read) in [
            ("/srv/notes:notes", Some(("/srv/notes", "notes", true))),
            ("~/photos:photos:ro", Some(("~/photos", "photos", true))),
            ("/a:b/c:rw", Some(("/a", "b/c", false))),
            ("/odd:name:notes", Some(("/odd:name", "notes", true))),
            ("notes", None),
            ("/srv/notes", None),
            ("/srv/notes:", None),
            ("notes:notes", None),
            ("/srv:../notes", None),
            ("/srv:/notes", None),
        ] {
            let seen = mount(text).ok();
            let seen = seen.as_ref().map(|mount| {
                let host = mount.host_path.to_str().unwrap();
                (host, mount.container_path.to_str().unwrap(), mount.readonly)
            });
            assert_eq!(seen, read, "{text}");
        }
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let mut group = Group::new("family".parse().unwrap());
        group.settings.web_allow = vec!["example.org".into()];
        let applied = |wanted: &Wanted, group: Group| wanted.apply_to(group).unwrap();
        assert_eq!(applied(&Wanted::default(), group.clone()), group);
        let emptied = Wanted { web_allow: Some(Vec::new()), ..Wanted::default() };
        assert!(applied(&emptied, group.clone()).settings.web_allow.is_empty());
        let wish = |word, needed| TriggerWish::new(&group.name, word, needed).unwrap();
        let word = Wanted { trigger: wish(Some("@Crab"), None), ..Wanted::default() };
        let quiet = Wanted { trigger: wish(None, Some(false)), ..Wanted::default() };
        assert!(!applied(&quiet, group.clone()).needs_trigger());
        assert!(applied(&word, applied(&quiet, group.clone())).needs_trigger());
        let rare = Wanted { engage: Some(Engage::Mention), ..Wanted::default() };
        assert_eq!(applied(&rare, group).settings.engage, Engage::Mention);
    }

    #[test]
    fn who_may_wake_the_assistant_is_never_everybody_by_accident() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        for (named, allowed, forbidden, after) in [
            (&[][..], &["U1"][..], &[][..], Some(&["U1"][..])),
            (&["U1"], &["U2", "U1"], &[], Some(&["U1", "U2"])),
            (&["U1", "U2"], &[], &["U1"], Some(&["U2"])),
            (&["U1"], &["U2"], &["U1"], Some(&["U2"])),
            (&["U1"], &["-"], &[], Some(&[])),
            (&["U1"], &[], &["U1"], None),
            (&["U1"], &[], &["U2"], None),
            (&[], &[], &["U1"], None),
            (&[], &["U1"], &["U1"], None),
            (&[], &["a b"], &[], None),
            (&["U1"], &[], &["-"], None),
        ] {
            let mut group = Group::new("work".parse().unwrap());
            group.settings.allowed_senders = ids(named);
            let senders = Senders::read(&ids(allowed), &ids(forbidden)).ok();
            let changed = senders.and_then(|senders| senders.apply_to(&mut group).ok());
            let found = changed.map(|()| group.settings.allowed_senders);
            assert_eq!(found, after.map(ids), "{named:?} +{allowed:?} -{forbidden:?}");
        }
    }
}

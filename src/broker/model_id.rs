//! What a model is called at Bedrock and at the Anthropic API: pure.
//!
//! At Bedrock:
//!
//! - An id with a dot or a colon is Bedrock's own (`eu.anthropic.claude-…`, an ARN) and stays as it is.
//! - A name of the Anthropic API becomes an inference profile: where the region lies, then `anthropic.`, then the
//!   name. Names with a date end in `-v1:0`, except for those in the table; since Claude 4.6 names have no date and
//!   no version, except for `claude-opus-4-6`. Short names of older models are in the table.
//! - Profiles are `us` for us-*, `eu` for eu-*, `us-gov` for us-gov-*; `apac` for ap-* up to Claude 4, and `global`
//!   everywhere else, because Amazon has no others that hold for a whole continent.
//! - Nothing else is guessed: the error says what to write.
//!
//! At the Anthropic API, which may be another service behind `ANTHROPIC_BASE_URL`, only Bedrock's names of Claude are
//! changed back, and ARNs are not asked for.
//!
//! From <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html> and
//! <https://platform.claude.com/docs/en/build-with-claude/claude-on-amazon-bedrock> as of November 2026.

/// The names that do not follow the rule: at the Anthropic API, at Bedrock.
const IRREGULAR: &[(&str, &str)] = &[
    ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet-20241022-v2:0"),
    ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022-v2:0"),
    ("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022-v1:0"),
    ("claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219-v1:0"),
    ("claude-sonnet-4-0", "claude-sonnet-4-20250514-v1:0"),
    ("claude-opus-4-0", "claude-opus-4-20250514-v1:0"),
    ("claude-opus-4-1", "claude-opus-4-1-20250805-v1:0"),
    ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929-v1:0"),
    ("claude-haiku-4-5", "claude-haiku-4-5-20251001-v1:0"),
    ("claude-opus-4-5", "claude-opus-4-5-20251101-v1:0"),
    ("claude-opus-4-6", "claude-opus-4-6-v1"),
];

/// The date of Claude 4, the last with `apac` profiles.
const LAST_APAC: &str = "20250514";

/// A name that Bedrock is not known to have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not known what the model {name:?} is called at Amazon Bedrock; set ANTHROPIC_MODEL to \
     Bedrock's own id, such as eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
)]
pub(super) struct UnknownModel {
    name: String,
}

/// What the model `name` is called at the Anthropic API; `None` when it does not have it.
pub(super) fn at_anthropic(name: &str) -> Option<&str> {
    if name.starts_with("arn:") {
        return None;
    }
    let Some((_, id)) = name.split_once("anthropic.").filter(|(_, id)| id.starts_with("claude-"))
    else {
        return Some(name);
    };
    let version = id.rfind("-v").filter(|&at| {
        id.split_at(at + 2).1.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
    });
    Some(version.map_or(id, |at| id.split_at(at).0))
}

/// What the model `name` is called at Bedrock in `region`.
pub(super) fn at_bedrock(name: &str, region: &str) -> Result<String, UnknownModel> {
    if name.contains(['.', ':']) {
        return Ok(name.to_owned());
    }
    let irregular = IRREGULAR.iter().find(|(anthropic, _)| *anthropic == name);
    let id = match (irregular, date(name)) {
        (Some((_, id)), _) => (*id).to_owned(),
        (None, Some(_)) if name.starts_with("claude-") => format!("{name}-v1:0"),
        (None, None) if is_undated(name) => name.to_owned(),
        _ => return Err(UnknownModel { name: name.chars().take(80).collect() }),
    };
    let old = date(id.trim_end_matches("-v1:0").trim_end_matches("-v2:0"))
        .is_some_and(|date| date <= LAST_APAC);
    let place = match region {
        _ if region.starts_with("us-gov-") => "us-gov",
        _ if region.starts_with("us-") => "us",
        _ if region.starts_with("eu-") => "eu",
        _ if region.starts_with("ap-") && old => "apac",
        _ => "global",
    };
    Ok(format!("{place}.anthropic.{id}"))
}

/// The date at the end of a name.
fn date(name: &str) -> Option<&str> {
    let (_, last) = name.rsplit_once('-')?;
    (last.len() == 8 && last.bytes().all(|byte| byte.is_ascii_digit())).then_some(last)
}

/// Whether this is a name in the form of Claude 4.6 and later: `claude-`, a family, one or two numbers.
fn is_undated(name: &str) -> bool {
    let mut parts = name.split('-');
    let number = |part: Option<&str>| part.map_or(Some(0), |part| part.parse::<u8>().ok());
    let claude = parts.next() == Some("claude");
    let family = parts
        .next()
        .is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()));
    let major = parts.next().and_then(|part| part.parse::<u8>().ok());
    let minor = number(parts.next());
    let recent = matches!((major, minor), (Some(major), Some(minor)) if (major, minor) >= (4, 6));
    claude && family && recent && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_profiles() {
        for (name, region, expected) in [
            (
                "claude-sonnet-4-5-20250929",
                "us-east-1",
                "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            ),
            ("claude-sonnet-4-5", "eu-central-1", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"),
            (
                "claude-3-5-sonnet-20241022",
                "us-west-2",
                "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
            ),
            (
                "claude-sonnet-4-20250514",
                "ap-northeast-1",
                "apac.anthropic.claude-sonnet-4-20250514-v1:0",
            ),
            (
                "claude-3-5-sonnet-latest",
                "ap-south-1",
                "apac.anthropic.claude-3-5-sonnet-20241022-v2:0",
            ),
            (
                "claude-haiku-4-5",
                "ap-southeast-2",
                "global.anthropic.claude-haiku-4-5-20251001-v1:0",
            ),
            ("claude-opus-4-6", "eu-west-1", "eu.anthropic.claude-opus-4-6-v1"),
            ("claude-sonnet-4-6", "us-east-1", "us.anthropic.claude-sonnet-4-6"),
            ("claude-opus-5-5", "ca-central-1", "global.anthropic.claude-opus-5-5"),
            ("claude-sonnet-5", "us-gov-west-1", "us-gov.anthropic.claude-sonnet-5"),
            (
                "anthropic.claude-3-haiku-20240307-v1:0",
                "x",
                "anthropic.claude-3-haiku-20240307-v1:0",
            ),
            ("eu.anthropic.claude-x", "us-east-1", "eu.anthropic.claude-x"),
            (
                "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
                "x",
                "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
            ),
        ] {
            assert_eq!(at_bedrock(name, region).as_deref(), Ok(expected), "{name} in {region}");
        }
    }

    #[test]
    fn profiles_become_names() {
        for (id, expected) in [
            ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", Some("claude-sonnet-4-5-20250929")),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", Some("claude-3-5-sonnet-20241022")),
            ("global.anthropic.claude-opus-4-6-v1", Some("claude-opus-4-6")),
            ("us.anthropic.claude-sonnet-5", Some("claude-sonnet-5")),
            ("claude-sonnet-4-5", Some("claude-sonnet-4-5")),
            ("glm-4.5-v1", Some("glm-4.5-v1")),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", None),
        ] {
            assert_eq!(at_anthropic(id), expected, "{id}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        for name in [
            "",
            "gpt-5",
            "claude",
            "claude-sonnet",
            "sonnet",
            "claude-opus-4-2",
            "claude--5",
            "claude-sonnet-latest",
            "claude-sonnet-5-5-5",
            "claude-sonnet-5-preview",
            "gpt-4-20250101",
        ] {
            let error = at_bedrock(name, "us-east-1").unwrap_err();
            assert!(error.to_string().contains("set ANTHROPIC_MODEL"), "{name}");
        }
    }
}

//! What each variable means: names, defaults and bounds.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::slack;
use super::{
    AnthropicCredential, AnthropicSettings, BedrockSettings, BrokerTransport, LogFormat,
    LogSettings, ModelSettings, RunSettings, SandboxChoice, SandboxSettings, Settings,
};

const DEFAULT_ASSISTANT: &str = "Andy";
const DEFAULT_ENGINE: &str = "native";
const DEFAULT_IMAGE: &str = "hermitcrab-agent:latest";
const DEFAULT_BASE_URL: &str = "https://api.anthropic.com";
const DEFAULT_MODEL: &str = "claude-sonnet-4-5";
/// Bedrock names models by inference profile; this one answers in every region that has the model.
const DEFAULT_BEDROCK_MODEL: &str = "global.anthropic.claude-sonnet-4-5-20250929-v1:0";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Reads everything; what is wrong is noted in `env` and stands as its default here.
pub(super) fn settings(home: &Path, env: &mut Environment<'_>) -> Settings {
    Settings {
        home: home.to_owned(),
        assistant_name: env
            .parsed("ASSISTANT_NAME", "a name of 1 to 64 characters that begins without @", name)
            .unwrap_or_else(|| DEFAULT_ASSISTANT.to_owned()),
        engine: env
            .parsed("AGENT_ENGINE", "native, the engine that is built in", engine)
            .unwrap_or_else(|| DEFAULT_ENGINE.to_owned()),
        time_zone: time_zone(env),
        log: log(env),
        sandbox: sandbox(env),
        runs: runs(env),
        model: model(env),
        slack: slack::settings(env),
    }
}

fn name(text: &str) -> Option<String> {
    let fits =
        text.chars().count() <= 64 && !text.starts_with('@') && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn engine(text: &str) -> Option<String> {
    protocol::ENGINES.contains(&text).then(|| text.to_owned())
}

fn time_zone(env: &mut Environment<'_>) -> String {
    let expected = "an IANA time zone that this machine knows, such as Europe/Berlin";
    let known = |text: &str| {
        let zone = jiff::tz::TimeZone::get(text).ok()?;
        Some(zone.iana_name().unwrap_or(text).to_owned())
    };
    env.parsed("TZ", expected, known)
        .unwrap_or_else(|| jiff::tz::TimeZone::system().iana_name().unwrap_or("UTC").to_owned())
}

fn log(env: &mut Environment<'_>) -> LogSettings {
    let expected =
        "error, warn, info, debug, trace or off, or a list such as info,hermitcrab=debug";
    let level = env.parsed("LOG_LEVEL", expected, |text| is_filter(text).then(|| text.to_owned()));
    let formats = [("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
    LogSettings {
        level: level.unwrap_or_else(|| "info".to_owned()),
        format: env.word("LOG_FORMAT", &formats).unwrap_or(LogFormat::Pretty),
    }
}

/// Whether this is a list of levels, each for everything or for a target. A bare word that is no level would be
/// taken for a target by `tracing`, and a misspelt level would silence the log.
fn is_filter(text: &str) -> bool {
    let is_level = |word: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|level| level.eq_ignore_ascii_case(word))
    };
    let is_target = |word: &str| {
        !word.is_empty()
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '-'))
    };
    text.split(',').map(str::trim).all(|directive| match directive.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(directive),
    })
}

fn sandbox(env: &mut Environment<'_>) -> SandboxSettings {
    let choices = [
        ("auto", SandboxChoice::Auto),
        ("docker", SandboxChoice::Docker),
        ("bubblewrap", SandboxChoice::Bubblewrap),
    ];
    let transports = [
        ("auto", BrokerTransport::Auto),
        ("socket", BrokerTransport::Socket),
        ("exec", BrokerTransport::Exec),
    ];
    let kinds = "auto, docker (also for Podman) or bubblewrap";
    let host = "unix:///path/to/docker.sock, tcp://host:port or http://host:port";
    SandboxSettings {
        choice: env.word_as("SANDBOX", kinds, &choices).unwrap_or(SandboxChoice::Auto),
        image: env
            .parsed("CONTAINER_IMAGE", "an image, such as debian:13", image)
            .unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
        docker_host: env.discreet("DOCKER_HOST", host, docker_host),
        broker: env.word("SANDBOX_BROKER", &transports).unwrap_or(BrokerTransport::Auto),
        mount_allowlist: mount_allowlist(),
    }
}

fn image(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    (begins && text.len() <= 255 && text.chars().all(allowed)).then(|| text.to_owned())
}

fn docker_host(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let known = match scheme {
        "unix" => rest.starts_with('/'),
        "tcp" | "http" => !rest.is_empty() && !rest.starts_with('/'),
        _ => false,
    };
    known.then(|| text.to_owned())
}

/// The allow-list lies outside every home of ours, so that no agent can reach it however mounts are set.
fn mount_allowlist() -> PathBuf {
    let owner = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
    owner.join(".config/hermitcrab/mount-allowlist.json")
}

fn runs(env: &mut Environment<'_>) -> RunSettings {
    let slots = env.number("MAX_CONCURRENT_CONTAINERS", 5, 1..=256);
    RunSettings {
        deadline: env.milliseconds("CONTAINER_TIMEOUT", 300_000, 1_000..=DAY_MS),
        max_output_bytes: env.number(
            "CONTAINER_MAX_OUTPUT_SIZE",
            10_485_760,
            1_024..=1_073_741_824,
        ),
        slots: usize::try_from(slots).unwrap_or(1),
        poll_interval: env.milliseconds("POLL_INTERVAL", 2_000, 50..=3_600_000),
        idle_timeout: env.milliseconds("IDLE_TIMEOUT", 1_800_000, 0..=DAY_MS),
    }
}

fn model(env: &mut Environment<'_>) -> ModelSettings {
    let anthropic = anthropic(env);
    let bedrock = bedrock(env);
    let default = match (&anthropic, &bedrock) {
        (None, Some(_)) => DEFAULT_BEDROCK_MODEL,
        _ => DEFAULT_MODEL,
    };
    let expected = "a model's name as the provider spells it";
    let name = |text: &str| {
        let fits = text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| text.to_owned())
    };
    let model = env.parsed("ANTHROPIC_MODEL", expected, name);
    ModelSettings { model: model.unwrap_or_else(|| default.to_owned()), anthropic, bedrock }
}

fn anthropic(env: &mut Environment<'_>) -> Option<AnthropicSettings> {
    let key = env.secret("ANTHROPIC_API_KEY").map(AnthropicCredential::ApiKey);
    let token = env.secret("CLAUDE_CODE_OAUTH_TOKEN").map(AnthropicCredential::OauthToken);
    let base_url = env
        .discreet("ANTHROPIC_BASE_URL", "a URL such as https://api.anthropic.com", url)
        .unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
    key.or(token).map(|credential| AnthropicSettings { base_url, credential })
}

fn bedrock(env: &mut Environment<'_>) -> Option<BedrockSettings> {
    let words = [("1", true), ("true", true), ("0", false), ("false", false)];
    let wanted = env.word("CLAUDE_CODE_USE_BEDROCK", &words).unwrap_or(false);
    if !wanted {
        return None;
    }
    let needed = "to be set, because CLAUDE_CODE_USE_BEDROCK is";
    let region = env.parsed("AWS_REGION", "a region such as eu-central-1", |text| {
        let fits = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        fits.then(|| text.to_owned())
    });
    let key_id = env.discreet("AWS_ACCESS_KEY_ID", "letters and digits", |text| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| text.to_owned())
    });
    let secret = env.secret("AWS_SECRET_ACCESS_KEY");
    let session_token = env.secret("AWS_SESSION_TOKEN");
    let endpoint_url = env.discreet(
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        "a URL such as http://127.0.0.1:4566",
        url,
    );
    for (name, there) in [
        ("AWS_REGION", region.is_some()),
        ("AWS_ACCESS_KEY_ID", key_id.is_some()),
        ("AWS_SECRET_ACCESS_KEY", secret.is_some()),
    ] {
        if !there {
            env.missing(name, needed);
        }
    }
    Some(BedrockSettings {
        region: region?,
        access_key_id: key_id?,
        secret_access_key: secret?,
        session_token,
        endpoint_url,
    })
}

/// A base URL without user, query and slash at the end.
pub(super) fn url(text: &str) -> Option<String> {
    let uri: hyper::Uri = text.parse().ok()?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    let plain = uri.query().is_none() && uri.authority().is_some_and(|a| !a.as_str().contains('@'));
    (scheme && host && plain).then(|| text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests;

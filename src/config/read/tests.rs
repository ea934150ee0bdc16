//! Settings from maps: defaults, faults, and the agreement of `.env.example` with all this.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use secrecy::ExposeSecret;

use super::super::{ConfigError, VARIABLES};
use super::*;

const EXAMPLE: &str = include_str!("../../../.env.example");

fn read(variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    read_over("", variables)
}

fn read_over(file: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let home = tempfile::tempdir().unwrap();
    if !file.is_empty() {
        std::fs::write(home.path().join(".env"), file).unwrap();
    }
    let process = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    };
    let names = variables.iter().map(|(name, _)| (*name).to_owned()).collect();
    Settings::read(home.path(), &process, names).whole()
}

fn faults(result: Result<Settings, ConfigError>) -> Vec<String> {
    result.unwrap_err().faults().iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_environment_gives_the_documented_defaults() {
    let settings = read(&[("TZ", "Europe/Berlin")]).unwrap();
    assert_eq!(settings.assistant_name, "Andy");
    assert_eq!(settings.time_zone, "Europe/Berlin");
    assert_eq!(settings.log, LogSettings { level: "info".into(), format: LogFormat::Pretty });
    assert_eq!(settings.sandbox.choice, SandboxChoice::Auto);
    assert_eq!(settings.sandbox.broker, BrokerTransport::Auto);
    assert_eq!(settings.sandbox.docker_host, None);
    assert!(settings.sandbox.mount_allowlist.ends_with(".config/hermitcrab/mount-allowlist.json"));
    let ms = std::time::Duration::from_millis;
    assert_eq!(
        settings.runs,
        RunSettings {
            deadline: ms(300_000),
            max_output_bytes: 10_485_760,
            slots: 5,
            poll_interval: ms(2_000),
            idle_timeout: ms(1_800_000),
        }
    );
    assert_eq!(settings.model.model, DEFAULT_MODEL);
    assert!(settings.model.anthropic.is_none() && settings.model.bedrock.is_none());
}

#[test]
fn all_faults_are_told_at_once_and_no_secret_among_them() {
    let told = faults(read_over(
        "LOG_FORMAT=xml\nnot a line with hunter2\n",
        &[
            ("AGENT_ENGINE", "foo"),
            ("ANTHROPIC_API_KEY", "sk-ant hunter2"),
            ("ANTHROPIC_BASE_URL", "https://me:hunter2@host"),
            ("CONTAINER_TIMEOUT", "5m"),
            ("MAX_CONCURRENT_CONTAINERS", "0"),
            ("SANDBOX", "chroot"),
            ("TZ", "Middle-earth/Shire"),
            ("LOG_LEVEL", "inof"),
        ],
    ));
    insta::assert_snapshot!(told.join("\n"), @r#"
    LOG_FORMAT (.env, line 1): expected pretty or json, found "xml"
    .env, line 2: expected NAME=value
    AGENT_ENGINE: expected native, the engine that is built in, found "foo"
    ANTHROPIC_API_KEY: expected one word of visible ASCII, as the provider gave it
    ANTHROPIC_BASE_URL: expected a URL such as https://api.anthropic.com
    CONTAINER_TIMEOUT: expected milliseconds, from 1000 to 86400000, found "5m"
    LOG_LEVEL: expected error, warn, info, debug, trace or off, or a list such as info,hermitcrab=debug, found "inof"
    MAX_CONCURRENT_CONTAINERS: expected a whole number from 1 to 256, found "0"
    SANDBOX: expected auto, docker (also for Podman) or bubblewrap, found "chroot"
    TZ: expected an IANA time zone that this machine knows, such as Europe/Berlin, found "Middle-earth/Shire"
    "#);
    assert!(!told.join("\n").contains("hunter2"));
}

#[test]
fn what_has_spaces_and_no_quotes_is_told_in_the_terms_of_the_setting() {
    let told = faults(read_over(
        "ANTHROPIC_BASE_URL=not a url\nASSISTANT_NAME=Hermit the Crab # a name\nTZ=Europe Berlin\n\
         ANTHROPIC_API_KEY=sk hunter2\nAWS_REGION=Frankfurt am Main\n",
        &[],
    ));
    insta::assert_snapshot!(told.join("\n"), @r#"
    ANTHROPIC_BASE_URL (.env, line 1): expected a URL such as https://api.anthropic.com
    ASSISTANT_NAME (.env, line 2): expected a value with spaces to stand in single quotes
    TZ (.env, line 3): expected an IANA time zone that this machine knows, such as Europe/Berlin, found "Europe Berlin"
    ANTHROPIC_API_KEY (.env, line 4): expected one word of visible ASCII, as the provider gave it
    AWS_REGION (.env, line 5): expected a value with spaces to stand in single quotes
    "#);
}

#[test]
fn what_is_right_is_read_beside_what_is_wrong() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".env"), "ASSISTANT_NAME=Ada\nSANDBOX=jail\n?\n").unwrap();
    let loaded = Settings::read(home.path(), &|_| None, Vec::new());
    assert_eq!(loaded.settings.assistant_name, "Ada");
    assert_eq!(loaded.settings.sandbox.choice, SandboxChoice::Auto);
    assert_eq!(loaded.error.unwrap().faults().len(), 2);
}

#[test]
fn bedrock_without_keys_names_each() {
    let told = faults(read(&[("CLAUDE_CODE_USE_BEDROCK", "1"), ("AWS_REGION", "Frankfurt")]));
    insta::assert_snapshot!(told.join("\n"), @r#"
    AWS_ACCESS_KEY_ID: expected to be set, because CLAUDE_CODE_USE_BEDROCK is
    AWS_REGION: expected a region such as eu-central-1, found "Frankfurt"
    AWS_SECRET_ACCESS_KEY: expected to be set, because CLAUDE_CODE_USE_BEDROCK is
    "#);
}

#[test]
fn keys_of_aws_are_nobodys_business_unless_bedrock_is_wanted() {
    let settings =
        read(&[("AWS_REGION", "Frankfurt am Main"), ("AWS_ACCESS_KEY_ID", "?")]).unwrap();
    assert!(settings.model.bedrock.is_none());
}

#[test]
fn bedrock_alone_has_a_model_of_its_own() {
    let keys = [
        ("CLAUDE_CODE_USE_BEDROCK", "true"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "abc/+def="),
        ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9/"),
    ];
    let settings = read(&keys).unwrap();
    assert_eq!(settings.model.model, DEFAULT_BEDROCK_MODEL);
    let bedrock = settings.model.bedrock.unwrap();
    assert_eq!(bedrock.secret_access_key.expose_secret(), "abc/+def=");
    assert_eq!(bedrock.endpoint_url.unwrap(), "http://127.0.0.1:9");
}

#[test]
fn the_process_wins_over_the_file_and_emptiness_is_absence() {
    let file = "ASSISTANT_NAME=José\nANTHROPIC_API_KEY=sk-file\nLOG_LEVEL=\n";
    let settings = read_over(file, &[]).unwrap();
    assert_eq!(settings.assistant_name, "José");
    assert_eq!(settings.log.level, "info");
    assert!(settings.model.anthropic.is_some());

    let settings =
        read_over(file, &[("ASSISTANT_NAME", "Ada"), ("ANTHROPIC_API_KEY", "")]).unwrap();
    assert_eq!(settings.assistant_name, "Ada");
    assert!(settings.model.anthropic.is_none());
}

#[test]
fn an_api_key_goes_before_a_token() {
    let token = [("CLAUDE_CODE_OAUTH_TOKEN", "tok")];
    let both = [("CLAUDE_CODE_OAUTH_TOKEN", "tok"), ("ANTHROPIC_API_KEY", "key")];
    let credential = |variables| read(variables).unwrap().model.anthropic.unwrap().credential;
    assert!(matches!(credential(&token), AnthropicCredential::OauthToken(_)));
    assert!(matches!(credential(&both), AnthropicCredential::ApiKey(_)));
}

#[test]
fn a_name_set_twice_is_a_fault_with_its_line() {
    let told = faults(read_over("SANDBOX=docker\n\nSANDBOX=auto\nOTHER=1\nOTHER=2\n", &[]));
    assert_eq!(told, ["SANDBOX (.env, line 3): expected to be set once"]);
}

#[test]
fn what_is_not_unicode_is_a_fault() {
    let home = tempfile::tempdir().unwrap();
    let process =
        |name: &str| (name == "ASSISTANT_NAME").then(|| OsString::from_vec(vec![b'A', 0xff]));
    let told = faults(Settings::read(home.path(), &process, Vec::new()).whole());
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("ASSISTANT_NAME: expected"), "{told:?}");
}

#[test]
fn filters_are_levels_or_targets_with_levels() {
    for good in ["info", "WARN", "off", "info,hermitcrab=debug", "hermitcrab::store=trace, warn"] {
        assert!(is_filter(good), "{good}");
    }
    for bad in ["inof", "hermitcrab", "info,", "a=b", "=info", "info hermitcrab=debug"] {
        assert!(!is_filter(bad), "{bad}");
    }
}

#[test]
fn urls_lose_their_slash_and_keep_their_path() {
    for (text, read) in [
        ("https://api.anthropic.com/", Some("https://api.anthropic.com")),
        ("http://127.0.0.1:8080/v1/", Some("http://127.0.0.1:8080/v1")),
        ("api.anthropic.com", None),
        ("https://user:pass@host", None),
        ("https://host/?a=b", None),
        ("unix:///run/x", None),
        ("/path", None),
    ] {
        assert_eq!(url(text).as_deref(), read, "{text}");
    }
}

#[test]
fn docker_hosts_are_sockets_and_addresses() {
    for good in ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "http://box:2375"] {
        assert!(docker_host(good).is_some(), "{good}");
    }
    for bad in ["/var/run/docker.sock", "unix://var/run", "ssh://me@box", "tcp://", "tcp:///x"] {
        assert!(docker_host(bad).is_none(), "{bad}");
    }
}

#[test]
fn every_variable_is_read_and_none_besides() {
    let home = tempfile::tempdir().unwrap();
    let asked = RefCell::new(BTreeSet::new());
    let process = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        (name == "CLAUDE_CODE_USE_BEDROCK").then(|| OsString::from("1"))
    };
    assert!(Settings::read(home.path(), &process, Vec::new()).error.is_some());
    assert_eq!(asked.into_inner(), VARIABLES.map(str::to_owned).into());
}

#[test]
fn the_example_lists_every_variable_with_a_sentence_and_its_default() {
    let mut listed = BTreeSet::new();
    let mut values = Vec::new();
    let mut previous = "";
    for line in EXAMPLE.lines() {
        if let Some((name, value)) = line.strip_prefix('#').and_then(|line| line.split_once('='))
            && name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
        {
            assert!(
                previous.starts_with("# ") && previous.ends_with('.'),
                "{name} has no sentence"
            );
            assert!(listed.insert(name.to_owned()), "{name} is listed twice");
            values.push((name, value));
        }
        previous = line;
    }
    assert_eq!(listed, VARIABLES.map(str::to_owned).into());
    assert!(EXAMPLE.lines().all(|line| line.is_empty() || line.starts_with('#')), "a live line");

    // What stands behind the equals sign is the default: setting it changes nothing.
    let with = read(&values).unwrap();
    let without = read(&[("TZ", &with.time_zone)]).unwrap();
    let comparable = |settings: &Settings| {
        format!("{:?}", Settings { home: PathBuf::new(), ..settings.clone() })
    };
    assert_eq!(comparable(&with), comparable(&without));
}

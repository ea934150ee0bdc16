//! Configuration: the environment and `.env`, read once, as typed settings, with all faults reported together.

mod dotenv;
mod environment;
mod fault;
mod process;
mod read;
mod slack;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

pub use dotenv::{EnvFile, Unknown};
pub use fault::{ConfigError, Fault};
pub use slack::{SlackSettings, SlackTokens};

use environment::Environment;
use process::{names, variable};
pub(crate) use process::{temporary_folder, terminal};

/// Every variable that is read from the environment and from `.env`.
///
/// `HERMITCRAB_HOME` is not among them: it says where `.env` lies, so only the environment can hold it.
pub(crate) const VARIABLES: [&str; 27] = [
    "AGENT_ENGINE",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_MODEL",
    "ASSISTANT_NAME",
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CONTAINER_IMAGE",
    "CONTAINER_MAX_OUTPUT_SIZE",
    "CONTAINER_TIMEOUT",
    "DOCKER_HOST",
    "IDLE_TIMEOUT",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MAX_CONCURRENT_CONTAINERS",
    "POLL_INTERVAL",
    "SANDBOX",
    "SANDBOX_BROKER",
    "SLACK_API_URL",
    "SLACK_APP_TOKEN",
    "SLACK_BOT_TOKEN",
    "TZ",
];

/// Whether a variable means something to us: one of [`VARIABLES`], or the tokens of one Slack workspace of several.
fn is_known(name: &str) -> bool {
    VARIABLES.contains(&name) || slack::workspace_of(name).is_some()
}

/// Everything that the environment decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where `.env`, `groups/` and `store/` lie; absolute.
    pub home: PathBuf,
    /// `ASSISTANT_NAME`: what the assistant is called, and by default its trigger.
    pub assistant_name: String,
    /// `AGENT_ENGINE`: what thinks inside the sandbox.
    pub engine: String,
    /// `TZ`: the time zone, an IANA name; the system's by default.
    pub time_zone: String,
    /// `LOG_LEVEL` and `LOG_FORMAT`.
    pub log: LogSettings,
    /// Where runs happen.
    pub sandbox: SandboxSettings,
    /// How runs are bounded and when they start.
    pub runs: RunSettings,
    /// Who thinks.
    pub model: ModelSettings,
    /// The Slack workspaces to take part in.
    pub slack: SlackSettings,
}

/// How the gateway logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `LOG_LEVEL`: a level, or a filter in the syntax of `tracing`.
    pub level: String,
    /// `LOG_FORMAT`.
    pub format: LogFormat,
}

/// `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For programs.
    Json,
}

/// Where runs happen.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// `SANDBOX`.
    pub choice: SandboxChoice,
    /// `CONTAINER_IMAGE`; the default image is built when it is missing, another must be there.
    pub image: String,
    /// `DOCKER_HOST`: the Engine API, as Docker's own clients read it.
    pub docker_host: Option<String>,
    /// `SANDBOX_BROKER`: how the broker is reached from inside.
    pub broker: BrokerTransport,
    /// Where the mount allow-list lies, outside the project.
    pub mount_allowlist: PathBuf,
}

/// `SANDBOX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxChoice {
    /// Docker if it answers and has or can build the image, else bubblewrap.
    Auto,
    /// Docker or Podman only.
    Docker,
    /// bubblewrap only.
    Bubblewrap,
}

/// `SANDBOX_BROKER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerTransport {
    /// The socket where it can be mounted, else the stream.
    Auto,
    /// A mounted socket.
    Socket,
    /// A framed stream through an exec into the container.
    Exec,
}

/// How runs are bounded and when they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSettings {
    /// `CONTAINER_TIMEOUT`: the deadline of a run.
    pub deadline: Duration,
    /// `CONTAINER_MAX_OUTPUT_SIZE`: the most bytes that one run may produce.
    pub max_output_bytes: u64,
    /// `MAX_CONCURRENT_CONTAINERS`: how many runs at once.
    pub slots: usize,
    /// `POLL_INTERVAL`: how often the router looks without being woken.
    pub poll_interval: Duration,
    /// `IDLE_TIMEOUT`: how long a sandbox stays warm after its answer.
    pub idle_timeout: Duration,
}

/// Who thinks.
#[derive(Debug, Clone)]
pub struct ModelSettings {
    /// `ANTHROPIC_MODEL`.
    pub model: String,
    /// The Anthropic API, when there are credentials for it.
    pub anthropic: Option<AnthropicSettings>,
    /// Amazon Bedrock, when it is to be used.
    pub bedrock: Option<BedrockSettings>,
}

/// The Anthropic API.
#[derive(Debug, Clone)]
pub struct AnthropicSettings {
    /// `ANTHROPIC_BASE_URL`, without a slash at the end.
    pub base_url: String,
    /// What it is asked with.
    pub credential: AnthropicCredential,
}

/// What the Anthropic API is asked with.
#[derive(Debug, Clone)]
pub enum AnthropicCredential {
    /// `ANTHROPIC_API_KEY`.
    ApiKey(SecretString),
    /// `CLAUDE_CODE_OAUTH_TOKEN`.
    OauthToken(SecretString),
}

/// Amazon Bedrock.
#[derive(Debug, Clone)]
pub struct BedrockSettings {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: SecretString,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<SecretString>,
    /// `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`: another endpoint.
    pub endpoint_url: Option<String>,
}

/// Settings as far as they could be read.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The settings, with defaults for those that are wrong.
    pub(crate) settings: Settings,
    /// What is wrong.
    pub(crate) error: Option<ConfigError>,
}

impl Loaded {
    /// The settings, if all of them are right.
    ///
    /// # Errors
    /// When settings are wrong: all of them, by name.
    pub(crate) fn whole(self) -> Result<Settings, ConfigError> {
        self.error.map_or(Ok(self.settings), Err)
    }
}

/// The name of the environment variable that says where everything lies.
pub(crate) const HOME_VARIABLE: &str = "HERMITCRAB_HOME";
/// What the home is called where nothing names it.
pub(crate) const CURRENT_FOLDER: &str = "the current folder";

impl Settings {
    /// Reads the process's environment over `<home>/.env`.
    ///
    /// `home` is by default `HERMITCRAB_HOME`, and else the current folder. A variable that the process has, even
    /// an empty one, hides that of `.env`; an empty value is as good as none.
    ///
    /// # Errors
    /// When settings are wrong: all of them, by name.
    pub fn load(home: Option<PathBuf>) -> Result<Self, ConfigError> {
        Self::load_what_is_right(home)?.whole()
    }

    /// The same, for those who only look: what is wrong stands as its default, and is told beside.
    ///
    /// # Errors
    /// When there can be no home where one is said to be.
    pub(crate) fn load_what_is_right(home: Option<PathBuf>) -> Result<Loaded, ConfigError> {
        let home = locate_home(home)?;
        Ok(Self::read(&home, &variable, names()))
    }

    /// Reads `process`, in which these names are set, over `<home>/.env`.
    pub(crate) fn read(
        home: &Path,
        process: &dyn Fn(&str) -> Option<OsString>,
        names: Vec<String>,
    ) -> Loaded {
        let mut environment = Environment::open(home, process, names);
        let settings = read::settings(home, &mut environment);
        Loaded { settings, error: environment.finish() }
    }

    /// The settings of an empty environment, for tests.
    ///
    /// # Panics
    /// When there is a faulty `.env` in `home`.
    #[cfg(any(test, feature = "fakes"))]
    #[must_use]
    pub fn defaults(home: &Path) -> Self {
        Self::read(home, &|_| None, Vec::new()).whole().expect("the defaults are no faults")
    }

    /// The folder of the store.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        self.home.join("store")
    }

    /// The folder of the groups.
    #[must_use]
    pub fn groups_dir(&self) -> PathBuf {
        self.home.join("groups")
    }
}

/// Where `.env`, `groups/` and `store/` lie.
///
/// # Errors
/// When the place is no folder, or the current folder is gone.
fn locate_home(given: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
    let (name, home) = match given {
        Some(home) => ("--home", home),
        None => match variable(HOME_VARIABLE).filter(|home| !home.is_empty()) {
            Some(home) => (HOME_VARIABLE, home.into()),
            None => (CURRENT_FOLDER, PathBuf::from(".")),
        },
    };
    let shown = home.display().to_string();
    let fault = |expected: &str| ConfigError::one(Fault::new(name, expected).found(&shown));
    let nearest = home.ancestors().find(|path| path.exists());
    if nearest.is_some_and(|path| !path.is_dir()) {
        return Err(fault("a folder, or a place where one can be made"));
    }
    // A folder that is there loses its links, so that everybody who names it names it alike.
    let absolute = if home.is_dir() { home.canonicalize() } else { std::path::absolute(&home) };
    absolute.map_err(|error| fault(&format!("a folder that can be found ({error})")))
}

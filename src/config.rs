//! Configuration: the environment and `.env`, read once, as typed settings, with all faults reported together.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Everything that the environment decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where `.env`, `groups/` and `store/` lie; absolute.
    pub home: PathBuf,
    /// `ASSISTANT_NAME`: what the assistant is called, and by default its trigger.
    pub assistant_name: String,
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

impl Settings {
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

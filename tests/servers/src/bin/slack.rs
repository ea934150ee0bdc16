//! The Slack server as a program: `slack --port 0`, for tests of a whole gateway and for a laptop.

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use test_servers::slack::{HistoryFrom, Limits, Options, Slack};

/// What a person at a laptop types.
const EXAMPLES: &str = r#"Examples:
  curl -d '{"text":"<@U0BOT0001> hello"}' http://127.0.0.1:PORT/_fake/user_message
  curl -d '{"kind":{"rate_limited":{"retry_after_s":5}},"first":1}' http://127.0.0.1:PORT/_fake/fault
  curl -d '{}' http://127.0.0.1:PORT/_fake/messages"#;

/// Stands in for a Slack workspace; prints where it is as JSON and serves until Ctrl-C.
///
/// Point the gateway at it with `SLACK_API_URL` and the tokens that it prints. What people do
/// there is asked for by `POST /_fake/<op>`, with JSON.
#[derive(Debug, Parser)]
#[command(name = "slack", after_help = EXAMPLES)]
struct Arguments {
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The number of the workspace, from which its ids and tokens are made.
    #[arg(long, default_value_t = 1)]
    workspace: u8,
    /// How long an envelope waits for its ack, in milliseconds.
    #[arg(long, value_name = "MS")]
    ack_timeout_ms: Option<u64>,
    /// How long after a failed attempt each further one is made, in milliseconds.
    #[arg(long, value_name = "MS", value_delimiter = ',')]
    retry_delays_ms: Option<Vec<u64>>,
    /// How often a socket is pinged, in milliseconds.
    #[arg(long, value_name = "MS")]
    ping_ms: Option<u64>,
    /// How long a message can be streamed into, in milliseconds.
    #[arg(long, value_name = "MS")]
    stream_ttl_ms: Option<u64>,
    /// Enforces the documented rate of every method.
    #[arg(long)]
    limits: bool,
    /// Begins a history at its oldest page when only `oldest` is given.
    #[arg(long)]
    oldest_first: bool,
}

impl Arguments {
    fn options(self) -> Options {
        let mut options = Options { port: self.port, ..Options::workspace(self.workspace) };
        if let Some(ms) = self.ack_timeout_ms {
            options.ack_timeout = Duration::from_millis(ms);
        }
        if let Some(delays) = self.retry_delays_ms {
            options.retry_delays = delays.into_iter().map(Duration::from_millis).collect();
        }
        if let Some(ms) = self.ping_ms {
            options.ping_interval = Duration::from_millis(ms);
        }
        if let Some(ms) = self.stream_ttl_ms {
            options.stream_ttl = Duration::from_millis(ms);
        }
        if self.limits {
            options.limits = Limits::Documented;
        }
        if self.oldest_first {
            options.history_from = HistoryFrom::Oldest;
        }
        options
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "a program that says where it listens")]
async fn main() -> anyhow::Result<()> {
    let options = Arguments::parse().options();
    let port = options.port;
    let slack = Slack::start(options)
        .await
        .with_context(|| format!("cannot listen on port {port} of 127.0.0.1"))?;
    let options = slack.options();
    let place = json!({
        "url": slack.url(), "api_url": slack.api_url(), "team_id": options.team_id,
        "bot_token": options.bot_token, "app_token": options.app_token,
        "bot_user": options.bot_user,
    });
    println!("{place}");
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    slack.stop().await;
    Ok(())
}

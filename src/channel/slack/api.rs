//! The Web API, through the HTTP session of slack-morphism.
//!
//! Its typed calls are used where an answer is small; whatever carries messages stays raw JSON, because the typed
//! models drop a text with a field beside it that they do not expect. Every call has an end, and none is repeated
//! here: who calls knows whether it may be.

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use slack_morphism::prelude::{
    ClientResult, SlackApiToken, SlackClient, SlackClientHyperConnector, SlackHyperClient,
};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::fault::ApiError;
use super::limit::{Haste, Limiter};
use super::pace::Pace;
use crate::config::SlackTokens;

/// Slack for one workspace.
pub(super) struct Api {
    client: SlackHyperClient,
    bot: SlackApiToken,
    app: SlackApiToken,
    patience: Duration,
    limiter: Limiter,
}

/// How TLS is spoken: with the system's roots, and with a cryptography that is named, for there are two in the tree.
pub(super) fn tls() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.expect("the provider speaks the default versions of TLS");
    let builder = match builder.clone().with_native_roots() {
        Ok(builder) => builder,
        Err(error) => {
            warn!(%error, "this machine has no certificates of authorities; only a server without TLS can be reached");
            builder.with_root_certificates(RootCertStore::empty())
        }
    };
    Arc::new(builder.with_no_client_auth())
}

/// How connections are made: with TLS, and without where a server of one's own speaks none.
pub(super) fn connector(tls: &ClientConfig) -> HttpsConnector<HttpConnector> {
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls.clone());
    connector.https_or_http().enable_http1().build()
}

impl Api {
    /// The API at `url`; a call that takes longer than a step has failed.
    pub(super) fn new(url: &str, tokens: &SlackTokens, tls: &ClientConfig, pace: Pace) -> Self {
        let connector = SlackClientHyperConnector::from(connector(tls)).with_slack_api_url(url);
        Self {
            client: SlackClient::new(connector),
            bot: token(&tokens.bot),
            app: token(&tokens.app),
            patience: pace.step,
            limiter: Limiter::new(pace, pace.counts_everywhere || is_slack(url)),
        }
    }

    /// Asks for the address of a new socket, good for one connection.
    pub(super) async fn socket_url(&self) -> Result<String, ApiError> {
        let session = self.client.open_session(&self.app);
        let request = slack_morphism::api::SlackApiAppsConnectionOpenRequest::new();
        let call = session.apps_connections_open(&request);
        let door = ("apps.connections.open", "", Haste::Now);
        Ok(self.call(door, call).await?.url.0.to_string())
    }

    /// How many calls of a method could be made at once now.
    pub(super) fn left(&self, method: &'static str) -> usize {
        self.limiter.left(method)
    }

    /// Asks for something, and changes nothing.
    pub(super) async fn read(
        &self,
        method: &'static str,
        args: &[(&str, &str)],
        haste: Haste,
    ) -> Result<Value, ApiError> {
        let args: Vec<(&str, Option<&str>)> =
            args.iter().map(|(name, value)| (*name, Some(*value))).collect();
        let session = self.client.open_session(&self.bot);
        let call = session.http_session_api.http_get(method, &args, None);
        good(self.call((method, "", haste), call).await?)
    }

    /// Has something done; of a post, `body` names the `channel` that it is counted in.
    pub(super) async fn write(
        &self,
        method: &'static str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let channel = body.get("channel").and_then(Value::as_str).unwrap_or_default();
        let session = self.client.open_session(&self.bot);
        let call = session.http_session_api.http_post(method, body, None);
        good(self.call((method, channel, Haste::Now), call).await?)
    }

    async fn call<T>(
        &self,
        (method, channel, haste): (&'static str, &str, Haste),
        call: impl Future<Output = ClientResult<T>>,
    ) -> Result<T, ApiError> {
        let limited = |after| ApiError::Limited { after };
        sleep(self.limiter.turn(method, channel, haste).map_err(limited)?).await;
        // One who was before us may have been turned away meanwhile.
        self.limiter.look_again(method, channel).map_err(limited)?;
        let answer = match timeout(self.patience, call).await {
            Ok(answer) => answer.map_err(ApiError::from),
            Err(_elapsed) => Err(ApiError::failed(format!("no answer to {method} in time"))),
        };
        if let Err(ApiError::Limited { after }) = &answer {
            self.limiter.close(method, channel, *after);
        }
        answer
    }
}

/// Whether a server is Slack's own, whose rates are documented.
fn is_slack(url: &str) -> bool {
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_ascii_lowercase));
    host.is_some_and(|host| {
        ["slack.com", "slack-gov.com"].iter().any(|slack| {
            host.strip_suffix(slack).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    })
}

fn token(secret: &SecretString) -> SlackApiToken {
    SlackApiToken::new(secret.expose_secret().to_owned().into())
}

/// An answer that says that it is one: what is no JSON comes as an empty object.
fn good(answer: Value) -> Result<Value, ApiError> {
    if answer.get("ok").and_then(Value::as_bool) == Some(true) {
        Ok(answer)
    } else {
        Err(ApiError::failed("an answer that cannot be read"))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;
    use slack_morphism::errors::{SlackClientError, SlackRateLimitError};

    use super::*;

    #[test]
    fn slack_is_known_by_its_name() {
        for (url, expected) in [
            ("https://slack.com/api", true),
            ("https://www.Slack.com/api/", true),
            ("https://slack-gov.com/api", true),
            ("https://evilslack.com/api", false),
            ("https://slack.com.evil.com/api", false),
            ("http://127.0.0.1:81/slack.com", false),
            ("", false),
        ] {
            assert_eq!(is_slack(url), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn who_waited_for_a_turn_goes_nowhere_once_the_door_is_closed() {
        let tokens = SlackTokens { name: None, bot: "xoxb-1".into(), app: "xapp-1".into() };
        let pace = Pace { post: Duration::from_millis(100), ..Pace::default() };
        let api = Api::new("https://slack.com/api", &tokens, &tls(), pace);
        let (sent, minute) = (Cell::new(0), Duration::from_secs(60));
        let calls = (0..10).map(|_| {
            let call = async {
                sent.set(sent.get() + 1);
                let error = SlackRateLimitError::new().with_retry_after(minute);
                Err::<(), _>(SlackClientError::RateLimitError(error))
            };
            api.call(("chat.postMessage", "C1", Haste::Now), call)
        });
        let answers = join_all(calls).await;
        assert!(answers.iter().all(|answer| matches!(answer, Err(ApiError::Limited { .. }))));
        assert_eq!(sent.get(), 1);
    }
}

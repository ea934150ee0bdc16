//! The tools of the native engine, by name.
//!
//! What a tool cannot do goes back to the model as the tool's result: it decides what to try next. Only a spent
//! budget ends the run.

use protocol::{Failure, Sign};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::budget::Budget;
use super::entries;
use super::reply::ToolCall;
use crate::engine::Link;
use crate::files;
use crate::settings::Settings;

mod bash;
mod capped;
mod definitions;
mod edit;
mod gateway;
mod paths;
mod read;
mod search;

pub(crate) use definitions::definitions;

/// The most bytes of a tool's result; what is longer loses its middle.
const MAX_RESULT_BYTES: usize = 64 * 1024;
/// The most bytes of what people see of a call.
const MAX_SUMMARY_BYTES: usize = 120;

/// Why a tool gave no result.
#[derive(Debug)]
enum ToolError {
    /// In words for the model.
    Told(String),
    /// The run is over.
    Fatal(Failure),
}

impl From<Failure> for ToolError {
    fn from(failure: Failure) -> Self {
        Self::Fatal(failure)
    }
}

/// An error in words for the model.
fn told(words: impl Into<String>) -> ToolError {
    ToolError::Told(words.into())
}

/// What tools work with during a run.
#[derive(Debug)]
pub(crate) struct Tools<'run> {
    /// The places.
    pub(crate) settings: &'run Settings,
    /// Where signs go.
    pub(crate) link: &'run Link,
    /// What the run may produce.
    pub(crate) budget: &'run Budget,
}

impl Tools<'_> {
    /// Carries out a call and returns the block that answers it; `request` names what it asks of the gateway.
    ///
    /// # Errors
    ///
    /// The failure of the run, when its budget is spent.
    pub(crate) async fn run(&self, request: &str, call: &ToolCall) -> Result<Value, Failure> {
        let result = match &call.input {
            Some(input) => {
                let summary = summary(&call.name, input);
                self.link.say(Sign::Tool { name: call.name.clone(), summary });
                self.dispatch(request, &call.name, input).await
            }
            None => Err(told(
                "the arguments of this call are not complete JSON; if your answer was cut off, do less in one call",
            )),
        };
        let result = match result {
            Ok(text) => Ok(text),
            Err(ToolError::Told(words)) => Err(words),
            Err(ToolError::Fatal(failure)) => return Err(failure),
        };
        let result = result.as_deref().map_err(String::as_str);
        Ok(entries::tool_result(&call.id, result))
    }

    async fn dispatch(
        &self,
        request: &str,
        name: &str,
        input: &Value,
    ) -> Result<String, ToolError> {
        match name {
            "bash" => bash::run(self.settings, self.budget, parse(input)?).await,
            "read" => self.apart(input, read::read).await,
            "write" => self.apart(input, edit::write).await,
            "edit" => self.apart(input, edit::edit).await,
            "glob" => self.apart(input, search::glob).await,
            "grep" => self.apart(input, search::grep).await,
            name if asks_the_gateway(name) => {
                gateway::ask(self.settings, request, name, input).await
            }
            other => Err(told(format!("there is no tool {other}"))),
        }
    }

    /// Runs file work on a thread of its own, so that signs of life go on beside it.
    async fn apart<I: DeserializeOwned + Send + 'static>(
        &self,
        input: &Value,
        work: fn(&Settings, I) -> Result<String, ToolError>,
    ) -> Result<String, ToolError> {
        let (input, settings) = (parse(input)?, self.settings.clone());
        let worked = tokio::task::spawn_blocking(move || work(&settings, input)).await;
        let text =
            worked.map_err(|_panic| told("the tool broke; this is a fault of its own"))??;
        self.budget.spend(text.len())?;
        Ok(text)
    }
}

/// Whether a call of this tool becomes a request to the gateway, which does it once however often it is asked.
pub(crate) fn asks_the_gateway(name: &str) -> bool {
    matches!(name, "send_message" | "send_file" | "react" | "register_group" | "list_chats")
}

/// Whether a call that may have been carried out already does no harm when it is carried out again.
pub(crate) fn may_be_repeated(name: &str) -> bool {
    asks_the_gateway(name) || matches!(name, "read" | "glob" | "grep")
}

fn parse<I: DeserializeOwned>(input: &Value) -> Result<I, ToolError> {
    I::deserialize(input).map_err(|error| told(format!("the arguments are not right: {error}")))
}

/// What a call is about to do, in a few words for people.
fn summary(name: &str, input: &Value) -> String {
    let field = match name {
        "bash" => "command",
        "read" | "write" | "edit" | "send_file" => "path",
        "glob" | "grep" => "pattern",
        _ => return String::new(),
    };
    let first_line = input[field].as_str().and_then(|text| text.lines().next()).unwrap_or_default();
    files::cut(first_line, MAX_SUMMARY_BYTES).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_is_one_short_line() {
        for (name, input, expected) in [
            ("bash", json!({"command": "ls -la\nrm x"}), "ls -la"),
            ("read", json!({"path": "a.md"}), "a.md"),
            ("send_message", json!({"text": "private"}), ""),
            ("bash", json!({}), ""),
            ("bash", json!({"command": "x".repeat(500)}), &"x".repeat(MAX_SUMMARY_BYTES)),
        ] {
            assert_eq!(summary(name, &input), expected);
        }
    }
}

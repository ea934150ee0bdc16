//! Faults of the Web API, of files and of new sockets, on demand.

use std::time::Duration;

use serde::Deserialize;

/// The name under which faults and calls know the upload of a file's bytes.
pub const UPLOAD: &str = "(upload)";
/// The name under which faults and calls know the download of a file.
pub const DOWNLOAD: &str = "(download)";
/// The name under which faults and calls know a POST to a response URL.
pub const RESPONSE_URL: &str = "(response_url)";
/// The name under which faults know a new socket.
pub const SOCKET: &str = "(socket)";

/// Something that goes wrong with one method or with all, always or the first few times.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The method that it befalls, or one of the names above; left out, every method.
    #[serde(default)]
    method: Option<String>,
    /// Only calls that name this conversation.
    #[serde(default)]
    channel: Option<String>,
    /// How many calls it befalls; left out, all.
    #[serde(default)]
    first: Option<u32>,
    /// How many calls it lets pass before.
    #[serde(default)]
    after: u32,
    /// What goes wrong.
    kind: FaultKind,
}

/// What goes wrong.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// 429 with this `Retry-After`.
    RateLimited {
        /// In seconds.
        retry_after_s: u64,
    },
    /// `{"ok":false,"error":…}`; on a new socket, a `disconnect` in place of `hello`.
    Error {
        /// The code, or the reason.
        code: String,
    },
    /// An HTTP status with a body that is not JSON.
    Status {
        /// The status.
        status: u16,
    },
    /// It is carried out later.
    Delay {
        /// In milliseconds.
        ms: u64,
    },
    /// It waits until the server is told to release what it holds, and is carried out then; a new
    /// socket gets no `hello` until then.
    Hang,
    /// It is carried out, and the answer waits to be released.
    HangAfter,
    /// The connection closes, and nothing is carried out.
    Drop,
    /// It is carried out, and the connection closes without an answer.
    DropAfter,
    /// It is carried out, and the connection closes in the middle of the answer.
    Cut,
    /// Slack's log-in page in place of an answer, by a redirect, as downloads have it.
    LogIn,
}

impl From<FaultKind> for Fault {
    /// This fault, for every method, every time.
    fn from(kind: FaultKind) -> Self {
        Self { method: None, channel: None, first: None, after: 0, kind }
    }
}

impl Fault {
    /// 429, with a `Retry-After` of so many seconds.
    #[must_use]
    pub fn rate_limited(retry_after_s: u64) -> Self {
        FaultKind::RateLimited { retry_after_s }.into()
    }

    /// Slack refuses with this code.
    #[must_use]
    pub fn error(code: &str) -> Self {
        FaultKind::Error { code: code.to_owned() }.into()
    }

    /// An HTTP status, as a server in front of Slack gives it.
    #[must_use]
    pub fn status(status: u16) -> Self {
        FaultKind::Status { status }.into()
    }

    /// It takes so much longer, in whole milliseconds.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        FaultKind::Delay { ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX) }.into()
    }

    /// It waits to be [released](super::Slack::release) before it is carried out.
    #[must_use]
    pub fn hang() -> Self {
        FaultKind::Hang.into()
    }

    /// It is carried out, and its answer waits to be [released](super::Slack::release).
    #[must_use]
    pub fn hang_after() -> Self {
        FaultKind::HangAfter.into()
    }

    /// The connection closes before anything is carried out.
    #[must_use]
    pub fn drop() -> Self {
        FaultKind::Drop.into()
    }

    /// It is carried out, and the caller never learns it.
    #[must_use]
    pub fn drop_after() -> Self {
        FaultKind::DropAfter.into()
    }

    /// Its answer breaks off in the middle.
    #[must_use]
    pub fn cut() -> Self {
        FaultKind::Cut.into()
    }

    /// The log-in page.
    #[must_use]
    pub fn log_in() -> Self {
        FaultKind::LogIn.into()
    }

    /// Befalls this method only.
    #[must_use]
    pub fn on(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Befalls calls that name this conversation only.
    #[must_use]
    pub fn in_channel(mut self, channel: &str) -> Self {
        self.channel = Some(channel.to_owned());
        self
    }

    /// Befalls so many calls, and then no more.
    #[must_use]
    pub fn first(mut self, calls: u32) -> Self {
        self.first = Some(calls);
        self
    }

    /// Lets so many calls pass before it befalls any.
    #[must_use]
    pub fn after(mut self, calls: u32) -> Self {
        self.after = calls;
        self
    }

    fn befalls(&self, method: &str, channel: &str) -> bool {
        // A new socket is no method; "every method" does not mean it.
        let every = self.method.is_none() && method != SOCKET;
        let here = self.channel.as_deref().is_none_or(|wanted| wanted == channel);
        (every || self.method.as_deref() == Some(method)) && here && self.first != Some(0)
    }
}

/// The faults of one server; the oldest that fits befalls a call.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// Adds one behind the others.
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Takes all away.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What befalls this call, if anything does.
    pub(super) fn meet(&mut self, method: &str, channel: &str) -> Option<FaultKind> {
        for fault in self.0.iter_mut().filter(|fault| fault.befalls(method, channel)) {
            if let Some(left) = fault.after.checked_sub(1) {
                fault.after = left;
                continue;
            }
            if let Some(left) = &mut fault.first {
                *left -= 1;
            }
            return Some(fault.kind.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_befalls_the_calls_that_it_names() {
        let mut faults = Faults::default();
        faults.add(Fault::hang().on("a").first(1));
        faults.add(Fault::drop().on("b").after(1).first(1));
        faults.add(Fault::drop_after().in_channel("C1").first(1));
        for (method, channel, expected) in [
            ("a", "", Some(FaultKind::Hang)),
            ("a", "", None),
            ("b", "", None),
            ("b", "", Some(FaultKind::Drop)),
            ("b", "", None),
            (SOCKET, "C1", None),
            ("c", "C2", None),
            ("c", "C1", Some(FaultKind::DropAfter)),
            ("c", "C1", None),
        ] {
            assert_eq!(faults.meet(method, channel), expected, "{method} {channel}");
        }
    }
}

//! The tool `bash`: one command in a process group of its own, killed whole when its time is up or the run ends.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use protocol::Failure;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::capped::Capped;
use super::{MAX_RESULT_BYTES, ToolError, told};
use crate::engine::native::budget::Budget;
use crate::settings::Settings;

/// When a command is killed if the model does not say, in seconds.
const DEFAULT_TIMEOUT_S: u64 = 120;
/// The longest time that the model may ask for, in seconds.
const MAX_TIMEOUT_S: u64 = 600;
/// How long to read on after the command's end, when something in the background holds its output open.
const DRAIN: Duration = Duration::from_millis(200);

/// What the model writes.
#[derive(Debug, Deserialize)]
pub(super) struct Input {
    command: String,
    timeout_seconds: Option<u64>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By itself, and its output with it.
    Exited(ExitStatus),
    /// By itself, and something it left in the background holds the output open.
    LeftBehind(ExitStatus),
    /// It was killed after so many seconds.
    TimedOut(u64),
}

/// Runs a command and returns what it printed.
pub(super) async fn run(
    settings: &Settings,
    budget: &Budget,
    input: Input,
) -> Result<String, ToolError> {
    let seconds = input.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_S).clamp(1, MAX_TIMEOUT_S);
    let (mut process, mut pipe) = spawn(settings, &input.command)
        .map_err(|error| told(format!("cannot start bash: {error}")))?;
    let mut output = Capped::new(MAX_RESULT_BYTES);
    let end = collect(&mut process, &mut pipe, seconds, |bytes| {
        output.push(bytes);
        budget.spend(bytes.len())
    });
    let end = end.await?;
    let text = output.into_text();
    match end {
        End::Exited(status) if status.success() => Ok(text),
        End::Exited(status) => Err(told(with_note(text, &describe(status)))),
        End::LeftBehind(status) => {
            let note = format!("{}; something goes on in the background", describe(status));
            Ok(with_note(text, &note))
        }
        End::TimedOut(seconds) => {
            Err(told(with_note(text, &format!("killed after {seconds} seconds"))))
        }
    }
}

/// Reads output until the command has ended.
async fn collect(
    process: &mut Process,
    pipe: &mut Receiver,
    seconds: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<End, ToolError> {
    let mut buffer = vec![0; 16 * 1024];
    let mut deadline = Instant::now() + Duration::from_secs(seconds);
    let mut exited = None;
    let mut open = true;
    loop {
        if let (Some(status), false) = (exited, open) {
            return Ok(End::Exited(status));
        }
        tokio::select! {
            read = pipe.read(&mut buffer), if open => match read {
                Ok(bytes) if bytes > 0 => take(buffer.get(..bytes).unwrap_or_default())?,
                Ok(_) | Err(_) => open = false,
            },
            status = process.wait(), if exited.is_none() => {
                exited = Some(status.map_err(|error| told(format!("lost the command: {error}")))?);
                deadline = Instant::now() + DRAIN;
            }
            () = tokio::time::sleep_until(deadline) => match exited {
                Some(status) => return Ok(End::LeftBehind(status)),
                None => {
                    process.kill();
                    return Ok(End::TimedOut(seconds));
                }
            },
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => String::from("ended"),
    }
}

fn with_note(mut text: String, note: &str) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + "[" + note + "]"
}

/// A command under way; dropping it kills its whole process group.
#[derive(Debug)]
struct Process {
    child: Child,
    /// The group, as long as its leader has not been waited for: the number is free after that.
    group: Option<Pid>,
}

impl Process {
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.group = None;
        status
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // It may have ended in this moment.
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts the command with both outputs in one pipe.
fn spawn(settings: &Settings, command: &str) -> io::Result<(Process, Receiver)> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let errors = writer.try_clone()?;
    // The writing ends live in this value and close with it, or the pipe would never end.
    let child = Command::new("bash")
        .arg("-c")
        .arg(command)
        .current_dir(&settings.group)
        .env_clear()
        .envs(environment(settings))
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    Ok((Process { child, group }, Receiver::from_owned_fd(reader)?))
}

/// A fresh environment: nothing that this program was given comes through but the search path and the zone.
fn environment(settings: &Settings) -> Vec<(&'static str, OsString)> {
    let broker = settings.broker_url();
    let mut environment = vec![
        ("PATH", settings.path.clone()),
        ("HOME", settings.home.clone().into()),
        ("LANG", "C.UTF-8".into()),
        ("ANTHROPIC_BASE_URL", broker.clone().into()),
        ("ANTHROPIC_API_KEY", crate::PLACEHOLDER_KEY.into()),
        ("NO_PROXY", "127.0.0.1,localhost".into()),
        ("no_proxy", "127.0.0.1,localhost".into()),
    ];
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        environment.push((name, broker.clone().into()));
    }
    environment.extend(settings.zone.clone().map(|zone| ("TZ", zone)));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bash(command: &str) -> Result<String, String> {
        bash_within(command, None, u64::MAX).await
    }

    async fn bash_within(
        command: &str,
        timeout: Option<u64>,
        bytes: u64,
    ) -> Result<String, String> {
        let group = tempfile::tempdir().unwrap();
        let settings = Settings { group: group.path().into(), ..Settings::default() };
        let input = Input { command: command.to_owned(), timeout_seconds: timeout };
        run(&settings, &Budget::new(bytes), input).await.map_err(|error| match error {
            ToolError::Told(words) => words,
            ToolError::Fatal(failure) => failure.message,
        })
    }

    #[tokio::test]
    async fn output_and_status_are_returned() {
        for (command, expected) in [
            ("echo out; echo err >&2", Ok("out\nerr\n")),
            ("printf x; exit 3", Err("x\n[exit code 3]")),
            ("kill -9 $$", Err("[killed by signal 9]")),
            ("cat", Ok("")),
            ("echo $ANTHROPIC_API_KEY $TZ", Ok("held-by-the-gateway\n")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(bash(command).await, expected, "{command}");
        }
    }

    #[tokio::test]
    async fn what_stays_in_the_background_does_not_hold_up_the_tool() {
        let text = bash("sleep 60 & echo started").await.unwrap();
        assert_eq!(text, "started\n[exit code 0; something goes on in the background]");
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed_with_all_it_started() {
        let begun = Instant::now();
        let error = bash_within("sleep 60 & sleep 60 & wait", Some(1), u64::MAX).await.unwrap_err();
        assert_eq!(error, "[killed after 1 seconds]");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn endless_output_is_cut_and_ends_the_run_at_the_budget() {
        let text = bash("seq 100000").await.unwrap();
        assert!(text.starts_with("1\n2\n") && text.ends_with("99999\n100000\n"));
        assert!(text.contains("bytes left out") && text.len() < MAX_RESULT_BYTES + 100);
        let error = bash_within("yes", None, 1_000_000).await.unwrap_err();
        assert!(error.contains("1000000 bytes"), "{error}");
    }
}

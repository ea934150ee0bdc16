//! The built agent-runner, driven through its ipc directory as a gateway would.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test they serve")]

mod bridge;
mod init;
mod instant;
mod native;
mod support;
mod tools;

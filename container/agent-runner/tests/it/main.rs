//! The built agent-runner, driven through its ipc directory as a gateway would.

mod instant;
mod support;

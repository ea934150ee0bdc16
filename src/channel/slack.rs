//! Slack: what its words mean, and ours to it.

#[expect(dead_code, unused_imports, reason = "the transport will use it")]
pub(crate) mod event;
pub(crate) mod id;
mod json;
#[expect(dead_code, unused_imports, reason = "the transport will use it")]
pub(crate) mod text;

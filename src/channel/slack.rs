//! Slack: what its words mean, and ours to it.

#[expect(dead_code, reason = "the transport will use it")]
pub(crate) mod cache;
#[expect(dead_code, unused_imports, reason = "the transport will use it")]
pub(crate) mod event;
pub(crate) mod id;
mod json;
pub(crate) mod manifest;
#[expect(dead_code, reason = "the transport will use it")]
pub(crate) mod people;
#[expect(dead_code, reason = "the transport will use it")]
pub(crate) mod scopes;
#[expect(dead_code, unused_imports, reason = "the transport will use it")]
pub(crate) mod text;

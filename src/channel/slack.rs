//! Slack: what its words mean, and ours to it.

#[cfg_attr(not(any(test, fuzzing)), expect(dead_code, reason = "the transport will use it"))]
pub(crate) mod cache;
#[cfg_attr(
    not(any(test, fuzzing)),
    expect(dead_code, unused_imports, reason = "the transport will use it")
)]
pub(crate) mod event;
#[cfg_attr(not(any(test, fuzzing)), expect(dead_code, reason = "the transport will use it"))]
pub(crate) mod id;
mod json;
pub(crate) mod manifest;
#[cfg_attr(not(any(test, fuzzing)), expect(dead_code, reason = "the transport will use it"))]
pub(crate) mod people;
#[cfg_attr(not(any(test, fuzzing)), expect(dead_code, reason = "the transport will use it"))]
pub(crate) mod scopes;
#[cfg_attr(
    not(any(test, fuzzing)),
    expect(dead_code, unused_imports, reason = "the transport will use it")
)]
pub(crate) mod text;

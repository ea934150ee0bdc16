//! The time by which the benchmarks compare what happened inside a sandbox with what happened outside.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970. Gateway and agent-runner share a kernel, so they share this clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place where the runner reads it")]
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

//! The Slack server on the wire, asked by a small client of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's helpers fail the test they serve"
)]

mod burst;
mod client;
mod faults;
mod files;
mod messages;
mod program;
mod sockets;
mod tokens;

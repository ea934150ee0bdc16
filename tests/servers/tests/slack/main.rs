//! The Slack server on the wire, asked by a small client of its own.

mod burst;
mod client;
mod faults;
mod files;
mod messages;
mod program;
mod sockets;
mod tokens;

//! Hermitcrab: a self-hosted gateway between the chats people already use and agents that can do real work.
//!
//! The modules below stand in reading order, words first; a module imports only from those above it, and
//! `tests/it/layers.rs` holds the picture against the code. ARCHITECTURE.md walks a message through them.

pub mod model;

mod clock;
mod failpoint;
mod text;

mod prompt;
mod trigger;

pub mod config;

mod broker;
pub mod channel;
mod ipc;
pub mod sandbox;
mod store;
mod telemetry;

mod outbox;
mod queue;
mod session;

mod run;

mod pool;

mod control;
mod router;

pub mod gateway;

pub mod cli;

#[cfg(any(fuzzing, test))]
pub mod fuzz;

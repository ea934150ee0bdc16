//! Behaviour of the whole: one binary for all of it, so that it is linked once.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers fail the test they serve"
)]

mod chat;
mod cli;
mod crash;
mod daemon;
mod disk;
mod fallen;
mod inside;
mod layers;
mod once;
mod slack;
mod support;
mod whole;

//! The real kinds of sandbox against the contract, and against what a hostile agent tries.
//!
//! These tests need Docker, bubblewrap and the default image (`tests/setup`), and fail where one is missing.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what every test of this binary shares lies outside its test functions"
)]

mod attacks;
mod bridge;
mod choice;
mod control;
mod daemon;
mod image;
mod lifecycle;
mod limits;
mod place;
mod probe;
mod unprivileged;

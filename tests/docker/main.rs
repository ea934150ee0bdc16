//! The real kinds of sandbox against the contract, and against what a hostile agent tries.
//!
//! These tests need Docker, bubblewrap and the default image (`tests/setup`), and fail where one is missing.

mod attacks;
mod bridge;
mod control;
mod daemon;
mod image;
mod lifecycle;
mod limits;
mod place;
mod probe;
mod unprivileged;

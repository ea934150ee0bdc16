//! Servers that stand in for the outside world in hermitcrab's tests; each also runs as a program.

pub mod model;
pub mod slack;

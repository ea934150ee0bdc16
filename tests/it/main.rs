//! Behaviour of the whole: one binary for all of it, so that it is linked once.

mod crash;
mod daemon;
mod inside;
mod layers;
mod support;
mod whole;

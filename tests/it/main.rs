//! Behaviour of the whole: one binary for all of it, so that it is linked once.

mod crash;
mod layers;
mod support;
mod whole;

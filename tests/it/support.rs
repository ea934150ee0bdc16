//! What the tests of the whole gateway share: a home in a temporary folder, the real binary, a terminal client.

pub(crate) mod gateway;
pub(crate) mod terminal;

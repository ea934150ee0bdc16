//! What the tests of the whole gateway share: a home in a temporary folder, the real binary, a terminal client, a keyboard,
//! and a gateway in the test's hands.

pub(crate) mod gateway;
pub(crate) mod pty;
pub(crate) mod stand_in;
pub(crate) mod terminal;

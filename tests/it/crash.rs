//! The crash matrix: the real binary killed with SIGKILL at every step between receipt and sent answer.
//!
//! Three ways lead through the code. The short one answers at once (`plain`); the agent's own one asks a model, uses
//! tools and sends messages (`agent`); and some are for messages that cannot be answered now, or never (`rare`). Which
//! steps there are is read from the source (`places`): a fail point that no matrix kills at is a failed test.

mod agent;
mod people;
pub(crate) mod places;
mod plain;
mod rare;
mod rounds;
mod storm;

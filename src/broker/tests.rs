//! The broker as a sandbox meets it: through its doors, against the model test server.

mod calls;
mod doors;
mod sources;
mod support;
mod web;

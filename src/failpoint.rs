//! Named places where the crash tests kill the process; without the feature `failpoints` they are nothing.
//!
//! `FAILPOINTS="store.keep.before_commit=12*off->return"` kills the process with SIGKILL when it comes by the
//! named place for the thirteenth time.

/// Marks a place that the crash tests can choose.
macro_rules! fail_point {
    ($name:expr) => {
        $crate::failpoint::pass($name)
    };
}

pub(crate) use fail_point;

/// Takes the places that the environment's `FAILPOINTS` names, for the life of the process.
#[cfg(feature = "failpoints")]
pub(crate) fn setup() {
    // The guard would forget the places when dropped, and they are wanted until the end.
    std::mem::forget(fail::FailScenario::setup());
}

/// Takes nothing: this build has no such places.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn setup() {}

/// Comes by a place, and dies there if it is the chosen one.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(name: &str) {
    fail::fail_point!(name, |_argument| die());
}

/// Comes by a place of no consequence.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn pass(_name: &str) {}

/// Ends the process as `kill -9` does: nothing is flushed, dropped or said.
#[cfg(feature = "failpoints")]
fn die() {
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL)
        .expect("a process may kill itself");
}

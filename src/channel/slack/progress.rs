//! What people see while the assistant works.

use tokio_util::sync::CancellationToken;

use super::workspace::Workspace;
use crate::model::{Activity, ThreadId};

/// The signs in a workspace.
#[derive(Debug, Default)]
pub(super) struct Progress {}

impl Progress {
    pub(super) fn wish(&self, _channel: &str, _thread: Option<&ThreadId>, _activity: &Activity) {}

    pub(super) async fn run(&self, _workspace: &Workspace, stop: &CancellationToken) {
        stop.cancelled().await;
    }
}

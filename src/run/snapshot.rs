//! What a group may see of the others, as a file in its ipc directory.

use protocol::{AvailableChat, AvailableGroups, layout};
use tracing::debug;

use super::{Running, Runs};
use crate::store::ChatRow;

/// The most chats that are told of; those with the newest messages come first.
const MOST: usize = 500;

impl Runs {
    /// Leaves what the group may see now; without it the agent knows less, and nothing else happens.
    pub(super) async fn leave_snapshot(&self, run: &Running<'_>) {
        let group = &run.live.group.name;
        let chats = if group.is_main() {
            self.store.newest_chats(MOST).await
        } else {
            self.store.chats_of(group, MOST).await
        };
        let chats = match chats {
            Ok(chats) => chats,
            Err(error) => return debug!(%error, "the chats cannot be listed for an agent"),
        };
        let snapshot = AvailableGroups { groups: chats.into_iter().map(seen).collect() };
        let left = serde_json::to_vec(&snapshot)
            .map_err(std::io::Error::from)
            .map(|json| run.live.ipc.put_snapshot(layout::AVAILABLE_GROUPS, &json));
        match left {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "what an agent may see could not be left"),
            Err(error) => debug!(%error, "what an agent may see could not be written"),
        }
    }
}

fn seen(row: ChatRow) -> AvailableChat {
    AvailableChat {
        chat: row.id.to_string(),
        name: row.name,
        is_registered: row.group.is_some(),
        group: row.group.map(|group| group.to_string()),
        last_activity: row.last_message_at.map(|at| at.to_string()),
    }
}

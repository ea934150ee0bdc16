//! What a group may see of the others, as a file in its ipc directory.

use protocol::layout;
use serde::Serialize;
use tracing::debug;

use super::{Running, Runs};
use crate::model::GroupName;
use crate::store::ChatRow;

/// The most chats that are told of; those with the newest messages come first.
const MOST: usize = 500;

/// `available_groups.json`: the main group sees every known chat, another group its own.
#[derive(Serialize)]
struct Snapshot {
    groups: Vec<Chat>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Chat {
    jid: String,
    name: Option<String>,
    group: Option<String>,
    last_activity: Option<String>,
    is_registered: bool,
}

impl Runs {
    /// Leaves what the group may see now; without it the agent knows less, and nothing else happens.
    pub(super) async fn leave_snapshot(&self, run: &Running<'_>) {
        let chats = match self.store.chats().await {
            Ok(chats) => visible(&run.live.group, chats),
            Err(error) => return debug!(%error, "the chats cannot be listed for an agent"),
        };
        let snapshot = Snapshot { groups: chats.into_iter().map(chat).collect() };
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

fn visible(group: &GroupName, mut chats: Vec<ChatRow>) -> Vec<ChatRow> {
    chats.retain(|chat| group.is_main() || chat.group.as_ref() == Some(group));
    chats.sort_by_key(|chat| std::cmp::Reverse(chat.last_message_at));
    chats.truncate(MOST);
    chats
}

fn chat(row: ChatRow) -> Chat {
    Chat {
        jid: row.id.to_string(),
        name: row.name,
        is_registered: row.group.is_some(),
        group: row.group.map(|group| group.to_string()),
        last_activity: row.last_message_at.map(|at| at.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(chat: &str, group: Option<&str>) -> ChatRow {
        ChatRow {
            id: chat.parse().unwrap(),
            name: None,
            group: group.map(|group| group.parse().unwrap()),
            last_message_at: None,
        }
    }

    #[test]
    fn a_group_sees_its_own_chats_and_main_sees_all() {
        let chats = vec![
            row("terminal:main", Some("main")),
            row("terminal:family", Some("family")),
            row("slack:T/C", None),
        ];
        let seen = |group: &str| visible(&group.parse().unwrap(), chats.clone()).len();
        assert_eq!((seen("main"), seen("family"), seen("work")), (3, 1, 0));
    }
}

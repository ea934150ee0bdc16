//! What is shown and is no answer yet, over restarts.

use super::Home;
use crate::model::{ChannelName, Conversation};

#[tokio::test]
async fn a_draft_is_kept_until_it_is_settled() {
    let home = Home::new();
    let store = home.open();
    let slack: ChannelName = "slack".parse().unwrap();
    let place = |chat: &str| Conversation {
        chat: chat.parse().unwrap(),
        thread: Some("1.000001".parse().unwrap()),
    };
    let (one, other) = (place("slack:T/A"), place("slacker:T/A"));
    let ids = ["1.000002", "1.000003"].map(|id| id.parse().unwrap());
    // A conversation has one: the later stands for the earlier.
    for id in &ids {
        store.drafted(&one, id).await.unwrap();
        store.drafted(&one, id).await.unwrap();
    }
    store.drafted(&other, &ids[0]).await.unwrap();
    drop(store);
    let store = home.open();
    store.settled(&one, &ids[0]).await.unwrap();
    assert_eq!(store.drafts(&slack).await.unwrap(), [(one.clone(), ids[1].clone())]);
    store.settled(&one, &ids[1]).await.unwrap();
    store.settled(&one, &ids[1]).await.unwrap();
    assert_eq!(store.drafts(&slack).await.unwrap(), []);
    assert_eq!(store.drafts(&"slacker".parse().unwrap()).await.unwrap().len(), 1);
}

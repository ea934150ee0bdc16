//! What is forgotten, and what never is.

use super::*;
use crate::clock::Clock;

/// Keeps a message and answers it; the answer waits in the outbox.
async fn answered(store: &Store, id: &str) -> crate::model::OutboxId {
    keep(store, &main_chat(), id).await;
    let claimed = claim(store, &main_chat()).await;
    store.finish_run(done(&claimed, "answer")).await.unwrap();
    store.outbox(1, Listed::All).await.unwrap()[0].id
}

#[tokio::test]
async fn old_records_go_and_what_is_not_settled_stays() {
    let home = Home::new();
    let store = home.with_main().await;
    let (sent, waits) = (answered(&store, "one").await, answered(&store, "two").await);
    store.outbox_sending(sent).await.unwrap();
    store.outbox_sent(sent, &crate::model::Receipt { external_id: None }).await.unwrap();
    let messages = store.counts().await.unwrap().messages;

    assert!(!store.prune(home.clock.now()).await.unwrap());
    assert_eq!(store.runs(9).await.unwrap().len(), 2, "what is of now stays");
    home.clock.advance(std::time::Duration::from_secs(60));
    assert!(!store.prune(home.clock.now()).await.unwrap());
    let left: Vec<_> =
        store.outbox(9, Listed::All).await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(left, [waits]);
    assert_eq!(store.runs(9).await.unwrap().len(), 1, "the run of what waits stays with it");
    assert_eq!(store.counts().await.unwrap().messages, messages);
}

//! A gateway of which a part has panicked: it ends in order and with an error, so that it is started anew.

use tokio::time::timeout;

use crate::support::gateway::{Home, PATIENCE};
use crate::support::terminal::Terminal;

#[tokio::test]
async fn a_gateway_of_which_a_part_panicked_ends_and_the_next_one_goes_on() {
    for (place, part) in
        [("intake.received", "the channel terminal"), ("store.keep.after_commit", "the store")]
    {
        let home = Home::new().with("AGENT_ENGINE", "instant");
        let mut gateway = home.start(Some(&format!("{place}=panic"))).await.unwrap();
        let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
        terminal.say("first", "[[id:first]]").await.unwrap();
        let status = timeout(PATIENCE, gateway.ended()).await;
        let status = status.unwrap_or_else(|_| panic!("{place}: alive:\n{}", home.read_log()));
        let log = home.read_log();
        assert_eq!(status.code(), Some(1), "{place}: {status}\n{log}");
        assert!(log.contains(&format!("a part of the gateway, {part}, has ended")), "{log}");
        assert!(log.contains("the gateway has stopped"), "in order: {log}");

        let gateway = home.start(None).await.unwrap();
        let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
        terminal.say("first", "[[id:first]]").await.unwrap();
        let answer = timeout(PATIENCE, terminal.answer()).await.unwrap().unwrap();
        assert_eq!(answer["text"], "ok [[id:first]]");
        assert!(gateway.terminate().await.success());
    }
}

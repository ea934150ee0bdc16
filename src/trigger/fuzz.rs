//! What must hold for any trigger and any message.

use super::Trigger;

/// Asks whether a message is addressed, and whether it still is as code and as a quotation.
pub(crate) fn message(written: &str, message: &str) {
    let trigger = Trigger::new(written);
    trigger.is_addressed(message);
    if !message.contains('`') {
        assert!(!trigger.is_addressed(&format!("```\n{message}\n```")));
        assert!(!trigger.is_addressed(&format!("`{}`", message.replace("\n\n", " "))));
    }
    let quoted: String = message.split('\n').map(|line| format!("> {line}\n")).collect();
    assert!(!trigger.is_addressed(&quoted));
}

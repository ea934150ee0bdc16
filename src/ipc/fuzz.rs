//! What must hold for any file from a sandbox.

use protocol::{Done, Progress, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::check;

/// Takes a name and a content as a sweep would.
pub(crate) fn file(name: &[u8], content: &[u8]) {
    let shown = check::shown(name);
    assert!(!shown.contains(char::is_control), "{shown:?}");
    if let Some(id) = check::request_id(name) {
        assert_eq!(format!("{id}.json").as_bytes(), name);
        assert!(!id.as_str().contains(['/', '.', '\0']) && !id.as_str().starts_with('-'));
    }
    round_trip::<Request>(content);
    round_trip::<Progress>(content);
    round_trip::<Done>(content);
}

/// What is understood says the same when it is written and read again.
fn round_trip<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(content: &[u8]) {
    match check::parse::<T>(content) {
        Ok(value) => {
            let again = serde_json::to_vec(&value).expect("what was read can be written");
            assert_eq!(check::parse::<T>(&again).as_ref(), Ok(&value));
        }
        Err(reason) => assert!(!reason.to_string().contains(char::is_control)),
    }
}

//! The system prompt: what the gateway says, then everybody's memory, then the group's.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use protocol::layout;

use crate::settings::Settings;

/// The most bytes of one memory file.
const MAX_MEMORY_BYTES: usize = 64 * 1024;
/// The file's name in both folders.
const MEMORY: &str = "CLAUDE.md";

/// Puts the system prompt together; a memory that is not there is left out.
pub(crate) fn system(settings: &Settings, gateway: &str) -> String {
    let memories = [(&settings.global, layout::GLOBAL), (&settings.group, layout::GROUP)];
    let mut system = gateway.to_owned();
    for (folder, shown) in memories {
        if let Some(memory) = read(&folder.join(MEMORY)) {
            system.push_str(&format!("\n\n# {shown}/{MEMORY}\n\n{memory}"));
        }
    }
    system
}

fn read(path: &Path) -> Option<String> {
    // The agent can put anything there; a pipe would wait for ever.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_MEMORY_BYTES + 1).ok()?;
    File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    let cut = bytes.len() > MAX_MEMORY_BYTES;
    bytes.truncate(MAX_MEMORY_BYTES);
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if cut {
        text.push_str("\n[This file is longer than 64 KiB; the rest is left out here.]");
    }
    Some(text).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn memories_follow_in_order_and_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        let settings =
            Settings { group: place("group"), global: place("global"), ..Settings::default() };
        assert_eq!(system(&settings, "You are Andy."), "You are Andy.");
        for name in ["group", "global"] {
            fs::create_dir(place(name)).unwrap();
            fs::write(place(name).join(MEMORY), format!("of {name}")).unwrap();
        }
        assert_eq!(
            system(&settings, "You are Andy."),
            "You are Andy.\n\n# /workspace/global/CLAUDE.md\n\nof global\
             \n\n# /workspace/group/CLAUDE.md\n\nof group"
        );
        fs::write(place("global").join(MEMORY), "é".repeat(MAX_MEMORY_BYTES)).unwrap();
        let long = system(&settings, "");
        assert!(long.contains("the rest is left out here") && long.len() < 2 * MAX_MEMORY_BYTES);
    }
}

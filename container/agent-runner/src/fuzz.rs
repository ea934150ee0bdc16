//! Doors for the fuzz targets in `tests/fuzz`: each takes any bytes, and panics when a promise is broken.
//!
//! They are there for fuzzing and for the test that replays what fuzzing found, and in no other build.

use crate::engine::native::entries;
use crate::engine::native::sse::{SseError, SseReader};

/// Where to cut in one byte, then a stream of events: read in two pieces and at once, it is the same.
pub fn sse(data: &[u8]) {
    let Some((&at, data)) = data.split_first() else { return };
    let (first, second) = data.split_at(usize::from(at).min(data.len()));
    let read = |pieces: &[&[u8]]| {
        let mut reader = SseReader::default();
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(reader.push(piece)?);
        }
        Ok::<_, SseError>(events)
    };
    assert_eq!(read(&[first, second]), read(&[data]));
}

/// A session's file, perhaps torn: what is read of it is read again from its undamaged part alone.
pub fn session(data: &[u8]) {
    if let Ok((entries, good)) = entries::parse(data) {
        let (good, _) = data.split_at_checked(good).expect("the good part is a part");
        let (again, length) = entries::parse(good).expect("the good part is good");
        assert_eq!(
            (entries::open_calls(&entries), length),
            (entries::open_calls(&again), good.len())
        );
        assert_eq!(entries, again);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    type Door = fn(&[u8]);

    #[test]
    fn what_fuzzing_found_is_replayed() {
        let doors: [(&str, Door); 2] = [("runner_sse", sse), ("session", session)];
        for (name, door) in doors {
            let corpus =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(name);
            let mut files = 0;
            for entry in std::fs::read_dir(&corpus).unwrap() {
                door(&std::fs::read(entry.unwrap().path()).unwrap());
                files += 1;
            }
            assert!(files > 0, "{} is empty", corpus.display());
        }
    }
}

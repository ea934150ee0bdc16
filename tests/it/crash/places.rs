//! The fail points: those that the source names, against those that the matrices kill at.

use std::collections::BTreeSet;
use std::path::Path;

use super::{agent, plain, rare};
use crate::layers;
use crate::slack::crash;

/// A place at which a matrix kills.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// A fail point of this name.
    At(&'static str),
    /// Both sides of a commit of this operation of the store.
    Commit(&'static str),
}

use Place::{At, Commit};

/// What no message comes by, and why.
const ELSEWHERE: [(Place, &str); 4] = [
    (
        Commit("prune"),
        "ten minutes after the start, and then daily; it concerns no message that waits",
    ),
    (
        At("outbox.begun"),
        "only a channel that takes a file in steps; `slack/files_out.rs` kills there",
    ),
    (Commit("outbox_begun"), "the same"),
    (
        Commit("note"),
        "only that there is a chat of no group: nothing of it is kept, and its next message notes it again",
    ),
];

impl Place {
    fn points(self) -> Vec<String> {
        match self {
            At(point) => vec![point.to_owned()],
            Commit(operation) => {
                ["before", "after"].map(|side| format!("store.{operation}.{side}_commit")).to_vec()
            }
        }
    }
}

/// The fail points at these places, in order.
pub(crate) fn points(places: &[Place]) -> Vec<String> {
    places.iter().flat_map(|place| place.points()).collect()
}

/// What a source file names: its fail points, and how many of them it names by a value.
fn named_in(text: &str) -> (BTreeSet<String>, usize) {
    let mut named = BTreeSet::new();
    let mut by_value = 0;
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.flat_map(|line| [line, "\n"]).collect();
    let calls = |call: &'static str| {
        let whole_name =
            |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        code.match_indices(call)
            .filter(|(at, _)| whole_name(&code[..*at]))
            .map(|(at, call)| literal(&code[at + call.len()..]))
            .collect::<Vec<_>>()
    };
    for point in calls("fail_point!(") {
        match point {
            Some(point) => _ = named.insert(point.to_owned()),
            None => by_value += 1,
        }
    }
    for operation in calls("name!(").into_iter().flatten() {
        named.extend(["before", "after"].map(|side| format!("store.{operation}.{side}_commit")));
    }
    (named, by_value)
}

/// The string that the text begins with.
fn literal(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix('"')?.split('"').next()
}

#[test]
fn every_point_that_the_source_names_is_killed_at() {
    let mut named = BTreeSet::new();
    let mut by_value = Vec::new();
    for (path, text) in layers::files(&["src"]) {
        // The macro's own home, and tests, name none that a gateway comes by.
        if path == Path::new("src/failpoint.rs") || path.ends_with("tests.rs") {
            continue;
        }
        let (points, values) = named_in(&text);
        named.extend(points);
        by_value.extend((values > 0).then(|| (path.display().to_string(), values)));
    }
    // The writer's, one before and one after each commit: they are named where the operations are.
    assert_eq!(by_value, [("src/store/writer.rs".to_owned(), 2)]);

    let elsewhere: Vec<Place> = ELSEWHERE.iter().map(|(place, _)| *place).collect();
    let killed = [plain::places(), agent::places(), rare::places(), crash::places()].concat();
    let killed: BTreeSet<String> = points(&killed).into_iter().collect();
    let exempt: BTreeSet<String> = points(&elsewhere).into_iter().collect();
    assert!(killed.is_disjoint(&exempt), "killed at, and said to be out of reach");
    let listed: BTreeSet<String> = killed.union(&exempt).cloned().collect();
    let missing: Vec<_> = named.difference(&listed).collect();
    assert!(missing.is_empty(), "nothing kills at {missing:?}");
    let unknown: Vec<_> = listed.difference(&named).collect();
    assert!(unknown.is_empty(), "the source does not name {unknown:?}");
    println!(
        "crash points: {} in the source, {} killed at, {} out of reach",
        named.len(),
        killed.len(),
        exempt.len()
    );
}

#[test]
fn names_are_found_where_they_stand() {
    for (text, points, by_value) in [
        ("fail_point!(\"a.b\");", &["a.b"][..], 0),
        ("super::fail_point!(\n    \"a.b\"\n);", &["a.b"], 0),
        ("// fail_point!(\"a.b\")", &[], 0),
        ("fail_point!(operation.name().before_commit);", &[], 1),
        (
            "name!(\"keep\", \"keep a message\")",
            &["store.keep.after_commit", "store.keep.before_commit"],
            0,
        ),
        ("file_name!(\"keep\")", &[], 0),
    ] {
        let found = named_in(text);
        let points: BTreeSet<String> = points.iter().map(|point| (*point).to_owned()).collect();
        assert_eq!(found, (points, by_value), "{text}");
    }
}

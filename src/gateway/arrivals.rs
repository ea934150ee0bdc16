//! Files that people have sent, received into the folder of their chat's group.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tracing::warn;

use crate::channel::FileSink;
use crate::ipc::Arrival;
use crate::model::{Attachment, ChatId, GroupName, MessageId};
use crate::run::Given;
use crate::sandbox::spec;
use crate::text;

/// The most bytes of a file's name; the file systems that we know take 255.
const NAME_BYTES: usize = 200;
/// The most bytes of what counts as its extension.
const EXTENSION_BYTES: usize = 16;

/// How many bytes of files people may send a group in a day, as counted from the first of them; a gateway that is
/// started anew counts anew.
const MOST_A_DAY: u64 = 1024 * 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of the files that came for each group.
#[derive(Debug, Clone, Default)]
pub(super) struct Books {
    /// What was put into their folders.
    pub(super) given: Given,
    rations: Arc<Mutex<HashMap<GroupName, Ration>>>,
}

/// What a group has had of its day.
#[derive(Debug)]
struct Ration {
    since: Instant,
    had: u64,
}

/// A file that is coming in. Nothing is made before something of it has come.
pub(super) struct Sink {
    groups: PathBuf,
    group: GroupName,
    books: Books,
    name: String,
    bytes: u64,
    arrival: Option<Arrival>,
    settled: bool,
}

impl Books {
    /// Takes from what a group may have in a day; tells whether there was enough left.
    fn take(&self, group: &GroupName, bytes: u64, now: Instant) -> bool {
        let mut rations = self.rations();
        let ration = rations.entry(group.clone()).or_insert_with(|| Ration { since: now, had: 0 });
        if now.saturating_duration_since(ration.since) >= DAY {
            *ration = Ration { since: now, had: 0 };
        }
        let had = ration.had.saturating_add(bytes);
        let enough = had <= MOST_A_DAY;
        if enough {
            ration.had = had;
        }
        enough
    }

    /// Puts back what came to nothing.
    fn put_back(&self, group: &GroupName, bytes: u64) {
        if let Some(ration) = self.rations().get_mut(group) {
            ration.had = ration.had.saturating_sub(bytes);
        }
    }

    fn rations(&self) -> MutexGuard<'_, HashMap<GroupName, Ration>> {
        // What it guards is whole between any two statements.
        self.rations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// A place in the folder of a group for a file that is to be [called](file_name) so.
    pub(super) fn new(groups: PathBuf, group: GroupName, books: Books, name: String) -> Self {
        Self { groups, group, books, name, bytes: 0, arrival: None, settled: false }
    }

    /// What there is of the file, which may be the first thing that ever lies in the folder.
    fn begun(&mut self) -> io::Result<Arrival> {
        if let Some(arrival) = self.arrival.take() {
            return Ok(arrival);
        }
        let user = spec::user();
        spec::own(self.groups.join(self.group.as_str()), user).map_err(io::Error::other)?;
        Arrival::begin(&self.groups, &self.group, (user.uid, user.gid))
    }
}

#[async_trait]
impl FileSink for Sink {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if !self.books.take(&self.group, more, Instant::now()) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.bytes += more;
        let mut arrival = self.begun()?;
        arrival.write(bytes).await?;
        self.arrival = Some(arrival);
        Ok(())
    }

    async fn settle(mut self: Box<Self>) -> io::Result<(GroupName, PathBuf)> {
        let arrival = self.begun()?;
        // Before it lies there, lest it counts as the agent's for a moment.
        self.books.given.add(&self.group, self.bytes);
        let settled = arrival.settle(&self.name).await;
        self.settled = settled.is_ok();
        if !self.settled {
            self.books.given.take_back(&self.group, self.bytes);
        }
        Ok((self.group.clone(), settled?))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if !self.settled {
            self.books.put_back(&self.group, self.bytes);
        }
    }
}

/// Removes files of a message: each from the group that it was put into, or where nothing is known of that from the one
/// that the chat belongs to.
pub(super) fn remove(groups: &Path, group_now: Option<&GroupName>, files: &[Attachment]) {
    for file in files {
        let Some(group) = file.group.as_ref().or(group_now) else { continue };
        if let Err(error) = Arrival::remove(groups, group, &file.path) {
            warn!(%error, group.name = %group, "a file of a deleted message could not be removed");
        }
    }
}

/// What a file is called on disk, where its name must lead nowhere: the same whenever its message comes, and unlike any
/// other of a group: messages of two chats may be called the same. What is too long keeps its extension.
pub(super) fn file_name(chat: &ChatId, message: &MessageId, number: usize, name: &str) -> String {
    let number = if number == 0 { String::new() } else { format!(".{}", number + 1) };
    let chat = chat.local().replace('/', "-");
    let name = text::plain(&format!("{message}{number}-{chat}-{name}")).replace(['/', '\\'], "_");
    let dot = name.rfind('.').filter(|dot| name.len() - dot <= EXTENSION_BYTES);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    format!("{}{extension}", text::cut(stem, NAME_BYTES - extension.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_by_its_message_and_its_name() {
        let (chat, ts) = ("slack:T1/C1".parse().unwrap(), "1700000000.000100".parse().unwrap());
        let long = format!("{}.pdf", "é".repeat(150));
        for (number, name, expected) in [
            (0, "a b.pdf", "1700000000.000100-T1-C1-a b.pdf"),
            (1, "a b.pdf", "1700000000.000100.2-T1-C1-a b.pdf"),
            (0, "../../etc/passwd", "1700000000.000100-T1-C1-.._.._etc_passwd"),
            (0, "..\\x\0\n\u{1b}\u{202e}\u{200b}.exe", "1700000000.000100-T1-C1-.._x_____.exe"),
            (0, "日本 🎉.txt", "1700000000.000100-T1-C1-日本 🎉.txt"),
            (0, "", "1700000000.000100-T1-C1-"),
            (0, &long, &format!("1700000000.000100-T1-C1-{}.pdf", "é".repeat(86))),
            (0, &"x".repeat(300), &format!("1700000000.000100-T1-C1-{}", "x".repeat(176))),
        ] {
            assert_eq!(file_name(&chat, &ts, number, name), expected);
        }
    }

    #[test]
    fn a_group_gets_so_much_in_a_day_and_what_came_to_nothing_does_not_count() {
        let (books, start) = (Books::default(), Instant::now());
        let (team, other) = ("team".parse().unwrap(), "other".parse().unwrap());
        assert!(books.take(&team, MOST_A_DAY - 10, start));
        assert!(books.take(&team, 10, start));
        assert!(!books.take(&team, 1, start));
        assert!(books.take(&other, 1, start), "each for itself");
        books.put_back(&team, 10);
        assert!(!books.take(&team, 11, start));
        assert!(books.take(&team, 10, start + DAY - Duration::from_secs(1)));
        assert!(!books.take(&team, 1, start + DAY - Duration::from_secs(1)));
        assert!(books.take(&team, MOST_A_DAY, start + DAY));
    }

    #[tokio::test]
    async fn what_is_given_up_is_nobodys_growth_and_no_part_of_the_day() {
        let home = tempfile::tempdir().unwrap();
        let (books, team) = (Books::default(), "team".parse::<GroupName>().unwrap());
        let sink = |name: &str| {
            let (groups, team) = (home.path().to_owned(), team.clone());
            Box::new(Sink::new(groups, team, books.clone(), name.to_owned()))
        };
        let had = || books.rations().get(&team).map_or(0, |ration| ration.had);
        let mut given_up = sink("a");
        given_up.write(b"12345").await.unwrap();
        assert_eq!(had(), 5);
        drop(given_up);
        assert_eq!(had(), 0);
        let mut whole = sink("a");
        whole.write(b"12345").await.unwrap();
        whole.settle().await.unwrap();
        assert_eq!(had(), 5);
        // Something else lies there.
        let mut other = sink("a");
        other.write(b"123").await.unwrap();
        other.settle().await.unwrap_err();
        assert_eq!(had(), 5);
        assert!(books.take(&team, MOST_A_DAY - 5, Instant::now()));
        let full = sink("b").write(b"1").await.unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::QuotaExceeded);
    }
}

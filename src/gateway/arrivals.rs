//! Files that people have sent, received into the folder of their chat's group.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tracing::warn;

use crate::channel::FileSink;
use crate::ipc::Arrival;
use crate::model::{Attachment, GroupName, MessageId};
use crate::run::Given;
use crate::sandbox::spec;
use crate::text;

/// The most bytes of a file's name; the file systems that we know take 255.
const NAME_BYTES: usize = 200;
/// The most bytes of what counts as its extension.
const EXTENSION_BYTES: usize = 16;

/// A file that is coming in. Nothing is made before something of it has come.
pub(super) struct Sink {
    groups: PathBuf,
    group: GroupName,
    given: Given,
    name: String,
    bytes: u64,
    arrival: Option<Arrival>,
}

impl Sink {
    /// A place in the folder of a group for a file that is to be [called](file_name) so.
    pub(super) fn new(groups: PathBuf, group: GroupName, given: Given, name: String) -> Self {
        Self { groups, group, given, name, bytes: 0, arrival: None }
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
        let mut arrival = self.begun()?;
        arrival.write(bytes).await?;
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.arrival = Some(arrival);
        Ok(())
    }

    async fn settle(mut self: Box<Self>) -> io::Result<PathBuf> {
        let arrival = self.begun()?;
        self.given.add(&self.group, self.bytes);
        arrival.settle(&self.name).await
    }
}

/// Removes the files of a message that is deleted.
pub(super) fn remove(groups: &Path, group: &GroupName, files: &[Attachment]) {
    for file in files {
        if let Err(error) = Arrival::remove(groups, group, &file.path) {
            warn!(%error, group.name = %group, "a file of a deleted message could not be removed");
        }
    }
}

/// What a file is called on disk, where its name must lead nowhere: the same whenever its message comes, and unlike any
/// other of a chat. What is too long keeps its extension.
pub(super) fn file_name(message: &MessageId, number: usize, name: &str) -> String {
    let number = if number == 0 { String::new() } else { format!(".{}", number + 1) };
    let name = text::plain(&format!("{message}{number}-{name}")).replace(['/', '\\'], "_");
    let dot = name.rfind('.').filter(|dot| name.len() - dot <= EXTENSION_BYTES);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    format!("{}{extension}", text::cut(stem, NAME_BYTES - extension.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_by_its_message_and_its_name() {
        let ts = "1700000000.000100".parse().unwrap();
        let long = format!("{}.pdf", "é".repeat(150));
        for (number, name, expected) in [
            (0, "a b.pdf", "1700000000.000100-a b.pdf"),
            (1, "a b.pdf", "1700000000.000100.2-a b.pdf"),
            (0, "../../etc/passwd", "1700000000.000100-.._.._etc_passwd"),
            (0, "..\\x\0\n\u{1b}\u{202e}\u{200b}.exe", "1700000000.000100-.._x_____.exe"),
            (0, "日本 🎉.txt", "1700000000.000100-日本 🎉.txt"),
            (0, "", "1700000000.000100-"),
            (0, &long, &format!("1700000000.000100-{}.pdf", "é".repeat(89))),
            (0, &"x".repeat(300), &format!("1700000000.000100-{}", "x".repeat(182))),
        ] {
            assert_eq!(file_name(&ts, number, name), expected);
        }
    }
}

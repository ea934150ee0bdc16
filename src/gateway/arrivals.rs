//! Files that people have sent, received into the folder of their chat's group.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tracing::warn;

use crate::channel::FileSink;
use crate::ipc::Arrival;
use crate::model::{Attachment, GroupName, MessageId};
use crate::sandbox::spec;
use crate::text;

/// The most bytes of a file's name; the file systems that we know take 255.
const NAME_BYTES: usize = 200;

/// A file that is coming in. Nothing is made before something of it has come.
pub(super) struct Sink {
    groups: PathBuf,
    group: GroupName,
    name: String,
    arrival: Option<Arrival>,
}

impl Sink {
    /// A place for the `number`th file of a message.
    pub(super) fn new(
        groups: PathBuf,
        group: GroupName,
        of: (&MessageId, usize),
        name: &str,
    ) -> Self {
        Self { groups, group, name: file_name(of.0.as_str(), of.1, name), arrival: None }
    }

    async fn begun(&mut self) -> io::Result<Arrival> {
        if let Some(arrival) = self.arrival.take() {
            return Ok(arrival);
        }
        let (groups, group) = (self.groups.clone(), self.group.clone());
        let begin = move || {
            let user = spec::user();
            // It may be the first thing that ever lies there.
            spec::own(groups.join(group.as_str()), user).map_err(io::Error::other)?;
            Arrival::begin(&groups, &group, (user.uid, user.gid))
        };
        tokio::task::spawn_blocking(begin).await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl FileSink for Sink {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut arrival = self.begun().await?;
        arrival.write(bytes).await?;
        self.arrival = Some(arrival);
        Ok(())
    }

    async fn settle(mut self: Box<Self>) -> io::Result<PathBuf> {
        self.begun().await?.settle(&self.name).await
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

/// What a file is called on disk: the same whenever its message comes, and unlike any other of a group.
fn file_name(message: &str, number: usize, name: &str) -> String {
    let number = if number == 0 { String::new() } else { format!(".{}", number + 1) };
    text::file_name(&format!("{message}{number}-{name}"), NAME_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_by_its_message_and_its_name() {
        let ts = "1700000000.000100";
        let long = format!("{}.pdf", "é".repeat(150));
        for (number, name, expected) in [
            (0, "a b.pdf", "1700000000.000100-a b.pdf"),
            (1, "a b.pdf", "1700000000.000100.2-a b.pdf"),
            (0, "../../etc/passwd", "1700000000.000100-.._.._etc_passwd"),
            (0, "", "1700000000.000100-"),
            (0, &long, &format!("1700000000.000100-{}.pdf", "é".repeat(89))),
        ] {
            assert_eq!(file_name(ts, number, name), expected);
        }
    }
}

//! Files: announced, uploaded, shared, downloaded.

use bytes::Bytes;
use hyper::http::request::Parts;
use serde_json::{Value, json};

use super::args::{boundary, header, parts};
use super::json::text;
use super::post::Attached;
use super::world::{World, since_1970};

/// A file of the workspace.
#[derive(Debug, Clone)]
pub struct File {
    pub(super) json: Value,
    bytes: Bytes,
    /// How many bytes were announced.
    announced: usize,
    pub(super) stage: Stage,
}

/// How far a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its upload URL was asked for.
    Announced,
    /// Its bytes are here.
    Uploaded,
    /// It is in the workspace.
    Complete,
}

impl File {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        text(&self.json, "id")
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.json, "name")
    }

    /// What is in it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is in the workspace, and not only uploaded.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// As messages and `files.info` show it.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }
}

impl World {
    /// A file that somebody says will come.
    pub(super) fn announce_file(
        &mut self,
        name: &str,
        mime: &str,
        user: &str,
        size: usize,
    ) -> String {
        let id = format!("F0FAKE{:05}", self.next_id());
        let (team, now) = (&self.options.team_id, since_1970().as_secs());
        let path: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let url = format!("{}/files-pri/{team}-{id}", self.base);
        let kind = name.rsplit_once('.').map_or("binary", |(_, extension)| extension);
        let json = json!({
            "id": id, "created": now, "timestamp": now, "name": name, "title": name,
            "mimetype": mime, "filetype": kind, "pretty_type": kind.to_uppercase(),
            "user": user, "user_team": team, "size": size, "mode": "hosted", "editable": false,
            "is_external": false, "external_type": "", "is_public": true,
            "public_url_shared": false, "display_as_bot": false, "username": "",
            "url_private": format!("{url}/{path}"),
            "url_private_download": format!("{url}/download/{path}"),
            "permalink": format!("https://fake.slack.com/files/{user}/{id}/{path}"),
            "media_display_type": "unknown", "has_rich_preview": false, "file_access": "visible",
        });
        let file = File { json, bytes: Bytes::new(), announced: size, stage: Stage::Announced };
        self.files.insert(id.clone(), file);
        id
    }

    /// A person's file, whole; returns it as messages show it.
    pub(super) fn add_file(&mut self, file: Attached, user: &str) -> Value {
        let id = self.announce_file(&file.name, &file.mime, user, file.bytes.len());
        let Some(kept) = self.files.get_mut(&id) else { return Value::Null };
        kept.bytes = file.bytes;
        kept.stage = Stage::Complete;
        kept.json.clone()
    }

    /// Takes the bytes of a file that was announced; returns how many they are.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn take_upload(
        &mut self,
        id: &str,
        head: &Parts,
        body: &Bytes,
    ) -> Result<usize, &'static str> {
        let whole = match boundary(header(head, "content-type")) {
            None => body.clone(),
            Some(boundary) => {
                let first =
                    parts(body, boundary).first().map(|(_, content)| body.slice_ref(content));
                first.ok_or("no part in the body")?
            }
        };
        let file = self.files.get_mut(id).ok_or("no such upload")?;
        if file.stage == Stage::Complete {
            return Err("the upload is over");
        }
        if whole.len() != file.announced {
            return Err("not as long as announced");
        }
        file.stage = Stage::Uploaded;
        file.bytes = whole;
        Ok(file.bytes.len())
    }

    /// A file that this request may download: its type and its bytes.
    pub(super) fn download(&self, path: &str, head: &Parts) -> Option<(String, Bytes)> {
        let token = header(head, "authorization").strip_prefix("Bearer ")?;
        let may = token == self.options.bot_token
            && self.revoked.is_none()
            && self.options.scopes.contains("files:read");
        let (_, id) = path.split('/').next()?.rsplit_once('-')?;
        let file = self.files.get(id).filter(|file| may && file.is_complete())?;
        Some((text(&file.json, "mimetype").to_owned(), file.bytes.clone()))
    }
}

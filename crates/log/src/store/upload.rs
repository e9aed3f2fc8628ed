//! An object being written to an object store, invisible until published.
//!
//! Parts are cut to one size, as some stores demand, and sent in order as they fill up. Partitions of an epoch are
//! written side by side, so an upload does not run in parallel with itself.

use std::mem;

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{Error, Prepared, PreparedWrite, Result};
use object_store::{ObjectStoreExt, PutPayload};

use super::{
    STAGING,
    object::{Hidden, MARKER_SUFFIX, Marker, ObjectStorage},
};

/// Bytes of every part but the last. Stores want at least 5 MiB, and at most 10,000 parts.
const PART_BYTES: usize = 8 << 20;

pub(super) struct UploadWrite {
    storage: ObjectStorage,
    path: String,
    hidden: Hidden,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    size: u64,
    crc: crc32fast::Hasher,
}

impl UploadWrite {
    /// Starts an upload and writes the marker that names it.
    pub(super) async fn start(storage: ObjectStorage, path: &str, owner: &str) -> Result<Self> {
        let staged = format!("{STAGING}/{owner}/{}", uuid::Uuid::new_v4().simple());
        let hidden = match &storage.uploads {
            None => Hidden::Staged(staged),
            Some(uploads) => {
                let at = storage.at(path)?;
                let upload = uploads
                    .create_multipart(&at)
                    .await
                    .map_err(|error| storage.failed("start to write", path, error))?;
                let marker = format!("{staged}{MARKER_SUFFIX}");
                write_marker(&storage, &marker, path, &upload).await?;
                Hidden::Upload {
                    upload,
                    parts: Vec::new(),
                    marker,
                }
            }
        };
        Ok(Self {
            storage,
            path: path.to_owned(),
            hidden,
            pending: Vec::new(),
            pending_bytes: 0,
            size: 0,
            crc: crc32fast::Hasher::new(),
        })
    }

    /// Sends the first `length` of the pending bytes as one part.
    async fn send(&mut self, length: usize) -> Result<()> {
        let payload = self.take(length);
        let Hidden::Upload { upload, parts, .. } = &mut self.hidden else {
            return Err(Error::internal("a staged object is written at once"));
        };
        let uploads = self
            .storage
            .uploads
            .as_ref()
            .expect("an upload was started, so the store has uploads");
        let at = self.storage.at(&self.path)?;
        let part = uploads
            .put_part(&at, upload, parts.len(), payload)
            .await
            .map_err(|error| self.storage.failed("write a part of", &self.path, error))?;
        parts.push(part.content_id);
        Ok(())
    }

    /// Takes the first `length` pending bytes without copying them.
    fn take(&mut self, length: usize) -> PutPayload {
        let mut left = length;
        let mut rest = Vec::new();
        let mut taken = Vec::new();
        for mut bytes in mem::take(&mut self.pending) {
            let piece = bytes.split_to(left.min(bytes.len()));
            left -= piece.len();
            if !piece.is_empty() {
                taken.push(piece);
            }
            if !bytes.is_empty() {
                rest.push(bytes);
            }
        }
        self.pending = rest;
        self.pending_bytes -= length;
        taken.into_iter().collect()
    }
}

async fn write_marker(
    storage: &ObjectStorage,
    marker: &str,
    path: &str,
    upload: &str,
) -> Result<()> {
    let content = serde_json::to_vec(&Marker {
        path: path.to_owned(),
        upload: upload.to_owned(),
    })?;
    storage
        .store
        .put(&storage.at(marker)?, content.into())
        .await
        .map(|_| ())
        .map_err(|error| storage.failed("write", marker, error))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl PreparedWrite for UploadWrite {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.crc.update(&bytes);
        self.size += bytes.len() as u64;
        self.pending_bytes += bytes.len();
        self.pending.push(bytes);
        while self.pending_bytes >= PART_BYTES && matches!(self.hidden, Hidden::Upload { .. }) {
            self.send(PART_BYTES).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Prepared> {
        let rest = self.pending_bytes;
        match &self.hidden {
            // An object without bytes is an upload without parts.
            Hidden::Upload { .. } if rest > 0 => self.send(rest).await?,
            Hidden::Upload { .. } => {}
            Hidden::Staged(staged) => {
                let at = self.storage.at(staged)?;
                let staged = staged.clone();
                let payload = self.take(rest);
                let put = self.storage.store.put(&at, payload).await;
                put.map_err(|error| self.storage.failed("write", &staged, error))?;
            }
        }
        self.storage.note_fresh(&self.hidden);
        Ok(Prepared {
            path: mem::take(&mut self.path),
            size: self.size,
            crc32: self.crc.clone().finalize(),
            token: serde_json::to_value(&self.hidden)?,
        })
    }
}

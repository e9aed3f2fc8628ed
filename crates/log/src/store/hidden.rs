//! An object being written on a [`Disk`], under a hidden name.
//!
//! Small writes are gathered, and the file is created by the first flush: a small object costs one hop to a blocking
//! thread, at the end.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{Prepared, PreparedWrite, Result};

use super::{
    disk::Disk,
    steps::hidden_token,
    synced::{SyncedDisk, Syncs, run},
};

/// How many bytes are gathered before they are handed to the file system.
const FLUSH_BYTES: usize = 1 << 20;

pub(super) struct HiddenFile<D: Disk> {
    inner: Arc<SyncedDisk<D>>,
    path: String,
    owner: String,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    size: u64,
    crc: crc32fast::Hasher,
    file: Option<OpenFile<D>>,
}

struct OpenFile<D: Disk> {
    file: D::File,
    hidden: String,
    ticket: u64,
    syncs: Syncs,
}

impl<D: Disk> HiddenFile<D> {
    pub(super) fn new(inner: &Arc<SyncedDisk<D>>, path: &str, owner: &str) -> Self {
        Self {
            inner: Arc::clone(inner),
            path: path.to_owned(),
            owner: owner.to_owned(),
            pending: Vec::new(),
            pending_bytes: 0,
            size: 0,
            crc: crc32fast::Hasher::new(),
            file: None,
        }
    }

    /// Hands what was gathered to the file system; with `last`, durably, giving the hidden name.
    async fn flush(&mut self, last: bool) -> Result<Option<String>> {
        let file = self.file.take();
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let (path, owner) = (self.path.clone(), self.owner.clone());
        let (file, hidden) = run(&self.inner, move |inner| {
            let mut open = match file {
                Some(open) => open,
                None => OpenFile::create(inner, &owner)?,
            };
            for bytes in &pending {
                inner
                    .disk
                    .append(&mut open.file, std::slice::from_ref(bytes))
                    .map_err(|error| inner.failed("write", &path, error))?;
            }
            if !last {
                return Ok((Some(open), None));
            }
            inner.sync_file(&open.file, &path)?;
            inner.sync(open.syncs)?;
            inner.sync_staging(open.ticket)?;
            Ok((None, Some(open.hidden)))
        })
        .await?;
        self.file = file;
        Ok(hidden)
    }
}

impl<D: Disk> OpenFile<D> {
    fn create(inner: &SyncedDisk<D>, owner: &str) -> Result<Self> {
        let mut syncs = Syncs::default();
        let (file, hidden) = inner.create_hidden(owner, &mut syncs)?;
        Ok(Self {
            file,
            hidden,
            ticket: inner.staging_ticket(),
            syncs,
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<D: Disk> PreparedWrite for HiddenFile<D> {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.crc.update(&bytes);
        self.size += bytes.len() as u64;
        self.pending_bytes += bytes.len();
        self.pending.push(bytes);
        if self.pending_bytes >= FLUSH_BYTES {
            self.flush(false).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Prepared> {
        let hidden = self
            .flush(true)
            .await?
            .expect("the last flush gives the hidden name");
        Ok(Prepared {
            path: std::mem::take(&mut self.path),
            size: self.size,
            crc32: self.crc.clone().finalize(),
            token: hidden_token(&hidden),
        })
    }
}

//! The files of one partition of one epoch, while they are written.

use std::{collections::HashMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{PartWrite, Prepared, PreparedWrite, Result, Storage};

use super::{
    dictionaries::Dictionaries,
    encode::{Encoder, encoder},
    naming::file_name,
    options::SinkOptions,
};
use crate::file::FileFormat;

/// What the open files of one partition may hold in memory together before the largest of them is written out.
const HELD_BYTES: usize = 256 << 20;

/// How many files are made durable at the same time.
const PARALLEL_FINISHES: usize = 16;

/// What all files of a sink have in common.
#[derive(Debug)]
pub(super) struct FileKind {
    pub(super) format: FileFormat,
    pub(super) schema: SchemaRef,
    pub(super) options: SinkOptions,
    pub(super) dictionaries: Arc<Dictionaries>,
    pub(super) storage: Arc<dyn Storage>,
}

impl FileKind {
    async fn open(&self, part: &PartWrite, folder: &str) -> Result<OpenFile> {
        let path = format!(
            "{folder}{}",
            file_name(part, self.format, self.options.gzip)
        );
        Ok(OpenFile {
            encoder: encoder(
                self.format,
                &self.schema,
                &self.options,
                &self.dictionaries,
                part.write.epoch,
            )?,
            target: self.storage.prepare(&path, &part.write.owner()).await?,
        })
    }
}

/// The open files of one partition, by folder.
pub(super) struct PartFiles<'a> {
    kind: &'a FileKind,
    part: PartWrite,
    files: HashMap<String, OpenFile>,
}

struct OpenFile {
    encoder: Box<dyn Encoder>,
    target: Box<dyn PreparedWrite>,
}

impl OpenFile {
    /// Hands on what is ready.
    async fn drain(&mut self) -> Result<()> {
        let ready = self.encoder.take();
        if ready.is_empty() {
            return Ok(());
        }
        self.target.write(ready.into()).await
    }

    async fn finish(mut self) -> Result<Prepared> {
        let rest = self.encoder.finish()?;
        self.target.write(rest.into()).await?;
        self.target.finish().await
    }
}

impl<'a> PartFiles<'a> {
    pub(super) fn new(kind: &'a FileKind, part: PartWrite) -> Self {
        Self {
            kind,
            part,
            files: HashMap::new(),
        }
    }

    /// Adds rows to the file in `folder`, which is opened by its first row.
    pub(super) async fn write(&mut self, folder: String, rows: &RecordBatch) -> Result<()> {
        let file = match self.files.get_mut(&folder) {
            Some(file) => file,
            None => {
                let file = self.kind.open(&self.part, &folder).await?;
                self.files.entry(folder).or_insert(file)
            }
        };
        file.encoder.write(rows)?;
        file.drain().await?;
        self.bound_memory().await
    }

    async fn bound_memory(&mut self) -> Result<()> {
        if self.files.len() < 2 {
            // One file bounds itself, by the size of its row groups.
            return Ok(());
        }
        let mut held: usize = self.files.values().map(|file| file.encoder.held()).sum();
        while held > HELD_BYTES {
            let Some(largest) = self
                .files
                .values_mut()
                .max_by_key(|file| file.encoder.held())
            else {
                return Ok(());
            };
            let before = largest.encoder.held();
            largest.encoder.flush()?;
            largest.drain().await?;
            let freed = before.saturating_sub(largest.encoder.held());
            if freed == 0 {
                return Ok(());
            }
            held -= freed;
        }
        Ok(())
    }

    /// Makes the files durable, still invisible.
    pub(super) async fn finish(self) -> Result<Vec<Prepared>> {
        let mut prepared: Vec<Prepared> = stream::iter(self.files.into_values())
            .map(OpenFile::finish)
            .buffer_unordered(PARALLEL_FINISHES)
            .try_collect()
            .await?;
        prepared.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(prepared)
    }
}

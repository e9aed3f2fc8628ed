//! A folder of files as a source: every file is offered once, in order of age.
//!
//! An offset is a number of files. Which files those are stands in the plan record (`splits`); once an increment is
//! acknowledged its names move to the source's own list (`ledger`), off the path that an epoch waits for. Between
//! listings the backlog of the last one is consumed (`intake`), known names are not examined again, and where the system
//! tells the names of new files (`watch`) only these are examined, so that an epoch costs what it takes, however many
//! files the folder holds.
//!
//! Files that change after they were listed are not noticed, except that reading more than is there is an error. An
//! epoch that runs again after a restart takes its files as they are then, so that a damaged one can be replaced.

mod adapt;
mod columns;
mod decode;
mod folder;
mod intake;
mod ledger;
mod mark;
mod options;
mod provider;
mod rules;
pub(crate) mod seen_log;
mod splits;
mod unlisted;
mod watch;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Admission, BatchStream, Clock, Discovery, Error, Increment, Offset, OffsetRange, Result,
    Source, Split,
};
use parking_lot::RwLock;

pub use provider::FileSourceProvider;

use decode::FileReader;
use folder::{FileEntry, IsKnown, ListingCost};
use intake::{Intake, Limits};
use ledger::Ledger;
use rules::ListRules;
use seen_log::Names;
use watch::Watch;

/// The files of a folder, for one run of one query; made by [`FileSourceProvider`].
#[derive(Debug)]
pub struct FileSource {
    place: String,
    reader: Arc<FileReader>,
    rules: Arc<ListRules>,
    // A std-like lock, held for bookkeeping only; a listing asks it name by name from another thread.
    intake: Arc<RwLock<Intake>>,
    ledger: Ledger,
    watch: Watch,
    frozen: AtomicBool,
    /// Number of the first file that no earlier run planned to read.
    planned_before: AtomicU64,
    cost: ListingCost,
    clock: Arc<dyn Clock>,
}

impl FileSource {
    /// Finds what is new: by the names that the system has told, or else by a listing.
    async fn look(&self) -> Result<()> {
        if let Some((started, paths)) = self.watch.named(&self.clock).await {
            let folder = &self.reader.folder;
            let found = folder.look_at(paths, &self.rules, self.known(), &self.cost);
            let found = found.await?;
            self.watch.end_look(&started, found.is_some());
            if let Some(found) = found {
                self.intake.write().add(found);
                return Ok(());
            }
        }
        self.list().await
    }

    async fn list(&self) -> Result<()> {
        let started = self.watch.start_listing(&self.clock);
        let found = self
            .reader
            .folder
            .list(&self.rules, self.known(), &self.cost)
            .await?;
        self.intake.write().add(found);
        self.watch.end_listing(&started, &self.clock);
        Ok(())
    }

    /// What is remembered of files.
    fn names(&self, files: &[FileEntry]) -> Names {
        let intake = self.intake.read();
        let name = |file: &FileEntry| (intake.key(&file.path).to_owned(), file.modified);
        files.iter().map(name).collect()
    }

    fn known(&self) -> IsKnown {
        let intake = Arc::clone(&self.intake);
        Arc::new(move |path: &str| intake.read().is_known(path))
    }
}

#[async_trait]
impl Source for FileSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.reader.columns.schema())
    }

    fn description(&self) -> String {
        format!("FileSource[{}]", self.place)
    }

    async fn discover(&self, start: Option<&Offset>, admission: Admission) -> Result<Discovery> {
        let position = match start {
            None => 0,
            Some(offset) => offset.as_count().ok_or_else(|| {
                Error::data(format!(
                    "offset {offset} of {} is not a number of files",
                    self.description()
                ))
            })?,
        };
        let limits = match admission {
            Admission::Configured => self.reader.options.limits,
            Admission::All => Limits::default(),
        };
        let has_backlog = {
            let mut intake = self.intake.write();
            intake.seek(position)?;
            intake.has_waiting()
        };
        // With the newest first, a backlog says nothing about which file is next.
        let must_look =
            !has_backlog || admission == Admission::All || self.reader.options.intake.latest_first;
        if must_look && !self.frozen.load(Ordering::Acquire) {
            match admission {
                Admission::Configured => self.look().await?,
                Admission::All => self.list().await?,
            }
        }
        let detail = {
            let mut intake = self.intake.write();
            let files = intake.offer(limits);
            let end = Offset::count(position + files.len() as u64);
            (!files.is_empty()).then(|| splits::detail(files).map(|detail| (end, detail)))
        };
        match detail.transpose()? {
            Some((end, detail)) => Ok(Discovery::Increment(Increment { end, detail })),
            None => {
                // Epochs without data may follow, after which the query's log forgets the files read last.
                self.ledger.catch_up().await?;
                Ok(Discovery::Nothing)
            }
        }
    }

    fn peek(&self, start: &Offset) -> Option<Increment> {
        let position = start.as_count()?;
        let intake = self.intake.read();
        let files = intake.peek(position, self.reader.options.limits)?;
        Some(Increment {
            end: Offset::count(position + files.len() as u64),
            detail: splits::detail(&files).ok()?,
        })
    }

    async fn splits(&self, range: &OffsetRange, parallelism: usize) -> Result<Vec<Split>> {
        let (start, mut files) = splits::files(range)?;
        if start < self.planned_before.load(Ordering::Acquire) {
            // The run that planned it failed or died, perhaps because of a file that was mended since.
            files = self.reader.folder.as_they_are(files).await?;
        }
        splits::plan(&self.reader.folder, self.reader.format, files, parallelism).await
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        self.open_with_views(split, projection, &[])
    }

    fn open_with_views(
        &self,
        split: &Split,
        projection: Option<&[usize]>,
        views: &[usize],
    ) -> Result<BatchStream> {
        self.reader.open(splits::piece(split)?, projection, views)
    }

    async fn resume(&self, range: &OffsetRange) -> Result<()> {
        let (start, files) = splits::files(range)?;
        let end = start + files.len() as u64;
        self.planned_before.fetch_max(end, Ordering::AcqRel);
        let names = self.names(&files);
        self.intake
            .write()
            .resume(start, files)
            .map_err(|error| error.context(self.description()))?;
        self.ledger.remember(start, names)
    }

    async fn acknowledge(&self, range: &OffsetRange) -> Result<()> {
        let (start, files) = splits::files(range)?;
        let names = self.names(&files);
        let remembered_from = self.intake.read().remembered_from();
        self.ledger
            .take_up(start, names, files, remembered_from)
            .await
    }

    async fn freeze(&self) -> Result<()> {
        self.list().await?;
        self.frozen.store(true, Ordering::Release);
        Ok(())
    }

    async fn changed(&self) {
        if self.intake.read().has_waiting() {
            return;
        }
        if self.frozen.load(Ordering::Acquire) {
            return std::future::pending().await;
        }
        self.watch.changed(&self.clock).await;
    }

    async fn latest(&self) -> Option<Offset> {
        Some(Offset::count(self.intake.read().known_end()))
    }
}

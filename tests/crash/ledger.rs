//! A sink that is a service elsewhere: it survives the crash of our machine, and remembers which epoch brought what.
//!
//! Like a database that users upsert into, it is told of an epoch before the commit (as a sink of user code is) and
//! again at publication, and knows both by the epoch's number. Whatever breaks the contract is remembered, too.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use headwater::core::{
    BatchStream, EpochWrite, OutputMode, PartWrite, PreparedPart, Result, Sink, SinkContext,
    SinkProvider,
};

use super::{check, input::Answer};

/// Epochs as they arrived, by number.
#[derive(Debug, Default)]
struct Book {
    delivered: BTreeMap<u64, Answer>,
    published: BTreeMap<u64, Answer>,
    wrongs: Vec<String>,
}

/// The service. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        // A test that panicked elsewhere still wants to see what was written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every epoch that was published.
    ///
    /// # Errors
    /// The first thing that no sink may see.
    pub(crate) fn published(&self) -> Result<BTreeMap<u64, Answer>, String> {
        let book = self.book();
        match book.wrongs.first() {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(book.published.clone()),
        }
    }
}

impl Book {
    fn deliver(&mut self, epoch: u64, rows: Answer) {
        match self.delivered.get(&epoch) {
            Some(before) if *before != rows => self.wrongs.push(format!(
                "epoch {epoch} was delivered twice with different rows: {before:?} and {rows:?}"
            )),
            _ => {
                self.delivered.insert(epoch, rows);
            }
        }
    }

    fn publish(&mut self, epoch: u64, rows: Answer) {
        if self.delivered.get(&epoch) != Some(&rows) {
            self.wrongs.push(format!(
                "epoch {epoch} was published with rows that were not delivered: {rows:?}"
            ));
        }
        let next = self
            .published
            .last_key_value()
            .map_or(0, |(last, _)| last + 1);
        if epoch > next || epoch + 1 < next {
            self.wrongs.push(format!(
                "epoch {epoch} was published where {next} comes next"
            ));
        }
        self.published.insert(epoch, rows);
    }
}

/// The rows of all partitions.
fn together(parts: &[PreparedPart]) -> std::result::Result<Answer, String> {
    let mut all = Answer::new();
    for part in parts {
        let rows: Vec<(i64, String, Vec<i64>)> =
            serde_json::from_value(part.detail.clone()).map_err(|error| error.to_string())?;
        for (start, key, measures) in rows {
            check::insert(&mut all, (start, key), measures)?;
        }
    }
    Ok(all)
}

#[async_trait]
impl SinkProvider for Ledger {
    fn identity(&self) -> String {
        "ledger".to_owned()
    }

    fn check(&self, _mode: OutputMode, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }

    async fn create(&self, _context: SinkContext) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Sink for Ledger {
    fn description(&self) -> String {
        "Ledger".to_owned()
    }

    async fn prepare(&self, part: PartWrite, mut rows: BatchStream) -> Result<PreparedPart> {
        let mut all = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            all.extend(check::rows(&batch));
        }
        Ok(PreparedPart {
            partition: part.partition,
            rows: all.len() as u64,
            detail: serde_json::to_value(all)?,
        })
    }

    async fn before_commit(
        &self,
        write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Result<Vec<PreparedPart>> {
        let mut book = self.book();
        match together(&parts) {
            Ok(rows) => book.deliver(write.epoch.0, rows),
            Err(wrong) => book.wrongs.push(wrong),
        }
        Ok(parts)
    }

    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Result<()> {
        let mut book = self.book();
        match together(parts) {
            Ok(rows) => book.publish(write.epoch.0, rows),
            Err(wrong) => book.wrongs.push(wrong),
        }
        Ok(())
    }

    async fn discard(&self, _write: &EpochWrite) -> Result<()> {
        Ok(())
    }
}

//! Faults in what is read of the input, and given back to it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, future, stream};
use headwater::{
    Result as Outcome,
    core::{Admission, BatchStream, Discovery, Offset, OffsetRange, Source, SourceProvider, Split},
    prelude::SchemaRef,
};

use super::{assert_noticed, windows};
use crate::crash::{bend::WrappedSource, pipeline::Tamper};

/// Wraps the source.
struct Input(fn(Arc<dyn Source>) -> Arc<dyn Source>);

impl Tamper for Input {
    fn source(&self, provider: Arc<dyn SourceProvider>) -> Arc<dyn SourceProvider> {
        let wrap = self.0;
        Arc::new(WrappedSource { provider, wrap })
    }
}

/// A source that passes everything on, but for one mistake.
#[derive(Debug)]
struct Sloppy {
    source: Arc<dyn Source>,
    /// Whether a range is acknowledged as soon as it is read.
    is_early: bool,
    /// What is being read.
    reading: Mutex<Option<OffsetRange>>,
    /// Splits of ranges that the log knew at the start.
    replayed: Mutex<BTreeSet<String>>,
    resumed: Mutex<Vec<OffsetRange>>,
}

impl Sloppy {
    fn over(source: Arc<dyn Source>, is_early: bool) -> Arc<dyn Source> {
        Arc::new(Self {
            source,
            is_early,
            reading: Mutex::default(),
            replayed: Mutex::default(),
            resumed: Mutex::default(),
        })
    }
}

#[async_trait]
impl Source for Sloppy {
    fn schema(&self) -> SchemaRef {
        self.source.schema()
    }

    fn description(&self) -> String {
        self.source.description()
    }

    async fn discover(&self, start: Option<&Offset>, admission: Admission) -> Outcome<Discovery> {
        self.source.discover(start, admission).await
    }

    async fn splits(&self, range: &OffsetRange, parallelism: usize) -> Outcome<Vec<Split>> {
        let splits = self.source.splits(range, parallelism).await?;
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = Some(range.clone());
        let is_replayed = self
            .resumed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(range);
        if is_replayed {
            let first = splits.first().map(|split| split.descriptor.to_string());
            let mut replayed = self.replayed.lock().unwrap_or_else(PoisonError::into_inner);
            replayed.extend(first);
        }
        Ok(splits)
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Outcome<BatchStream> {
        let rows = self.source.open(split, projection)?;
        if self.is_early {
            let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            let (source, range) = (Arc::clone(&self.source), reading.clone());
            let acknowledged = stream::once(async move {
                match &range {
                    Some(range) => source.acknowledge(range).await,
                    None => Ok(()),
                }
            });
            let nothing = acknowledged.try_filter_map(|()| future::ready(Ok(None)));
            return Ok(rows.chain(nothing).boxed());
        }
        let descriptor = split.descriptor.to_string();
        let replayed = self.replayed.lock().unwrap_or_else(PoisonError::into_inner);
        if !replayed.contains(&descriptor) {
            return Ok(rows);
        }
        // Off by one: the first row is left out.
        let mut is_first = true;
        Ok(rows
            .map_ok(move |batch| {
                let from = usize::from(std::mem::take(&mut is_first) && batch.num_rows() > 0);
                batch.slice(from, batch.num_rows() - from)
            })
            .boxed())
    }

    async fn resume(&self, range: &OffsetRange) -> Outcome<()> {
        self.source.resume(range).await?;
        let mut resumed = self.resumed.lock().unwrap_or_else(PoisonError::into_inner);
        resumed.push(range.clone());
        Ok(())
    }

    async fn acknowledge(&self, range: &OffsetRange) -> Outcome<()> {
        self.source.acknowledge(range).await
    }

    async fn freeze(&self) -> Outcome<()> {
        self.source.freeze().await
    }

    async fn changed(&self) {
        self.source.changed().await;
    }
}

#[test]
fn an_off_by_one_in_a_replay_is_noticed() {
    let sloppy = Input(|source| Sloppy::over(source, false));
    assert_noticed(windows(), sloppy, &["expected", "is missing"]);
}

#[test]
fn an_acknowledgement_before_the_commit_is_noticed() {
    let mut case = windows();
    case.source_options = vec![("cleanSource", "delete")];
    let sloppy = Input(|source| Sloppy::over(source, true));
    assert_noticed(case, sloppy, &["and is gone now"]);
}

//! Rows made by a function of the row number: replayable input of any shape, without a service.
//!
//! The function must be pure: rows `[a, c)` are rows `[a, b)` followed by rows `[b, c)`, and asking again gives the
//! same. That is what makes a replay after a crash read the same rows; nobody can check it here.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use headwater_core::{
    Admission, BatchStream, Discovery, Error, Offset, OffsetRange, Result, Source, SourceContext,
    SourceProvider, Split,
};
use parking_lot::Mutex;

use crate::{
    counting::{count_of, counts_of, discovered, numbers_of, splits_of},
    user_code,
};

/// Rows asked of the function at a time.
const BATCH_ROWS: u64 = 8192;

/// Makes the rows with the numbers `[start, end)`.
pub type GeneratorFn = dyn Fn(u64, u64) -> Result<RecordBatch> + Send + Sync;

/// A streaming table whose rows a function makes.
///
/// An offset is a row number. An epoch gets `rows_per_epoch` numbers; without an end there are always more.
#[derive(Clone)]
pub struct GeneratorSourceProvider {
    name: String,
    schema: SchemaRef,
    function: Arc<GeneratorFn>,
    rows_per_epoch: u64,
    end: Option<u64>,
}

impl fmt::Debug for GeneratorSourceProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratorSourceProvider")
            .field("name", &self.name)
            .field("rows_per_epoch", &self.rows_per_epoch)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl GeneratorSourceProvider {
    /// A stream without an end that gives each epoch 1,000 row numbers.
    ///
    /// The function is called from several threads, with at most 8,192 numbers at a time. It usually makes one row
    /// for each number, but may make more or fewer.
    pub fn new(
        name: impl Into<String>,
        schema: SchemaRef,
        function: impl Fn(u64, u64) -> Result<RecordBatch> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            schema,
            function: Arc::new(function),
            rows_per_epoch: 1_000,
            end: None,
        }
    }

    /// How many row numbers an epoch gets at most; 0 is taken for 1.
    #[must_use]
    pub fn rows_per_epoch(mut self, rows: u64) -> Self {
        self.rows_per_epoch = rows.max(1);
        self
    }

    /// Ends the stream before this row number.
    #[must_use]
    pub fn end(mut self, end: u64) -> Self {
        self.end = Some(end);
        self
    }
}

#[async_trait]
impl SourceProvider for GeneratorSourceProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn identity(&self) -> String {
        format!("generator {}", self.name)
    }

    async fn create(&self, _context: SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(GeneratorSource {
            offered: AtomicU64::new(0),
            limit: Mutex::new(Limit {
                end: self.end,
                one_more_step: false,
            }),
            settings: self.clone(),
        }))
    }
}

/// How far the stream goes.
#[derive(Debug)]
struct Limit {
    end: Option<u64>,
    /// Frozen without an end: the next step decides it.
    one_more_step: bool,
}

#[derive(Debug)]
struct GeneratorSource {
    settings: GeneratorSourceProvider,
    /// Where the last discovery ended.
    offered: AtomicU64,
    // Locked to read or set two plain values.
    limit: Mutex<Limit>,
}

impl GeneratorSource {
    /// Calls the function for `rows` and checks what it returns.
    fn make(settings: &GeneratorSourceProvider, rows: Range<u64>) -> Result<RecordBatch> {
        let what = format!("generator '{}'", settings.name);
        let batch = user_code::call(&what, || (settings.function)(rows.start, rows.end))?;
        let types = |schema: &SchemaRef| -> Vec<_> {
            let fields = schema.fields().iter();
            fields.map(|f| f.data_type().clone()).collect()
        };
        if types(&batch.schema()) != types(&settings.schema) {
            return Err(Error::invalid(format!(
                "{what} made rows of the schema {}, expected {}: correct the function or the schema",
                batch.schema(),
                settings.schema
            )));
        }
        Ok(batch.with_schema(Arc::clone(&settings.schema))?)
    }
}

#[async_trait]
impl Source for GeneratorSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.settings.schema)
    }

    fn description(&self) -> String {
        format!("GeneratorSource[{}]", self.settings.name)
    }

    async fn discover(&self, start: Option<&Offset>, admission: Admission) -> Result<Discovery> {
        let start = count_of(&self.description(), start)?;
        let step = start.saturating_add(self.settings.rows_per_epoch);
        let mut limit = self.limit.lock();
        if limit.one_more_step {
            *limit = Limit {
                end: Some(step),
                one_more_step: false,
            };
        }
        let end = match (limit.end, admission) {
            (Some(end), Admission::All) => end,
            (Some(end), Admission::Configured) => end.min(step),
            // Everything there is would never end.
            (None, _) => step,
        };
        self.offered.store(end.max(start), Ordering::Relaxed);
        Ok(discovered(start, end))
    }

    async fn splits(&self, range: &OffsetRange, parallelism: usize) -> Result<Vec<Split>> {
        splits_of(counts_of(&self.description(), range)?, parallelism)
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        let rows = numbers_of(&self.description(), split)?;
        let settings = self.settings.clone();
        let projection = projection.map(<[usize]>::to_vec);
        let starts = rows.clone().step_by(BATCH_ROWS as usize);
        Ok(stream::iter(starts)
            .map(move |from| {
                let until = rows.end.min(from.saturating_add(BATCH_ROWS));
                let batch = Self::make(&settings, from..until)?;
                Ok(match &projection {
                    Some(columns) => batch.project(columns)?,
                    None => batch,
                })
            })
            .boxed())
    }

    async fn freeze(&self) -> Result<()> {
        let mut limit = self.limit.lock();
        limit.one_more_step = limit.end.is_none();
        Ok(())
    }

    async fn changed(&self) {
        let offered = self.offered.load(Ordering::Relaxed);
        let at_its_end = self.limit.lock().end.is_some_and(|end| offered >= end);
        if at_its_end {
            std::future::pending().await
        }
    }

    async fn latest(&self) -> Option<Offset> {
        self.limit.lock().end.map(Offset::count)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, TryStreamExt};

    use super::*;
    use crate::test_support::{end_of, numbers, numbers_in, numbers_schema, range, source_context};

    fn squares() -> GeneratorSourceProvider {
        GeneratorSourceProvider::new("squares", numbers_schema(), |start, end| {
            let values: Vec<i64> = (start..end).map(|n| (n * n) as i64).collect();
            Ok(numbers(&values))
        })
    }

    async fn read(source: &Arc<dyn Source>, range: &OffsetRange, tasks: usize) -> Result<Vec<i64>> {
        let mut batches = Vec::new();
        for split in source.splits(range, tasks).await? {
            batches.extend(source.open(&split, None)?.try_collect::<Vec<_>>().await?);
        }
        Ok(numbers_in(&batches))
    }

    #[tokio::test]
    async fn rows_are_a_function_of_the_offset_whatever_the_tasks() {
        let provider = squares().rows_per_epoch(5).end(12);
        let source = provider.create(source_context()).await.expect("created");
        assert_eq!(end_of(&source, None).await, Some(5));
        assert_eq!(end_of(&source, Some(10)).await, Some(12));
        assert!(source.changed().now_or_never().is_none(), "at its end");
        assert_eq!(end_of(&source, Some(12)).await, None);
        for tasks in [1, 2, 16] {
            let rows = read(&source, &range(2, 6), tasks).await.expect("made");
            assert_eq!(rows, [4, 9, 16, 25]);
        }
        let long = read(&source, &range(0, 20_000), 1).await.expect("made");
        assert_eq!(long.len(), 20_000);
    }

    #[tokio::test]
    async fn without_an_end_a_freeze_leaves_one_step() {
        let provider = squares().rows_per_epoch(5);
        let source = provider.create(source_context()).await.expect("created");
        assert!(source.changed().now_or_never().is_some());
        source.freeze().await.expect("frozen");
        assert_eq!(end_of(&source, Some(5)).await, Some(10));
        assert_eq!(end_of(&source, Some(10)).await, None);
    }

    #[tokio::test]
    async fn a_function_that_panics_or_lies_about_its_schema_is_an_error() {
        let panics = GeneratorSourceProvider::new("p", numbers_schema(), |_, _| panic!("no"));
        let source = panics.create(source_context()).await.expect("created");
        let error = read(&source, &range(0, 1), 1).await.expect_err("it panics");
        assert!(error.message().contains("generator 'p' panicked (no)"));
        let lies = GeneratorSourceProvider::new("l", numbers_schema(), |_, _| {
            Ok(RecordBatch::new_empty(Arc::new(
                arrow::datatypes::Schema::empty(),
            )))
        });
        let source = lies.create(source_context()).await.expect("created");
        let error = read(&source, &range(0, 1), 1).await.expect_err("it lies");
        assert!(error.message().contains("correct the function"), "{error}");
    }
}

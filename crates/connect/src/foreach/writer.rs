//! `foreach`: a writer of the user's for each partition of each epoch.

use std::{fmt, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use futures::TryStreamExt;
use headwater_core::{
    BatchStream, Epoch, EpochWrite, Error, OutputMode, PartWrite, PreparedPart, Result, Sink,
    SinkContext, SinkProvider,
};

use crate::{pending::prepared, user_code};

/// Receives the rows of one partition of one epoch.
///
/// Of a replayed epoch every partition comes again, with the same numbers, unless the query was restarted with
/// another number of partitions. Writers of several partitions run at the same time.
#[async_trait]
pub trait ForeachWriter: Send {
    /// Called first. `false` means that this partition of this epoch has been written already: its rows are skipped.
    async fn open(&mut self, partition: usize, epoch: Epoch) -> Result<bool>;

    /// Receives some rows, in order.
    async fn process(&mut self, rows: RecordBatch) -> Result<()>;

    /// Called last if `open` returned a value, with the error that ended the partition early. An error returned here
    /// fails the epoch too. It is not called when the query is stopped in the middle: the writer is dropped then.
    async fn close(&mut self, error: Option<&Error>) -> Result<()>;
}

type MakeWriter = dyn Fn() -> Box<dyn ForeachWriter> + Send + Sync;

/// The `foreach` sink.
#[derive(Clone)]
pub struct ForeachSinkProvider {
    make: Arc<MakeWriter>,
}

impl fmt::Debug for ForeachSinkProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeachSinkProvider")
            .finish_non_exhaustive()
    }
}

impl ForeachSinkProvider {
    /// A sink that makes one writer with `make` for each partition of each epoch.
    pub fn new<W: ForeachWriter + 'static>(make: impl Fn() -> W + Send + Sync + 'static) -> Self {
        Self {
            make: Arc::new(move || Box::new(make())),
        }
    }
}

#[async_trait]
impl SinkProvider for ForeachSinkProvider {
    fn identity(&self) -> String {
        "foreach".to_owned()
    }

    fn check(&self, _mode: OutputMode, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }

    async fn create(&self, _context: SinkContext) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(ForeachSink {
            settings: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct ForeachSink {
    settings: ForeachSinkProvider,
}

#[async_trait]
impl Sink for ForeachSink {
    fn description(&self) -> String {
        "ForeachSink".to_owned()
    }

    async fn prepare(&self, part: PartWrite, rows: BatchStream) -> Result<PreparedPart> {
        let (epoch, partition) = (part.write.epoch, part.partition);
        let what = format!("foreach writer of partition {partition} in epoch {epoch}");
        let mut writer = user_code::call(&what, || Ok((self.settings.make)()))?;
        let wanted = user_code::run(&what, async { writer.open(partition, epoch).await }).await?;
        let result = write_rows(&what, &mut *writer, rows, wanted).await;
        let error = result.as_ref().err();
        let closed = user_code::run(&what, async { writer.close(error).await }).await;
        // The first error is the one that explains the others.
        let count = result?;
        closed?;
        Ok(prepared(part, count))
    }

    async fn publish(&self, _write: &EpochWrite, _parts: &[PreparedPart]) -> Result<()> {
        Ok(())
    }

    async fn discard(&self, _write: &EpochWrite) -> Result<()> {
        Ok(())
    }
}

/// Feeds the writer, or only drains the rows (their plan reports through its end) if they are not `wanted`.
async fn write_rows(
    what: &str,
    writer: &mut dyn ForeachWriter,
    mut rows: BatchStream,
    wanted: bool,
) -> Result<u64> {
    let mut count = 0;
    while let Some(batch) = rows.try_next().await? {
        count += batch.num_rows() as u64;
        if wanted {
            user_code::run(what, async { writer.process(batch).await }).await?;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::test_support::{numbers_in, part, rows_of, sink_context, write};

    #[derive(Clone, Default)]
    struct Recorder {
        log: Arc<Mutex<Vec<String>>>,
        skip_epoch: Option<u64>,
    }

    #[async_trait]
    impl ForeachWriter for Recorder {
        async fn open(&mut self, partition: usize, epoch: Epoch) -> Result<bool> {
            self.log.lock().push(format!("open {partition} {epoch}"));
            Ok(self.skip_epoch != Some(epoch.0))
        }

        async fn process(&mut self, rows: RecordBatch) -> Result<()> {
            let values = numbers_in(&[rows]);
            assert!(!values.contains(&13), "thirteen");
            self.log.lock().push(format!("rows {values:?}"));
            Ok(())
        }

        async fn close(&mut self, error: Option<&Error>) -> Result<()> {
            let error = error.map(|e| e.message().to_owned());
            self.log.lock().push(format!("close {error:?}"));
            Ok(())
        }
    }

    async fn sink(recorder: &Recorder) -> Arc<dyn Sink> {
        let recorder = recorder.clone();
        ForeachSinkProvider::new(move || recorder.clone())
            .create(sink_context(OutputMode::Append))
            .await
            .expect("created")
    }

    #[tokio::test]
    async fn a_writer_is_opened_fed_and_closed_for_each_partition() {
        let recorder = Recorder::default();
        let sink = sink(&recorder).await;
        let epoch = write(5, OutputMode::Append);
        let done = sink.prepare(part(&epoch, 2), rows_of(&[1, 2])).await;
        assert_eq!(done.expect("written").rows, 2);
        assert_eq!(
            *recorder.log.lock(),
            ["open 2 5", "rows [1, 2]", "close None"]
        );
    }

    #[tokio::test]
    async fn open_can_skip_what_was_written_before_a_crash() {
        let recorder = Recorder {
            skip_epoch: Some(5),
            ..Recorder::default()
        };
        let sink = sink(&recorder).await;
        let epoch = write(5, OutputMode::Append);
        let done = sink.prepare(part(&epoch, 0), rows_of(&[1, 2])).await;
        assert_eq!(done.expect("skipped").rows, 2);
        assert_eq!(*recorder.log.lock(), ["open 0 5", "close None"]);
    }

    #[tokio::test]
    async fn a_panic_fails_the_epoch_and_close_hears_of_it() {
        let recorder = Recorder::default();
        let sink = sink(&recorder).await;
        let epoch = write(0, OutputMode::Append);
        let error = sink.prepare(part(&epoch, 0), rows_of(&[13])).await;
        let error = error.expect_err("it panics");
        assert!(
            error
                .message()
                .starts_with("foreach writer of partition 0 in epoch 0 panicked"),
            "{error}"
        );
        assert!(recorder.log.lock()[1].contains("thirteen"));
    }
}

//! A sink that prints each epoch as a table people can read.
//!
//! An epoch is printed when it is published, so a replay of an uncommitted epoch does not print twice. Rows are held
//! in memory till then, no more than are shown: a process that dies in between prints them never.

mod show;

use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use futures::TryStreamExt;
use headwater_core::{
    BatchStream, EpochWrite, Error, Options, OutputMode, PartWrite, PreparedPart, Result, Sink,
    SinkContext, SinkProvider,
};
use parking_lot::Mutex;
use show::Truncation;

use crate::pending::{Pending, prepared};

const KNOWN_OPTIONS: &[&str] = &["numRows", "truncate"];
const RULE: &str = "-------------------------------------------";

/// Where the tables are printed. Locked for the length of one table, so that two queries do not mix theirs.
type Output = Arc<Mutex<dyn Write + Send>>;

/// The `console` sink.
#[derive(Clone)]
pub struct ConsoleSinkProvider {
    rows_shown: usize,
    truncation: Truncation,
    output: Output,
}

impl fmt::Debug for ConsoleSinkProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleSinkProvider")
            .field("rows_shown", &self.rows_shown)
            .field("truncation", &self.truncation)
            .finish_non_exhaustive()
    }
}

impl ConsoleSinkProvider {
    /// Prints to the process's standard output. Options: `numRows` (how many rows of an epoch to show, default 20),
    /// `truncate` (`true`, the default: values are cut to 20 characters; `false`: they are not; or a number of
    /// characters).
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] for an unknown option or value.
    pub fn try_new(options: &Options) -> Result<Self> {
        Self::try_with_output(options, io::stdout())
    }

    /// Prints to `output` instead.
    ///
    /// # Errors
    /// As [`Self::try_new`].
    pub fn try_with_output(options: &Options, output: impl Write + Send + 'static) -> Result<Self> {
        options.deny_unknown("sink 'console'", KNOWN_OPTIONS)?;
        Ok(Self {
            rows_shown: options.parse("numRows")?.unwrap_or(20),
            truncation: Truncation::parse(options.get("truncate"))?,
            output: Arc::new(Mutex::new(output)),
        })
    }
}

#[async_trait]
impl SinkProvider for ConsoleSinkProvider {
    fn identity(&self) -> String {
        "console".to_owned()
    }

    fn check(&self, _mode: OutputMode, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }

    async fn create(&self, context: SinkContext) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(ConsoleSink {
            settings: self.clone(),
            schema: context.schema,
            pending: Pending::default(),
        }))
    }
}

#[derive(Debug)]
struct ConsoleSink {
    settings: ConsoleSinkProvider,
    schema: SchemaRef,
    pending: Pending,
}

#[async_trait]
impl Sink for ConsoleSink {
    fn description(&self) -> String {
        "ConsoleSink".to_owned()
    }

    async fn prepare(&self, part: PartWrite, mut rows: BatchStream) -> Result<PreparedPart> {
        // Only the first partitions may end up on the screen, but which ones those are is not known before all ran.
        let (mut kept, mut kept_rows, mut total) = (Vec::new(), 0, 0);
        while let Some(batch) = rows.try_next().await? {
            total += batch.num_rows() as u64;
            let wanted = (self.settings.rows_shown - kept_rows).min(batch.num_rows());
            if wanted > 0 {
                kept_rows += wanted;
                kept.push(batch.slice(0, wanted));
            }
        }
        self.pending.hold(part, kept);
        Ok(prepared(part, total))
    }

    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Result<()> {
        // Printed before, or lost with the process that held the rows.
        let Some(rows) = self.pending.take(write) else {
            return Ok(());
        };
        let total: u64 = parts.iter().map(|part| part.rows).sum();
        let text = self.page(write, &rows, total)?;
        let mut output = self.settings.output.lock();
        output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush())
            .map_err(|error| {
                Error::unavailable(format!("cannot print epoch {} to the console", write.epoch))
                    .with_source(error)
            })
    }

    async fn discard(&self, write: &EpochWrite) -> Result<()> {
        self.pending.discard(write);
        Ok(())
    }
}

impl ConsoleSink {
    /// The header and the table of one epoch, ending in an empty line.
    fn page(&self, write: &EpochWrite, rows: &[RecordBatch], total: u64) -> Result<String> {
        let shown = self.settings.rows_shown;
        let table = show::table(&self.schema, rows, shown, self.settings.truncation)?;
        let more = match shown {
            _ if total <= shown as u64 => String::new(),
            1 => "only showing top 1 row\n".to_owned(),
            n => format!("only showing top {n} rows\n"),
        };
        Ok(format!(
            "{RULE}\nBatch: {}\n{RULE}\n{table}{more}\n",
            write.epoch
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{deliver, part, rows_of, sink_context, write};

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Screen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).expect("text")
        }
    }

    async fn console(options: &[(&str, &str)]) -> (Arc<dyn Sink>, Screen) {
        let screen = Screen::default();
        let options: Options = options.iter().copied().collect();
        let provider = ConsoleSinkProvider::try_with_output(&options, screen.clone());
        let context = sink_context(OutputMode::Append);
        let sink = provider.expect("valid options").create(context).await;
        (sink.expect("created"), screen)
    }

    #[tokio::test]
    async fn an_epoch_is_printed_once_when_it_is_published() {
        let (sink, screen) = console(&[("numRows", "3")]).await;
        let first = write(0, OutputMode::Append);
        sink.prepare(part(&first, 0), rows_of(&[1]))
            .await
            .expect("received");
        sink.discard(&first).await.expect("forgotten");
        sink.publish(&first, &[]).await.expect("nothing to print");
        assert_eq!(screen.text(), "");
        let parts = deliver(&*sink, &first, &[&[10], &[2, 3], &[4]]).await;
        sink.publish(&first, &parts).await.expect("again");
        let expected = "\
-------------------------------------------
Batch: 0
-------------------------------------------
+---+
|  n|
+---+
| 10|
|  2|
|  3|
+---+
only showing top 3 rows

";
        assert_eq!(screen.text(), expected);
    }

    #[tokio::test]
    async fn an_epoch_without_rows_shows_its_columns() {
        let (sink, screen) = console(&[]).await;
        deliver(&*sink, &write(4, OutputMode::Append), &[&[]]).await;
        assert!(
            screen.text().ends_with("+---+\n|  n|\n+---+\n+---+\n\n"),
            "{}",
            screen.text()
        );
    }

    #[test]
    fn bad_options_are_refused_by_name() {
        for (name, value) in [("numRows", "-1"), ("truncate", "maybe"), ("rows", "1")] {
            let options: Options = [(name, value)].into_iter().collect();
            let error = ConsoleSinkProvider::try_new(&options).expect_err(value);
            assert!(error.message().contains(name), "{error}");
        }
    }
}
